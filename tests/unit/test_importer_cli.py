"""`geno-import` as a person runs it: a summary that adds up, every bad input one line, nothing partial left."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geno_model.cli.importer import app
from geno_model.genomics.vcf_reader import read_vcf_chunks
from tests.unit.exports import HEADER_23ANDME, Row, text_23andme, text_illumina, write_genome

ROWS: list[Row] = [
    ("rs777001", "1", "2", "CT"),
    ("rs777002", "1", "1", "AA"),
    ("rs777003", "1", "5", "--"),
    ("rs777004", "1", "9", "GT"),
    ("rs777005", "1", "12", "ID"),
    ("rs777006", "7", "12", "AG"),
]
EXPECTED = "expected an export of 23andMe, AncestryDNA, MyHeritage or FamilyTreeDNA"


@pytest.fixture(scope="session")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_genome(tmp_path_factory.mktemp("reference") / "ref.fa")


@pytest.fixture(autouse=True)
def _own_cache(fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENO_CACHE", str(fasta.parent / "cache"))


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.txt"
    path.write_text(text_23andme(ROWS))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def options(export: Path | str, fasta: Path, output: Path, *more: str) -> list[str]:
    return [str(export), "--fasta", str(fasta), "--output", str(output), *more]


def run(
    arguments: Sequence[str], stdin: bytes | None = None, python_path: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "geno_model.cli.importer", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": str(python_path)} if python_path else {})
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120)


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Everything below a folder: the bytes of files, None for folders."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def fails(arguments: Sequence[str], out: Path, code: int = 1) -> str:
    """Run in this process; the one line on stderr, after checking that nothing was made and nothing told."""
    before = contents(out.parent)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("geno-import: "), lines
    assert "rs777" not in lines[0]
    assert contents(out.parent) == before
    return lines[0]


def test_the_command_accounts_for_every_row(export: Path, fasta: Path, out: Path) -> None:
    result = run(options(export, fasta, out / "me.vcf.gz", "--sample-name", "Ada"))
    stderr = result.stderr.decode()
    assert result.returncode == 0, stderr
    assert result.stdout == b""
    assert "6 rows read (23andMe, tab-separated, one genotype a row)" in stderr
    assert "3 of 3 called" not in stderr and "2 of 3 called genotypes hold the base of the FASTA" in stderr
    assert "read on the plus strand; 1 strand_flipped" in stderr
    counts = re.findall(r"^geno-import: +(\d+) ([a-z_]+):", stderr, flags=re.MULTILINE)
    assert counts == [
        ("2", "written"), ("1", "hom_ref"), ("1", "no_call"), ("1", "indel_code"), ("1", "contig_unknown"),
    ]  # fmt: skip
    assert "wrote " in stderr and "2 records" in stderr
    assert "research tool, not a clinical diagnostic" in stderr
    assert "rs777" not in stderr and "Ada" not in stderr
    text = gzip.decompress((out / "me.vcf.gz").read_bytes()).decode()
    assert text.splitlines()[-3:] == [
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tAda",
        "chr1\t2\trs777001\tC\tT\t.\t.\t.\tGT\t0/1",
        "chr1\t9\trs777004\tA\tC\t.\t.\t.\tGT\t0/1",
    ]
    assert sorted(path.name for path in out.iterdir()) == ["me.vcf.gz", "me.vcf.gz.tbi"]


def test_geno_score_reads_what_was_written(export: Path, fasta: Path, out: Path) -> None:
    assert run(options(export, fasta, out / "me.vcf.gz")).returncode == 0
    (chunk,) = read_vcf_chunks(out / "me.vcf.gz")
    assert chunk.lines.select("chrom", "pos", "ref", "alt").rows() == [("chr1", 2, "C", "T"), ("chr1", 9, "A", "C")]


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not installed")
def test_bcftools_finds_the_reference_right(export: Path, fasta: Path, out: Path) -> None:
    assert run(options(export, fasta, out / "me.vcf.gz", "--all-sites")).returncode == 0
    command = ["bcftools", "norm", "--check-ref", "e", "-f", str(fasta), str(out / "me.vcf.gz")]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    body = [line for line in checked.stdout.splitlines() if not line.startswith("#")]
    assert [line.split("\t")[1] for line in body] == ["1", "2", "9"]


def test_quiet_and_standard_input(export: Path, fasta: Path, out: Path) -> None:
    result = run(options("-", fasta, out / "me.vcf", "--quiet"), stdin=export.read_bytes())
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert (out / "me.vcf").read_text().count("\nchr1\t") == 2


def test_an_older_output_and_index_are_replaced(export: Path, fasta: Path, out: Path) -> None:
    for name in ("me.vcf.gz", "me.vcf.gz.tbi", "me.vcf.gz.csi"):
        (out / name).write_text("old")
    assert run(options(export, fasta, out / "me.vcf.gz")).returncode == 0
    assert not any(path.read_bytes() == b"old" for path in out.iterdir())
    assert sorted(path.name for path in out.iterdir()) == ["me.vcf.gz", "me.vcf.gz.tbi"]


def zip_of(files: dict[str, bytes]) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def with_password() -> bytes:
    """A zip whose flags say that it is encrypted, in the local header and in the directory."""
    packed = bytearray(zip_of({"a.txt": b"rs1\t1\t2\tCT\n"}))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


TEXT = text_23andme([(f"rs777{i}", "1", str(i % 100 + 1), "AG") for i in range(2_000)]).encode()
BAD: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 1, f"is empty; {EXPECTED}"),
    "blank lines": (lambda: b"\r\n \r\n", 1, "is empty"),
    "only comments": (lambda: b"# 23andMe\n# nothing\n", 1, "holds comments and nothing else"),
    "no rows": (lambda: HEADER_23ANDME.encode(), 3, "has no rows below its column names"),
    "VCF": (lambda: b"##fileformat=VCFv4.2\n#CHROM\tPOS\n", 1, "is a VCF already; geno-score reads it"),
    "VCF in gzip": (lambda: gzip.compress(b"##fileformat=VCFv4.2\n"), 1, "is a VCF already"),
    "FASTA": (lambda: b">chr1\nACGT\n", 1, "holds sequences"),
    "binary": (lambda: bytes(range(256)) * 50, 1, f"is a binary file; {EXPECTED}"),
    "PDF": (lambda: b"%PDF-1.7\nrs1 1 1 AG\n", 1, "is a binary file"),
    "truncated gzip": (lambda: gzip.compress(TEXT)[:-900], 1, "is truncated or damaged"),
    "damaged gzip": (lambda: gzip.compress(TEXT)[:400] + b"\xff" * 400, 1, "is truncated or damaged"),
    "truncated zip": (lambda: zip_of({"a.txt": TEXT})[:-60], 1, "is a zip archive that is truncated or damaged"),
    "damaged zip": (
        lambda: zip_of({"a.txt": TEXT})[:300] + b"\xff" * 40 + zip_of({"a.txt": TEXT})[340:],
        1,
        "is a zip archive that is truncated or damaged",
    ),
    "zip of two": (lambda: zip_of({"a.txt": TEXT, "b.txt": TEXT}), 1, "is a zip archive of 2 files"),
    "zip of none": (lambda: zip_of({}), 1, "is a zip archive of 0 files"),
    "zip with a password": (with_password, 1, "with a password or an unknown compression"),
    "another table": (lambda: b"a,b,c,d,e,f,g\n1,2,3,4,5,6,7\n", 1, f"7 columns in its first row; {EXPECTED}"),
    "four other columns": (lambda: b"rs777,x,y,z\nrs777,q,r,s\n", 1, "its values are no genotypes"),
    "prose": (lambda: b"Dear Sir or Madam\nyour results are here\n", 1, "its values are no genotypes"),
    "HTML": (lambda: b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n", 1, "has no line of column names"),
    "nothing to use": (
        lambda: text_23andme([("rs777", "1", "1", "AA"), ("rs777", "1", "2", "xx")]).encode(),
        3,
        "none of 2 rows gives a record (1 hom_ref, 1 malformed); all that could be used is homozygous reference",
    ),
    "no calls": (
        lambda: text_23andme([("rs777", "1", "1", "--")]).encode(),
        3,
        "none of 1 rows gives a record (1 no_call); check that the FASTA holds the chromosomes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_exports_are_one_line(name: str, fasta: Path, out: Path) -> None:
    content, code, told = BAD[name]
    export = out.parent / "export.txt"
    export.write_bytes(content())
    assert told in fails(options(export, fasta, out / "me.vcf.gz"), out, code)


def test_a_sample_and_a_sex_are_chosen(fasta: Path, out: Path) -> None:
    export = out.parent / "report.txt"
    export.write_text("# build 37\n" + text_illumina(ROWS, samples=["Ada", "Bob"]))
    line = fails(options(export, fasta, out / "me.vcf"), out)
    assert "holds 2 samples; choose one with --sample" in line and "Ada" not in line and "Bob" not in line
    result = CliRunner().invoke(app, options(export, fasta, out / "me.vcf", "--sample", "2", "--sex", "female"))
    assert result.exit_code == 0 and "6 rows read (Illumina, tab-separated" in result.stderr, result.stderr
    assert "Ada" not in result.stderr and "Bob" not in result.stderr
    assert (out / "me.vcf").read_text().splitlines()[-3].endswith("\tSAMPLE")
    assert CliRunner().invoke(app, options(export, fasta, out / "b.vcf", "--sex", "x")).exit_code == 2


def test_bad_paths_are_one_line(export: Path, fasta: Path, out: Path) -> None:
    good = out / "me.vcf"
    assert "genotype export not found" in fails(options(out / "absent.txt", fasta, good), out)
    assert "is a folder; expected a genotype export file" in fails(options(out, fasta, good), out)
    assert "FASTA not found" in fails(options(export, out / "absent.fa", good), out)
    assert "is no FASTA" in fails(options(export, export, good), out)
    assert "cannot be written" in fails(options(export, fasta, out / "absent" / "me.vcf"), out)


def test_usage_errors(export: Path, fasta: Path, out: Path) -> None:
    assert "no suffix that names a format; expected one of .vcf, .vcf.gz" in fails(
        options(export, fasta, out / "me.bcf"), out, 2
    )
    for name in ("", "a\tb", "a\nb", " a"):
        line = fails(options(export, fasta, out / "me.vcf", "--sample-name", name), out, 2)
        assert "--sample-name must be one line" in line and (
            not name or name.strip() not in line.split("--sample-name", 1)[0]
        )
    assert CliRunner().invoke(app, [str(export)]).exit_code == 2


def test_an_input_is_never_written_over(export: Path, fasta: Path, out: Path) -> None:
    named = export.rename(out / "export.vcf")
    assert "is also an input" in fails(options(named, fasta, named), out, 2)
    linked = out / "linked.vcf"
    os.link(named, linked)
    assert "is also an input" in fails(options(named, fasta, linked), out, 2)
    for suffix in (".tbi", ".csi"):
        named = named.rename(out / f"me.vcf.gz{suffix}")
        assert "is also an input" in fails(options(named, fasta, out / "me.vcf.gz"), out, 2)


def test_the_wrong_build_is_one_line(out: Path, fasta: Path) -> None:
    other = write_genome(out.parent / "other.fa", shift=1)
    rows: list[Row] = [(f"rs777{i}", "1", str(i), "ACGT"[(i - 1) % 4] * 2) for i in range(1, 60)]
    export = out.parent / "export.txt"
    export.write_text("# human reference build 37.1\n" + text_23andme([*rows, ("rs777", "1", "60", "TC")]))
    line = fails(options(export, other, out / "me.vcf.gz"), out)
    assert "of 60 called genotypes hold the base that the FASTA has there" in line
    assert "its header says GRCh37" in line and "use the FASTA of GRCh37; positions are not lifted over" in line
    assert run(options(export, fasta, out / "me.vcf.gz")).returncode == 0


def test_an_attempt_to_reach_the_network_stops_it(export: Path, fasta: Path, out: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import socket, threading, time\n"
        "def phone_home():\n"
        "    while True:\n"
        "        try:\n"
        "            socket.getaddrinfo('localhost', 80)\n"
        "        except BaseException:\n"
        "            return\n"
        "        time.sleep(0.001)\n"
        "threading.Thread(target=phone_home, daemon=True).start()\n"
    )
    result = run(options(export, fasta, out / "me.vcf"), python_path=hook)
    assert result.returncode == 4, result.stderr
    assert len(result.stderr.splitlines()) == 1 and b"network" in result.stderr
    assert list(out.iterdir()) == []
