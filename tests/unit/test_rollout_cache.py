"""Prediction step by step with remembered keys and values: the numbers of `forward`, prefixes that branch (spec 4)."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from geno_model.predictor.predictor import MAX_STEPS, Block, Predictor, PredictorConfig

CONFIG = PredictorConfig(d_state=32, d_action=24, d_hidden=64, d_shift=64)


class Chains(NamedTuple):
    """B chains of K edits: what `forward` and `rollout` take."""

    state: Tensor
    actions: Tensor
    pool_token: Tensor
    shift: Tensor


def chains(n_rows: int, n_steps: int, seed: int = 0) -> Chains:
    generator = torch.Generator().manual_seed(seed)
    return Chains(
        torch.nn.functional.normalize(torch.randn(n_rows, CONFIG.d_state, generator=generator), dim=-1),
        torch.randn(n_rows, n_steps, CONFIG.d_action, generator=generator),
        torch.randint(2_048, (n_rows,), generator=generator),
        torch.randn(n_rows, n_steps, CONFIG.d_shift, generator=generator),
    )


def new_predictor(config: PredictorConfig = CONFIG) -> Predictor:
    """Random weights, no longer the identity."""
    torch.manual_seed(1)
    predictor = Predictor(config)
    torch.nn.init.normal_(predictor.get_parameter("out.3.weight"), std=0.1)
    if predictor.first_order is not None:
        torch.nn.init.normal_(predictor.first_order.weight, std=0.1)
    return predictor.eval()


@torch.inference_mode()
@given(n_steps=st.integers(1, MAX_STEPS), n_rows=st.integers(1, 5), seed=st.integers(0, 1_000))
@settings(deadline=None, max_examples=40)
def test_a_rollout_gives_the_numbers_of_forward(n_steps: int, n_rows: int, seed: int) -> None:
    predictor, given_chains = new_predictor(), chains(n_rows, n_steps, seed)
    rolled, at_once = predictor.rollout(*given_chains), predictor(*given_chains)
    assert rolled.shape == (n_rows, n_steps, CONFIG.d_state)
    torch.testing.assert_close(rolled, at_once, atol=1e-5, rtol=0)
    torch.testing.assert_close(rolled.norm(dim=-1), torch.ones(n_rows, n_steps), atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_rollout_of_a_padded_row_equals_the_row_alone() -> None:
    predictor, full = new_predictor(), chains(3, MAX_STEPS)
    real = torch.tensor([2, 7, MAX_STEPS])
    is_padding = torch.arange(MAX_STEPS) >= real[:, None]
    padded = full._replace(actions=full.actions.masked_fill(is_padding[..., None], 9.0))
    rolled = predictor.rollout(*padded)
    for row, n_steps in enumerate(real.tolist()):
        alone = predictor(
            full.state[[row]], full.actions[[row], :n_steps], full.pool_token[[row]], full.shift[[row], :n_steps]
        )
        torch.testing.assert_close(rolled[row, :n_steps], alone[0], atol=1e-5, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("n_same", range(1, MAX_STEPS))
@pytest.mark.parametrize("way", ["forward", "rollout"])
def test_later_edits_do_not_move_earlier_predictions(way: str, n_same: int) -> None:
    predictor, first = new_predictor(), chains(4, MAX_STEPS)
    later = chains(4, MAX_STEPS, seed=1)
    second = first._replace(
        actions=torch.cat([first.actions[:, :n_same], later.actions[:, n_same:]], dim=1),
        shift=torch.cat([first.shift[:, :n_same], later.shift[:, n_same:]], dim=1),
    )
    predict = getattr(predictor, way)
    before, after = predict(*first), predict(*second)
    assert torch.equal(before[:, :n_same], after[:, :n_same])  # to the bit
    assert not torch.isclose(before[:, n_same:], after[:, n_same:]).all(dim=-1).any()


@torch.inference_mode()
def test_one_prefix_continues_in_many_ways() -> None:
    predictor, start, candidates = new_predictor(), chains(2, 3), chains(6, 2, seed=1)
    prefix = predictor.start(start.state, start.pool_token)
    for step in range(3):
        _, prefix = predictor.step(prefix, start.actions[:, step], start.shift[:, step])
    chosen = torch.tensor([0, 1, 1, 0, 1, 1])
    branches = prefix.rows(chosen)
    for step in range(2):
        branched, branches = predictor.step(branches, candidates.actions[:, step], candidates.shift[:, step])
    for row, origin in enumerate(chosen.tolist()):
        alone = predictor.rollout(
            start.state[[origin]],
            torch.cat([start.actions[[origin]], candidates.actions[[row]]], dim=1),
            start.pool_token[[origin]],
            torch.cat([start.shift[[origin]], candidates.shift[[row]]], dim=1),
        )
        torch.testing.assert_close(branched[row], alone[0, -1], atol=1e-6, rtol=0)
    assert (branches.n_steps, prefix.n_steps) == (5, 3)


@torch.inference_mode()
def test_continuing_a_prefix_leaves_it_as_it_was() -> None:
    predictor, given_chains = new_predictor(), chains(2, 2)
    _, prefix = predictor.step(
        predictor.start(given_chains.state, given_chains.pool_token),
        given_chains.actions[:, 0],
        given_chains.shift[:, 0],
    )
    ways = [predictor.step(prefix, given_chains.actions[:, 1], given_chains.shift[:, 1])[0] for _ in range(2)]
    assert torch.equal(*ways)


def test_more_steps_than_the_predictor_has_are_refused_unless_it_is_given_more() -> None:
    with pytest.raises(ValueError, match="17 edits .* at most 16"):
        new_predictor().rollout(*chains(1, 17))
    wide = new_predictor(PredictorConfig(CONFIG.d_state, CONFIG.d_action, CONFIG.d_hidden, max_steps=20))
    torch.testing.assert_close(wide.rollout(*chains(1, 20)), wide(*chains(1, 20)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_tokens", [1, 2, 3])
def test_the_short_ways_of_attention_are_the_general_one(n_tokens: int) -> None:
    torch.manual_seed(2)
    block, queries, memory = (
        Block(CONFIG),
        torch.randn(3, 2, CONFIG.d_hidden),
        torch.randn(3, n_tokens, CONFIG.d_hidden),
    )
    short, general = block(queries, memory), block.read(queries, block.remember(memory))
    torch.testing.assert_close(short, general, atol=1e-6, rtol=0)
    weight, parameters = torch.randn(short.shape), list(block.parameters())
    expected = torch.autograd.grad((general * weight).sum(), parameters)
    found = torch.autograd.grad((short * weight).sum(), parameters, allow_unused=True, materialize_grads=True)
    for first, second in zip(found, expected, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_one_edit_is_predicted_alike_alone_and_at_the_start_of_a_chain() -> None:
    predictor, long = new_predictor(), chains(5, 3)
    alone = predictor(long.state, long.actions[:, :1], long.pool_token, long.shift[:, :1])
    torch.testing.assert_close(alone[:, 0], predictor(*long)[:, 0], atol=1e-6, rtol=0)


def test_autocast_leaves_states_in_float32_and_of_norm_one() -> None:
    predictor, given_chains = new_predictor(), chains(4, 5)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = {"forward": predictor(*given_chains), "rollout": predictor.rollout(*given_chains)}
    exact = predictor(*given_chains)
    for way, predicted in found.items():
        assert predicted.dtype == torch.float32, way
        torch.testing.assert_close(predicted.norm(dim=-1), torch.ones(4, 5), atol=1e-6, rtol=0)
        moved = (exact - given_chains.state[:, None]).norm(dim=-1)
        assert ((predicted - exact).norm(dim=-1) < 0.03 * moved).all(), way
        assert not torch.equal(predicted, exact), way  # the blocks did run in bfloat16


@pytest.mark.parametrize("way", ["forward", "rollout"])
def test_an_untrained_predictor_under_autocast_says_no_change_exactly(way: str) -> None:
    torch.manual_seed(1)
    predictor, given_chains = Predictor(CONFIG), chains(4, 3)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = getattr(predictor, way)(*given_chains)
    same = torch.nn.functional.normalize(given_chains.state, dim=-1)
    assert torch.equal(predicted, same[:, None].expand(-1, 3, -1))


def test_gradients_under_autocast_are_those_of_float32_within_its_digits() -> None:
    predictor, given_chains, gradients = new_predictor(), chains(8, 2), []
    for is_enabled in (False, True):
        predictor.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=is_enabled):
            predicted = predictor(*given_chains)
        (predicted - given_chains.state[:, None]).square().sum().backward()
        gradients.append(
            torch.cat([value.grad.flatten() for value in predictor.parameters() if value.grad is not None])
        )
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.999
