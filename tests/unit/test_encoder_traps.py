"""The traps that public implementations of this design fell into, each with its test (spec 2, "Traps"; pitfalls.md).

The encoder's alone; noise of an arithmetic (pitfall 33) is in `test_noise`.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import data_contracts
import geno_model
import geno_pipeline
from geno_model.encoder.carbon import CHUNK_TOKENS, CarbonStateEncoder, load_encoder
from geno_model.encoder.pooling import unit
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import ContractMismatchError, ContractValueError, StateContract
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array, fit_window
from geno_model.genomics.genome import Genome
from geno_pipeline.build.states import build_states
from tests.unit.encoders import WINDOW_BP, random_window, settings, snv, tiny_encoder
from tests.unit.training_rows import random_genome, rows_of_edits

N_TOKENS = WINDOW_BP // 6
RADIUS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "tiny"
    tiny_encoder(path)
    return path


@pytest.fixture
def encoder(folder: Path) -> CarbonStateEncoder:
    return tiny_encoder(folder)


class SaysItsPlace(torch.nn.Module):
    """In the place of a Llama: the hidden state at index i, `<dna>` at 0, is 33 times the i-th unit vector."""

    def forward(self, input_ids: torch.Tensor, **_: object) -> SimpleNamespace:
        hidden = 33 * torch.eye(input_ids.shape[1]).expand(len(input_ids), -1, -1)
        return SimpleNamespace(last_hidden_state=hidden, past_key_values=None)


@pytest.mark.parametrize("changes", [{}, {"layer": -2}, {"pooling": "global_mean", "radius_tokens": N_TOKENS}])
def test_trap_1_every_state_has_norm_one(folder: Path, changes: dict[str, Any]) -> None:
    """Trap 1, pitfall 1: the config said "normalise", the code did not, and states had norm 33."""
    encoder, window = tiny_encoder(folder, **changes), random_window(1)
    encoded = encode_window(encoder, window, [[snv(window, 600)]], np.array([100]))
    states = torch.cat([encoder.encode_batch(window[None], [600]), encoded.reference, encoded.targets])
    torch.testing.assert_close(states.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)


def test_trap_1_a_config_that_asks_for_other_norms_is_refused() -> None:
    """Trap 1: a setting that the code would ignore is an error."""
    with pytest.raises(ContractValueError, match="normalise is False, expected one of True"):
        StateContract(**settings(normalise=False), encoder_hash="")


@pytest.mark.parametrize(
    ("locus", "first", "last"),
    [
        (600, 100 - RADIUS, 100 + RADIUS),
        (605, 100 - RADIUS, 100 + RADIUS),
        (0, 0, RADIUS),
        (WINDOW_BP - 1, N_TOKENS - 1 - RADIUS, N_TOKENS - 1),
        (None, 0, N_TOKENS - 1),
    ],
)
def test_trap_2_the_pool_is_centred_on_the_locus_and_holds_no_control_token(
    encoder: CarbonStateEncoder, locus: int | None, first: int, last: int
) -> None:
    """Trap 2, pitfall 2: hidden state 0 is `<dna>`, so DNA token t sits at t + 1; exact values by hand."""
    encoder.model.model = SaysItsPlace()  # pyright: ignore[reportAttributeAccessIssue]
    state = encoder.encode(random_window(2), locus)
    expected = torch.zeros(1 + N_TOKENS + 1)
    expected[1 + first : 1 + last + 1] = (last - first + 1) ** -0.5
    torch.testing.assert_close(state, expected, atol=1e-7, rtol=1e-6)


def test_trap_3_states_at_different_loci_never_share_a_key(tmp_path: Path, encoder: CarbonStateEncoder) -> None:
    """Trap 3, pitfall 3: a cache key without the pooling centre. The key of a shard is over the pool tokens too."""
    genome: Genome = random_genome(tmp_path)
    rows = rows_of_edits(genome, per_window=6)
    assert build_states(rows, genome, encoder, tmp_path / "states").n_shards_kept == 0
    assert build_states(rows, genome, encoder, tmp_path / "states").n_shards_kept == 1
    moved = rows.with_columns(rows["pool_token"] + 1)
    assert build_states(moved, genome, encoder, tmp_path / "states").n_shards_kept == 0


@pytest.mark.parametrize("pool_token", [90, 100, 110])
def test_trap_4_source_and_target_are_pooled_at_one_token(encoder: CarbonStateEncoder, pool_token: int) -> None:
    """Trap 4, pitfall 4: an insertion moves its bases, not the pool; wherever the pool is, it is the same for both."""
    window = random_window(4)
    bases = window[600:601].tobytes().decode()
    edit = RelEdit(600, EditType.INS, bases, bases + "GATTACA")
    encoded = encode_window(encoder, window, [[edit]], np.array([pool_token]))
    edited = fit_window(apply_edits_array(window, [edit]), WINDOW_BP, 600, "right", RADIUS)
    before, after = encoder.encode_batch(np.stack([window, edited]), [pool_token * 6] * 2)
    torch.testing.assert_close(encoded.reference[0], before, atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded.targets[0], after, atol=1e-5, rtol=0)
    elsewhere = encoder.encode(window, pool_token * 6 + 6)
    assert (elsewhere - encoded.reference[0]).norm() > 1e-3


def test_trap_5_remote_code_is_never_asked_for() -> None:
    """Trap 5, pitfall 6: no call in any package passes `trust_remote_code`, and no tokenizer class is loaded."""
    seen: list[str] = []
    for package in (data_contracts, geno_model, geno_pipeline):
        for path in Path(package.__path__[0]).rglob("*.py"):
            tree = ast.parse(path.read_text())
            arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
            names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert "trust_remote_code" not in arguments, path
            assert not {name for name in names if name.endswith(("Tokenizer", "TokenizerFast"))}, path
            seen.append(path.name)
    assert "carbon.py" in seen


def test_pitfall_18_the_surprise_is_the_change_and_not_the_norm() -> None:
    """With raw states σ was the norm of the edited one: correlation 1.000, with the true change -0.80."""
    generator = torch.Generator().manual_seed(0)
    n, d = 2_000, 64
    norm = 20 + 26 * torch.rand(n, 1, generator=generator)  # about 33, as raw states have
    before = unit(torch.randn(n, d, generator=generator))
    size = 0.02 * torch.rand(n, 1, generator=generator)
    raw_after = norm * unit(before + size * torch.randn(n, d, generator=generator))
    true_change = torch.linalg.vector_norm(unit(raw_after) - before, dim=1)
    predicted = unit(before + 1e-3 * torch.randn(n, d, generator=generator))  # near "no change", as predictors are

    def correlations(after: torch.Tensor) -> tuple[float, float]:
        surprise = (predicted - after).norm(dim=1)
        both = torch.corrcoef(torch.stack([surprise, raw_after.norm(dim=1), true_change]))
        return float(both[0, 1]), float(both[0, 2])

    with_norm, with_change = correlations(unit(raw_after))
    assert with_change > 0.99 and abs(with_norm) < 0.1
    assert correlations(raw_after)[0] > 0.999  # what the fault looked like


@pytest.mark.parametrize(
    "changes", [{"window_bp": 1_536}, {"pooling": "global_mean", "radius_tokens": N_TOKENS}, {"layer": -2}]
)
def test_pitfall_20_states_of_two_contracts_never_meet(folder: Path, changes: dict[str, Any]) -> None:
    """Training used a global mean and 4,096 bp, scoring a centred one and 12,288: one contract, compared everywhere."""
    one, other = tiny_encoder(folder).contract, tiny_encoder(folder, **changes).contract
    assert one.encoder_hash == other.encoder_hash and one.digest != other.digest
    with pytest.raises(ContractMismatchError, match=f"scoring: .*{next(iter(changes))}: .* here, .* there"):
        one.require_same(other, "scoring")


def test_pitfall_20_an_encoder_in_another_arithmetic_is_another_encoder(folder: Path) -> None:
    contract = tiny_encoder(folder, dtype="float16").contract
    assert load_encoder(folder, contract).contract == contract
    wrong = StateContract.from_dict(tiny_encoder(folder).contract.to_dict() | {"dtype": "float16"})
    with pytest.raises(ContractMismatchError, match="give the folder of that encoder"):
        load_encoder(folder, wrong)


@pytest.mark.parametrize("loci", [None, [60, 600, 1_500]])
def test_pitfall_23_a_batch_of_one_equals_a_batch_of_many(encoder: CarbonStateEncoder, loci: list[int] | None) -> None:
    """Pad tokens were averaged into the pool: the same window alone and in a batch had a cosine of 0.49."""
    windows = np.stack([random_window(seed) for seed in range(3)])
    many = encoder.encode_batch(windows, loci)
    for index, window in enumerate(windows):
        one = encoder.encode(window, None if loci is None else loci[index])
        torch.testing.assert_close(one, many[index], atol=1e-6, rtol=0)


@pytest.mark.parametrize("fit_side", ["right", "opposite"])
def test_pitfall_24_a_centred_indel_leaves_the_frame_of_its_prefix(folder: Path, fit_side: str) -> None:
    """Centred indels were cut on the left, so every six-mer of the prefix moved. A tie goes right, by either rule."""
    encoder, window = tiny_encoder(folder, fit_side=fit_side), random_window(24)
    centre = WINDOW_BP // 2
    bases = window[centre : centre + 1].tobytes().decode()
    edit = RelEdit(centre, EditType.INS, bases, bases + "GT")
    edited = fit_window(apply_edits_array(window, [edit]), WINDOW_BP, centre, fit_side, RADIUS)
    assert np.array_equal(edited[:centre], window[:centre])
    before = encoder.n_tokens_run
    encode_window(encoder, window, [[edit]], np.array([centre // 6]))
    n_pool = RADIUS + 1
    assert (
        encoder.n_tokens_run - before == 3 * CHUNK_TOKENS + n_pool
    )  # 274 tokens in chunks; the prefix is not run again
