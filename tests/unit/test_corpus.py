"""Sequences without coordinates: whole windows, each once, and none with held-out DNA."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pysam
import pytest

from data_contracts import HoldoutChr, ReferenceWindows, validate
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.build.corpus import GenomeWithCorpus, held_out_kmers, kmers, n_shared, write_corpus
from geno_pipeline.build.windows import reference_windows
from tests.unit.build_inputs import make_genome

WINDOW = 4_096
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


def dna(seed: int, length: int) -> str:
    return (
        np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(seed).integers(4, size=length)].tobytes().decode()
    )


def ascii_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def corpus_file(folder: Path, *sequences: str) -> Path:
    path = folder / "corpus.fa.gz"
    text = "".join(f">s{i}\n{sequence}\n" for i, sequence in enumerate(sequences))
    path.write_bytes(gzip.compress(text.encode()))
    return path


def write(folder: Path, path: Path, *held_out: str) -> tuple[dict[str, int], str]:
    counts = write_corpus(path, folder / "out.fa", WINDOW, 0.05, [ascii_of(text) for text in held_out])
    return counts, "".join((folder / "out.fa").read_text().split("\n")[1:])


def test_whole_windows_each_once(tmp_path: Path) -> None:
    first, second = dna(1, 2 * WINDOW + 7), dna(2, WINDOW).lower()
    unknown = "N" * (WINDOW // 10) + dna(3, WINDOW - WINDOW // 10)
    path = corpus_file(tmp_path, first, "ACGT", second, unknown, first[WINDOW : 2 * WINDOW])
    counts, text = write(tmp_path, path)
    assert counts == {
        "sequences": 5, "windows": 5, "kept": 3, "dropped_n": 1, "dropped_duplicate": 1, "dropped_held_out": 0,
    }  # fmt: skip
    assert text == first[: 2 * WINDOW] + second.upper()


@pytest.mark.parametrize("column", ["sequence", "text"])
def test_parquet_and_fasta_give_the_same_bytes(tmp_path: Path, column: str) -> None:
    sequences = [dna(seed, WINDOW + seed) for seed in range(5)]
    pl.DataFrame({"id": range(5), column: sequences}).write_parquet(tmp_path / "corpus.parquet")
    assert write(tmp_path, tmp_path / "corpus.parquet") == write(tmp_path, corpus_file(tmp_path, *sequences))


def test_held_out_dna_is_left_out_on_either_strand(tmp_path: Path) -> None:
    held = dna(5, 20_000)
    shared = held[3_001 : 3_001 + 575]  # 17 of every 32nd 32-mer, wherever it begins
    forward = dna(6, 1_000) + shared + dna(7, WINDOW - 1_575)
    reverse = forward.encode().translate(COMPLEMENT)[::-1].decode()
    little = dna(8, 1_000) + held[5_000:5_500] + dna(9, WINDOW - 1_500)  # 15
    counts, text = write(tmp_path, corpus_file(tmp_path, forward, little, reverse), held)
    assert counts["dropped_held_out"] == 2 and text == little
    assert write(tmp_path, corpus_file(tmp_path, forward, little, reverse))[0]["kept"] == 3


def test_short_copies_of_many_places_are_no_sign(tmp_path: Path) -> None:
    held = dna(5, 20_000)
    copies = [held[start : start + 250] for start in range(0, 12_000, 1_000)]  # as of a transposon
    mosaic = "".join(copy + dna(20 + i, 50) for i, copy in enumerate(copies)) + dna(9, WINDOW - 3_600)
    counts, _ = write(tmp_path, corpus_file(tmp_path, mosaic), held)
    assert counts["kept"] == 1


def test_kmers_by_hand() -> None:
    codes = np.array([3] * 31 + [0, 1], dtype=np.uint8)
    assert kmers(codes).tolist() == [4**32 - 4, 4**32 - 15]
    repeat = ascii_of("ACGTAC" * 200)  # of period 6: nothing to know it by
    assert len(held_out_kmers([repeat]).values) == 0 and n_shared(np.tile([0, 1, 2, 3, 0, 1], 200).astype(np.uint8), held_out_kmers([repeat])) == 0  # fmt: skip  # noqa: E501
    known = held_out_kmers([ascii_of(dna(1, 320))])
    window = np.searchsorted(list(b"ACGT"), ascii_of(dna(1, 320))).astype(np.uint8)
    assert len(known.values) == 10 == n_shared(window, known)
    assert known.places_bp[np.searchsorted(known.values, kmers(window)[64])] == 64
    window[100] = 4  # in the fourth one
    assert n_shared(window, known) == 9
    assert n_shared(np.insert(window, 160, 1), known) == 5  # five before it and, one base on, four after


def test_what_cannot_be_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there"):
        write(tmp_path, tmp_path / "none.fa")
    with pytest.raises(InputError, match="gives no window: 1 sequences hold 0 windows of 4,096 bases"):
        write(tmp_path, corpus_file(tmp_path, "ACGT"))
    pl.DataFrame({"dna": ["A"]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="has the columns dna, expected a text column sequence, text, seq"):
        write(tmp_path, tmp_path / "x.parquet")
    pl.DataFrame({"text": [1, 2]}).write_parquet(tmp_path / "y.parquet")
    with pytest.raises(InputError, match="has int64 in its column text, expected text"):
        write(tmp_path, tmp_path / "y.parquet")
    (tmp_path / "z.parquet").write_bytes((tmp_path / "y.parquet").read_bytes()[:100])
    with pytest.raises(InputError, match="truncated or damaged"):
        write(tmp_path, tmp_path / "z.parquet")
    pysam.tabix_compress(str(corpus_file(tmp_path, dna(1, 9_000))), str(tmp_path / "cut.gz"))
    (tmp_path / "cut.gz").write_bytes((tmp_path / "cut.gz").read_bytes()[:-28])
    with pytest.raises(InputError, match="last bgzip block is missing"):
        write(tmp_path, tmp_path / "cut.gz")
    assert not (tmp_path / "out.fa").exists() and not list(tmp_path.glob(".out.fa*"))


def test_windows_of_a_corpus_stand_end_to_end_and_are_held_out_by_none(tmp_path: Path) -> None:
    write(tmp_path, corpus_file(tmp_path, dna(1, 2 * WINDOW), dna(2, WINDOW)))
    corpus = Genome.open(tmp_path / "out.fa", cache_dir=tmp_path)
    both = GenomeWithCorpus(make_genome(tmp_path, {"1": 1_000}), corpus)
    frame, _ = reference_windows(both, "corpus", WINDOW, WINDOW, 0.05, HoldoutChr.empty())
    validate(ReferenceWindows, frame)
    assert frame["start_bp"].to_list() == [0, WINDOW, 2 * WINDOW] and frame["holdout"].to_list() == [""] * 3
    assert frame["start_bp"].equals(frame["core_start_bp"], check_names=False)
    assert frame["end_bp"].equals(frame["core_end_bp"], check_names=False)


def test_the_corpus_is_one_more_contig_that_no_file_can_name(tmp_path: Path) -> None:
    genome = make_genome(tmp_path, {"1": 1_000})
    (tmp_path / "out.fa").write_text(">corpus\n" + dna(4, 500) + "\n")
    both = GenomeWithCorpus(genome, Genome.open(tmp_path / "out.fa", cache_dir=tmp_path))
    assert both.contigs == {"1": 1_000, "corpus": 500}
    assert both.window("corpus", 10, 20).tobytes().decode() == dna(4, 500)[10:20]
    assert np.array_equal(both.bases("1"), genome.bases("1")) and both.sha256("1", 0, 9) == genome.sha256("1", 0, 9)
    assert both.resolve("chr1") == "1" and both.resolve("corpus") is None
