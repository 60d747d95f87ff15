"""The world model: identity at the start, causality, injective actions, sizes, saving (spec 1, 4)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import N_COMPACT, allele_tokens
from geno_model.predictor.batch import ModelBatch, collate, edit_columns
from geno_model.predictor.world_model import WorldModel, model_config

D_STATE = 32


def random_batch(n_steps: list[int], seed: int = 0) -> ModelBatch:
    """A batch with random states and SNVs; `n_steps` holds the K of each row."""
    generator = torch.Generator().manual_seed(seed)
    n_edits = sum(n_steps)
    columns = edit_columns(
        torch.randint(3_000, (n_edits,), generator=generator).numpy(),
        torch.zeros(n_edits).numpy(),
        ["A"] * n_edits,
        ["C"] * n_edits,
        torch.randint(3, N_COMPACT, (n_edits, 4), generator=generator),
        torch.randint(3, N_COMPACT, (n_edits, 4), generator=generator),
        torch.randn(n_edits, 5, D_STATE, generator=generator),
        torch.randn(n_edits, 3 * D_STATE, generator=generator),
    )
    state = torch.nn.functional.normalize(torch.randn(len(n_steps), D_STATE, generator=generator), dim=-1)
    return collate(state, torch.full((len(n_steps),), 100), torch.tensor(n_steps), columns)


def new_model(context: str = "locus", trained: bool = True) -> WorldModel:
    torch.manual_seed(1)
    model = WorldModel(model_config("demo", D_STATE, context), torch.randn(N_COMPACT, D_STATE))  # type: ignore[arg-type]
    if trained:  # not trained, but no longer the identity
        torch.nn.init.normal_(model.predictor.get_parameter("out.3.weight"), std=0.1)
    return model.eval()


def test_an_untrained_predictor_says_no_change() -> None:
    batch = random_batch([1, 3])
    predicted = new_model(trained=False).predict(batch)
    torch.testing.assert_close(predicted, batch.state[:, None].expand(-1, 3, -1), atol=1e-7, rtol=0)


def test_predictions_are_unit_vectors() -> None:
    predicted = new_model().predict(random_batch([3, 2, 1]))
    torch.testing.assert_close(predicted.norm(dim=-1), torch.ones(3, 3), atol=1e-6, rtol=0)


def test_later_edits_do_not_move_earlier_predictions() -> None:
    model, batch = new_model(), random_batch([4, 4])
    changed_positions = batch.rel_pos.clone()
    changed_positions[:, 2:] += 500
    before, after = model.predict(batch), model.predict(replace(batch, rel_pos=changed_positions))
    assert torch.equal(before[:, :2], after[:, :2])  # to the bit
    assert not torch.allclose(before[:, 2:], after[:, 2:])


def test_a_row_alone_equals_the_row_in_a_padded_batch() -> None:
    model, batch = new_model(), random_batch([1, 4])
    alone = model.predict(batch.rows(torch.tensor([0])))
    torch.testing.assert_close(alone[0, 0], model.predict(batch)[0, 0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "field", ["rel_pos", "edit_type", "ref_lengths", "alt_tokens", "tokens_after", "pool_token", "state"]
)
def test_the_prediction_depends_on_every_input(field: str) -> None:
    model, batch = new_model(), random_batch([1])
    value = getattr(batch, field)
    moved = value + 1 if not value.is_floating_point() else torch.roll(value, 1, dims=-1)
    assert not torch.allclose(model.predict(batch), model.predict(replace(batch, **{field: moved})), atol=1e-6)


def test_context_none_ignores_the_locus_and_locus_uses_it() -> None:
    batch = random_batch([1])
    moved = replace(batch, locus=batch.locus.flip(-1))
    for context, same in (("none", True), ("sixmer", True), ("locus", False), ("pool", False)):
        model = new_model(context)
        assert torch.equal(model.predict(batch), model.predict(moved)) is same


def test_more_steps_than_the_model_has_are_refused() -> None:
    with pytest.raises(ValueError, match="split the chain"):
        new_model().predict(random_batch([17]))


def test_save_and_load_give_the_same_predictions(tmp_path: Path) -> None:
    model, batch = new_model(), random_batch([2, 1])
    model.save(tmp_path)
    loaded = WorldModel.load(tmp_path, model.action_encoder.context.get_buffer("sixmers"))  # type: ignore[union-attr]
    embeddings = torch.randn(N_COMPACT, D_STATE, generator=torch.Generator().manual_seed(3))
    first, second = WorldModel.load(tmp_path, embeddings), WorldModel.load(tmp_path, embeddings)
    assert torch.equal(first.predict(batch), second.predict(batch))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    assert {path.name for path in tmp_path.iterdir()} == {
        "predictor.safetensors",
        "action_encoder.safetensors",
        "model.json",
    }


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no usable model"):
        WorldModel.load(tmp_path, torch.zeros(N_COMPACT, D_STATE))


@pytest.mark.parametrize(("size", "low", "high"), [("small", 20e6, 24e6), ("base", 37e6, 42e6)])
def test_sizes(size: str, low: float, high: float) -> None:
    with torch.device("meta"):
        model = WorldModel(model_config(size, 1_024, "none"), torch.zeros(N_COMPACT, 1_024))  # type: ignore[arg-type]
    assert low < model.n_parameters()["predictor"] < high
    assert 2e6 <= model.n_parameters()["action_encoder"] <= 3e6


def test_the_state_after_one_edit_and_after_all_edits() -> None:
    model, batch = new_model(), random_batch([1, 3, 2])
    trajectory = model.predict(batch)
    assert not trajectory.requires_grad
    assert torch.equal(model.predict_haplotype(batch), trajectory[torch.arange(3), torch.tensor([0, 2, 1])])
    singles = random_batch([1, 1])
    assert torch.equal(model.predict_single(singles), model.predict(singles)[:, 0])
    with pytest.raises(ValueError, match="rows of one edit, got up to 3: use predict_haplotype"):
        model.predict_single(batch)


def test_an_allele_is_encoded_alike_alone_and_among_others_and_gets_the_gradient_of_all_its_rows() -> None:
    encoder = new_model().action_encoder.alleles
    alleles = ["A", "C", "A", "AC", "ACGTACG", "A", "C", "ACGTACGA"]
    tokens, lengths = (torch.from_numpy(values).long() for values in allele_tokens(alleles))
    weight = torch.randn(len(alleles), encoder(tokens, lengths).shape[1])
    together = encoder(tokens, lengths)
    alone = torch.cat([encoder(tokens[[row]], lengths[[row]]) for row in range(len(alleles))])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    assert torch.equal(together[0], together[2]) and not torch.equal(together[0], together[3])
    parameters = list(encoder.parameters())
    for first, second in zip(
        torch.autograd.grad((together * weight).sum(), parameters),
        torch.autograd.grad((alone * weight).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


def test_an_untrained_model_under_autocast_says_no_change_exactly() -> None:
    batch = random_batch([1, 3])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predicted = new_model(trained=False).predict(batch)
    same = torch.nn.functional.normalize(batch.state, dim=-1)
    assert torch.equal(predicted, same[:, None].expand(-1, 3, -1))
