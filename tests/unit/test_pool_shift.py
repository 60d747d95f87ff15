"""The shift of a pool: by hand, for every kind of edit, and bound to its encoder (RFC 0006)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder.pool_shift import load_sixmer_states, measure_sixmer_states, save_sixmer_states
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import ContractMismatchError
from geno_model.genomics.edits import apply_edits_array, fit_window
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import N_COMPACT, sixmer_ids
from tests.unit.encoders import WINDOW_BP, random_window, snv, tiny_encoder
from tests.unit.test_shared_prefix import chains_of, drawn_edits

N_TOKENS = WINDOW_BP // 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "tiny"
    tiny_encoder(path)
    return path


@pytest.mark.parametrize("fit_side", ["right", "opposite"])
def test_equals_the_slow_sum_over_the_pool(folder: Path, fit_side: str) -> None:
    encoder = tiny_encoder(folder, context="pool", fit_side=fit_side)
    table = torch.randn(N_COMPACT, encoder.d_state, generator=torch.Generator().manual_seed(1))
    encoder.set_sixmer_states(table)
    window = random_window(5)
    chains = chains_of(drawn_edits(window, 5, 5, margin_bp=0), 3)
    pools = np.array([min(chain[0].rel_pos // 6 + 3, N_TOKENS - 1) for chain in chains])
    encoded = encode_window(encoder, window, chains, pools)
    before = sixmer_ids(window)
    expected = []
    for chain, pool in zip(chains, pools.tolist(), strict=True):
        low, high = max(pool - 16, 0), min(pool + 17, N_TOKENS)
        hidden = encoder.hidden_states_of(torch.tensor([[0, *before.tolist()]]), -1)[0, 1:]
        length = hidden[low:high].double().sum(dim=0).norm()
        for k in range(1, len(chain) + 1):
            edited = fit_window(apply_edits_array(window, chain[:k]), WINDOW_BP, chain[0].rel_pos, fit_side)  # type: ignore[arg-type]
            after = sixmer_ids(edited)
            change = table[after[low:high].astype(int)].double() - table[before[low:high].astype(int)].double()
            unusual = (hidden[low:high].double() - table[before[low:high].astype(int)].double())[
                torch.from_numpy(before[low:high] != after[low:high])
            ]
            expected.append(torch.cat([change.sum(dim=0), unusual.sum(dim=0)]) / length)
    torch.testing.assert_close(encoded.shift.double(), torch.stack(expected), atol=1e-6, rtol=1e-5)
    assert (encoded.shift.norm(dim=1) > 0).all()


def test_other_contexts_have_none(folder: Path) -> None:
    window = random_window(5)
    encoded = encode_window(tiny_encoder(folder), window, [[snv(window, 600)]], np.array([100]))
    assert encoded.shift.shape == (1, 0)


def test_the_table_is_a_mean_over_every_six_mer_and_the_same_again(folder: Path) -> None:
    encoder = tiny_encoder(folder)
    one, two = measure_sixmer_states(encoder, 1), measure_sixmer_states(encoder, 1)
    assert torch.equal(one, two)
    assert one.shape == (N_COMPACT, encoder.d_state)
    assert not one[:3].any() and one[3:].any(dim=1).all()
    order = torch.from_numpy(np.random.default_rng(20_260_101).permutation(4_096) + 3)[:2_048]
    hidden = encoder.hidden_states_of(torch.cat([torch.tensor([0]), order])[None], -1)[0, 1:]
    torch.testing.assert_close(one[order], hidden, atol=1e-6, rtol=0)


def test_a_table_of_another_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder(folder)
    encoder.set_sixmer_states(torch.ones(N_COMPACT, encoder.d_state))
    save_sixmer_states(tmp_path, encoder)
    again = tiny_encoder(folder)
    load_sixmer_states(tmp_path, again)
    assert torch.equal(again.sixmer_states(), torch.ones(N_COMPACT, encoder.d_state))
    with pytest.raises(ContractMismatchError, match="another encoder or layer"):
        load_sixmer_states(tmp_path, tiny_encoder(tmp_path / "other", seed=7))
    with pytest.raises(ContractMismatchError, match="another encoder or layer"):
        load_sixmer_states(tmp_path, tiny_encoder(folder, layer=-2))
    with pytest.raises(InputError, match="no table of six-mer states"):
        load_sixmer_states(tmp_path / "nothing", again)
    (tmp_path / "sixmer_states.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="no table of six-mer states"):
        load_sixmer_states(tmp_path, again)
