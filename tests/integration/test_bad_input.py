"""Bad input of `geno-score`: one line that says what to do, or a reason in the output, never a traceback.

What is not here: the checks of paths and of releases (`test_geno_score`), and damage at random (`test_fuzz`).
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pysam
import pytest
from typer.testing import CliRunner

from geno_model.cli.score import app
from geno_model.scoring.vcf_io import SUFFIXES
from tests.integration.test_geno_score import fails, options
from tests.tiny_release import VCF_HEADER, TinyRelease, build_release, every_kind, vcf_text

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
BYTE_ORDER_MARK = "\ufeff"


@pytest.fixture(scope="module")
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


def score(release: TinyRelease, vcf: Path, output: Path, **changes: object) -> str:
    """Run in this process; what was told on stderr."""
    result = CliRunner().invoke(app, options(release, vcf, output, **changes))
    assert result.exit_code == 0, result.output
    return result.stderr


def statuses(release: TinyRelease, vcf: Path, out: Path, **changes: object) -> list[str]:
    """Score to a table: for each allele, why it has no score, or `scored`."""
    score(release, vcf, out / "s.tsv", **changes)
    table = pl.read_csv(out / "s.tsv", separator="\t", comment_prefix="##", infer_schema=False)
    return table.select(pl.coalesce("reason", "status")).to_series().to_list()


def base(release: TinyRelease, pos: int, length: int = 1) -> str:
    return release.genome().window("chr1", pos - 1, pos - 1 + length).tobytes().decode()


def other(letter: str) -> str:
    return "ACGT"[("ACGT".index(letter) + 1) % 4]


def snv(release: TinyRelease, pos: int = 4_000) -> str:
    """A line that can be scored."""
    return f"1\t{pos}\t.\t{base(release, pos)}\t{other(base(release, pos))}\t.\tPASS\tAC=1\n"


HEADER = VCF_HEADER.replace("\tFORMAT\tsample-x", "")


# Alleles that cannot be scored.


@pytest.mark.parametrize(
    ("chrom", "alt", "reason"),
    [("1", "*", "spanning_deletion"), ("1", "<DEL>", "symbolic"), ("1", "<NON_REF>", "symbolic"),
     ("1", "N", "ambiguous_base"), ("1", ".", "no_alt"), ("1", "", "no_alt"), ("1", "[2:5[A", "breakend"),
     ("1", "ACGTACGTACGTACGTA", "too_long"), ("chr1_alt", "G", "contig_unknown"), ("1", "mismatch", "ref_mismatch"),
     ("1", "A\0", "ambiguous_base"), ("1", "A C", "ambiguous_base")],
)  # fmt: skip
def test_an_allele_that_cannot_be_scored_has_its_reason(
    release: TinyRelease, vcf: Path, out: Path, chrom: str, alt: str, reason: str
) -> None:
    ref = base(release, 3_000)
    if alt == "mismatch":
        ref, alt = other(ref), ref
    line = f"{chrom}\t3000\t.\t{ref}\t{alt}\t.\t.\t.\n"
    vcf.write_text(HEADER + line)
    assert f"1 {reason}" in fails(options(release, vcf, out / "a.vcf"), out, code=3)
    vcf.write_text(HEADER + line + snv(release))
    assert statuses(release, vcf, out) == [reason, "scored"]


@pytest.mark.parametrize("pos", ["0", "-1", "12001", "9223372036854775807", "-9223372036854775808"])
@pytest.mark.parametrize("ref", ["A", "ACG"])
def test_a_position_outside_the_contig_is_out_of_range(
    release: TinyRelease, vcf: Path, out: Path, pos: str, ref: str
) -> None:
    vcf.write_text(HEADER + f"1\t{pos}\t.\t{ref}\tT\t.\t.\t.\n" + snv(release))
    assert statuses(release, vcf, out) == ["out_of_range", "scored"]


def test_a_letter_of_the_fasta_that_is_no_base_is_unknown(
    release: TinyRelease, vcf: Path, out: Path, tmp_path: Path
) -> None:
    """R and Y are read as N: an allele on one is ambiguous_base, its neighbour is scored."""
    text = release.fasta.read_text()
    name_length = len(">chr1\n")
    for pos, letter in ((3_000, "R"), (3_010, "y")):
        at = name_length + pos - 1
        text = text[:at] + letter + text[at + 1 :]
    fasta = tmp_path / "iupac.fa"
    fasta.write_text(text)
    lines = [f"1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for pos, ref, alt in
             ((3_000, base(release, 3_000), other(base(release, 3_000))), (3_000, "R", "A"), (3_010, "Y", "C"),
              (2_999, base(release, 2_999, 2), base(release, 2_999)))]  # fmt: skip
    vcf.write_text(HEADER + "".join(lines) + snv(release, 3_005))
    assert statuses(release, vcf, out, fasta=fasta) == ["ambiguous_base"] * 4 + ["scored"]


# The same records in other clothes.


@pytest.mark.parametrize("kind", ["bgzip", "gzip", "bcf", "crlf", "no last line end"])
def test_the_container_changes_nothing(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path, kind: str) -> None:
    other_file = tmp_path / f"other.{kind}"
    if kind == "bgzip":
        pysam.tabix_compress(str(vcf), str(other_file))
    elif kind == "gzip":
        other_file.write_bytes(gzip.compress(vcf.read_bytes()))
    elif kind == "bcf":
        end = '##INFO=<ID=END,Number=1,Type=Integer,Description="end">\n'  # pysam gives one to <DEL>
        (tmp_path / "end.vcf").write_text(vcf.read_text().replace("##contig", end + "##contig", 1))
        with pysam.VariantFile(str(tmp_path / "end.vcf")) as source:
            with pysam.VariantFile(str(other_file), "wb", header=source.header) as target:
                for record in source:
                    target.write(record)
    elif kind == "crlf":
        other_file.write_bytes(vcf.read_bytes().replace(b"\n", b"\r\n"))
    else:
        other_file.write_bytes(vcf.read_bytes().rstrip(b"\n"))
    score(release, vcf, out / "a.jsonl")
    score(release, other_file, out / "b.jsonl")
    assert (out / "a.jsonl").read_bytes() == (out / "b.jsonl").read_bytes()
    if kind == "crlf":
        score(release, vcf, out / "a.vcf")
        score(release, other_file, out / "b.vcf")
        assert (out / "a.vcf").read_bytes() == (out / "b.vcf").read_bytes()


@pytest.mark.parametrize("suffix", [".vcf", ".vcf.gz"])
def test_a_header_without_contigs_works_and_htslib_reads_what_comes_out(
    release: TinyRelease, vcf: Path, out: Path, suffix: str
) -> None:
    lines = vcf.read_text().splitlines(keepends=True)
    vcf.write_text("".join(line for line in lines if not line.startswith("##contig")))
    output = out / f"a{suffix}"
    score(release, vcf, output)
    with pysam.VariantFile(str(output)) as file:
        found = [(record.pos, record.info["GLM_STATUS"]) for record in file]
    assert found == [(pos, tuple(due)) for _, pos, _, _, due in every_kind(release.genome())]
    written = output.read_bytes()
    header = (gzip.decompress(written) if suffix == ".vcf.gz" else written).decode()
    due = ["1,length=12000", "2,length=2000", "3,length=4000", "nowhere"]
    assert re.findall("^##contig=<ID=(.*)>$", header, flags=re.MULTILINE) == due


def test_bytes_that_are_no_utf8_come_out_as_they_went_in(release: TinyRelease, vcf: Path, out: Path) -> None:
    record = snv(release).replace("AC=1", "AC=1;NAME=Sjögren").encode("latin-1") + snv(release, 4_001).encode()
    vcf.write_bytes(HEADER.encode() + record)
    score(release, vcf, out / "a.vcf")
    assert b"AC=1;NAME=Sj\xf6gren;GLM_SIGMA=" in (out / "a.vcf").read_bytes()


@pytest.mark.parametrize(
    ("info", "index"), [("END=3", ".tbi"), ("END=99999999999", ".csi"), ("END=9999999999999", None)]
)
def test_an_index_that_cannot_be_made_does_not_cost_the_scores(
    release: TinyRelease, vcf: Path, out: Path, info: str, index: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    vcf.write_text(HEADER + snv(release).replace("AC=1", info))
    told = score(release, vcf, out / "a.vcf.gz")
    assert {path.name for path in out.iterdir()} == {"a.vcf.gz"} | ({f"a.vcf.gz{index}"} if index else set())
    assert ("no index was made" in told) == (index is None)
    assert f"{info};GLM_SIGMA=".encode() in gzip.decompress((out / "a.vcf.gz").read_bytes())
    assert capfd.readouterr().err == ""


# Files that are refused.


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is no VCF"), ("##fileformat=VCFv4.2\n", "is no VCF"), (">1\nACGT\n", "is no VCF"),
     (BYTE_ORDER_MARK + HEADER + "1\t5\t.\tA\tC\t.\t.\t.\n", "is no VCF"),
     (HEADER + BYTE_ORDER_MARK + "1\t5\t.\tA\tC\t.\t.\t.\n", "record 1 .* byte order mark"),
     (HEADER + "1\t5\t.\tA\tC\t.\t.\t.\r1\t6\t.\tA\tC\t.\t.\t.\r", "record 1 .* carriage return"),
     ((HEADER + "1\t5\t.\tA\tC\t.\t.\t.\n").replace("\n", "\r"), "header line 1 .* carriage return"),
     (HEADER + HEADER + "1\t5\t.\tA\tC\t.\t.\t.\n", "`#CHROM` stands 2 times"),
     (HEADER + "##late=1\n1\t5\t.\tA\tC\t.\t.\t.\n", "`#CHROM` once, in the last one"),
     (HEADER + "1\t5\t.\tA\tC\t.\t.\t.\n" + HEADER, "record 2 .* malformed"),
     (HEADER + "1\t5\t.\tA\tC\t.\t.\t.\n#1\t6\t.\tA\tC\t.\t.\t.\n", "record 2 .*`#`"),
     (HEADER + "1\t+5\t.\tA\tC\t.\t.\t.\n", "record 1 .*plain whole number"),
     (HEADER + "1\t007\t.\tA\tC\t.\t.\t.\n", "record 1 .*plain whole number"),
     (HEADER + "1\t9223372036854775808\t.\tA\tC\t.\t.\t.\n", "record 1 .*plain whole number"),
     (HEADER + "1 5 . A C . . .\n", "found 1 tab-separated"), (HEADER + "1\t5\t.\tA\n", "found 4 tab-separated")],
)  # fmt: skip
def test_text_that_is_no_sound_vcf_is_told(release: TinyRelease, vcf: Path, out: Path, text: str, message: str) -> None:
    vcf.write_text(text, newline="")
    assert re.search(message, fails(options(release, vcf, out / "a.vcf"), out))


def test_a_contig_of_thousands_of_digits_is_unknown(release: TinyRelease, vcf: Path, out: Path) -> None:
    vcf.write_text(HEADER + f"NC_{'1' * 5_000}\t5\t.\tA\tC\t.\t.\t.\n" + snv(release))
    assert statuses(release, vcf, out) == ["contig_unknown", "scored"]


def test_other_files_given_as_vcf(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    assert "is a folder" in fails(options(release, tmp_path, out / "a.tsv"), out)
    assert "is no VCF" in fails(options(release, release.fasta, out / "a.tsv"), out)
    for data in (PNG, gzip.compress(PNG), gzip.compress(b""), b"\x1f", bytes(100)):
        vcf.write_bytes(data)
        assert "is no VCF" in fails(options(release, vcf, out / "a.tsv"), out)
    vcf.write_bytes(b"\x1f\x8b")
    assert "truncated" in fails(options(release, vcf, out / "a.tsv"), out)


def test_other_files_given_as_fasta(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "x.fa"
    packed = gzip.compress(release.fasta.read_bytes())
    for data, message in ((b"", "is empty"), (PNG, "no FASTA"), (vcf.read_bytes(), "no FASTA"), (packed[:-9], "trunc")):
        fasta.write_bytes(data)
        assert message in fails(options(release, vcf, out / "a.tsv", fasta=fasta), out)
    assert "is a folder" in fails(options(release, vcf, out / "a.tsv", fasta=tmp_path), out)


def test_a_bgzip_that_was_cut_anywhere_is_told(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    packed = tmp_path / "in.vcf.gz"
    pysam.tabix_compress(str(vcf), str(packed))
    whole = packed.read_bytes()
    for n_left in (16, 40, len(whole) // 2, len(whole) - 28, len(whole) - 1):
        packed.write_bytes(whole[:n_left])
        assert "truncated" in fails(options(release, packed, out / "a.vcf.gz"), out)


def test_an_output_never_replaces_an_input(release: TinyRelease, vcf: Path, out: Path, tmp_path: Path) -> None:
    before = vcf.read_bytes()
    (out / "link.vcf").symlink_to(vcf)
    for output in (vcf, out / ".." / "in.vcf", out / "link.vcf"):
        assert "also an input" in fails(options(release, vcf, output), out, code=2)
    named = tmp_path / "ref.vcf"
    shutil.copy(release.fasta, named)
    assert "also an input" in fails(options(release, vcf, named, fasta=named), out, code=2)
    assert vcf.read_bytes() == before and named.read_bytes() == release.fasta.read_bytes()


# Folders and disks that do not let us.


@contextlib.contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """No file grows beyond `n_bytes`: the next write fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("n_bytes", [0, 300])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    release: TinyRelease, vcf: Path, out: Path, suffix: str, n_bytes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with full_disk(n_bytes):
        line = fails(options(release, vcf, out / f"a{suffix}"), out)
    assert "File too large" in line and "free space" in line
    assert capfd.readouterr().err == ""


def test_a_full_disk_keeps_the_older_output(release: TinyRelease, vcf: Path, out: Path) -> None:
    (out / "a.tsv").write_text("older")
    with full_disk(300):
        fails(options(release, vcf, out / "a.tsv"), out)
    assert (out / "a.tsv").read_text() == "older"


def test_a_cache_that_cannot_be_written_is_one_line(
    release: TinyRelease, vcf: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GENO_CACHE", str(tmp_path / "file" / "cache"))
    line = fails(options(release, vcf, out / "a.tsv"), out)
    assert "Not a directory" in line and "GENO_CACHE" in line
    (tmp_path / "cache" / "genomes").mkdir(parents=True)
    monkeypatch.setenv("GENO_CACHE", str(tmp_path / "cache"))
    with full_disk(300):
        line = fails(options(release, vcf, out / "a.tsv"), out)
    assert "File too large" in line and "GENO_CACHE" in line


def obeying_modes() -> list[str]:
    """What to put before a command so that the modes of files bind it, root or not."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--inh-caps=-dac_override", "--bounding-set=-dac_override"]
    if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("root without setpriv: nothing is read-only for this user")
    return prefix


@pytest.mark.slow
def test_a_fasta_in_a_folder_that_may_not_be_written_to(
    release: TinyRelease, vcf: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index lies in the cache, so that is enough; the cache itself must be writable, or one line says so."""
    prefix = obeying_modes()
    folder, cache = tmp_path / "read_only", tmp_path / "own_cache"
    folder.mkdir()
    shutil.copy(release.fasta, folder / "ref.fa")
    folder.chmod(0o555)
    command = [*prefix, sys.executable, "-m", "geno_model.cli.score"]
    for place, code in ((cache, 0), (folder, 1)):
        monkeypatch.setenv("GENO_CACHE", str(place))
        arguments = options(release, vcf, out / f"{code}.tsv", fasta=folder / "ref.fa")
        result = subprocess.run([*command, *arguments], capture_output=True, timeout=120)
        assert result.returncode == code, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert b"Permission denied" in result.stderr and b"GENO_CACHE" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["ref.fa"]
    assert [path.name for path in out.iterdir()] == ["0.tsv"]
    folder.chmod(0o755)


def test_ctrl_c_is_one_line_and_leaves_nothing(release: TinyRelease, vcf: Path, out: Path) -> None:
    command = [sys.executable, "-m", "geno_model.cli.score", *options(release, "-", out / "a.vcf.gz")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    ) as process:
        assert process.stdin is not None
        process.stdin.write(vcf.read_bytes())  # and never closed, so that the run waits for more
        process.stdin.flush()
        deadline = time.monotonic() + 60
        n_seen = 0  # in a row: the check that the folder may be written to makes a file for a moment, too
        while n_seen < 3 and time.monotonic() < deadline:
            time.sleep(0.2)
            n_seen = n_seen + 1 if list(out.iterdir()) else 0
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.decode() == "geno-score: interrupted\n"
    assert not list(out.iterdir())
