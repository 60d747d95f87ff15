"""Options of `geno-score`: one variant, regions, heads, populations, going on after a kill, several runs at once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pysam
import pytest
import torch
from typer.testing import CliRunner

from geno_model.cli.score import app
from geno_model.files import sweep
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.release.manifest import write_manifest
from geno_model.scoring.known_pathogenic import KnownPathogenic, KnownPathogenicWarning
from geno_model.scoring.parts import ResumeError, kept_parts, parts_folder
from geno_model.scoring.report_words import REASONS
from geno_model.scoring.score_vcf import ScoreSummary, score_vcf
from geno_model.scoring.scorer import Scorer
from geno_model.scoring.surprise import DEFAULT_HEADS, Heads
from geno_model.scoring.vcf_io import TABLE_SCHEMA
from tests.integration.test_geno_score import fails, options, run
from tests.tiny_release import TinyRelease, build_release, every_kind, vcf_text

KILLED = """
import os, signal, sys
from pathlib import Path
from geno_model.genomics.genome import Genome
from geno_model.scoring.report_words import REASONS
from geno_model.scoring.score_vcf import score_vcf
from geno_model.scoring.scorer import Scorer
model_dir, fasta, vcf, output = sys.argv[1:]
scorer = Scorer.from_release(model_dir, Genome.open(fasta))
def progress(n_done):
    if n_done >= 9:
        os.kill(os.getpid(), signal.SIGKILL)
options = dict(report=Path(output + ".html"), receipt=Path(output + ".jsonl"))
score_vcf(vcf, scorer, Path(output), chunk_records=3, resume=False, progress=progress, **options)
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


def scored(release: TinyRelease, vcf: Path, output: Path, *more: str) -> tuple[pl.DataFrame, str]:
    """The table that a run writes, and what it says."""
    result = CliRunner().invoke(app, [*options(release, vcf, output), *more])
    assert result.exit_code == 0, result.output
    return pl.read_csv(output, separator="\t", comment_prefix="##", schema=TABLE_SCHEMA), result.stderr


# One variant, and the API


def test_one_variant_is_json_on_standard_output(release: TinyRelease, vcf: Path, out: Path) -> None:
    table, _ = scored(release, vcf, out / "a.tsv")
    known, other = [row for row in every_kind(release.genome()) if row[4] == ["scored"]][:2]
    command = ["--model-dir", str(release.model_dir), "--fasta", str(release.fasta)]
    chrom, pos, ref, alt, _ = known
    result = CliRunner().invoke(app, [*command, "--quiet", "--variant", f"chr{chrom}-{pos}-{ref}-{alt}"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["model_id"] == release.model_id and found["notice"] == "Research tool, not a clinical diagnostic."
    expected = table.row(0, named=True)
    assert found["surprise_raw"] == pytest.approx(expected["surprise_raw"], rel=1e-4)
    assert {name: found[name] for name in ("variant", "chrom", "pos", "ref", "alt", "status", "region_class")} == {
        "variant": f"chr{chrom}-{pos}-{ref}-{alt}", "chrom": f"chr{chrom}", "pos": pos, "ref": ref, "alt": alt,
        "status": "scored", "region_class": "other",
    }  # fmt: skip
    # The release's ClinVar has it, which is told on either side.
    assert found["clinvar_pathogenic"] is True
    assert result.stderr.startswith(
        "geno-score: 1 allele is pathogenic or likely so in the ClinVar of the model's data"
    )
    assert "anyone who does should talk to a genetic" in result.stderr and len(result.stderr.splitlines()) == 1
    chrom, pos, ref, alt, _ = other
    result = CliRunner().invoke(app, [*command, "--variant", f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\tAC=1"])
    assert result.exit_code == 0 and json.loads(result.stdout)["clinvar_pathogenic"] is False
    assert json.loads(result.stdout)["surprise"] == 1  # the number stays; a person is told how to read it
    assert "a surprise of 1 among 2,400 calibration variants should be read as > 0.9995\n" in result.stderr


def test_one_variant_that_cannot_be_scored_or_read(release: TinyRelease, out: Path) -> None:
    command = ["--model-dir", str(release.model_dir), "--fasta", str(release.fasta), "--variant"]
    result = CliRunner().invoke(app, [*command, "chr1:5:A:<DEL>"])
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "variant": "chr1:5:A:<DEL>", "chrom": "chr1", "pos": 5, "ref": "A", "alt": "<DEL>", "status": "excluded",
        "reason": "symbolic", "explanation": REASONS["symbolic"], "clinvar_pathogenic": False,
        "model_id": release.model_id, "notice": "Research tool, not a clinical diagnostic.",
    }  # fmt: skip
    assert (
        result.stderr
        == f"geno-score: the variant chr1:5:A:<DEL> could not be scored: symbolic: {REASONS['symbolic']}\n"
    )
    for text in ("chr1:5:A", "", "rs123"):
        line = fails([*command, text], out, code=2)
        assert f"variant '{text}' cannot be read" in line and "expected contig:pos:ref:alt" in line
    assert "names an entry of a database" in line


def test_three_lines_of_python(release: TinyRelease) -> None:
    chrom, pos, ref, alt, _ = every_kind(release.genome())[0]
    scorer = Scorer.from_release(release.model_dir, release.fasta)
    texts = [f"chr{chrom}:{pos}:{ref}:{alt}", f"{chrom}:{pos}:{ref}:{alt},<DEL>", "HLA-A*01:01:5:A:C"]
    with pytest.warns(KnownPathogenicWarning, match="not a clinical diagnostic: 2 alleles are pathogenic") as told:
        scores = scorer.score(texts)
    assert told[0].filename == __file__
    assert scores["reason"].to_list() == [None, None, "symbolic", "contig_unknown"]
    assert scores["clinvar_pathogenic"].to_list() == [True, True, False, False]
    assert scores["surprise"][0] == pytest.approx(scores["surprise"][1])
    frame = pl.DataFrame({"contig": [chrom], "pos": [pos], "ref": [ref], "alt": [alt]})
    with pytest.warns(KnownPathogenicWarning):
        assert scorer.score(frame)["surprise_raw"][0] == pytest.approx(scores["surprise_raw"][0])
    assert scorer.score([]).height == 0
    with pytest.raises(InputError, match="variant 2 of 2, 'rs123', cannot be read: .* expected contig:pos:ref:alt"):
        scorer.score([texts[0], "rs123"])


def test_contradicting_options_are_usage(release: TinyRelease, vcf: Path, out: Path) -> None:
    base = ["--model-dir", str(release.model_dir), "--fasta", str(release.fasta)]
    assert "either --vcf or --variant" in fails(base, out, code=2)
    assert "either --vcf or --variant" in fails([*base, "--vcf", str(vcf), "--variant", "1:5:A:C"], out, code=2)
    assert "needs --output" in fails([*base, "--vcf", str(vcf)], out, code=2)
    assert "do not go with it" in fails([*base, "--variant", "1:5:A:C", "--output", str(out / "a.tsv")], out, code=2)
    assert "cannot be read again" in fails([*options(release, "-", out / "a.tsv"), "--resume"], out, code=2)
    arguments = options(release, vcf, out / "a.tsv")
    assert "also an input" in fails([*arguments, "--report", str(vcf)], out, code=2)
    assert "also another output" in fails([*arguments, "--report", str(out / "a.tsv")], out, code=2)
    packed = options(release, vcf, out / "a.vcf.gz")
    assert "also another output" in fails([*packed, "--receipt", str(out / "a.vcf.gz.csi")], out, code=2)


# Regions, heads, populations


def test_regions_leave_the_rest_out_and_count_it_not(release: TinyRelease, vcf: Path, out: Path) -> None:
    whole, _ = scored(release, vcf, out / "whole.tsv")
    (out / "in.bed").write_text("chr3\t0\t4000\n")
    part, said = scored(
        release, vcf, out / "part.tsv", "--regions", "1:3000-3300", "--regions-file", str(out / "in.bed")
    )
    assert part["record"].to_list() == [3, 4, 5, 6, 18]  # the numbers of the records in the file
    assert "5 alleles of 5 records read, 3 scored, 2 excluded" in said
    same = whole.filter(pl.col("record").is_in(part["record"].implode()))
    assert part.drop("surprise", "surprise_raw", "displacement").equals(
        same.drop("surprise", "surprise_raw", "displacement")
    )
    arguments = options(release, vcf, out / "b.tsv")
    assert "no records in the regions" in fails([*arguments, "--regions", "1:5000-5001"], out, code=3)
    assert "has no contig chr7" in fails([*arguments, "--regions", "chr7:5-6"], out)


def test_a_vcf_has_the_fields_of_the_heads_that_were_asked_for(release: TinyRelease, vcf: Path, out: Path) -> None:
    fields = {
        (): {"GLM_SIGMA", "GLM_RAW", "GLM_CONF", "GLM_BUCKET", "GLM_DISP"},
        ("--head", "surprise"): {"GLM_SIGMA", "GLM_RAW", "GLM_CONF", "GLM_BUCKET"},
        ("--head", "displacement"): {"GLM_DISP"},
        ("--head", "displacement", "--delta-loglik"): {"GLM_DISP", "GLM_DLL"},
    }
    for more, expected in fields.items():
        path = out / f"{len(more)}.vcf"
        result = CliRunner().invoke(app, [*options(release, vcf, path), *more])
        assert result.exit_code == 0, result.output
        with pysam.VariantFile(str(path)) as file:
            record = next(iter(file))
            assert {name for name in record.info if name.startswith("GLM_")} == expected | {"GLM_STATUS"}
            assert {name for name in file.header.info if name.startswith("GLM_")} == expected | {"GLM_STATUS"}


def test_percentiles_among_a_population(release: TinyRelease, vcf: Path, out: Path) -> None:
    everyone, _ = scored(release, vcf, out / "all.tsv")
    african, _ = scored(release, vcf, out / "afr.tsv", "--population", "afr")
    np.testing.assert_allclose(everyone["surprise_raw"], african["surprise_raw"], rtol=1e-4, atol=1e-7)
    n = african.filter(pl.col("status") == "scored")["n_calibration"].unique()
    assert n.max() < everyone["n_calibration"].max()  # type: ignore[operator]
    line = fails([*options(release, vcf, out / "b.tsv"), "--population", "eas"], out)
    assert "no calibration for the population 'eas'; this release has all, afr" in line


def test_known_pathogenic_alleles_are_told_whatever_their_score(release: TinyRelease, vcf: Path, out: Path) -> None:
    """The release's ClinVar names the first allele of the file (on `chr1`, which the VCF calls `1`)."""
    _, said = scored(release, vcf, out / "a.tsv")
    assert "1 allele that a genotype carries is pathogenic or likely so in the ClinVar of the model's data" in said
    assert "genetic counsellor" in said
    _, said = scored(release, vcf, out / "b.tsv", "--regions", "1:2000-9000")
    assert "counsellor" not in said
    # A file that was cut to a person who does not carry it; one without genotypes, of which that is not known.
    text = vcf.read_text()
    vcf.write_text(text.replace("0|1", "0|0"))
    table, said = scored(release, vcf, out / "c.tsv", "--report", str(out / "c.html"))
    assert table["clinvar_pathogenic"].sum() == 1
    assert "counsellor" not in said and "listed as pathogenic" not in (out / "c.html").read_text()
    vcf.write_text(text.replace("\tGT\t0|1", "").replace("\tFORMAT\tsample-x", ""))
    _, said = scored(release, vcf, out / "d.tsv", "--quiet", "--report", str(out / "d.html"))
    assert "without genotypes it is unknown whether anybody carries it" in said and len(said.splitlines()) == 2
    assert "unknown whether anybody carries" in (out / "d.html").read_text()


def test_a_synthetic_release_says_so_on_screen_and_page(release: TinyRelease, vcf: Path, out: Path) -> None:
    """What `config.json` says of the data decides; no advice is given on alleles of a made-up ClinVar."""
    made_up = TinyRelease(out / "release", release.fasta, release.cache, "")
    shutil.copytree(release.model_dir, made_up.model_dir)
    path = made_up.model_dir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"about": {"data": "SYNTHETIC: a made-up genome"}}))
    write_manifest(made_up.model_dir)
    _, said = scored(made_up, vcf, out / "a.tsv", "--report", str(out / "a.html"))
    page = (out / "a.html").read_text()
    assert "the model's data are SYNTHETIC: a made-up genome: nothing here says anything about a person" in said
    assert "that ClinVar is SYNTHETIC" in said and "counsellor" not in said
    assert "Synthetic data:" in page and 'id="listed"' in page and "counsellor" not in page
    _, said = scored(made_up, vcf, out / "b.tsv", "--quiet")
    assert len(said.splitlines()) == 2 and "that ClinVar is SYNTHETIC" in said


def test_unsorted_input_works_and_is_told(release: TinyRelease, vcf: Path, out: Path) -> None:
    expected, said = scored(release, vcf, out / "a.tsv")
    assert "not sorted" not in said
    records = every_kind(release.genome())
    vcf.write_text(vcf_text([*records[5:], *records[:5]]))
    found, said = scored(release, vcf, out / "b.tsv")
    assert "not sorted by position" in said and "bcftools sort" in said
    moved = pl.concat([found.filter(pl.col("record") > 14), found.filter(pl.col("record") <= 14)])
    np.testing.assert_allclose(moved["surprise_raw"], expected["surprise_raw"], rtol=1e-4, atol=1e-7)


def test_a_page_about_the_run(release: TinyRelease, vcf: Path, out: Path) -> None:
    _, said = scored(release, vcf, out / "a.tsv", "--report", str(out / "a.html"))
    page = (out / "a.html").read_text()
    assert f"wrote {out / 'a.html'}" in said
    assert release.model_id in page and str(vcf) in page and "genetic counsellor" in page
    assert "11 of 21 alleles" in page and "sample-x" not in page and "://" not in page
    # Of a run that fails there is no page, and an older one stays.
    vcf.write_text("##fileformat=VCFv4.2\n")
    (out / "b.html").write_text("older")
    fails([*options(release, vcf, out / "b.tsv"), "--report", str(out / "b.html")], out)
    assert (out / "b.html").read_text() == "older"
    line = fails([*options(release, vcf, out / "b.tsv"), "--report", str(out / "absent" / "b.html")], out)
    assert "cannot be written" in line


# Devices and threads


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(release: TinyRelease, vcf: Path, out: Path) -> None:
    line = fails([*options(release, vcf, out / "a.tsv"), "--device", "cuda"], out)
    assert "device is 'cuda', which cannot be used here" in line and "use 'cpu'" in line


def test_threads_change_no_score(release: TinyRelease, vcf: Path, out: Path) -> None:
    tables = []
    for threads in ("1", "2"):
        result = run([*options(release, vcf, out / f"{threads}.tsv"), "--threads", threads])
        assert result.returncode == 0, result.stderr
        tables.append((out / f"{threads}.tsv").read_bytes())
    assert tables[0] == tables[1]


# Going on after a kill


def go_on(
    release: TinyRelease, vcf: Path, output: Path, *, resume: bool | None, heads: Heads = DEFAULT_HEADS, **options: Any
) -> ScoreSummary:
    scorer = Scorer.from_release(release.model_dir, Genome.open(release.fasta), heads=heads)
    return score_vcf(vcf, scorer, output, chunk_records=3, resume=resume, **options)


KEYWORDS = dict(score_vcf.__kwdefaults__ or {})


def interrupt_after(n_alleles: int) -> Callable[[object, int], None]:
    """What stands for a person who presses ctrl-C when so many alleles are done."""

    def progress(_: object, n_done: int) -> None:
        if n_done > n_alleles:
            raise KeyboardInterrupt

    return progress


def kill_one(release: TinyRelease, vcf: Path, output: Path) -> None:
    """A run with report and receipts that is killed, without a chance to clean up, when three chunks are done."""
    arguments = [str(part) for part in (release.model_dir, release.fasta, vcf, output)]
    assert subprocess.run([sys.executable, "-c", KILLED, *arguments]).returncode == -signal.SIGKILL
    assert not output.exists() and len(list(parts_folder(output).glob("*.parquet"))) in (2, 3)


@pytest.mark.parametrize("suffix", [".vcf.gz", ".tsv"])
def test_a_killed_run_is_gone_on_with_to_the_same_bytes(
    release: TinyRelease, vcf: Path, out: Path, suffix: str
) -> None:
    whole, killed = out / f"whole{suffix}", out / f"killed{suffix}"
    expected = go_on(release, vcf, whole, resume=None)
    kill_one(release, vcf, killed)
    beside: dict[str, Any] = {
        name: out / f"{killed.name}.{end}" for name, end in (("report", "html"), ("receipt", "jsonl"))
    }
    summary = go_on(release, vcf, killed, resume=True, **beside)
    assert any(note.startswith(("2 of 7 chunks", "3 of 7 chunks")) for note in summary.notes), summary.notes
    assert killed.read_bytes() == whole.read_bytes()
    assert summary.accounting.equals(
        expected.accounting
    ) and summary.pathogenic == expected.pathogenic == KnownPathogenic(n_carried=1)
    left = {path.name for path in out.iterdir() if not path.name.endswith(".tbi")}
    assert left == {whole.name, killed.name, *(path.name for path in beside.values())}  # nothing of the killed run


def test_going_on_with_something_else_is_refused(release: TinyRelease, vcf: Path, out: Path) -> None:
    output = out / "a.tsv"
    kill_one(release, vcf, output)
    kept = sorted(parts_folder(output).iterdir())
    for resume in (True, None):
        with pytest.raises(ResumeError, match=r"chunks of another run \(heads differ\), which was interrupted"):
            go_on(release, vcf, output, resume=resume, heads=Heads(displacement=False))
    records = every_kind(release.genome())
    vcf.write_text(vcf_text([records[1], records[0], *records[2:]]))
    with pytest.raises(ResumeError, match="its records differ; give that input, or discard its scores with --restart"):
        go_on(release, vcf, output, resume=True)
    assert sorted(parts_folder(output).iterdir()) == kept  # what was done is not thrown away for that


def test_an_interrupted_run_says_how_to_go_on(
    release: TinyRelease, vcf: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ctrl-C after the first chunk of three records."""
    monkeypatch.setattr("geno_model.scoring.score_vcf.score_vcf.__kwdefaults__", KEYWORDS | {"chunk_records": 3})
    monkeypatch.setattr("geno_model.progress.Ticker.at", interrupt_after(4))
    result = CliRunner().invoke(app, options(release, vcf, out / "a.tsv"))
    assert result.exit_code == 130
    assert result.stderr == "geno-score: interrupted; what is done is kept: --resume continues it\n"
    monkeypatch.setattr("geno_model.progress.Ticker.at", lambda self, n_done: None)
    result = CliRunner().invoke(app, [*options(release, vcf, out / "a.tsv"), "--resume"])
    assert result.exit_code == 0 and "1 of 7 chunks were done before" in result.stderr, result.stderr


def test_what_is_kept_of_a_run_is_discarded_only_when_told(release: TinyRelease, vcf: Path, out: Path) -> None:
    output = out / "a.tsv"
    kill_one(release, vcf, output)
    kept = sorted(parts_folder(output).iterdir())
    with pytest.raises(ResumeError, match="chunks of this run, which was interrupted; continue it with --resume, or"):
        go_on(release, vcf, output, resume=None)
    sweep(out)
    line = fails(options(release, vcf, output), out)  # the same, with chunks of another size
    assert "of another run (chunk differ), which was interrupted; finish that run with --resume, discard" in line
    assert sorted(parts_folder(output).iterdir()) == kept
    result = CliRunner().invoke(app, [*options(release, vcf, output), "--restart"])
    assert result.exit_code == 0 and output.is_file() and not parts_folder(output).exists(), result.stderr
    kill_one(release, vcf, output := out / "c.tsv")
    summary = go_on(release, vcf, output, resume=False)
    assert summary.n_alleles == 21 and not any("chunks" in note for note in summary.notes)
    assert "0 of 7 chunks were done before" in go_on(release, vcf, out / "b.tsv", resume=True).notes


def test_two_runs_may_not_write_one_output_but_may_share_a_folder(release: TinyRelease, vcf: Path, out: Path) -> None:
    with kept_parts(out / "a.tsv", {}, resume=False):
        line = fails(options(release, vcf, out / "a.tsv"), out)
        assert "another run is writing" in line
        assert CliRunner().invoke(app, options(release, vcf, out / "b.tsv")).exit_code == 0
    command = [sys.executable, "-m", "geno_model.cli.score"]
    running = [
        subprocess.Popen([*command, *options(release, vcf, out / f"{i}.tsv"), "--quiet"], stderr=subprocess.PIPE)
        for i in range(3)
    ]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len({(out / f"{i}.tsv").read_bytes() for i in range(3)}) == 1
