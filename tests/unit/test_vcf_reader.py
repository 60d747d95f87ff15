"""VCF text to columns (spec 1; pitfall 26)."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import polars as pl
import pysam
import pytest

from geno_model.genomics import text_input
from geno_model.genomics.errors import InputError
from geno_model.genomics.vcf_reader import info_field, read_vcf_chunks
from tests.shared_data import SHARED, needs_shared_data

HEADER = "##fileformat=VCFv4.2\n##source=test\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1\tS2\n"
BODY = (
    "1\t5\trs1\tA\tC,G\t.\tPASS\tAF=0.1,0.2\tGT\t0|1\t1|1\n"
    "1\t9\t.\tAC\tA\t30\tq10\t.\tGT\t0|0\t0|1\n"
    "X\t2\t.\tT\tC\t.\t.\tDB\n"
)


def write(folder: Path, text: str, name: str = "v.vcf") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def read_all(path: Path | str, **options: int) -> pl.DataFrame:
    return pl.concat([chunk.lines for chunk in read_vcf_chunks(path, **options)])  # type: ignore[arg-type]


def test_columns_by_hand(tmp_path: Path) -> None:
    (chunk,) = read_vcf_chunks(write(tmp_path, HEADER + BODY))
    assert chunk.header == HEADER.strip().split("\n")
    assert chunk.lines.schema["record"] == chunk.lines.schema["pos"] == pl.Int64
    assert chunk.lines.row(0) == (0, "1", 5, "rs1", "A", "C,G", ".", "PASS", "AF=0.1,0.2", "GT\t0|1\t1|1")
    assert chunk.lines.row(2) == (2, "X", 2, ".", "T", "C", ".", ".", "DB", None)


def test_samples_can_be_left_out(tmp_path: Path) -> None:
    lines = read_all(write(tmp_path, HEADER + BODY), n_columns=8)
    assert lines["rest"].null_count() == 3
    assert lines["info"].to_list() == ["AF=0.1,0.2", ".", "DB"]


@pytest.mark.parametrize("chunk_bytes", [1, 17, 40, 1_000])
def test_chunks_join_to_the_whole(tmp_path: Path, chunk_bytes: int) -> None:
    path = write(tmp_path, HEADER + BODY * 5)
    assert read_all(path, chunk_bytes=chunk_bytes).equals(read_all(path))
    assert read_all(path)["record"].to_list() == list(range(15))


def test_crlf_empty_lines_and_no_last_line_end(tmp_path: Path) -> None:
    plain = read_all(write(tmp_path, HEADER + BODY))
    assert read_all(write(tmp_path, (HEADER + BODY).replace("\n", "\r\n"))).equals(plain)
    assert read_all(write(tmp_path, HEADER + "\n" + BODY.replace("\n", "\n\n"))).equals(plain)
    assert read_all(write(tmp_path, (HEADER + BODY).rstrip("\n"))).equals(plain)


def test_compressed_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = read_all(write(tmp_path, HEADER + BODY))
    (tmp_path / "a.gz").write_bytes(gzip.compress((HEADER + BODY).encode()))
    with pysam.BGZFile(str(tmp_path / "b.gz"), "wb", None) as file:
        file.write((HEADER + BODY).encode())
    for name in ("a.gz", "b.gz"):
        assert read_all(tmp_path / name).equals(plain)
    for name in ("a.gz", "v.vcf"):
        stdin = io.TextIOWrapper(io.BytesIO((tmp_path / name).read_bytes()))
        monkeypatch.setattr(text_input.sys, "stdin", stdin)
        assert read_all("-").equals(plain)


def test_a_vcf_without_records_still_gives_its_header(tmp_path: Path) -> None:
    (chunk,) = read_vcf_chunks(write(tmp_path, HEADER))
    assert len(chunk.header) == 3 and chunk.lines.is_empty() and "rest" in chunk.lines.columns


def test_text_that_is_no_utf8_does_not_stop_the_file(tmp_path: Path) -> None:
    path = tmp_path / "latin.vcf"
    path.write_bytes(HEADER.encode() + "1\t5\t.\tA\tC\t.\t.\tNAME=Sjögren\n".encode("latin-1"))
    assert read_all(path)["info"].to_list() == ["NAME=Sjögren"]


@pytest.mark.parametrize(
    ("record", "message"),
    [("1\t5\t.\tA\n", r"record 4 .*found 4 tab-separated"), ("1\tfive\t.\tA\tC\t.\t.\t.\n", r"record 4 .*POS"),
     ("\t5\t.\tA\tC\t.\t.\t.\n", r"record 4 .*contig"), ("1 5 . A C . . .\n", "found 1 tab-separated")],
)  # fmt: skip
def test_malformed_records_are_told_by_number(tmp_path: Path, record: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_all(write(tmp_path, HEADER + BODY + record + BODY), chunk_bytes=30)


@pytest.mark.parametrize("text", ["", "hello\n", ">1\nACGT\n", "##fileformat=VCFv4.2\n1\t5\t.\tA\tC\t.\t.\t.\n"])
def test_what_is_no_vcf_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="no VCF"):
        read_all(write(tmp_path, text))


def test_bcf_missing_and_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        read_all(tmp_path / "nope.vcf")
    with pytest.raises(InputError, match="folder"):
        read_all(tmp_path)
    (tmp_path / "x.bcf").write_bytes(gzip.compress(b"BCF\2\2" + bytes(100)))
    with pytest.raises(InputError, match="bcftools view"):
        read_all(tmp_path / "x.bcf")


def test_truncated_gzip_is_told(tmp_path: Path) -> None:
    text = HEADER + "".join(f"1\t{pos}\t.\tA\tC\t.\t.\tX={pos * 7919}\n" for pos in range(1, 5_000))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(text.encode())[:-100])
    with pytest.raises(InputError, match="truncated"):
        read_all(tmp_path / "cut.gz", chunk_bytes=1_000)
    with pysam.BGZFile(str(tmp_path / "b.gz"), "wb", None) as file:
        file.write(text.encode())
    (tmp_path / "cut_b.gz").write_bytes((tmp_path / "b.gz").read_bytes()[:-28])
    with pytest.raises(InputError, match="truncated"):
        read_all(tmp_path / "cut_b.gz")


def test_info_field_takes_the_whole_key() -> None:
    info = pl.DataFrame({"info": ["LDAF=0.5;AF=0.1;DB", "AF_afr=0.2;AF=.,0.3", "AF;X=1", ".", "A.F=9"]})
    assert info.select(info_field("info", "AF")).to_series().to_list() == ["0.1", ".,0.3", None, None, None]
    assert info.select(info_field(pl.col("info"), "A.F")).to_series().to_list() == [None] * 4 + ["9"]


@needs_shared_data
def test_a_header_of_one_line(tmp_path: Path) -> None:
    chunk = next(read_vcf_chunks(SHARED / "grch37" / "kg_sites.vcf.gz"))
    assert len(chunk.header) == 1 and chunk.lines.height == 9_961


@needs_shared_data
def test_wide_real_file() -> None:
    n_records = 0
    for chunk in read_vcf_chunks(SHARED / "grch38" / "kg_phased.vcf.gz", chunk_bytes=1 << 20):
        n_records += chunk.lines.height
        n_samples = len(chunk.header[-1].split("\t")) - 9
        assert n_samples == 3_202
        assert (chunk.lines["rest"].str.count_matches("\t") == n_samples).all()
    assert n_records == 889
