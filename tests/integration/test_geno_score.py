"""`geno-score` as a person runs it: every allele accounted for, every bad input one line, nothing partial left."""

from __future__ import annotations

import dataclasses
import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest
from typer.testing import CliRunner

from data_contracts import Scores, VariantAccounting
from data_contracts.checking import validate
from geno_model.cli.score import app
from geno_model.genomics.alleles import REASONS, RETAINED, to_alleles
from geno_model.genomics.context import Context
from geno_model.genomics.errors import WrongBuildError
from geno_model.genomics.genome import Genome
from geno_model.genomics.vcf_reader import read_vcf_chunks
from geno_model.release.manifest import write_manifest
from geno_model.scoring.score_vcf import ACCOUNTING_SOURCE, measure, score_vcf
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.vcf_io import TABLE_SCHEMA
from geno_model.scoring.windows import LITTLE_CONTEXT
from geno_pipeline.build.accounting import count_alleles
from geno_pipeline.build.clinvar import ingest_clinvar
from geno_pipeline.build.gnomad import ingest_gnomad
from tests.shared_data import SHARED, needs_shared_data, shared_genome
from tests.tiny_release import VCF_HEADER, TinyRelease, build_release, every_kind, every_reason, vcf_text, write_fasta
from tests.unit.encoders import tiny_encoder

STATUSES = 21
PHONE_HOME = """
import socket, threading, time

def phone_home():
    while True:
        try:
            socket.getaddrinfo("localhost", 80)
        except BaseException:
            return
        time.sleep(0.01)

threading.Thread(target=phone_home, daemon=True).start()
"""


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> TinyRelease:
    return build_release(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def _own_cache(release: TinyRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENO_CACHE", str(release.cache))
    monkeypatch.delenv("GENO_ENCODER_DIR", raising=False)


@pytest.fixture
def vcf(release: TinyRelease, tmp_path: Path) -> Path:
    path = tmp_path / "in.vcf"
    path.write_text(vcf_text(every_kind(release.genome())))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def options(release: TinyRelease, vcf: Path | str, output: Path, **changes: object) -> list[str]:
    values = {"model-dir": release.model_dir, "vcf": vcf, "fasta": release.fasta, "output": output} | changes
    return [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", str(value))]


def run(
    arguments: Sequence[str], stdin: bytes | None = None, python_path: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "geno_model.cli.score", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": str(python_path)} if python_path else {})
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120)


def fails(arguments: Sequence[str], out: Path, code: int = 1) -> str:
    """Run in this process; the one line on stderr, after checking that nothing of an output is left."""
    before = sorted(out.parent.rglob("*"))
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("geno-score: "), lines
    assert sorted(out.parent.rglob("*")) == before
    return lines[0]


def test_the_command_accounts_for_every_allele(release: TinyRelease, vcf: Path, out: Path) -> None:
    result = run(options(release, vcf, out / "scored.vcf.gz"))
    stderr = result.stderr.decode()
    assert result.returncode == 0, stderr
    assert result.stdout == b""
    assert "21 alleles of 19 records read, 10 scored, 11 excluded (3 out_of_range, " in stderr
    assert "research tool, not a clinical diagnostic" in stderr
    assert release.model_id[:12] in stderr
    assert not any(word in stderr for word in ("sample-x", "ACGTA", "Warning", "Traceback"))
    assert {path.name for path in out.iterdir()} == {"scored.vcf.gz", "scored.vcf.gz.tbi"}
    with pysam.VariantFile(str(out / "scored.vcf.gz")) as file:
        assert f"##geno_lewm_model_id={release.model_id}" in str(file.header)
        records = list(file.fetch())
    kinds = every_kind(release.genome())
    assert [record.id for record in records] == [f"id{number}" for number in range(len(kinds))]
    assert [list(record.info["GLM_STATUS"]) for record in records] == [statuses for *_, statuses in kinds]
    for record in records:
        for status, sigma in zip(record.info["GLM_STATUS"], record.info.get("GLM_SIGMA", ()), strict=False):
            assert (sigma is not None) == (status == "scored")
            assert sigma is None or 0 <= sigma <= 1


@pytest.mark.parametrize("suffix", [".tsv", ".parquet", ".jsonl", ".vcf"])
def test_every_format_says_the_same(release: TinyRelease, vcf: Path, out: Path, suffix: str) -> None:
    path = out / f"scored{suffix}"
    result = CliRunner().invoke(app, [*options(release, vcf, path), "--quiet", "--batch-size", "3"])
    assert (result.exit_code, result.stdout) == (0, "")
    # Quiet, but for what nobody should miss: the first allele is in the release's ClinVar, and a sample carries it.
    advice, notice = result.stderr.splitlines()
    assert "1 allele that a genotype carries is pathogenic or likely so" in advice and "genetic counsellor" in advice
    assert notice == "geno-score: research tool, not a clinical diagnostic"
    scorer = Scorer.from_release(release.model_dir, release.genome())
    expected = scorer.score_alleles(to_alleles(next(read_vcf_chunks(vcf)).lines, scorer.genome))
    kept = expected.filter(pl.col("reason").is_null())
    validate(Scores, kept.select(*Scores.to_schema().columns))
    assert kept["bucket_id"].str.contains(r"^(other(\|.*)?|\*)$").all()
    if suffix == ".vcf":
        assert sum(not line.startswith("#") for line in path.open()) == 19
        return
    readers = {
        ".tsv": lambda: pl.read_csv(path, separator="\t", comment_prefix="##", schema=TABLE_SCHEMA),
        ".parquet": lambda: pl.read_parquet(path),
    }
    table = readers.get(suffix, lambda: pl.read_ndjson(path))()
    assert table.height == STATUSES
    for name in ("surprise", "surprise_raw", "displacement"):
        np.testing.assert_allclose(table[name].to_numpy(), expected[name].to_numpy(), rtol=1e-5, atol=1e-6)
    assert table["reason"].to_list() == expected["reason"].to_list()


def test_chunks_do_not_change_the_result(release: TinyRelease, vcf: Path, out: Path) -> None:
    scorer = Scorer.from_release(release.model_dir, release.genome())
    whole = score_vcf(vcf, scorer, out / "whole.tsv")
    done: list[int] = []
    chunked = score_vcf(vcf, scorer, out / "chunked.tsv", chunk_bytes=150, progress=done.append)
    assert chunked.accounting.equals(whole.accounting) and chunked.n_alleles == STATUSES
    assert done == sorted(done) and done[0] == 0 and done[-1] == STATUSES
    tables = [
        pl.read_csv(out / name, separator="\t", comment_prefix="##", schema=TABLE_SCHEMA)
        for name in ("whole.tsv", "chunked.tsv")
    ]
    numbers = ["surprise", "surprise_raw", "displacement"]
    assert tables[0].drop(numbers).equals(tables[1].drop(numbers))
    for name in numbers:
        np.testing.assert_allclose(tables[0][name].to_numpy(), tables[1][name].to_numpy(), rtol=1e-4, atol=1e-6)


def test_the_accounting_is_a_table_that_sums_to_what_was_read(release: TinyRelease, vcf: Path, out: Path) -> None:
    genome = release.genome()
    summary = score_vcf(vcf, Scorer.from_release(release.model_dir, genome), out / "a.tsv")
    validate(VariantAccounting, summary.accounting)
    assert summary.accounting["n_alleles"].sum() == summary.n_alleles == STATUSES == measure(vcf, genome).n_alleles
    assert summary.n_scored + sum(summary.reasons.values()) == STATUSES
    assert summary.reasons["out_of_range"] == 3


def test_plinks_codes_of_chromosomes_are_read_and_told_once(release: TinyRelease, out: Path) -> None:
    fasta = write_fasta(out / "x.fa", contigs={"chrX": 8_000})
    genome = Genome.open(fasta, cache_dir=out / "cache")
    rows = [
        (code, pos, genome.window("chrX", pos - 1, pos).tobytes().decode())
        for code, pos in (("23", 4000), ("25", 4010))
    ]
    rows += [("26", 5, "A"), ("chr23", 4020, genome.window("chrX", 4019, 4020).tobytes().decode())]
    lines = [f"{code}\t{pos}\t.\t{ref}\t{'C' if ref == 'A' else 'A'}\t.\t.\t.\n" for code, pos, ref in rows]
    (out / "plink.vcf").write_text(VCF_HEADER + "".join(lines))
    scorer = Scorer.from_release(release.model_dir, genome)
    summary = score_vcf(out / "plink.vcf", scorer, out / "a.tsv")
    assert summary.n_scored == 3 and summary.reasons["contig_unknown"] == 1
    codes = "contigs that the FASTA lacks are read by PLINK's codes: 23 as chrX, 25 as chrX (pseudo-autosomal)"
    assert summary.notes.count(codes) == 1
    table = pl.read_csv(out / "a.tsv", separator="\t", schema=TABLE_SCHEMA, comment_prefix="##")
    assert table["chrom"].to_list() == ["23", "25", "26", "chr23"]  # as the VCF writes them
    assert table["norm_contig"].to_list() == ["chrX", "chrX", None, "chrX"]


def test_standard_input_and_a_pipe(release: TinyRelease, vcf: Path, out: Path) -> None:
    result = run(options(release, "-", out / "a.tsv"), stdin=gzip.compress(vcf.read_bytes()))
    assert result.returncode == 0, result.stderr
    assert pl.read_csv(out / "a.tsv", separator="\t", comment_prefix="##").height == STATUSES


def test_the_encoder_is_looked_for_in_three_places(
    release: TinyRelease, vcf: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(release.model_dir, bare, ignore=shutil.ignore_patterns("encoder"))
    write_manifest(bare)
    encoder = release.model_dir / "encoder"
    line = fails(options(release, vcf, out / "a.tsv", model_dir=bare), out)
    assert str(bare / "encoder") in line and "GENO_ENCODER_DIR" in line and "--encoder-dir" in line
    assert Scorer.from_release(release.model_dir, release.genome()).encoder.encoder_hash in line
    arguments = [*options(release, vcf, out / "a.tsv", model_dir=bare), "--quiet"]
    assert CliRunner().invoke(app, [*arguments, "--encoder-dir", str(encoder)]).exit_code == 0
    monkeypatch.setenv("GENO_ENCODER_DIR", str(encoder))
    assert CliRunner().invoke(app, arguments).exit_code == 0
    # The option wins over the variable, and another encoder is refused.
    tiny_encoder(tmp_path / "other", seed=9)
    line = fails([*options(release, vcf, out / "b.tsv", model_dir=bare), "--encoder-dir", str(tmp_path / "other")], out)
    assert "holds encoder" in line


# Bad input: each is one line that says what, where and what to do, and leaves nothing.


def test_missing_files(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert "FASTA not found" in fails(options(release, vcf, out / "a.tsv", fasta=absent), out)
    assert "VCF not found" in fails(options(release, absent, out / "a.tsv"), out)
    assert "no model release at" in fails(options(release, vcf, out / "a.tsv", model_dir=absent), out)
    assert "no encoder at" in fails([*options(release, vcf, out / "a.tsv"), "--encoder-dir", str(absent)], out)
    assert "VCF not found: https://" in fails(options(release, "https://host/x.vcf.gz", out / "a.tsv"), out)


def test_a_fasta_without_an_index_is_enough(release: TinyRelease, vcf: Path, out: Path) -> None:
    assert not Path(f"{release.fasta}.fai").exists()
    assert CliRunner().invoke(app, [*options(release, vcf, out / "a.tsv"), "--quiet"]).exit_code == 0


@pytest.mark.parametrize("bgzip", [True, False])
def test_truncated_gzip(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path, bgzip: bool) -> None:
    packed = tmp_path / "in.vcf.gz"
    if bgzip:
        pysam.tabix_compress(str(vcf), str(packed))
    else:
        packed.write_bytes(gzip.compress(vcf.read_bytes()))
    packed.write_bytes(packed.read_bytes()[:-40])
    line = fails(options(release, packed, out / "a.vcf.gz"), out)
    assert "truncated" in line and "in.vcf.gz" in line and "again" in line


def test_a_stream_that_breaks_off_leaves_nothing(release: TinyRelease, vcf: Path, out: Path) -> None:
    result = run(options(release, "-", out / "a.tsv"), stdin=gzip.compress(vcf.read_bytes())[:-40])
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1 and b"truncated" in result.stderr
    assert not list(out.iterdir())


def test_a_killed_run_leaves_nothing(release: TinyRelease, vcf: Path, out: Path) -> None:
    command = [sys.executable, "-m", "geno_model.cli.score", *options(release, "-", out / "a.vcf.gz")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(vcf.read_bytes())  # and never closed, so that the run waits for more
        process.stdin.flush()
        deadline = time.monotonic() + 60
        n_seen = 0  # in a row: the check that the folder may be written to makes a file for a moment, too
        while n_seen < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
            n_seen = n_seen + 1 if list(out.iterdir()) else 0
        assert [path.name.startswith(".a.vcf.gz.") for path in out.iterdir()] == [True]
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(out.iterdir())


def snvs(
    release: TinyRelease, positions: range, *, is_wrong: bool = False
) -> list[tuple[str, int, str, str, list[str]]]:
    """SNVs on chr1 whose REF is the FASTA's, or none of them."""
    bases = release.genome().bases("chr1").tobytes().decode()
    pairs = [(pos, bases[pos - 1], "ACGT"[("ACGT".index(bases[pos - 1]) + 1) % 4]) for pos in positions]
    return [("1", pos, other, base, []) if is_wrong else ("1", pos, base, other, []) for pos, base, other in pairs]


def test_another_build(release: TinyRelease, out: Path, tmp_path: Path, vcf: Path) -> None:
    other = write_fasta(tmp_path / "other.fa", seed=77)
    vcf.write_text(vcf_text(snvs(release, range(1, 41))))
    line = fails(options(release, vcf, out / "a.vcf", fasta=other), out)
    assert "of 40 sites have another REF" in line and "another genome build" in line
    vcf.write_text(vcf_text(snvs(release, range(1, 2))).replace("##contig=<ID=1>", "##contig=<ID=1,length=249250621>"))
    line = fails(options(release, vcf, out / "a.vcf"), out)
    assert "its header says that 1 has 249,250,621 bp (GRCh37), but chr1 has 12,000 bp in the FASTA" in line


def test_another_build_from_the_middle_of_a_file_on(release: TinyRelease, out: Path, vcf: Path) -> None:
    """More than half of the file fits, and its beginning was scored when the other build is met."""
    vcf.write_text(vcf_text(snvs(release, range(1_000, 1_130)) + snvs(release, range(2_000, 2_120), is_wrong=True)))
    line = fails(options(release, vcf, out / "a.vcf", receipt=out / "r.jsonl"), out)
    assert "sites on chr1 from 0.00 Mb on have another REF" in line and "(after 250 records)" in line
    result = run(options(release, "-", out / "a.vcf"), stdin=vcf.read_bytes())
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and not list(out.iterdir())
    scorer, n_done = Scorer.from_release(release.model_dir, release.genome()), []
    with pytest.raises(WrongBuildError):  # as from standard input: never read as a whole before
        score_vcf(vcf, scorer, out / "a.vcf", chunk_bytes=1_000, chunk_records=20, progress=n_done.append)
    assert 20 < max(n_done) < 230 and not list(out.iterdir())
    with pytest.raises(WrongBuildError):
        scorer.score(pl.DataFrame(snvs(release, range(1, 21), is_wrong=True), orient="row").select(
            pl.col("column_0").alias("contig"), pl.col("column_1").alias("pos"), pl.col("column_2").alias("ref"),
            pl.col("column_3").alias("alt"),
        ))  # fmt: skip


def test_the_summary_names_contigs_that_the_fasta_lacks(release: TinyRelease, out: Path, vcf: Path) -> None:
    unknown = [(contig, 5, "A", "C,G", []) for contig in ("01", "01", "23", *map(str, range(30, 35)))]
    vcf.write_text(vcf_text(snvs(release, range(2_000, 2_001)) + unknown))
    result = CliRunner().invoke(app, options(release, vcf, out / "a.tsv"))
    assert result.exit_code == 0
    told = "alleles on contigs that the FASTA lacks: 01 (4), 23 (2), 30 (2), 31 (2), 32 (2), 2 more contigs (4)"
    assert f"geno-score: {told}; it has chr1, chr2, chr3\n" in result.stderr
    vcf.write_text(vcf_text(unknown))
    assert told in fails(options(release, vcf, out / "b.tsv"), out, code=3)


def test_an_empty_vcf_and_one_of_which_nothing_can_be_scored(release: TinyRelease, vcf: Path, out: Path) -> None:
    vcf.write_text(VCF_HEADER)
    assert "has no records" in fails(options(release, vcf, out / "a.vcf"), out, code=3)
    vcf.write_text(vcf_text([("9", 5, "A", "C,G", []), ("2", 5, "A", "<DEL>", [])]))
    line = fails(options(release, vcf, out / "a.vcf"), out, code=3)
    assert "3 alleles of 2 records" in line and "2 contig_unknown, 1 symbolic" in line and "No output" in line
    vcf.write_bytes(b"")
    assert "is no VCF" in fails(options(release, vcf, out / "a.vcf"), out)
    vcf.write_text(VCF_HEADER + "1\tx\t.\tA\tC\t.\t.\t.\n")
    assert "record 1 " in fails(options(release, vcf, out / "a.vcf"), out)


def test_outputs_that_cannot_be(release: TinyRelease, vcf: Path, out: Path) -> None:
    assert "cannot be written" in fails(options(release, vcf, out / "absent" / "a.vcf"), out)
    assert "is a folder" in fails(options(release, vcf, _folder(out)), out)
    assert "also an input" in fails(options(release, vcf, vcf), out, code=2)
    assert "suffix" in fails(options(release, vcf, out / "a.csv"), out, code=2)


def _folder(out: Path) -> Path:
    (out / "folder.tsv").mkdir()
    return out / "folder.tsv"


def test_a_damaged_release(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(release.model_dir, copy)
    with (copy / "predictor.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    arguments = options(release, vcf, out / "a.tsv", model_dir=copy)
    assert "predictor.safetensors differs from the manifest" in fails(arguments, out)
    # A calibration of another encoder does not become right by a new manifest.
    shutil.copy(release.model_dir / "predictor.safetensors", copy / "predictor.safetensors")
    config = (copy / "config.json").read_text().replace('"radius_tokens":16', '"radius_tokens":8')
    (copy / "config.json").write_text(config)
    write_manifest(copy)
    assert "state contract" in fails(arguments, out)


def test_a_network_attempt_ends_the_run(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    """A thread of the very process that scores asks for an address, over and over, and shrugs off the refusal."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sitecustomize.py").write_text(PHONE_HOME)
    result = run(options(release, vcf, out / "a.tsv"), python_path=tmp_path / "code")
    assert result.returncode == 4
    assert len(result.stderr.splitlines()) == 1 and b"socket.getaddrinfo" in result.stderr
    assert not list(out.iterdir())


def test_usage_is_exit_code_2_and_help_is_quick() -> None:
    assert CliRunner().invoke(app, ["--vcf", "x"]).exit_code == 2
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    code = "import sys, geno_model.cli.score; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_scoring_and_ingest_account_for_the_same_file_alike(release: TinyRelease, tmp_path: Path, out: Path) -> None:
    """One file with every reason of spec 1, as VCF and as BCF: nothing aborts, and each allele is counted once."""
    path = tmp_path / "every.vcf"
    text, expected = every_reason(release.genome())
    path.write_text(text)
    contigs = list(release.genome().contigs)
    _, ingested = ingest_gnomad([path], release.genome(), contigs)
    by_reason = dict(ingested.group_by("reason").agg(pl.col("n_alleles").sum()).iter_rows())
    assert by_reason == expected
    assert set(expected) == {*REASONS, RETAINED} - {LITTLE_CONTEXT}  # which is no matter of a data set
    n_alleles = count_alleles([path])
    assert sum(expected.values()) == n_alleles == 17

    scorer = Scorer.from_release(release.model_dir, release.genome())
    summary = score_vcf(path, scorer, out / "scores.parquet", pass_only=True)
    scored = summary.accounting.drop("source")
    assert summary.n_alleles == n_alleles
    # A rare site, or the same again, is no row of a data set, but whoever scores a file wants a score for each line.
    kept = pl.col("reason").replace({"low_af": RETAINED, "duplicate": RETAINED})
    alike = ingested.with_columns(kept).group_by("contig", "reason").agg(pl.col("n_alleles").sum())
    assert scored.equals(alike.sort("contig", "reason"))
    assert pl.read_parquet(out / "scores.parquet").height == n_alleles

    htslib_reads = [line for line in text.splitlines(keepends=True) if not line.startswith("1\t0\t")]
    path.write_text("".join(htslib_reads))
    bcf = tmp_path / "every.bcf"
    with pysam.VariantFile(str(path)) as source, pysam.VariantFile(str(bcf), "wb", header=source.header) as target:
        for record in source:
            target.write(record)
    _, of_bcf = ingest_gnomad([bcf], release.genome(), contigs)
    assert of_bcf.equals(ingest_gnomad([path], release.genome(), contigs)[1])
    score_vcf(path, scorer, out / "of_vcf.parquet", pass_only=True)
    result = CliRunner().invoke(app, [*options(release, bcf, out / "of_bcf.parquet"), "--pass-only"])
    assert result.exit_code == 0 and "1 filtered" in result.stderr, result.stderr
    assert pl.read_parquet(out / "of_bcf.parquet").equals(pl.read_parquet(out / "of_vcf.parquet"))


@needs_shared_data
def test_real_clinvar_is_accounted_for_alike(release: TinyRelease, tmp_path: Path, out: Path) -> None:
    """The same table, line by line, from `geno-score` and from the asset's reading of the same file."""
    genome, path = shared_genome("grch37"), SHARED / "grch37" / "clinvar.vcf.gz"
    _, ingested = ingest_clinvar(path, genome, list(genome.contigs), source=ACCOUNTING_SOURCE)
    trained = Scorer.from_release(release.model_dir, release.genome())
    scorer = dataclasses.replace(
        trained, genome=genome, context=Context.build(None, None, genome, trained.config.gc_edges)
    )
    summary = score_vcf(path, scorer, out / "scores.tsv", pass_only=True)
    assert summary.accounting.equals(ingested) and summary.n_alleles == summary.n_scored == 749
