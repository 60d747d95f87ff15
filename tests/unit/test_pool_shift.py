"""The shift of a pool: by hand, for every kind of edit, and bound to its encoder (RFC 0006)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder import other_frames
from geno_model.encoder.pool_shift import load_sixmer_states, measure_sixmer_states, save_sixmer_states
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import ContractMismatchError
from geno_model.genomics.edits import RelEdit, apply_edits_array, fit_window
from geno_model.genomics.edits import fit_side as fit_side_of
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


def slow_origins(edits: list[RelEdit], is_cut_left: bool) -> list[int | None]:
    """The reference base of each base of the edited window, edit by edit from the right."""
    bases: list[int | None] = list(range(WINDOW_BP))
    for edit in reversed(edits):
        bases[edit.rel_pos : edit.rel_end] = [None] * len(edit.alt_bases)
    while len(bases) < WINDOW_BP:
        bases.insert(0 if is_cut_left else len(bases), None)
    return bases[-WINDOW_BP:] if is_cut_left else bases[:WINDOW_BP]


@pytest.mark.parametrize("fit_side", ["right", "opposite"])
def test_equals_the_slow_sum_over_the_pool(folder: Path, fit_side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_frames, "CONTEXT_TOKENS", N_TOKENS)  # the whole reference in each frame
    encoder = tiny_encoder(folder, context="pool", fit_side=fit_side)
    table = torch.randn(N_COMPACT, encoder.d_state, generator=torch.Generator().manual_seed(1))
    encoder.set_sixmer_states(table)
    window = random_window(5)
    chains = chains_of(drawn_edits(window, 5, 5, margin_bp=0), 3)
    pools = np.array([min(chain[0].rel_pos // 6 + 3, N_TOKENS - 1) for chain in chains])
    encoded = encode_window(encoder, window, chains, pools)
    before, frames = sixmer_ids(window), []
    for frame in range(6):
        ids = sixmer_ids(window[frame : len(window) - (6 - frame) % 6])
        frames.append(encoder.hidden_states_of(torch.tensor([[0, *ids.tolist()]]), -1)[0, 1:].double())
    expected, n_arrivals = [], 0
    for chain, pool in zip(chains, pools.tolist(), strict=True):
        low, high = max(pool - 16, 0), min(pool + 17, N_TOKENS)
        length = frames[0][low:high].sum(dim=0).norm()
        for k in range(1, len(chain) + 1):
            is_longer = sum(len(edit.alt_bases) - len(edit.ref_bases) for edit in chain[:k]) != 0
            is_cut_left = is_longer and fit_side_of(chain[0].rel_pos, WINDOW_BP, fit_side, 16) == "left"  # type: ignore[arg-type]
            edited = apply_edits_array(window, chain[:k])
            after = sixmer_ids(fit_window(edited, WINDOW_BP, chain[0].rel_pos, fit_side, 16))
            from_base = slow_origins(chain[:k], is_cut_left)
            parts = torch.zeros(3, encoder.d_state, dtype=torch.float64)
            for token in range(low, high):
                if before[token] == after[token]:
                    continue
                new, old = table[int(after[token])].double(), table[int(before[token])].double()
                parts[0] += new - old
                parts[1] += frames[0][token] - old
                six = from_base[6 * token : 6 * token + 6]
                if six[0] is None or (six[0] % 6 == 0 and six[0] >= 6 * high):  # behind the pool: not run
                    continue
                if six == list(range(six[0], six[0] + 6)):
                    parts[2] += frames[six[0] % 6][six[0] // 6] - new
                    n_arrivals += 1
            expected.append(parts.flatten() / length)
    assert n_arrivals > 150
    torch.testing.assert_close(encoded.shift.double(), torch.stack(expected), atol=2e-5, rtol=1e-4)


def test_a_row_is_the_same_alone_and_among_others(folder: Path) -> None:
    encoder = tiny_encoder(folder, context="pool")
    encoder.set_sixmer_states(torch.randn(N_COMPACT, encoder.d_state, generator=torch.Generator().manual_seed(1)))
    window = random_window(7)
    chains = chains_of(drawn_edits(window, 7, 6, margin_bp=0), 2)
    pools = np.array([chain[0].rel_pos // 6 for chain in chains])
    together, row = encode_window(encoder, window, chains, pools).shift, 0
    for chain, pool in zip(chains, pools.tolist(), strict=True):
        alone = encode_window(encoder, window, [chain], np.array([pool])).shift
        torch.testing.assert_close(together[row : row + len(chain)], alone, atol=2e-5, rtol=1e-4)
        row += len(chain)


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
