"""Ridge on the predictor's inputs: finds a linear law, stands still where it has nothing, sees no later edit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import torch

from geno_model.encoder.state_contract import StateContract
from geno_model.genomics.tokens import N_COMPACT
from geno_model.training.objective import skill
from geno_model.training.state_store import StateTable
from geno_pipeline.evaluation.baselines import inputs, ridge_predictions, row_kinds, untrained
from tests.unit.encoders import settings
from tests.unit.test_predictor import D_STATE, new_model, random_batch

SIXMERS = torch.randn(N_COMPACT, D_STATE, generator=torch.Generator().manual_seed(9))
LAW = torch.randn(3 * D_STATE, D_STATE, generator=torch.Generator().manual_seed(8)) * 1e-3


def table(n_steps: list[int], seed: int) -> StateTable:
    """Rows whose true change is a fixed linear map of the shift of the pool."""
    batch = random_batch(n_steps, seed)
    targets = torch.nn.functional.normalize(batch.state[:, None] + batch.shift @ LAW, dim=-1) * batch.mask[..., None]
    contract = StateContract(**settings(context="pool"), encoder_hash="x")
    return StateTable(pl.DataFrame({"k": n_steps}), batch, targets, contract, SIXMERS)


def test_ridge_finds_a_linear_law_in_single_edits() -> None:
    training, rows = table([1] * 1_500, 0), table([1] * 50, 1)
    predicted = torch.from_numpy(ridge_predictions(training, rows))
    assert skill(predicted[:, 0], rows.targets[:, 0], rows.batch.state) > 0.8
    np.testing.assert_allclose(predicted.norm(dim=-1), 1, atol=1e-6)


def test_kinds_of_rows_have_regressions_of_their_own() -> None:
    rows = table([1, 2, 1], 1)
    assert row_kinds(rows.batch).tolist() == [0, -1, 0]
    predicted = torch.from_numpy(ridge_predictions(table([1] * 100, 0), rows))
    torch.testing.assert_close(predicted[1], rows.batch.state[1].expand(2, -1))  # no chains to learn from: no change
    assert not torch.allclose(predicted[0, 0], rows.batch.state[0])


def test_inputs_of_a_step_hold_no_later_edit() -> None:
    batch = random_batch([3, 3])
    moved = batch.rel_pos.clone()
    moved[:, 2] += 7
    before, after = inputs(batch, SIXMERS), inputs(replace(batch, rel_pos=moved), SIXMERS)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (before[:, 2] != after[:, 2]).any()


def test_an_untrained_model_moves_states_and_the_trained_one_stays_as_it_is() -> None:
    model, batch = new_model(), random_batch([1, 2])
    before = model.predict(batch)
    other = untrained(model, SIXMERS)
    assert torch.equal(model.predict(batch), before)
    assert not torch.allclose(other.predict(batch), batch.state[:, None].expand(-1, 2, -1), atol=1e-3)
