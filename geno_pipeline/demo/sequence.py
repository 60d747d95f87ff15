"""Bases as small integers, the genetic code, and the background DNA of the demo genome.

Belongs here: codes, complements, codon and amino-acid tables, the Markov background.
Does not belong here: genes, repeats, anything with a coordinate.

Concept: A, C, G, T, N are 0..4, so that the complement of a base is 3 - base. Background DNA is an order-5 Markov chain
whose six-mer preferences come from the seed and are the same on both strands; isochores only shift its GC. Uniform
noise would leave a language model nothing to learn, and then no surprise would mean anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]

A, C, G, T, N = range(5)
LETTERS: Codes = np.frombuffer(b"ACGTN", dtype=np.uint8)
_CODE_OF = np.full(256, N, dtype=np.uint8)
_CODE_OF[LETTERS] = np.arange(5, dtype=np.uint8)

ORDER = 5
GC_LEVELS = (0.36, 0.38, 0.41, 0.46, 0.52)  # share of G and C in isochores L1, L2, H1, H2, H3
ISLAND = len(GC_LEVELS)  # level of CpG islands
_ISLAND_GC = 0.66

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY*"
STOP = AMINO_ACIDS.index("*")
_TCAG = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
# Human codon usage per thousand (Kazusa table of Homo sapiens), codons in T, C, A, G order.
_USAGE_TCAG = (
    *(17.6, 20.3, 7.7, 12.9, 15.2, 17.7, 12.2, 4.4, 12.2, 15.3, 1.0, 0.8, 10.6, 12.6, 1.6, 13.2),
    *(13.2, 19.6, 7.2, 39.6, 17.5, 19.8, 16.9, 6.9, 10.9, 15.1, 12.3, 34.2, 4.5, 10.4, 6.2, 11.4),
    *(16.0, 20.8, 7.5, 22.0, 13.1, 18.9, 15.1, 6.1, 17.0, 19.1, 24.4, 31.9, 12.1, 19.5, 12.2, 12.0),
    *(11.0, 14.5, 7.1, 28.1, 18.4, 27.7, 15.8, 7.4, 21.8, 25.1, 29.0, 39.6, 10.8, 22.2, 16.5, 16.5),
)
_DIGITS = np.stack([np.arange(64) // 16, np.arange(64) // 4 % 4, np.arange(64) % 4])
_FROM_TCAG = np.array([2, 1, 3, 0])[_DIGITS]  # A, C, G, T -> place in T, C, A, G
_TCAG_INDEX = _FROM_TCAG[0] * 16 + _FROM_TCAG[1] * 4 + _FROM_TCAG[2]
CODON_AA: Codes = np.array([AMINO_ACIDS.index(_TCAG[i]) for i in _TCAG_INDEX], dtype=np.uint8)
CODON_USAGE = np.array(_USAGE_TCAG)[_TCAG_INDEX] / 1000.0

# Hydropathy (Kyte and Doolittle) and volume (cubic angstrom), in the order of AMINO_ACIDS.
_HYDROPATHY = (
    *(1.8, 2.5, -3.5, -3.5, 2.8, -0.4, -3.2, 4.5, -3.9, 3.8),
    *(1.9, -3.5, -1.6, -3.5, -4.5, -0.8, -0.7, 4.2, -0.9, -1.3),
)
_VOLUME = (
    *(88.6, 108.5, 111.1, 138.4, 189.9, 60.1, 153.2, 166.7, 168.6, 166.7),
    *(162.9, 114.1, 112.7, 143.8, 173.4, 89.0, 116.1, 140.0, 227.8, 193.6),
)


def encode(text: str) -> Codes:
    """Codes of a DNA string; anything outside ACGT (upper case) is N."""
    return _CODE_OF[np.frombuffer(text.encode("ascii"), dtype=np.uint8)]


def decode(codes: Codes) -> str:
    """The DNA string of codes, upper case."""
    return LETTERS[codes].tobytes().decode("ascii")


def reverse_complement(codes: Codes) -> Codes:
    """The other strand, 5' to 3'; N stays N."""
    flipped = codes[::-1]
    return np.where(flipped == N, N, 3 - flipped.clip(max=3)).astype(np.uint8)


def translate(codes: Codes) -> str:
    """Amino acids of whole codons, `*` for a stop. Length of `codes` must be a multiple of 3 and hold no N."""
    triples = codes.reshape(-1, 3).astype(np.int64)
    return "".join(AMINO_ACIDS[aa] for aa in CODON_AA[triples @ np.array([16, 4, 1])])


def amino_acid_distance() -> NDArray[np.float32]:
    """(21, 21) distance in [0, 1] from hydropathy, volume and charge; 1 to and from a stop, 0 on the diagonal."""
    charge = np.array([{"K": 1.0, "R": 1.0, "D": -1.0, "E": -1.0}.get(aa, 0.0) for aa in AMINO_ACIDS[:20]])
    bend = np.array([{"P": 1.0, "G": 0.6}.get(aa, 0.0) for aa in AMINO_ACIDS[:20]])
    axes = np.stack([np.array(_HYDROPATHY) / 3.0, np.array(_VOLUME) / 42.0, charge, bend])
    distance = np.ones((21, 21), dtype=np.float32)
    steps = axes[:, :, None] - axes[:, None, :]
    distance[:20, :20] = np.minimum(np.sqrt((steps**2).sum(axis=0)) / 3.2, 1.0)
    np.fill_diagonal(distance, 0.0)
    return distance


def _word_energy(width: int, sd: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random preference of each word of `width` bases, equal for a word and its reverse complement."""
    words = np.arange(4**width)
    powers = 4 ** np.arange(width)
    digits = words[:, None] // powers % 4  # least significant (last base) first
    partner = ((3 - digits) * powers[::-1]).sum(axis=1)
    energy = rng.normal(0.0, sd, words.size)
    return (energy + energy[partner]) / np.sqrt(2.0)


def _dinucleotides(cpg: float) -> NDArray[np.float64]:
    """(16,) preference of a base after another; `cpg` is that of G after C."""
    table = np.zeros((4, 4))
    table[A, A] = table[T, T] = 0.12
    table[C, A] = table[T, G] = 0.15
    table[C, C] = table[G, G] = 0.08
    table[T, A] = -0.20
    table[C, G] = cpg
    return table.ravel()


def _transitions(preference: NDArray[np.float64], gc: float) -> NDArray[np.float64]:
    """(1024, 4) chance of each base after five bases, from log preferences of six-mers, with G and C at share `gc`.

    Preferences are turned into chances through the leading eigenvector of their exponentials (what a context is worth
    for all bases after it): a word's frequency then follows the preferences of all words over it, left and right alike,
    which are equal on both strands. Normalising each context alone would favour one strand. The shift of G and C is
    found by bisection.
    """
    following = (np.arange(4**ORDER)[:, None] * 4 + np.arange(4)) % 4**ORDER
    is_gc = np.isin(np.arange(4), (C, G))
    low, high = -3.0, 3.0
    worth, share = np.ones(4**ORDER), np.full(4**ORDER, 4.0**-ORDER)
    chance = np.empty((4**ORDER, 4))
    for _ in range(24):
        shift = (low + high) / 2
        weight = np.exp(preference.reshape(-1, 4) + shift * is_gc)
        for _ in range(30):
            worth = (weight * worth[following]).sum(axis=1)
            worth /= worth.mean()
        chance = weight * worth[following]
        chance /= chance.sum(axis=1, keepdims=True)
        for _ in range(30):
            share = np.bincount(following.ravel(), (share[:, None] * chance).ravel())
        low, high = (shift, high) if share @ chance @ is_gc < gc else (low, shift)
    return chance


@dataclass(frozen=True, slots=True)
class Background:
    """An order-5 Markov source of DNA with six GC levels.

    `cumulative` is (levels, 1024, 3) float32: the first three cumulative probabilities of A, C, G, T after five bases.
    """

    cumulative: NDArray[np.float32]

    @classmethod
    def from_rng(cls, rng: np.random.Generator) -> Background:
        """Draw the transition table; mean entropy is about 1.8 bits a base, below the 1.95 of order 0."""
        words = np.arange(4 ** (ORDER + 1))
        shared = _word_energy(6, 0.28, rng) + _word_energy(4, 0.26, rng)[words % 256]
        levels = []
        for gc, cpg in [*((level, -1.7) for level in GC_LEVELS), (_ISLAND_GC, 0.05)]:
            chance = _transitions(shared + _dinucleotides(cpg)[words % 16], gc)
            levels.append(np.cumsum(chance, axis=1)[:, :3])
        return cls(np.stack(levels).astype(np.float32))

    def sample(self, levels: NDArray[np.uint8], rng: np.random.Generator) -> Codes:
        """Draw one base for each entry of `levels` (n,). Chains run side by side, so it loops n / chains times."""
        size = levels.size
        chains = max(1, min(2048, size // 64))
        steps = -(-size // chains)
        padded = np.pad(levels, (0, chains * steps - size), mode="edge").reshape(chains, steps).T.astype(np.int64)
        draws = rng.random((steps, chains), dtype=np.float32)
        out = np.empty((steps, chains), dtype=np.uint8)
        context = rng.integers(0, 4**ORDER, chains)
        for step in range(steps):
            bounds = self.cumulative[padded[step], context]
            base = (draws[step][:, None] > bounds).sum(axis=1)
            out[step] = base
            context = (context * 4 + base) % 4**ORDER
        return np.ascontiguousarray(out.T).ravel()[:size]
