"""Sequences without coordinates as one more contig (spec 3, "Carbon pretraining corpus").

Belongs here: a FASTA or Parquet of sequences turned into whole windows, and keeping held-out DNA out of them.
Does not belong here: windows of the reference (`windows`); from there on a corpus is a contig like any other.

Concept: each sequence gives as many whole windows as fit, from its start; the windows that are kept stand end to end in
one contig called `corpus`, so every step after this one can use them. Rows of it have no coordinate in the genome and
can meet no holdout by position; so they are kept away by sequence. Of the held-out DNA every 32nd 32-mer is known, and
where it lies. A window in which 16 of them occur, on either strand, at the distances that they have in the held-out DNA
shares about 500 bases with ONE place of it and is left out. Hits at many places are no sign: a transposon has copies
everywhere, and most windows of any human chromosome hold 64 of the 32-mers of 10 Mb of another one. 32-mers of period 6
or less are not known, since they occur everywhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pysam
from numpy.typing import NDArray

from geno_model.files import replacing_file
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_model.genomics.text_input import open_bytes
from geno_pipeline.config import CORPUS

SEQUENCE_COLUMNS = ("sequence", "text", "seq")
K = 32  # bases that fill 64 bits
MOST_SHARED = 16  # k-mers in a window that lie as in one place of held-out DNA, exclusive
_MAX_PERIOD = 6
_PARQUET_ROWS = 256
_BLOCK_BP = 4 << 20  # a multiple of K
_SLOT_BITS = 25
_CODE = np.full(256, 4, dtype=np.uint8)
_CODE[list(b"ACGTacgt")] = [0, 1, 2, 3, 0, 1, 2, 3]
_BASES = np.frombuffer(b"ACGTN", dtype=np.uint8)


class HeldOutKmers(NamedTuple):
    """32-mers of held-out DNA."""

    values: NDArray[np.uint64]  # as `kmers` writes them, ascending, each once
    places_bp: NDArray[np.int64]  # where each begins (the first, of several), all stretches end to end
    slots: NDArray[np.bool_]  # (2 ** 25,) whether one of them has this `_slot`: most others are told from it at once


def write_corpus(
    path: Path, out: Path, window_bp: int, max_n_fraction: float, held_out: Iterable[NDArray[np.uint8]]
) -> dict[str, int]:
    """Write the windows of a corpus as a FASTA of one contig, `corpus`.

    Args:
        path: FASTA (plain, gzip, bgzip) or Parquet with a text column `sequence`, `text` or `seq`.
        held_out: stretches of the reference, ASCII, that no window may share about 500 bases with.

    Returns:
        Counts: sequences, windows, kept, dropped_n, dropped_duplicate, dropped_held_out.

    Raises:
        InputError: the file is missing, of neither kind, or gives no window.
    """
    if not path.is_file():
        raise InputError(f"corpus {path} is not there; correct inputs.corpus, or leave it out")
    known, counts, seen = held_out_kmers(held_out), Counter(), set[bytes]()
    with replacing_file(out) as temporary:
        with temporary.open("wb") as fasta:
            fasta.write(f">{CORPUS}\n".encode())
            for sequence in _sequences(path):
                counts["sequences"] += 1
                codes = _CODE[np.frombuffer(sequence.encode("ascii", "replace"), dtype=np.uint8)]
                for window in codes[: len(codes) // window_bp * window_bp].reshape(-1, window_bp):
                    counts["windows"] += 1
                    reason = _reason(window, max_n_fraction, known, seen)
                    counts[reason] += 1
                    if reason == "kept":
                        fasta.write(_BASES[window].tobytes() + b"\n")
        if not counts["kept"]:
            raise InputError(
                f"corpus {path} gives no window: {counts['sequences']} sequences hold {counts['windows']} windows of "
                f"{window_bp:,} bases, all of them left out; give longer sequences of known bases"
            )
    names = ("sequences", "windows", "kept", "dropped_n", "dropped_duplicate", "dropped_held_out")
    return {name: counts[name] for name in names}


def held_out_kmers(stretches: Iterable[NDArray[np.uint8]]) -> HeldOutKmers:
    """32-mers at every 32nd base of stretches (ASCII), without N and without those of a short period."""
    values, places_bp, begin = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)], 0
    for bases in stretches:
        for first in range(0, len(bases) // K * K, _BLOCK_BP):
            block = bases[first : first + _BLOCK_BP]
            rows = _CODE[block[: len(block) // K * K]].reshape(-1, K)
            is_simple = [(rows[:, period:] == rows[:, :-period]).all(axis=1) for period in range(1, _MAX_PERIOD + 1)]
            used = np.flatnonzero((rows < 4).all(axis=1) & ~np.any(is_simple, axis=0))
            values.append(kmers(rows.reshape(-1) & np.uint8(3))[::K][used])
            places_bp.append(begin + first + used * K)
        begin += len(bases)
    unique, of = np.unique(np.concatenate(values), return_index=True)
    slots = np.zeros(1 << _SLOT_BITS, dtype=np.bool_)
    slots[_slot(unique)] = True
    return HeldOutKmers(unique, np.concatenate(places_bp)[of], slots)


def _slot(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (values * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _SLOT_BITS)


def kmers(codes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """All 32-mers (n - 31,) of codes 0..3 as numbers, two bits a base, the first base highest."""
    value, width = codes.astype(np.uint64), 1
    while width < K:
        value = value[:-width] << np.uint64(2 * width) | value[width:]
        width *= 2
    return value


def n_shared(window: NDArray[np.uint8], known: HeldOutKmers) -> int:
    """How many known 32-mers a window of codes 0..4 (4: N) shares with one place, on the strand that has more of them.

    One place: they are as far from each other in the window as in the held-out DNA.
    """
    if not len(known.values) or len(window) < K:
        return 0
    most = 0
    complement = np.array([3, 2, 1, 0, 4], dtype=np.uint8)[window][::-1]
    for strand in (window, complement):
        has_n = np.convolve(strand == 4, np.ones(K, dtype=np.int64))[K - 1 : len(strand)] > 0
        values = kmers(strand & np.uint8(3))
        hits = np.flatnonzero(known.slots[_slot(values)] & ~has_n)
        nearest = np.minimum(np.searchsorted(known.values, values[hits]), len(known.values) - 1)
        is_known = known.values[nearest] == values[hits]
        _, counts = np.unique(known.places_bp[nearest[is_known]] - hits[is_known], return_counts=True)
        most = max(most, int(counts.max(initial=0)))
    return most


def _reason(window: NDArray[np.uint8], max_n_fraction: float, known: HeldOutKmers, seen: set[bytes]) -> str:
    if np.count_nonzero(window == 4) > max_n_fraction * len(window):
        return "dropped_n"
    digest = hashlib.sha256(window.tobytes()).digest()
    if digest in seen:
        return "dropped_duplicate"
    seen.add(digest)
    return "dropped_held_out" if n_shared(window, known) >= MOST_SHARED else "kept"


def _sequences(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    if not is_parquet:
        try:
            with open_bytes(path, "corpus") as stream:
                stream.peek(1)  # it knows a bgzip file without its end
            with pysam.FastxFile(str(path)) as records:
                yield from (record.sequence for record in records if record.sequence)
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"corpus {path}: no readable FASTA or Parquet ({error}); give one of them") from error
        return
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"corpus {path} is truncated or damaged ({error}); copy or download it again") from error
    column = next((name for name in SEQUENCE_COLUMNS if name in table.schema_arrow.names), None)
    if column is None:
        raise InputError(
            f"corpus {path} has the columns {', '.join(table.schema_arrow.names[:8])}, expected a text column "
            f"{', '.join(SEQUENCE_COLUMNS)}; rename it"
        )
    kind = table.schema_arrow.field(column).type
    if kind not in (pa.string(), pa.large_string()):
        raise InputError(f"corpus {path} has {kind} in its column {column}, expected text; convert it")
    for batch in table.iter_batches(_PARQUET_ROWS, columns=[column]):
        yield from (text for text in batch.column(0).to_pylist() if text)


class GenomeWithCorpus(Genome):
    """A reference genome and, as one more contig, a corpus."""

    def __init__(self, genome: Genome, corpus: Genome) -> None:
        """corpus: genome of the FASTA that `write_corpus` wrote."""
        self.fasta = genome.fasta
        self.contigs = genome.contigs | corpus.contigs
        self._genome, self._corpus = genome, corpus

    def resolve(self, contig: str) -> str | None:
        """The reference's name of a contig: no file of variants or genes can mean the corpus."""
        return self._genome.resolve(contig)

    def window(self, contig: str, start_bp: int, end_bp: int) -> NDArray[np.uint8]:
        """As `Genome.window`."""
        return self._of(contig).window(contig, start_bp, end_bp)

    def soft_mask(self, contig: str, start_bp: int, end_bp: int) -> NDArray[np.bool_]:
        """As `Genome.soft_mask`."""
        return self._of(contig).soft_mask(contig, start_bp, end_bp)

    def _of(self, contig: str) -> Genome:
        return self._corpus if contig == CORPUS else self._genome
