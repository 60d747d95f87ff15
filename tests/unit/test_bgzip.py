"""bgzip as htslib knows it: whole, in blocks, with an end."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pysam
import pytest

from geno_model.scoring.bgzip import BgzipFile

BLOCK = 65_280


@pytest.mark.parametrize("n_bytes", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
@pytest.mark.parametrize("n_written_at_once", [1_000, 1 << 20])
def test_what_was_written_is_read_back(tmp_path: Path, n_bytes: int, n_written_at_once: int) -> None:
    data = np.random.default_rng(0).bytes(n_bytes)  # cannot be compressed: the largest blocks there are
    file = BgzipFile(tmp_path / "a.gz")
    for start in range(0, n_bytes, n_written_at_once):
        file.write(data[start : start + n_written_at_once])
    file.close()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == data
    with pysam.BGZFile(str(tmp_path / "a.gz"), "rb", None) as whole:
        assert whole.read() == data


def test_a_record_is_found_through_an_index_in_a_later_block(tmp_path: Path) -> None:
    path = tmp_path / "a.vcf.gz"
    file = BgzipFile(path)
    file.write(b"##fileformat=VCFv4.2\n##contig=<ID=1>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n")
    for pos in range(1, 20_001):
        file.write(b"1\t%d\tid%d\tA\tC\t.\t.\t.\n" % (pos, pos * 7_919))
    file.close()
    pysam.tabix_index(str(path), preset="vcf")
    with pysam.VariantFile(str(path)) as records:
        assert [record.id for record in records.fetch("1", 19_000, 19_002)] == ["id150468919", "id150476838"]
