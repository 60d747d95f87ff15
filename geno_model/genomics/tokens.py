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
from geno_model.genomics.texts import to_matrix

DNA_OPEN = 0
DNA_CLOSE = 1
OOV = 2
SIXMER_OFFSET = 3
N_COMPACT = SIXMER_OFFSET + 4**6
CARBON_DNA_OPEN = 151_669  # Carbon's id of <dna>; all compact ids are shifted by it

BASES_PER_TOKEN = 6
ALLELE_TOKENS = 4  # 24 bp hold an allele of at most 16

_KNOWN_BASES = b"ACGTacgt"
_IS_KNOWN = np.zeros(256, dtype=np.bool_)
_IS_KNOWN[list(_KNOWN_BASES)] = True


def sixmer_ids(bases: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Compact ids (..., ceil(L / 6)) of ASCII bases (..., L).

    A trailing partial six-mer is padded right with `A`; lower case is raised; a six-mer that holds anything outside
    ACGT is `OOV`, as in Carbon's tokenizer. `<dna>` and `</dna>` are not added.
    """
    if missing := -bases.shape[-1] % BASES_PER_TOKEN:
        bases = np.concatenate([bases, np.full((*bases.shape[:-1], missing), ord("A"), dtype=np.uint8)], axis=-1)
    pairs = _codes(np.ascontiguousarray(bases)).view("<u2")  # the first base of two in the low byte
    packed = (pairs << 2 | pairs >> 8) & 15
    index = packed[..., 0::3] << 8 | packed[..., 1::3] << 4 | packed[..., 2::3]
    ids = index.astype(np.int32) + SIXMER_OFFSET
    if _has_unknown(bases):
        is_known = _IS_KNOWN[bases].reshape(*ids.shape, BASES_PER_TOKEN).all(axis=-1)
        ids[~is_known] = OOV
    return ids


def sixmer_ids_at_every_base(bases: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Compact ids (L - 5,) of the six-mers that begin at each base of (L,): `[::6]` are the tokens of frame 0."""
    codes = _codes(bases).astype(np.uint16)
    twos = codes[:-1] << 2 | codes[1:]
    fours = twos[:-2] << 4 | twos[2:]
    ids = (fours[:-2] << 4 | twos[4:]).astype(np.int32) + SIXMER_OFFSET
    if _has_unknown(bases):
        n_unknown = np.cumsum(np.append(False, ~_IS_KNOWN[bases]))
        ids[n_unknown[BASES_PER_TOKEN:] > n_unknown[:-BASES_PER_TOKEN]] = OOV
    return ids


def edited_sixmer_ids(
    window: NDArray[np.uint8],
    rel_pos: NDArray[np.int64],
    ref_length: NDArray[np.int64],
    alt: NDArray[np.uint8],
    alt_length: NDArray[np.int64],
    n_tokens: int,
) -> NDArray[np.int32]:
    """Tokens of a window after each of n edits, each edit alone: ids (n, n_tokens) from the token of the edit on.

    window (L,) ASCII bases; rel_pos, ref_length, alt_length (n,) bp; alt (n, w) ASCII, w at most 16. Row i holds the
    tokens rel_pos[i] // 6, + 1, ...; those before are the window's own. Past the window's end all bases are `A`, as
    `fit_window` pads on the right. Only the four tokens that an allele can touch are tokenised anew: all that follows
    is the reference in the frame that the edit left it in, one look-up in `sixmer_ids_at_every_base` a token.

        window      |ACGTAC|GTACGT|ACGTAC|...         edit at base 8: T > TGG, frame + 2
        edited      |ACGTAC|GTGGAC|GTACGT|...
                             ^ anew        ^ the six-mer that begins at base 24 - 2
    """
    first = rel_pos // BASES_PER_TOKEN
    n_touched = min(ALLELE_TOKENS, n_tokens)
    beyond = BASES_PER_TOKEN * (n_tokens + ALLELE_TOKENS) + V1_MAX_LEN
    padded = np.concatenate([window, np.full(beyond, ord("A"), dtype=np.uint8)])
    place = (first * BASES_PER_TOKEN)[:, None] + np.arange(n_touched * BASES_PER_TOKEN)
    after_alt = place - (rel_pos + alt_length)[:, None]
    bases = padded[np.where(after_alt < 0, place, after_alt + (rel_pos + ref_length)[:, None])]
    in_alt = place - rel_pos[:, None]
    row, column = np.nonzero((in_alt >= 0) & (after_alt < 0))
    bases[row, column] = alt[row, in_alt[row, column]]
    touched = sixmer_ids(bases)
    start = ((first + n_touched) * BASES_PER_TOKEN + ref_length - alt_length)[:, None]
    following = start + BASES_PER_TOKEN * np.arange(n_tokens - n_touched)
    return np.concatenate([touched, sixmer_ids_at_every_base(padded)[following]], axis=1)


def _codes(bases: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A 0, T 1, C 2, G 3 in either case, from two bits of the letter's ASCII code; no meaning for other letters."""
    return bases & np.uint8(2) | bases >> np.uint8(2) & np.uint8(1)


def _has_unknown(bases: NDArray[np.uint8]) -> bool:
    return bool(bases.tobytes().translate(None, _KNOWN_BASES))


def allele_tokens(alleles: Sequence[str] | pl.Series) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """Token ids (n, 4) and true lengths (n,) in bp of n alleles of 1..16 bp.

    Six-mers are padded with `A`, positions past the last one are `OOV`. The ids alone collide (`T` and `TA`); ids and
    length together are injective, which is what the action encoder needs (spec 1, pitfall 14).
    Raises UnsupportedEditError above 16 bp and ValueError for empty alleles or anything outside ACGT.
    """
    texts = pl.Series(alleles, dtype=pl.String)
    longest = int(texts.str.len_bytes().max() or 0)  # pyright: ignore[reportArgumentType]
    if longest > V1_MAX_LEN:
        raise UnsupportedEditError(
            f"an allele has {longest} bp, the cap is {V1_MAX_LEN} bp (V1_MAX_LEN); "
            "leave out edit_type SV before alleles become tokens"
        )
    bases, lengths = to_matrix(texts, ALLELE_TOKENS * BASES_PER_TOKEN)
    is_base = np.arange(bases.shape[1]) < lengths[:, None]
    ids = sixmer_ids(np.where(is_base, bases, np.uint8(ord("A"))))
    used = np.arange(ALLELE_TOKENS) * BASES_PER_TOKEN < lengths[:, None]
    wrong = np.flatnonzero((lengths == 0) | ((ids == OOV) & used).any(axis=1))
    if wrong.size:
        raise ValueError(
            f"{wrong.size} of {len(texts)} alleles are empty or hold something outside ACGT; "
            f"the first is at row {wrong[0]} (0-based)"
        )
    return np.where(used, ids, np.int32(OOV)), lengths.astype(np.int8)
