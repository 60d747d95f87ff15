"""VCF text to columns (spec 1; pitfall 26)."""

from __future__ import annotations

import gzip
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pysam
import pytest

from geno_model.genomics import text_input
from geno_model.genomics.alleles import account, to_alleles
from geno_model.genomics.errors import InputError
from geno_model.genomics.vcf_reader import VcfChunk, info_field, read_vcf_chunks, record_chunks
from tests.shared_data import REAL_VCFS, SHARED, needs_shared_data, shared_genome

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


def test_what_is_missing_or_no_variants_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        read_all(tmp_path / "nope.vcf")
    with pytest.raises(InputError, match="folder"):
        read_all(tmp_path)
    (tmp_path / "x.bcf").write_bytes(gzip.compress(b"BCF\2\2" + bytes(100)))
    with pytest.raises(InputError, match="damaged or no BCF"):
        read_all(tmp_path / "x.bcf")
    (tmp_path / "x.bam").write_bytes(gzip.compress(b"BAM\1" + bytes(100)))
    with pytest.raises(InputError, match="holds reads"):
        read_all(tmp_path / "x.bam")


def bcf_of(vcf: Path, path: Path) -> Path:
    """The records of a VCF as a BCF, written by htslib."""
    with pysam.VariantFile(str(vcf)) as source, pysam.VariantFile(str(path), "wb", header=source.header) as target:
        for record in source:
            target.write(record)
    return path


FULL_HEADER = HEADER.replace(
    "##source=test\n",
    "##contig=<ID=1>\n##contig=<ID=X>\n##FILTER=<ID=q10,Description=q>\n"
    "##INFO=<ID=AF,Number=A,Type=Float,Description=f>\n##INFO=<ID=DB,Number=0,Type=Flag,Description=d>\n"
    "##FORMAT=<ID=GT,Number=1,Type=String,Description=g>\n",
)
SAMPLES = BODY.replace("\tDB\n", "\tDB\tGT\t.\t0/1\n")


@pytest.mark.parametrize("chunk_bytes", [1, 60, 1_000])
def test_a_bcf_reads_as_the_vcf_that_it_was_made_from(
    tmp_path: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vcf = write(tmp_path, FULL_HEADER + SAMPLES * 40)
    bcf = bcf_of(vcf, tmp_path / "v.bcf")
    expected = read_all(vcf)
    assert read_all(bcf, chunk_bytes=chunk_bytes).equals(expected)
    assert read_all(bcf, chunk_bytes=chunk_bytes, n_columns=8).equals(
        expected.with_columns(rest=pl.lit(None, pl.String))
    )
    assert next(read_vcf_chunks(bcf)).header[-1] == HEADER.split("\n")[-2]
    with bcf.open("rb") as raw:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=raw))
        assert read_all("-", chunk_bytes=chunk_bytes).equals(expected)


def test_a_bcf_that_was_cut_is_told(tmp_path: Path) -> None:
    vcf = write(tmp_path, FULL_HEADER + SAMPLES * 4_000)
    whole = bcf_of(vcf, tmp_path / "v.bcf").read_bytes()
    for name, raw in (("block.bcf", whole[:-28]), ("gzip.bcf", gzip.compress(gzip.decompress(whole))[:-50]),
                      ("record.bcf", gzip.compress(gzip.decompress(whole)[:-7]))):  # fmt: skip
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(InputError, match="truncated|damaged"):
            read_all(tmp_path / name)


def test_a_bcf_may_be_left_unread(tmp_path: Path) -> None:
    bcf = bcf_of(write(tmp_path, FULL_HEADER + SAMPLES * 4_000), tmp_path / "v.bcf")
    n_threads = threading.active_count()
    chunks = read_vcf_chunks(bcf, chunk_bytes=100)
    assert next(chunks).lines["record"][0] == 0
    chunks.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert threading.active_count() == n_threads


def test_records_of_a_region(tmp_path: Path) -> None:
    vcf = write(tmp_path, FULL_HEADER + SAMPLES)
    with pysam.VariantFile(pysam.tabix_index(str(vcf), preset="vcf")) as file:
        lines = pl.concat([chunk.lines for chunk in record_chunks(file.fetch("1", 6, 20), file.header)])
    assert lines.equals(read_all(tmp_path / "v.vcf.gz")[1:2].with_columns(record=pl.lit(0, pl.Int64)))


def for_htslib(path: Path, folder: Path) -> Path:
    """The file itself, or a copy with the header lines without which htslib refuses it."""
    header, _, body = gzip.decompress(path.read_bytes()).partition(b"#CHROM")
    if header:
        return path
    columns, _, records = body.partition(b"\n")
    (folder / path.stem).write_bytes(b"##fileformat=VCFv4.2\n#CHROM" + columns.rstrip() + b"\n" + records)
    return folder / path.stem


@needs_shared_data
@pytest.mark.parametrize("name", REAL_VCFS)
def test_real_records_of_pysam_give_the_alleles_of_the_text(tmp_path: Path, name: str) -> None:
    """By record and in bulk: the same alleles, reasons and accounting, for every record of every real file."""
    path = SHARED / f"{name}.vcf.gz"
    genome = shared_genome(name.split("/")[0])

    def alleles(chunks: Iterator[VcfChunk]) -> pl.DataFrame:
        return pl.concat([to_alleles(chunk.lines, genome, pass_only=True) for chunk in chunks])

    in_bulk = alleles(read_vcf_chunks(path, n_columns=8))
    with pysam.VariantFile(str(for_htslib(path, tmp_path))) as file:
        by_record = alleles(record_chunks(file, file.header, n_columns=8))
    assert in_bulk.height > 500 and by_record.equals(in_bulk)
    assert account(by_record, "x").equals(account(in_bulk, "x"))


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
