"""Output files: records kept, values where they belong, whole or not at all, readable by others' programs."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pysam
import pytest

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import VcfChunk, read_vcf_chunks
from geno_model.scoring.errors import OutputError
from geno_model.scoring.surprise import Heads
from geno_model.scoring.vcf_io import (
    TABLE_SCHEMA,
    RecordOrder,
    annotated_header,
    annotated_lines,
    info_fields,
    output_suffix,
    score_output,
)
from tests.tiny_release import every_kind, vcf_text, write_fasta

MODEL_ID = "c0ffee" + "0" * 58
ALL_HEADS = Heads(delta_loglik=True)
N_ALLELES = 21


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    return Genome.open(write_fasta(folder / "ref.fa"), cache_dir=folder / "cache")


def scored(chunk: VcfChunk, genome: Genome) -> pl.DataFrame:
    """Made-up scores in the form of `Scorer.score`: the n-th allele has the surprise n / 1000."""
    has_no_window = pl.col("reason").is_null() & pl.col("contig").is_in(["chr2", "chr3"])
    alleles = to_alleles(chunk.lines, genome).with_columns(
        pl.when(has_no_window).then(pl.lit("out_of_range")).otherwise("reason").alias("reason")
    )
    number = pl.int_range(pl.len()).over(pl.lit(1))
    values = {
        "region_class": pl.lit("intron"),
        "gc_bin": pl.lit(1, pl.Int8),
        "repeat_class": pl.lit("none"),
        "bucket_id": pl.lit("intron|1|none"),
        "surprise_raw": (number / 3).cast(pl.Float32),
        "displacement": (number * 1e-7).cast(pl.Float32),
        "delta_loglik": (-number / 7).cast(pl.Float32),
        "surprise": number / 1000,
        "n_calibration": pl.lit(2_000, pl.Int64),
        "confidence": pl.lit(1.0),
        "low_confidence": pl.lit(False),
    }
    return alleles.with_columns(
        pl.when(pl.col("reason").is_null()).then(value).alias(name) for name, value in values.items()
    )


@pytest.fixture
def chunks(tmp_path: Path, genome: Genome) -> list[tuple[VcfChunk, pl.DataFrame]]:
    """The records of every kind in chunks of a few records."""
    path = tmp_path / "in.vcf"
    path.write_text(vcf_text(every_kind(genome)))
    parts = [(chunk, scored(chunk, genome)) for chunk in read_vcf_chunks(path, chunk_bytes=200)]
    assert len(parts) > 3
    return parts


def write(path: Path, chunks: list[tuple[VcfChunk, pl.DataFrame]]) -> str | None:
    order = RecordOrder()
    with score_output(path, MODEL_ID, ALL_HEADS, order) as writer:
        for chunk, scores in chunks:
            order.see(chunk.lines)
            writer.write(chunk, scores)
    return writer.note


def only(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"in.vcf"}


def test_every_record_is_kept_with_one_value_an_allele(tmp_path: Path, genome: Genome, chunks) -> None:
    assert write(tmp_path / "out.vcf", chunks) is None
    before = [line for line in (tmp_path / "in.vcf").read_text().splitlines() if not line.startswith("#")]
    after = [line for line in (tmp_path / "out.vcf").read_text().splitlines() if not line.startswith("#")]
    kinds = every_kind(genome)
    assert len(before) == len(after) == len(kinds)
    for old, new, (*_, statuses) in zip(before, after, kinds, strict=True):
        old_fields, new_fields = old.split("\t"), new.split("\t")
        assert new_fields[:7] + new_fields[8:] == old_fields[:7] + old_fields[8:]
        assert new_fields[7].startswith(old_fields[7] + ";")
        added = dict(item.split("=") for item in new_fields[7][len(old_fields[7]) + 1 :].split(";"))
        assert added["GLM_STATUS"] == ",".join(statuses)
        assert set(added) == (
            {"GLM_SIGMA", "GLM_RAW", "GLM_DISP", "GLM_DLL", "GLM_CONF", "GLM_BUCKET", "GLM_STATUS"}
            if "scored" in statuses
            else {"GLM_STATUS"}
        )
        assert all(len(value.split(",")) == len(statuses) for value in added.values())


def test_htslib_reads_the_annotated_vcf(tmp_path: Path, chunks) -> None:
    write(tmp_path / "out.vcf.gz", chunks)
    assert only(tmp_path) == {"out.vcf.gz", "out.vcf.gz.tbi"}
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert str(file.header).count("##geno_lewm_model_id=" + MODEL_ID) == 1
        assert "Research tool, not a clinical diagnostic." in str(file.header)
        assert file.header.info["GLM_SIGMA"].number == "A"
        triple = list(file.fetch("1", 1_999, 2_000))[0]
        values = triple.info["GLM_SIGMA"]
        assert values[1] is None and all(isinstance(values[i], float) for i in (0, 2))
        assert tuple(triple.info["GLM_STATUS"]) == ("scored", "spanning_deletion", "scored")
        assert triple.info["AC"] == (1,) and triple.info["DB"] is True
        assert list(triple.samples)[0] == "sample-x"


def test_unsorted_records_keep_their_order_and_have_no_index(tmp_path: Path, chunks) -> None:
    (tmp_path / "out.vcf.gz.tbi").write_bytes(b"of an older file")
    note = write(tmp_path / "out.vcf.gz", chunks[::-1])
    assert note is not None and "not sorted" in note
    assert only(tmp_path) == {"out.vcf.gz"}
    found = pysam.VariantFile(str(tmp_path / "out.vcf.gz")).fetch()
    expected = [f"id{number}" for chunk, _ in chunks[::-1] for number in chunk.lines["record"]]
    assert [record.id for record in found] == expected


def test_scoring_a_scored_file_replaces_our_fields(tmp_path: Path, genome: Genome, chunks) -> None:
    write(tmp_path / "once.vcf", chunks)
    again = [(chunk, scored(chunk, genome)) for chunk in read_vcf_chunks(tmp_path / "once.vcf", chunk_bytes=200)]
    write(tmp_path / "twice.vcf", again)
    twice = (tmp_path / "twice.vcf").read_text()
    assert twice.count("ID=GLM_STATUS") == twice.count("##geno_lewm_model_id") == 1
    for line in twice.splitlines():
        assert line.startswith("#") or line.count("GLM_STATUS=") == 1 and line.count("GLM_SIGMA=") <= 1


def test_a_header_without_fileformat_gets_one_and_info_may_be_empty(tmp_path: Path, genome: Genome) -> None:
    base = genome.window("chr1", 99, 100).tobytes().decode()
    (tmp_path / "in.vcf").write_text(
        f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\t\n1\t100\t.\t{base}\t.\t.\t.\t.\n"
    )
    chunk = next(read_vcf_chunks(tmp_path / "in.vcf"))
    header = annotated_header(chunk.header, MODEL_ID, info_fields(ALL_HEADS))
    assert header[0] == "##fileformat=VCFv4.2"
    assert header[-1].endswith("\tINFO") and sum(line.startswith("#CHROM") for line in header) == 1
    assert annotated_lines(chunk.lines, scored(chunk, genome), info_fields(ALL_HEADS)).to_list() == [
        f"1\t100\t.\t{base}\t.\t.\t.\tGLM_STATUS=no_alt"
    ]


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".jsonl"])
def test_tables_have_one_row_an_allele(tmp_path: Path, genome: Genome, chunks, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, chunks)
    readers = {
        ".tsv": lambda: pl.read_csv(path, separator="\t", schema=TABLE_SCHEMA),
        ".parquet": lambda: pl.read_parquet(path),
        ".jsonl": lambda: pl.DataFrame([json.loads(line) for line in path.open()], schema=TABLE_SCHEMA),
    }
    table = readers[suffix]()
    assert table.schema == TABLE_SCHEMA
    kinds = every_kind(genome)
    statuses = [status for *_, per_alt in kinds for status in per_alt]
    assert table.height == N_ALLELES == len(statuses)
    assert [reason or "scored" for reason in table["reason"]] == statuses
    assert table["status"].to_list() == ["scored" if status == "scored" else "excluded" for status in statuses]
    found = table.select("record", "chrom", "pos", "ref", "alt").rows()
    assert found == [(i, c, p, r, x) for i, (c, p, r, a, _) in enumerate(kinds, start=1) for x in a.split(",")]
    is_scored = pl.col("status") == "scored"
    assert table.filter(~is_scored)["surprise"].null_count() == table.filter(~is_scored).height
    lower = table.filter(pl.col("pos") == 4_300).row(0, named=True)
    assert lower["alt"].islower() and lower["norm_alt"] == lower["alt"].upper() and lower["norm_contig"] == "chr1"
    assert table["edit_type"][0] == "SNV"
    assert only(tmp_path) == {path.name}


def test_parquet_names_the_model_and_jsonl_is_json(tmp_path: Path, chunks) -> None:
    write(tmp_path / "out.parquet", chunks)
    metadata = pyarrow.parquet.read_schema(tmp_path / "out.parquet").metadata
    assert metadata[b"geno_lewm_model_id"].decode() == MODEL_ID
    write(tmp_path / "out.jsonl", chunks)
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert list(first) == list(TABLE_SCHEMA) and first["low_confidence"] is False


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".tsv", ".parquet", ".jsonl"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, chunks, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), score_output(path, MODEL_ID, ALL_HEADS, RecordOrder()) as writer:
        writer.write(*chunks[0])
        assert len(only(tmp_path)) == 2
        raise KeyboardInterrupt
    assert path.read_text() == "older"
    assert only(tmp_path) == {path.name}


def test_an_output_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "absent" / "out.vcf", "cannot be written"),
        (Path("/proc/out.tsv"), "cannot be written"),
        (tmp_path / "a.tsv", "is a folder"),
    ):
        if message == "is a folder":
            path.mkdir()
        with pytest.raises(OutputError, match=message), score_output(path, MODEL_ID, ALL_HEADS, RecordOrder()):
            raise AssertionError("not reached")
    assert only(tmp_path) == {"a.tsv"}


@pytest.mark.parametrize(("name", "suffix"), [("a.b.vcf.gz", ".vcf.gz"), ("a.vcf", ".vcf"), ("x.jsonl", ".jsonl")])
def test_the_suffix_decides(name: str, suffix: str) -> None:
    assert output_suffix(Path("folder.tsv") / name) == suffix


@pytest.mark.parametrize("name", ["out", "out.bcf", "out.csv", ".vcf", "out.gz"])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(OutputError, match="suffix"):
        output_suffix(Path(name))
