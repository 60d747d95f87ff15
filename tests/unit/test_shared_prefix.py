"""The shared-prefix pass: exact for every kind of edit, in any batch, within its memory (spec 2, "Causality")."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder import shared_prefix
from geno_model.encoder.carbon import CarbonStateEncoder
from geno_model.encoder.shared_prefix import MemoryBudgetError, encode_window
from geno_model.encoder.suffix import plain_attention
from geno_model.genomics.edits import EditType, ReferenceMismatchError, RelEdit, apply_edits_array, fit_window
from geno_model.genomics.samplers import complex_indel, indel, mnv, uniform_snv
from tests.unit.encoders import WINDOW_BP, random_window, tiny_encoder

N_TOKENS = WINDOW_BP // 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "tiny"
    tiny_encoder(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> CarbonStateEncoder:
    return tiny_encoder(folder)


def drawn_edits(window: np.ndarray, seed: int, n: int, **where: object) -> list[RelEdit]:
    """n edits of each of four kinds, one by one, in the order of their places."""
    rng = np.random.default_rng(seed)
    edits = [
        RelEdit(at, EditType.of_lengths(len(ref), len(alt)), ref, alt)
        for sampler in (uniform_snv, indel, mnv, complex_indel)
        for at, ref, alt in sampler(window, n, rng, **where).iter_rows()  # type: ignore[arg-type]
    ]
    return sorted(edits, key=lambda edit: edit.rel_pos)


def naive(encoder: CarbonStateEncoder, window: np.ndarray, edits: list[RelEdit], pool_token: int) -> torch.Tensor:
    """State after edits by the plain way: the whole edited window, run on its own."""
    contract = encoder.contract
    fit = edits[0].rel_pos, contract.fit_side, contract.right_tokens
    edited = fit_window(apply_edits_array(window, edits), len(window), *fit)
    return encoder.encode(edited, pool_token * 6)


def chains_of(edits: list[RelEdit], longest: int) -> list[list[RelEdit]]:
    """Edits in chains of 1, 2, ... `longest`, without overlaps."""
    chains: list[list[RelEdit]] = []
    chain: list[RelEdit] = []
    for edit in edits:
        if chain and edit.rel_pos < chain[-1].rel_end:
            continue
        chain.append(edit)
        if len(chain) > len(chains) % longest:
            chains.append(chain)
            chain = []
    return chains


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("layer", "fit_side"), [(-1, "right"), (-2, "right"), (-1, "opposite")])
def test_every_kind_of_edit_and_chain_equals_the_naive_way(folder: Path, seed: int, layer: int, fit_side: str) -> None:
    encoder = tiny_encoder(folder, layer=layer, fit_side=fit_side)
    window = random_window(seed)
    chains = chains_of(drawn_edits(window, seed, 6, margin_bp=0), 3)
    rng = np.random.default_rng(seed)
    pools = np.clip([chain[0].rel_pos // 6 + rng.integers(-20, 21) for chain in chains], 0, N_TOKENS - 1)
    encoded = encode_window(encoder, window, chains, pools)
    steps = [
        (chain[:k], int(pool)) for chain, pool in zip(chains, pools, strict=True) for k in range(1, len(chain) + 1)
    ]
    expected = torch.stack([naive(encoder, window, edits, pool) for edits, pool in steps])
    assert len(expected) > 15 and max(map(len, chains)) == 3
    torch.testing.assert_close(encoded.targets, expected, atol=1e-5, rtol=0)
    assert (encoded.targets - encoded.reference.repeat_interleave(torch.tensor([len(c) for c in chains]), dim=0)).any()


@pytest.mark.parametrize("span", [(0, 30), (WINDOW_BP - 40, WINDOW_BP)])
def test_edits_at_both_ends_of_the_window_equal_the_naive_way(
    encoder: CarbonStateEncoder, span: tuple[int, int]
) -> None:
    window = random_window(5)
    edits = drawn_edits(window, 5, 4, margin_bp=0, span=span)
    tokens = np.array([edit.rel_pos // 6 for edit in edits])
    encoded = encode_window(encoder, window, [[edit] for edit in edits], tokens)
    expected = torch.stack([naive(encoder, window, [edit], token) for edit, token in zip(edits, tokens, strict=True)])
    torch.testing.assert_close(encoded.targets, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layer", "context"), [(-1, "locus"), (-2, "pool")])
def test_neither_order_nor_company_changes_a_bit(folder: Path, layer: int, context: str) -> None:
    """On a CPU. Chains, cuts on the left, indels that share a pass in another frame and likelihoods included."""
    encoder = tiny_encoder(folder, layer=layer, context=context)
    window = random_window(6)
    chains = chains_of(drawn_edits(window, 6, 6, margin_bp=0), 2)
    first = np.array([chain[0].rel_pos // 6 for chain in chains])
    order = np.random.default_rng(0).permutation(len(chains))
    groups = [order, order[:7], order[7:9], *np.split(order, len(order))]
    seen: dict[int, list[bytes]] = {}
    for group in groups:
        members = [chains[i] for i in group]
        encoded = encode_window(encoder, window, members, first[group], with_likelihood=True)
        steps = np.array([len(chain) for chain in members])
        for i, reference, begin, n in zip(group, encoded.reference, np.cumsum(steps) - steps, steps, strict=True):
            parts = (encoded.targets, encoded.locus, encoded.shift, encoded.delta_loglik)
            rows = [reference, *(part[begin : begin + n] for part in parts)]
            seen.setdefault(int(i), []).append(b"".join(row.numpy().tobytes() for row in rows))
    assert len(seen) == len(chains) and all(len(set(found)) == 1 and len(found) > 1 for found in seen.values())


def test_a_batch_keeps_to_the_memory_it_is_given(encoder: CarbonStateEncoder) -> None:
    """Batches of several are for GPUs; on a CPU each suffix is run alone."""
    window, edits = random_window(7), drawn_edits(random_window(7), 7, 10)
    chains, tokens = [[edit] for edit in edits], np.array([edit.rel_pos // 6 for edit in edits])
    with pytest.raises(MemoryBudgetError, match=r"the budget is 0 MiB; allow more memory"):
        encode_window(encoder, window, chains, tokens, memory_bytes=1_000)
    allowed: list[int] = []
    for memory_bytes in range(2_000_000, 0, -40_000):
        try:
            allowed.append(shared_prefix._batch_tokens(encoder, N_TOKENS, 17, memory_bytes))
        except MemoryBudgetError:
            break
    assert allowed == sorted(allowed, reverse=True) and allowed[0] > allowed[-1] >= 17
    n = 30
    rows, length = np.arange(n), np.random.default_rng(1).integers(1, 18, n)
    suffixes = shared_prefix._Suffixes(rows, rows, rows, length, np.zeros((n, 17), dtype=np.int32))
    for n_tokens in (1, 17, 100, 2_048):
        parts = list(suffixes.batches(n_tokens))
        assert sorted(row for part in parts for row in part.row) == list(range(n))
        assert all(part.ids.size <= n_tokens or len(part.row) == 1 for part in parts)


def test_no_padding_is_pooled_whatever_the_radius(folder: Path) -> None:
    """323 tokens remain right of the edit: enough for a pool of 256 on each side, too few for one of 400."""
    encoder = tiny_encoder(folder, window_bp=6_144, radius_tokens=400)
    window = random_window(9, 6_144)
    edit = RelEdit(700 * 6, EditType.DEL, window[4_200:4_212].tobytes().decode(), chr(window[4_200]))
    state = encode_window(encoder, window, [[edit]], np.array([700])).targets[0]
    kept = np.concatenate([np.frombuffer(b"A" * 11, dtype=np.uint8), apply_edits_array(window, [edit])])
    torch.testing.assert_close(state, encoder.encode(kept, 4_200), atol=1e-5, rtol=0)


def test_a_foreign_reference_base_is_refused_in_any_step(encoder: CarbonStateEncoder) -> None:
    window = random_window(8)
    right = RelEdit(600, EditType.SNV, chr(window[600]), "ACGT"["ACGT".index(chr(window[600])) - 1])
    wrong = RelEdit(700, EditType.SNV, right.alt_bases if chr(window[700]) != right.alt_bases else "N", "T")
    for chain in ([wrong], [right, wrong]):
        with pytest.raises(ReferenceMismatchError):
            encode_window(encoder, window, [chain], np.array([100]))


@pytest.mark.parametrize("causal", [True, False])
def test_attention_in_plain_operators_equals_that_of_the_cpu(causal: bool) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 16) for length in ((20, 20, 20) if causal else (20, 33, 33)))
    out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, causal)
    plain, plain_lse = plain_attention(query, key, value, causal=causal)
    torch.testing.assert_close(plain, out, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(plain_lse, lse, atol=1e-6, rtol=1e-5)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
    torch.testing.assert_close(plain, expected, atol=1e-6, rtol=1e-5)
