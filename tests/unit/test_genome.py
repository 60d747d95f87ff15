"""The memory-mapped genome and its grid of windows (spec 3)."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import threading
from pathlib import Path

import numpy as np
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geno_model.genomics import genome as genome_module
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import NO_WINDOW, Genome, context_margin_bp, grid_windows, most_central
from tests.killing import killed_before
from tests.shared_data import SHARED, needs_shared_data, shared_genome

FASTA = ">chr1 the first\nACGTacgt\nNNrykACG\n\n>chrM\nGATTACA\n>empty\n>scaffold_7\r\nTTTT\r\nGG"


def write(folder: Path, text: str, name: str = "g.fa") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def small(tmp_path: Path) -> Genome:
    return Genome.open(write(tmp_path, FASTA), cache_dir=tmp_path / "cache")


def test_bases_are_upper_case_and_others_are_n(small: Genome) -> None:
    assert small.contigs == {"chr1": 16, "chrM": 7, "empty": 0, "scaffold_7": 6}
    assert small.bases("chr1").tobytes() == b"ACGTACGTNNNNNACG"
    assert small.bases("chrM").tobytes() == b"GATTACA"
    assert small.bases("empty").size == 0
    assert small.window("scaffold_7", 2, 6).tobytes() == b"TTGG"


def test_soft_mask_is_where_the_fasta_is_lower_case(small: Genome) -> None:
    assert small.soft_mask("chr1", 0, 16).tolist() == [False] * 4 + [True] * 4 + [False] * 2 + [True] * 3 + [False] * 3
    assert small.soft_mask("chr1", 3, 9).tolist() == [False, True, True, True, True, False]
    assert small.soft_mask("chrM", 7, 7).tolist() == []
    assert not small.soft_mask("chrM", 0, 7).any()


def test_views_never_copy_the_map(small: Genome) -> None:
    whole = small.bases("chr1")
    assert np.shares_memory(whole, small.bases("chr1"))
    assert np.shares_memory(whole, small.window("chr1", 2, 5))
    assert not whole.flags.owndata and not whole.flags.writeable


def test_sha256_is_of_the_bases(small: Genome) -> None:
    assert small.sha256("chr1", 2, 6) == hashlib.sha256(b"GTAC").hexdigest()


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (3, 2), (0, 17)])
def test_windows_outside_the_contig_are_refused(small: Genome, start: int, end: int) -> None:
    for method in (small.window, small.soft_mask, small.sha256):
        with pytest.raises(ValueError, match="16 bp"):
            method("chr1", start, end)


@pytest.mark.parametrize("blocks", [1, 3, 7, 16])
def test_any_block_size_reads_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Genome, blocks: int
) -> None:
    monkeypatch.setattr(genome_module, "_BLOCK", blocks)
    again = Genome.open(write(tmp_path, FASTA, "again.fa"), cache_dir=tmp_path / "cache")
    assert again.contigs == small.contigs
    for name, length in small.contigs.items():
        assert again.bases(name).tobytes() == small.bases(name).tobytes()
        assert again.soft_mask(name, 0, length).tolist() == small.soft_mask(name, 0, length).tolist()


def test_gzip_and_bgzip_read_as_plain(tmp_path: Path, small: Genome) -> None:
    with gzip.open(tmp_path / "a.fa.gz", "wb") as file:
        file.write(FASTA.encode())
    with pysam.BGZFile(str(tmp_path / "b.fa.gz"), "wb", None) as file:
        file.write(FASTA.encode())
    for name in ("a.fa.gz", "b.fa.gz"):
        assert (
            Genome.open(tmp_path / name, cache_dir=tmp_path / "cache").bases("chr1").tobytes()
            == small.bases("chr1").tobytes()
        )


def test_contig_names_of_other_sources(small: Genome) -> None:
    assert [small.resolve(name) for name in ("chr1", "1", "NC_000001", "CM000663")] == ["chr1"] * 4
    assert [small.resolve(name) for name in ("chrM", "M", "MT", "chrMT")] == ["chrM"] * 4
    assert [small.resolve(name) for name in ("2", "chr11", "X", "NC_000067.7", "chr", "")] == [None] * 6
    # A version names a sequence of a known length, which neither of these is.
    assert [small.resolve(name) for name in ("NC_000001.11", "CM000663.2", "NC_012920.1", "J01415.2")] == [None] * 4
    assert [small.namesake(name) for name in ("NC_000001.11", "NC_012920.1", "2")] == ["chr1", "chrM", None]


def test_letters_that_are_no_bases_are_kept_for_words(
    small: Genome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "".join(small.letter("chr1", at) for at in range(16)) == "ACGTACGTNNRYKACG"
    assert "".join(small.letter("chrM", at) for at in range(7)) == "GATTACA"  # behind it
    monkeypatch.setattr(genome_module, "_BLOCK", 3)
    again = Genome.open(write(tmp_path, FASTA.replace("GG", "gm"), "again.fa"), cache_dir=tmp_path / "cache")
    assert "".join(again.letter("chr1", at) for at in range(16)) == "ACGTACGTNNRYKACG"
    assert "".join(again.letter("scaffold_7", at) for at in range(6)) == "TTTTGM"


def test_plinks_codes_of_chromosomes_where_the_fasta_lacks_them(tmp_path: Path, small: Genome) -> None:
    genome = Genome.open(write(tmp_path, ">chrX\nAC\n>chrY\nGT\n>M\nA\n>24\nC\n"), cache_dir=tmp_path)
    assert genome.pop_plink_note() is None
    assert [genome.resolve(code) for code in ("23", "24", "25", "26", "27")] == ["chrX", "24", "chrX", "M", None]
    assert genome.pop_plink_note() == (
        "contigs that the FASTA lacks are read by PLINK's codes: 23 as chrX, 25 as chrX (pseudo-autosomal), 26 as M"
    )
    assert genome.pop_plink_note() is None
    assert small.resolve("23") is None and small.pop_plink_note() is None


def test_an_exact_name_wins_over_an_alias(tmp_path: Path) -> None:
    genome = Genome.open(write(tmp_path, ">1\nAC\n>chr1\nGT\n>NC_000023.11\nA\n"), cache_dir=tmp_path)
    assert (genome.resolve("1"), genome.resolve("chr1"), genome.resolve("X"), genome.resolve("chrX")) == (
        "1", "chr1", "NC_000023.11", "NC_000023.11",
    )  # fmt: skip


def test_cache_is_reused_and_follows_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, FASTA)
    Genome.open(path, cache_dir=tmp_path / "cache")
    Genome.open(path, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache" / "genomes").iterdir())) == 1
    write(tmp_path, FASTA + "A")
    assert Genome.open(path, cache_dir=tmp_path / "cache").contigs["scaffold_7"] == 7
    assert len(list((tmp_path / "cache" / "genomes").iterdir())) == 1  # the old one is gone


def test_a_fasta_rewritten_with_the_same_size_and_time_is_noticed_by_its_ends(tmp_path: Path) -> None:
    path = write(tmp_path, ">1\nACGT\n")
    stamp = path.stat().st_mtime_ns
    Genome.open(path, cache_dir=tmp_path / "cache")
    write(tmp_path, ">1\nACGG\n")
    os.utime(path, ns=(stamp, stamp))
    assert Genome.open(path, cache_dir=tmp_path / "cache").bases("1").tobytes() == b"ACGG"


def test_a_fasta_in_a_read_only_folder_without_an_index_is_read(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    path = write(tmp_path / "given", FASTA)
    (tmp_path / "given").chmod(0o555)
    Genome.open(path, cache_dir=tmp_path / "cache")
    assert [entry.name for entry in (tmp_path / "given").iterdir()] == [path.name]


def resident_bytes(path: Path) -> int:
    """Bytes of a mapped file that this process holds in memory."""
    of_file = re.compile(rf"^[0-9a-f]+-.*{re.escape(str(path))}\n(?:[A-Z].*\n)*?Rss:\s+(\d+) kB", re.MULTILINE)
    return sum(int(kb) << 10 for kb in of_file.findall(Path("/proc/self/smaps").read_text()))


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="memory of a map is read from Linux's /proc")
def test_a_pass_over_a_genome_keeps_no_more_in_memory_than_the_windows_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length, window_bp, stretch = 32_000_000, 12_288, 2 << 20
    monkeypatch.setattr(genome_module, "RESIDENT_PLACES", 2)
    genome = Genome.open(write(tmp_path, ">1\n" + "ACGTTGCA" * (length // 8)), cache_dir=tmp_path)
    [bases] = tmp_path.glob("genomes/*/bases.bin")
    in_order = np.arange(0, length - window_bp, window_bp)
    kept, most, n_g = [], 0, 0
    for number, start in enumerate([*in_order, *np.random.default_rng(0).permutation(in_order)]):
        window = genome.window("1", int(start), int(start) + window_bp)
        n_g += int((window == ord("G")).sum())
        if number % 100 == 0:
            kept.append(window)
            most = max(most, resident_bytes(bases))
    assert n_g == 2 * len(in_order) * window_bp // 4
    assert 0 < most <= 4 * stretch  # all of it would be 32 MB
    assert all(window.tobytes() == b"ACGTTGCA" * (window_bp // 8) for window in kept)  # views outlive it


def test_cache_place_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENO_CACHE", str(tmp_path / "elsewhere"))
    Genome.open(write(tmp_path, FASTA))
    assert len(list((tmp_path / "elsewhere" / "genomes").iterdir())) == 1


def test_what_a_killed_build_left_is_removed_when_any_genome_of_the_cache_is_opened(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    known, other = write(tmp_path, FASTA), write(tmp_path / "other", FASTA + "A")
    Genome.open(known, cache_dir=tmp_path / "cache")
    step, genomes = 0, tmp_path / "cache" / "genomes"
    while not list(genomes.rglob("genome.json"))[1:]:  # until it is killed with all of its files written
        assert killed_before(step, lambda: Genome.open(other, cache_dir=tmp_path / "cache"))
        step += 1
    assert len(list(genomes.iterdir())) == 2
    Genome.open(known, cache_dir=tmp_path / "cache")
    assert len(list(genomes.iterdir())) == 1


def test_builds_at_once_agree(tmp_path: Path) -> None:
    path = write(tmp_path, ">1\n" + "ACGT" * 50_000)
    found: list[int] = []

    def build() -> None:
        found.append(int(Genome.open(path, cache_dir=tmp_path / "cache").bases("1").sum()))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sum(b"ACGT") * 50_000] * 4
    assert len(list((tmp_path / "cache" / "genomes").iterdir())) == 1  # and no temporary folder is left


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), (">1\n>2\n", "is empty"), ("ACGT\n", "no FASTA"), ("##fileformat=VCFv4.2\n", "no FASTA"),
     (">1\nA\n>1\nC\n", "twice"), (">\nACGT\n", "without a name")],
)  # fmt: skip
def test_what_is_no_fasta_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Genome.open(write(tmp_path, text), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache" / "genomes").iterdir()) == []


def test_missing_file_and_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        Genome.open(tmp_path / "nope.fa", cache_dir=tmp_path)
    with pytest.raises(InputError, match="folder"):
        Genome.open(tmp_path, cache_dir=tmp_path)


@pytest.mark.parametrize("cut", [28, 200])
def test_truncated_bgzip_is_told(tmp_path: Path, cut: int) -> None:
    with pysam.BGZFile(str(tmp_path / "b.fa.gz"), "wb", None) as file:
        file.write((">1\n" + "".join(np.random.default_rng(0).choice(list("ACGT"), 300_000))).encode())
    whole = (tmp_path / "b.fa.gz").read_bytes()
    (tmp_path / "cut.fa.gz").write_bytes(whole[:-cut])  # 28: only the end block, which gzip would not miss
    with pytest.raises(InputError, match="truncated"):
        Genome.open(tmp_path / "cut.fa.gz", cache_dir=tmp_path)


def test_truncated_gzip_is_told(tmp_path: Path) -> None:
    whole = gzip.compress((">1\n" + "ACGTTGCA" * 5_000).encode())
    (tmp_path / "cut.fa.gz").write_bytes(whole[:-40])
    with pytest.raises(InputError, match="truncated"):
        Genome.open(tmp_path / "cut.fa.gz", cache_dir=tmp_path)


@needs_shared_data
def test_real_bases_as_samtools_reads_them() -> None:
    genome = shared_genome("grch38")
    with pysam.FastaFile(str(SHARED / "grch38" / "reference.fa.gz")) as oracle:
        assert genome.contigs == dict(zip(oracle.references, oracle.lengths, strict=True))
        for contig, start in (("chr1", 9_000), ("chr13", 32_320_000), ("chr21", 24_990_000), ("chr22", 50_810_000)):
            end = min(start + 8_000, genome.contigs[contig])
            raw = oracle.fetch(contig, start, end)
            assert genome.window(contig, start, end).tobytes().decode() == raw.upper()
            assert genome.soft_mask(contig, start, end).tolist() == [base.islower() for base in raw]


def test_grid_by_hand() -> None:
    starts, low, high = grid_windows(30, window_bp=12, stride_bp=8)
    assert starts.tolist() == [0, 8, 16, 18]  # the last is flush with the end
    # centres 6, 14, 22, 24: borders at 10, 18 and 23
    assert low.tolist() == [0, 10, 18, 23]
    assert high.tolist() == [10, 18, 23, 30]
    assert most_central(np.array([0, 9, 10, 22, 23, 29, 30, -1]), 30, 12, 8).tolist() == [
        0, 0, 8, 16, 18, 18, NO_WINDOW, NO_WINDOW,
    ]  # fmt: skip


def test_grid_of_short_contigs() -> None:
    assert [part.tolist() for part in grid_windows(11, 12, 8)] == [[], [], []]
    assert most_central(np.array([0, 5]), 11, 12, 8).tolist() == [NO_WINDOW, NO_WINDOW]
    assert [part.tolist() for part in grid_windows(12, 12, 8)] == [[0], [0], [12]]


def test_default_grid_keeps_2_kb_around_every_position_but_the_ends() -> None:
    length = 1_000_000
    pos0 = np.arange(0, length, 37)
    start = most_central(pos0, length, 12_288, 8_192)
    assert context_margin_bp(12_288, 8_192) == 2_048 - 6
    assert (pos0 - start)[pos0 > 6_144].min() >= 2_048
    assert (start + 12_288 - pos0)[pos0 < length - 6_144].min() >= 2_048


@given(st.integers(40, 400), st.integers(6, 40), st.integers(1, 40))
def test_the_grid_of_a_circle_has_no_ends(length: int, window_bp: int, stride_bp: int) -> None:
    stride_bp = min(stride_bp, window_bp)
    pos0 = np.arange(length)
    chosen = most_central(pos0, length, window_bp, stride_bp, is_circular=True)
    unrolled = np.arange(-4 * window_bp, length + 4 * window_bp, dtype=np.int64)
    starts = unrolled[unrolled % stride_bp == 0]
    distance = np.abs(pos0[:, None] + 0.5 - (starts + window_bp / 2))
    assert (chosen == starts[distance.argmin(axis=1)]).all()
    margin = context_margin_bp(window_bp, stride_bp)
    assert (pos0 - chosen >= margin).all() and (chosen + window_bp - pos0 >= margin).all()


def test_human_mitochondria_are_circles_and_nothing_else_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lengths = {"chrM": 16_569, "MT": 16_571, "NC_012920.1": 16_569, "M": 16_570, "chr1": 16_569}
    text = {name: "".join(rng.choice(list("ACGT"), length)) for name, length in lengths.items()}
    (tmp_path / "m.fa").write_text("".join(f">{name}\n{bases}\n" for name, bases in text.items()))
    genome = Genome.open(tmp_path / "m.fa", cache_dir=tmp_path / "cache")
    assert [genome.is_circular(name) for name in lengths] == [True, True, True, False, False]
    bases = text["chrM"]
    for start, end, expected in (
        (-3, 4, bases[-3:] + bases[:4]),
        (16_560, 16_575, bases[16_560:] + bases[:6]),
        (-8_192, 4_096, bases[-8_192:] + bases[:4_096]),
        (5, 9, bases[5:9]),
    ):
        assert genome.window("chrM", start, end).tobytes().decode() == expected
        assert genome.sha256("chrM", start, end) == hashlib.sha256(expected.encode()).hexdigest()
    for name in ("M", "chr1"):
        with pytest.raises(ValueError, match="is no span"):
            genome.window(name, -1, 5)
