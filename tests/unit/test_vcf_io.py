"""Output files: records kept, values where they belong, whole or not at all, readable by others' programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet
import pysam
import pysam.bcftools
import pytest

from geno_model.genomics.alleles import to_alleles
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import VcfChunk, read_vcf_chunks
from geno_model.scoring.errors import OutputError
from geno_model.scoring.surprise import Heads
from geno_model.scoring.vcf_header import annotated_header, info_fields, missing_contig_lines
from geno_model.scoring.vcf_io import TABLE_SCHEMA, RecordOrder, annotated_lines, output_suffix, score_output
from tests.tiny_release import every_kind, vcf_text, write_fasta

MODEL_ID = "c0ffee" + "0" * 58
ALL_HEADS = Heads(delta_loglik=True)
N_ALLELES = 21
Chunks = list[tuple[VcfChunk, pl.DataFrame]]


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
        "clinvar_pathogenic": pl.lit(False),
    }
    return alleles.with_columns(
        pl.when(pl.col("reason").is_null()).then(value).alias(name) for name, value in values.items()
    )


@pytest.fixture
def chunks(tmp_path: Path, genome: Genome) -> Chunks:
    """The records of every kind in chunks of a few records."""
    path = tmp_path / "in.vcf"
    path.write_text(vcf_text(every_kind(genome)))
    parts = with_scores(path, genome)
    assert len(parts) > 3
    return parts


def with_scores(path: Path, genome: Genome) -> Chunks:
    return [(chunk, scored(chunk, genome)) for chunk in read_vcf_chunks(path, chunk_bytes=200)]


def write(path: Path, chunks: Chunks, genome: Genome, contigs: Sequence[str] = ()) -> str | None:
    order = RecordOrder()
    with score_output(path, MODEL_ID, ALL_HEADS, order, genome, contigs) as writer:
        for chunk, scores in chunks:
            order.see(chunk.lines)
            writer.write(chunk, scores)
    return writer.note


def only(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"in.vcf"}


def test_every_record_is_kept_with_one_value_an_allele(tmp_path: Path, genome: Genome, chunks) -> None:
    assert write(tmp_path / "out.vcf", chunks, genome) is None
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


def test_htslib_reads_the_annotated_vcf(tmp_path: Path, genome: Genome, chunks) -> None:
    write(tmp_path / "out.vcf.gz", chunks, genome)
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


def leave_older_indices(folder: Path) -> None:
    for suffix in (".tbi", ".csi"):
        (folder / f"out.vcf.gz{suffix}").write_bytes(b"of an older file")


def test_unsorted_records_keep_their_order_and_have_no_index(tmp_path: Path, genome: Genome, chunks) -> None:
    leave_older_indices(tmp_path)
    note = write(tmp_path / "out.vcf.gz", chunks[::-1], genome)
    assert note is not None and "not sorted" in note
    assert only(tmp_path) == {"out.vcf.gz"}
    found = pysam.VariantFile(str(tmp_path / "out.vcf.gz")).fetch()
    expected = [f"id{number}" for chunk, _ in chunks[::-1] for number in chunk.lines["record"]]
    assert [record.id for record in found] == expected


@pytest.mark.parametrize("longest_bp", [1 << 29, (1 << 29) + 1])
def test_the_only_index_is_of_this_file_and_can_hold_the_reference(
    tmp_path: Path, genome: Genome, chunks, longest_bp: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """htslib would take an older .csi before a new .tbi; a tabix index reaches to 2^29."""
    leave_older_indices(tmp_path)
    monkeypatch.setitem(genome.contigs, "long", longest_bp)
    assert write(tmp_path / "out.vcf.gz", chunks, genome) is None
    assert only(tmp_path) == {"out.vcf.gz", "out.vcf.gz.tbi" if longest_bp == 1 << 29 else "out.vcf.gz.csi"}
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [record.pos for record in file.fetch("1", 4_299, 4_400)] == [4_300, 4_400, 4_400]


def test_a_record_beyond_the_reach_of_tabix_has_csi(tmp_path: Path, genome: Genome) -> None:
    (tmp_path / "in.vcf").write_text(vcf_text([("far", 600_000_000, "A", "C", []), ("far", 700_000_000, "A", "C", [])]))
    chunk = next(read_vcf_chunks(tmp_path / "in.vcf"))
    assert write(tmp_path / "out.vcf.gz", [(chunk, scored(chunk, genome))], genome) is None
    assert only(tmp_path) == {"out.vcf.gz", "out.vcf.gz.csi"}
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        assert [record.pos for record in file.fetch("far", 650_000_000, 700_000_000)] == [700_000_000]


@pytest.mark.parametrize(
    ("present", "names", "expected"),
    [
        ([], ["1"], ["1,length=12000", "2,length=2000", "3,length=4000"]),
        ([], ["chr3", "chr1"], ["chr1,length=12000", "chr2,length=2000", "chr3,length=4000"]),
        ([], [], ["chr1,length=12000", "chr2,length=2000", "chr3,length=4000"]),
        ([], ["odd", "1"], ["1,length=12000", "2,length=2000", "3,length=4000", "odd"]),
        (["length=5,ID=1"], [], ["2,length=2000", "3,length=4000"]),
        (["ID=1", "ID=2", "ID=3"], ["2"], []),
        (["ID=1", "ID=2", "ID=3"], ["chr1"], ["chr1,length=12000"]),
        ([], ["NC_000003"], ["NC_000003,length=4000"]),  # how it would call the others is not known
        ([], ["a,b", "<x>"], ["chr1,length=12000", "chr2,length=2000", "chr3,length=4000"]),
    ],
)
def test_contigs_are_spelled_as_the_vcf_does(
    genome: Genome, present: list[str], names: list[str], expected: list[str]
) -> None:
    header = [f"##contig=<{text}>" for text in present]
    assert missing_contig_lines(header, names, genome) == [f"##contig=<ID={text}>" for text in expected]


@pytest.mark.parametrize("kept", ["", "##contig=<ID=chr2>\n"])
def test_bcftools_takes_what_had_no_contig_lines(tmp_path: Path, genome: Genome, kept: str) -> None:
    kinds = every_kind(genome)
    records = [(f"chr{row[0]}", *row[1:]) for row in kinds if row[0] in "12" and row[1] != 20_000]
    lines = "".join(f"##contig=<ID={name}>\n" for name in ("1", "2", "3", "nowhere"))
    (tmp_path / "in.vcf").write_text(vcf_text(records).replace(lines, kept))
    # The first chunk is of chr1 alone.
    write(tmp_path / "out.vcf", with_scores(tmp_path / "in.vcf", genome), genome)
    view, norm, index = pysam.bcftools.view, pysam.bcftools.norm, pysam.bcftools.index  # pyright: ignore[reportAttributeAccessIssue]
    bcf, normal = str(tmp_path / "out.bcf"), str(tmp_path / "norm.vcf")
    with pytest.raises(pysam.SamtoolsError):
        view("-Ob", "-o", bcf, str(tmp_path / "in.vcf"), catch_stdout=False)
    view("-Ob", "-o", bcf, str(tmp_path / "out.vcf"), catch_stdout=False)
    index(bcf)
    norm("-c", "w", "-f", str(genome.fasta), "-o", normal, str(tmp_path / "out.vcf"), catch_stdout=False)
    for path in (bcf, normal):
        with pysam.VariantFile(path) as file:
            assert sum(1 for _ in file) == len(records)


def test_scoring_a_scored_file_replaces_our_fields(tmp_path: Path, genome: Genome, chunks) -> None:
    write(tmp_path / "once.vcf", chunks, genome)
    write(tmp_path / "twice.vcf", with_scores(tmp_path / "once.vcf", genome), genome)
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


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("X=a;", "X=a;"),
        ("X=a;;DB;", "X=a;;DB;"),
        (";", ""),
        (".", ""),
        ("GLM_RAW=1;X=a;", "X=a;"),
        ("X=a; GLM_RAW =1;", "X=a;"),
    ],
)
def test_what_stands_in_info_goes_before_ours(tmp_path: Path, genome: Genome, info: str, expected: str) -> None:
    (tmp_path / "in.vcf").write_text(vcf_text([("nowhere", 5, "A", "C", [])]).replace("AC=1;DB", info))
    chunk = next(read_vcf_chunks(tmp_path / "in.vcf"))
    (line,) = annotated_lines(chunk.lines, scored(chunk, genome), info_fields(ALL_HEADS))
    assert line.split("\t")[7] == f"{expected}GLM_STATUS=contig_unknown"


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".jsonl"])
def test_tables_have_one_row_an_allele(tmp_path: Path, genome: Genome, chunks, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(path, chunks, genome)
    readers = {
        ".tsv": lambda: pl.read_csv(path, separator="\t", comment_prefix="##", schema=TABLE_SCHEMA),
        ".parquet": lambda: pl.read_parquet(path),
        ".jsonl": lambda: (
            pl.DataFrame([json.loads(line) for line in path.open()]).select(TABLE_SCHEMA.names()).cast(TABLE_SCHEMA)
        ),
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


def test_every_table_names_the_model_and_what_it_is_not(tmp_path: Path, genome: Genome, chunks) -> None:
    notice = "Research tool, not a clinical diagnostic."
    for suffix in (".parquet", ".tsv", ".jsonl"):
        write(tmp_path / f"out{suffix}", chunks, genome)
    metadata = pyarrow.parquet.read_schema(tmp_path / "out.parquet").metadata
    assert metadata[b"geno_lewm_model_id"].decode() == MODEL_ID and metadata[b"geno_lewm_notice"].decode() == notice
    top = (tmp_path / "out.tsv").read_text().splitlines()[:3]
    assert top == [f"##geno_lewm_model_id={MODEL_ID}", f"##geno_lewm_notice={notice}", "\t".join(TABLE_SCHEMA)]
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {(row["model_id"], row["notice"]) for row in rows} == {(MODEL_ID, notice)}
    assert list(rows[0]) == [*TABLE_SCHEMA, "model_id", "notice"] and rows[0]["low_confidence"] is False


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz", ".tsv", ".parquet", ".jsonl"])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, genome: Genome, chunks, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("older")
    with pytest.raises(KeyboardInterrupt), score_output(path, MODEL_ID, ALL_HEADS, RecordOrder(), genome) as writer:
        writer.write(*chunks[0])
        assert len(only(tmp_path)) == 2
        raise KeyboardInterrupt
    assert path.read_text() == "older"
    assert only(tmp_path) == {path.name}


def test_an_output_that_cannot_be_is_refused_before_anything_is_written(tmp_path: Path, genome: Genome) -> None:
    for path, message in (
        (tmp_path / "absent" / "out.vcf", "cannot be written"),
        (Path("/proc/out.tsv"), "cannot be written"),
        (tmp_path / "a.tsv", "is a folder"),
    ):
        if message == "is a folder":
            path.mkdir()
        with pytest.raises(OutputError, match=message), score_output(path, MODEL_ID, ALL_HEADS, RecordOrder(), genome):
            raise AssertionError("not reached")
    assert only(tmp_path) == {"a.tsv"}


@pytest.mark.parametrize(("name", "suffix"), [("a.b.vcf.gz", ".vcf.gz"), ("a.vcf", ".vcf"), ("x.jsonl", ".jsonl")])
def test_the_suffix_decides(name: str, suffix: str) -> None:
    assert output_suffix(Path("folder.tsv") / name) == suffix


@pytest.mark.parametrize("name", ["out", "out.bcf", "out.csv", ".vcf", "out.gz"])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(OutputError, match="suffix"):
        output_suffix(Path(name))
