"""DNA as Carbon's six-mer tokens, and alleles as token ids that never collide (spec 1, 2).

Belongs here: the numbering of tokens and the vectorised way from ASCII bases to ids. Does not: text outside DNA (never
tokenised), weights or embeddings (`geno_model.encoder`).

The concept: six bases are one token. Ids are COMPACT, without Carbon's 151,669 text tokens in front:

    0 <dna>   1 </dna>   2 <oov>   3 .. 4098 the six-mers, in base 4 with A=0 T=1 C=2 G=3, first base most significant

and compact + `CARBON_DNA_OPEN` is Carbon's own id of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_model.genomics.edits import V1_MAX_LEN, UnsupportedEditError

DNA_OPEN = 0
DNA_CLOSE = 1
OOV = 2
SIXMER_OFFSET = 3
N_COMPACT = SIXMER_OFFSET + 4**6
CARBON_DNA_OPEN = 151_669  # Carbon's id of <dna>; all compact ids are shifted by it

BASES_PER_TOKEN = 6
ALLELE_TOKENS = 4  # 24 bp hold an allele of at most 16

_BAD = 4**6  # any sum of base codes that holds it is out of range
_CODES = np.full(256, _BAD, dtype=np.int32)
for _code, _pair in enumerate(("Aa", "Tt", "Cc", "Gg")):
    _CODES[[ord(_pair[0]), ord(_pair[1])]] = _code


def sixmer_ids(bases: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Compact ids (..., ceil(L / 6)) of ASCII bases (..., L).

    A trailing partial six-mer is padded right with `A`; lower case is raised; a six-mer that holds anything outside
    ACGT is `OOV`, as in Carbon's tokenizer. `<dna>` and `</dna>` are not added.
    """
    codes = _CODES[bases]
    missing = -codes.shape[-1] % BASES_PER_TOKEN
    if missing:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], missing), dtype=np.int32)], axis=-1)
    index = np.zeros((*codes.shape[:-1], codes.shape[-1] // BASES_PER_TOKEN), dtype=np.int32)
    for place in range(BASES_PER_TOKEN):
        index += codes[..., place::BASES_PER_TOKEN] << 2 * (BASES_PER_TOKEN - 1 - place)
    return np.where(index < _BAD, index + SIXMER_OFFSET, OOV).astype(np.int32, copy=False)


def allele_tokens(alleles: Sequence[str] | pl.Series) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Token ids (n, 4) and true lengths (n,) in bp of n alleles of 1..16 bp.

    Six-mers are padded with `A`, positions past the last one are `OOV`. The ids alone collide (`T` and `TA`); ids and
    length together are injective, which is what the action encoder needs (spec 1, pitfall 14).
    Raises UnsupportedEditError above 16 bp and ValueError for empty alleles or anything outside ACGT.
    """
    values = alleles.to_list() if isinstance(alleles, pl.Series) else list(alleles)
    if not values:
        return np.empty((0, ALLELE_TOKENS), dtype=np.int32), np.empty(0, dtype=np.int8)
    packed = np.array(values, dtype=np.bytes_)
    if packed.dtype.itemsize > V1_MAX_LEN:
        raise UnsupportedEditError(
            f"an allele has {packed.dtype.itemsize} bp, the cap is {V1_MAX_LEN} bp (V1_MAX_LEN); "
            "leave out edit_type SV before alleles become tokens"
        )
    width = ALLELE_TOKENS * BASES_PER_TOKEN
    bases = packed.astype(f"S{width}").view(np.uint8).reshape(len(values), width)  # zero bytes after each allele
    lengths = (bases != 0).sum(axis=1)
    ids = sixmer_ids(np.where(bases == 0, np.uint8(ord("A")), bases))
    used = np.arange(ALLELE_TOKENS) * BASES_PER_TOKEN < lengths[:, None]
    wrong = np.flatnonzero((lengths == 0) | ((ids == OOV) & used).any(axis=1))
    if wrong.size:
        raise ValueError(
            f"{wrong.size} of {len(values)} alleles are empty or hold something outside ACGT; "
            f"the first is at row {wrong[0]} (0-based)"
        )
    return np.where(used, ids, np.int32(OOV)), lengths.astype(np.int8)
