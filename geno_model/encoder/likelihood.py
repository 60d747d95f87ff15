"""How likely the encoder's own language model finds DNA: zero-shot baselines (spec 5, "Scores"; spec 6, baselines).

Belongs here: log-likelihoods in nats from the head of the frozen model. Does not: states and poolings (`carbon`), the
window that a benchmark prescribes, and what is made of a score (`geno_pipeline.evaluation`).

Both ways that Carbon's figures were published with (evaluation/vep_eval.py and clinvar_vep_eval.py of
huggingface/carbon); each is alt - ref here, so that less likely is negative:

    full log-likelihood   log p(edited window) - log p(window), each the sum over its DNA tokens of log p(token | what
                          stands left of it), `<dna>` first, `</dna>` left out, over the FULL vocabulary as published
    next-token marginals  log P(alt) - log P(ref) of one base given all that stands left of it, from the probabilities
                          of the six-mers that can stand in its token

An `<oov>` six-mer (any base outside ACGT) says nothing about DNA: its own likelihood is left out and counted. It is
still read as context by the tokens after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.pooling import BASES_PER_TOKEN
from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.edits import EditType, ReferenceMismatchError, RelEdit, apply_edits_array, fit_window
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import DNA_OPEN, OOV, SIXMER_OFFSET, sixmer_ids

LOGIT_BYTES = 1 << 28  # of float32 logits alive at once: 430 tokens of Carbon's 155,776
WINDOWS_A_BATCH = 4
_COMPLEMENT = np.arange(256, dtype=np.uint8)
_COMPLEMENT[list(b"ACGTacgt")] = list(b"TGCAtgca")


class NotAnSnvError(InputError):
    """An edit of more than one base where only the likelihood of single bases is defined."""


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Log-likelihoods of n windows in nats (n,) float64, and how many `<oov>` six-mers of each were left out (n,)."""

    total: Tensor
    n_oov: Tensor


def window_log_likelihood(encoder: CarbonStateEncoder, windows: NDArray[np.uint8]) -> Likelihoods:
    """Sum over the DNA tokens of each window (B, L) of ASCII bases of log p(token | `<dna>`, the tokens before it).

    Memory: one batch of windows in the model, and `LOGIT_BYTES` of logits, whatever B is. A length that is no multiple
    of six ends in a six-mer padded with A, as in Carbon's tokenizer.
    """
    totals, counts = [], []
    for start in range(0, len(windows), WINDOWS_A_BATCH):
        ids = torch.from_numpy(sixmer_ids(windows[start : start + WINDOWS_A_BATCH]).astype(np.int64))
        log_p = _token_log_p(encoder, ids)
        is_oov = (ids == OOV).to(log_p.device)
        totals.append(log_p.masked_fill(is_oov, 0).sum(dim=1, dtype=torch.float64))
        counts.append(is_oov.sum(dim=1))
    if not totals:
        return Likelihoods(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.long))
    return Likelihoods(torch.cat(totals), torch.cat(counts))


def log_likelihood_difference(
    encoder: CarbonStateEncoder,
    window: NDArray[np.uint8],
    haplotypes: Sequence[Sequence[RelEdit]],
    *,
    both_strands: bool = False,
) -> Tensor:
    """log p(edited window) - log p(window) in nats for each of n haplotypes of one window (L,): (n,) float64.

    The edited window is brought back to L by `fit_window` with the contract's side. both_strands: the mean with the
    same difference of the reverse complements, as published for TraitGym (twice the work). The reference is run once.
    NaN where the two windows have different numbers of `<oov>` six-mers (an indel can move a run of N across a token's
    border): they are then sums over different numbers of tokens, and each token is worth about eight nats.
    Raises `ReferenceMismatchError` and `OverlappingEditsError` as `apply_edits_array` does.
    """
    edited = [_edited(window, edits, encoder.contract) for edits in haplotypes]
    windows = np.stack([window, *edited])
    strands = [windows, _COMPLEMENT[windows[:, ::-1]]] if both_strands else [windows]
    differences = []
    for strand in strands:
        likelihoods = window_log_likelihood(encoder, strand)
        differs = likelihoods.n_oov[1:] != likelihoods.n_oov[0]
        differences.append((likelihoods.total[1:] - likelihoods.total[0]).masked_fill(differs, float("nan")))
    return torch.stack(differences).mean(dim=0)


def next_token_marginals(
    encoder: CarbonStateEncoder,
    window: NDArray[np.uint8],
    edits: Sequence[RelEdit],
    *,
    later_bases: Literal["any", "reference"] = "any",
) -> Tensor:
    """log P(alt) - log P(ref) in nats for each of n SNVs, from ONE pass over the window (L,): (n,) float64.

    Given is all that stands left of the base: the tokens before its own, and the bases of its own token before it.
    later_bases: what may stand right of it in its token. "any" sums over all six-mers, P(base | left), which for the
    first base of a token is the published ClinVar score with its sign turned; to have every SNV there, as published,
    give the left context (24 kb) and the six-mer that begins with the base as the window. "reference" compares the two
    six-mers whose other bases are those of the window.
    Numerator and denominator are of one softmax, so its sum over the vocabulary cancels and only the logits of the
    4,096 six-mers are computed. NaN where a base that is given is outside ACGT.
    Raises `NotAnSnvError`, and `ReferenceMismatchError` where the window holds another base.
    """
    _require_snvs(window, edits)
    if not edits:
        return torch.zeros(0, dtype=torch.float64)
    position = np.array([edit.rel_pos for edit in edits])
    token, offset = position // BASES_PER_TOKEN, position % BASES_PER_TOKEN
    logits = _sixmer_logits(encoder, window[: token.max() * BASES_PER_TOKEN], token)
    padded = np.concatenate([window, np.full(-len(window) % BASES_PER_TOKEN, ord("A"), dtype=np.uint8)])
    own = padded.reshape(-1, BASES_PER_TOKEN)[token]
    log_sums = []
    for base in ("".join(edit.ref_bases for edit in edits), "".join(edit.alt_bases for edit in edits)):
        own[np.arange(len(edits)), offset] = np.frombuffer(base.encode(), dtype=np.uint8)
        allowed = _allowed_sixmers(own, offset, later_bases == "any").to(logits.device)
        log_sums.append(logits.masked_fill(~allowed, float("-inf")).logsumexp(dim=1))
    return log_sums[1] - log_sums[0]  # NaN where no six-mer is allowed: -inf - -inf


def _edited(window: NDArray[np.uint8], edits: Sequence[RelEdit], contract: StateContract) -> NDArray[np.uint8]:
    """The window with all edits of one haplotype made, at its length again."""
    locus = min((edit.rel_pos for edit in edits), default=0)
    return fit_window(apply_edits_array(window, edits), len(window), locus, contract.fit_side, contract.right_tokens)


def _allowed_sixmers(bases: NDArray[np.uint8], offset: NDArray[np.int64], is_open: bool) -> Tensor:
    """Which six-mers (n, 4096) agree with ASCII bases (n, 6): in all bases, or, if open, in those up to `offset` (n,).

    Six-mers that begin alike are a stretch of indices, 4 to the number of bases that follow long.
    """
    bases, stretch = bases.copy(), np.ones_like(offset)
    if is_open:
        bases[np.arange(BASES_PER_TOKEN) > offset[:, None]] = ord("A")
        stretch = 4 ** (BASES_PER_TOKEN - 1 - offset)
    index = sixmer_ids(bases)[:, 0] - SIXMER_OFFSET
    agrees = np.arange(4**BASES_PER_TOKEN) // stretch[:, None] == (index // stretch)[:, None]
    return torch.from_numpy(agrees & (index >= 0)[:, None])


def _token_log_p(encoder: CarbonStateEncoder, ids: Tensor) -> Tensor:
    """log p (B, T) float32 of each DNA token of compact ids (B, T), over the full vocabulary."""
    return token_log_p(encoder, _last_hidden(encoder, ids[:, :-1]).flatten(0, 1), ids.flatten()).view(ids.shape)


def token_log_p(encoder: CarbonStateEncoder, hidden: Tensor, ids: Tensor) -> Tensor:
    """log p (n,) float32 of compact ids (n,) after what the head reads before each, (n, d), in chunks of tokens."""
    wanted = ids.to(hidden.device) + encoder.dna_offset
    head = encoder.model.lm_head
    n_at_once = max(LOGIT_BYTES // (4 * head.out_features), 1)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(hidden), n_at_once):
            logits = head(hidden[start : start + n_at_once]).float()
            picked = logits.gather(1, wanted[start : start + n_at_once, None])[:, 0]
            parts.append(picked - logits.logsumexp(dim=1))
    return torch.cat(parts) if parts else torch.zeros(0, device=hidden.device)


def _sixmer_logits(encoder: CarbonStateEncoder, left: NDArray[np.uint8], token: NDArray[np.int64]) -> Tensor:
    """Logits (n, 4096) float64 of the six-mers at n tokens, given the bases left of the last of them."""
    hidden = _last_hidden(encoder, torch.from_numpy(sixmer_ids(left).astype(np.int64))[None])[0]
    first = encoder.dna_offset + SIXMER_OFFSET
    with torch.inference_mode():
        weight = encoder.model.lm_head.weight[first : first + 4**BASES_PER_TOKEN]
        return (hidden[torch.from_numpy(token).to(hidden.device)] @ weight.T).double()  # row t has seen t tokens


def _last_hidden(encoder: CarbonStateEncoder, ids: Tensor) -> Tensor:
    """What the head reads, in the model's own type: (B, T + 1, d) for `<dna>` and compact ids (B, T)."""
    opened = torch.cat([torch.full((len(ids), 1), DNA_OPEN), ids], dim=1)
    return encoder.hidden_states_of(opened, -1).to(encoder.model.dtype)


def _require_snvs(window: NDArray[np.uint8], edits: Sequence[RelEdit]) -> None:
    for edit in edits:
        where = f"at rel_pos {edit.rel_pos} of a window of {len(window)} bp"
        if edit.edit_type != EditType.SNV:
            raise NotAnSnvError(
                f"{edit.edit_type.name} {edit.ref_bases}>{edit.alt_bases} {where}: next-token marginals are of single "
                "bases; use log_likelihood_difference for it"
            )
        found = window[edit.rel_pos : edit.rel_end].tobytes().decode("ascii", "replace") if edit.rel_pos >= 0 else ""
        if found.upper() != edit.ref_bases.upper():
            raise ReferenceMismatchError(
                f"expected the reference base {edit.ref_bases!r} {where}, found {found!r}; "
                "the edit and the window come from different references or coordinates"
            )
