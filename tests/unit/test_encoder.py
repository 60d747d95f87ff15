"""The Carbon encoder: layers, pooling, number types, identity, and the shared-prefix pass (spec 2).

Which folders it takes: `test_encoder_folder`. The traps that others fell into, one by one: `test_encoder_traps`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder.carbon import (
    CHUNK_TOKENS,
    CarbonStateEncoder,
    EncoderFolderError,
    EncoderSettingsError,
    compact_vocabulary,
    encoder_hash,
    load_encoder,
)
from geno_model.encoder.folder import ATTENTION_FILE, save_attention_pooling
from geno_model.encoder.pooling import AttentionPooling, centered_sums, pool_bounds
from geno_model.encoder.protocol import StateEncoder
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import ContractMismatchError, ContractValueError, StateContract
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array, fit_window
from geno_model.genomics.tokens import CARBON_DNA_OPEN, sixmer_ids
from tests.unit.encoders import hub_config, random_window, settings, snv, tiny_encoder, write_hub_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "tiny"
    tiny_encoder(path)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> CarbonStateEncoder:
    return tiny_encoder(folder)


def bases_at(window: np.ndarray, start: int, length: int) -> str:
    return window[start : start + length].tobytes().decode()


def plain(encoder: CarbonStateEncoder, window: np.ndarray, edits: list[RelEdit], pool_token: int) -> torch.Tensor:
    contract = encoder.contract
    fit = edits[0].rel_pos, contract.fit_side, contract.right_tokens
    edited = fit_window(apply_edits_array(window, edits), len(window), *fit)
    return encoder.encode(edited, pool_token * 6)


def test_compact_vocabulary_is_carbons_shifted() -> None:
    vocabulary = compact_vocabulary()
    carbon = {token: index + CARBON_DNA_OPEN for token, index in vocabulary.items()}
    assert (carbon["<dna>"], carbon["</dna>"], carbon["<oov>"]) == (151_669, 151_670, 151_671)
    assert (carbon["AAAAAA"], carbon["ATCGAT"], carbon["GGGGGG"]) == (151_672, 152_105, 155_767)


def test_pool_is_a_mean_over_dna_tokens_only() -> None:
    hidden = torch.arange(10.0)[:, None]  # DNA token t has value t: no <dna>, no off-by-one (spec 2, trap 2)
    low, high = pool_bounds(torch.tensor([0, 5, 9]), 10, radius=2)
    means = centered_sums(hidden, low, high)[:, 0] / (high - low)
    assert means.tolist() == [1.0, 5.0, 8.0]


def test_encode_pools_the_hidden_states_of_the_dna_tokens(encoder: CarbonStateEncoder) -> None:
    window = random_window(1)
    ids = torch.from_numpy(np.concatenate([[0], sixmer_ids(window), [1]]).astype(np.int64))[None]
    with torch.inference_mode():
        hidden = encoder.model.model(input_ids=ids).last_hidden_state[0]
    expected = hidden[1 + 100 - 16 : 1 + 100 + 17].mean(dim=0)
    torch.testing.assert_close(encoder.encode(window, 603), expected / expected.norm(), atol=1e-6, rtol=0)


def test_the_encoder_is_a_state_encoder(encoder: CarbonStateEncoder) -> None:
    states = encoder.encode_batch(np.stack([random_window(seed) for seed in range(3)]), [60, 600, 1_500])
    assert states.dtype == torch.float32 and states.shape == (3, encoder.d_state) == (3, 32)
    assert isinstance(encoder, StateEncoder)


def test_the_pool_depends_on_the_locus(encoder: CarbonStateEncoder) -> None:
    window = random_window(4)
    assert (encoder.encode(window, 300) - encoder.encode(window, 900)).norm() > 1e-3


@pytest.mark.parametrize("position", [0, 5, 64, 767, 1_400, 3_071])
def test_shared_prefix_equals_the_plain_way_for_snvs(encoder: CarbonStateEncoder, position: int) -> None:
    window = random_window(position)
    edit = snv(window, position)
    encoded = encode_window(encoder, window, [[edit]], np.array([position // 6]))
    torch.testing.assert_close(encoded.targets[0], plain(encoder, window, [edit], position // 6), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded.reference[0], encoder.encode(window, position), atol=1e-5, rtol=0)


def test_shared_prefix_equals_the_plain_way_for_indels_chains_and_off_centre_pools(encoder: CarbonStateEncoder) -> None:
    window = random_window(9)
    insertion = RelEdit(300, EditType.INS, bases_at(window, 300, 1), bases_at(window, 300, 1) + "GATTA")
    deletion = RelEdit(400, EditType.DEL, bases_at(window, 400, 8), bases_at(window, 400, 1))
    near_end = RelEdit(3_000, EditType.DEL, bases_at(window, 3_000, 4), bases_at(window, 3_000, 1))
    start_of_window = RelEdit(2, EditType.INS, bases_at(window, 2, 1), bases_at(window, 2, 1) + "C")
    chains = [
        [insertion],
        [deletion],
        [near_end],
        [start_of_window],
        [insertion, deletion, snv(window, 420)],
        [snv(window, 700)],
        [snv(window, 701)],
    ]
    pools = np.array([50, 66, 500, 0, 50, 110, 130])  # the last two lie left and right of their edit's token, 116
    encoded = encode_window(encoder, window, chains, pools)
    row = 0
    for chain, pool in zip(chains, pools, strict=True):
        for step in range(1, len(chain) + 1):
            torch.testing.assert_close(
                encoded.targets[row], plain(encoder, window, chain[:step], int(pool)), atol=1e-5, rtol=0
            )
            row += 1
    assert row == len(encoded.targets) == 9


def test_an_edit_right_of_its_pool_changes_nothing(encoder: CarbonStateEncoder) -> None:
    window = random_window(10)
    encoded = encode_window(encoder, window, [[snv(window, 900)]], np.array([100]))
    assert torch.equal(encoded.targets, encoded.reference)


def test_the_opposite_side_is_encoded_in_full_and_right(folder: Path) -> None:
    encoder = tiny_encoder(folder, fit_side="opposite")
    window = random_window(11)
    edit = RelEdit(1_000, EditType.DEL, bases_at(window, 1_000, 3), bases_at(window, 1_000, 1))
    encoded = encode_window(encoder, window, [[edit]], np.array([1_000 // 6]))
    torch.testing.assert_close(encoded.targets[0], plain(encoder, window, [edit], 1_000 // 6), atol=1e-5, rtol=0)


def test_tokens_run_are_counted(encoder: CarbonStateEncoder) -> None:
    window = random_window(12)
    before = encoder.n_tokens_run
    encode_window(encoder, window, [[snv(window, 600)], [snv(window, 606)]], np.array([100, 101]))
    # <dna> and the window up to the last pool, 119 tokens, to the end of a chunk; then c .. c + 16 each
    assert encoder.n_tokens_run - before == CHUNK_TOKENS + 2 * 17


def test_locus_states_and_tokens(encoder: CarbonStateEncoder) -> None:
    window = random_window(13)
    edit = RelEdit(604, EditType.INS, bases_at(window, 604, 1), bases_at(window, 604, 1) + "TTT")
    encoded = encode_window(encoder, window, [[edit]], np.array([100]))
    ids = torch.from_numpy(np.concatenate([[0], sixmer_ids(window)]).astype(np.int64))[None]
    with torch.inference_mode():
        hidden = encoder.model.model(input_ids=ids).last_hidden_state[0]
    behind = [hidden[102:106].mean(dim=0), hidden[106:118].mean(dim=0)]  # 101 to 104, and 105 to the pool's last, 116
    by_hand = torch.stack([*hidden[100:102], *behind, torch.zeros_like(behind[0])])  # `hidden` begins with <dna>
    torch.testing.assert_close(encoded.locus[0], by_hand, atol=1e-5, rtol=0)
    edited = np.concatenate([window[:605], np.frombuffer(b"TTT", dtype=np.uint8), window[605:]])
    assert encoded.tokens_before[0].tolist() == sixmer_ids(window[600:624]).tolist()
    assert encoded.tokens_after[0].tolist() == sixmer_ids(edited[600:624]).tolist()
    at_the_start = encode_window(encoder, window, [[snv(window, 2)]], np.array([0])).locus[0]
    assert not at_the_start[0].any()  # nothing lies left of token 0
    torch.testing.assert_close(at_the_start[1], hidden[1], atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Carbon's vocabulary and layout, four layers of width 16."""
    path = tmp_path_factory.mktemp("hub") / "carbon"
    write_hub_folder(path, hub_config())
    return path


def test_each_layer_is_that_of_transformers_and_only_the_last_has_passed_the_norm(hub: Path) -> None:
    window = random_window(14)
    ids = torch.from_numpy(np.concatenate([[0], sixmer_ids(window), [1]]).astype(np.int64))[None] + CARBON_DNA_OPEN
    states = []
    for layer in (-1, -2, -3, -4):
        encoder = CarbonStateEncoder.load(hub, settings(layer=layer))
        with torch.inference_mode():
            out = encoder.model.model(input_ids=ids, output_hidden_states=True)
        pooled = out.hidden_states[layer][0, 1 + 100 - 16 : 1 + 100 + 17].mean(dim=0)
        states.append(encoder.encode(window, 600))
        torch.testing.assert_close(states[-1], pooled / pooled.norm(), atol=1e-6, rtol=0)
        root_mean_square = out.hidden_states[layer].square().mean(dim=-1).sqrt()
        is_normed = bool(((root_mean_square - 1).abs() < 1e-3).all())  # the final norm of this model scales by 1
        assert is_normed == (layer == -1)
        encoded = encode_window(encoder, window, [[snv(window, 600)]], np.array([100]))
        torch.testing.assert_close(encoded.reference[0], states[-1], atol=1e-5, rtol=0)
    assert torch.pdist(torch.stack(states)).min() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_states_are_float32_of_norm_one_in_every_arithmetic(hub: Path, dtype: str) -> None:
    """float32 arithmetic of weights that are stored in bf16, as Carbon's are, is float32 throughout."""
    exact = CarbonStateEncoder.load(hub, settings())
    encoder = CarbonStateEncoder.load(hub, settings(dtype=dtype))
    assert encoder.model.dtype == getattr(torch, dtype) and encoder.contract.dtype == dtype
    windows, loci = np.stack([random_window(seed) for seed in range(2)]), [600, 900]
    states = encoder.encode_batch(windows, loci)
    assert states.dtype == torch.float32 and states.shape == (2, 16)
    torch.testing.assert_close(states.norm(dim=1), torch.ones(2), atol=1e-6, rtol=0)
    bound = 0 if dtype == "float32" else 4 * torch.finfo(encoder.model.dtype).eps
    assert (states - exact.encode_batch(windows, loci)).norm(dim=1).max() <= bound
    assert (encoder.encoder_hash == exact.encoder_hash) == (dtype == "float32")
    if dtype != "float32":
        with pytest.raises(ContractMismatchError, match=f"dtype: 'float32' here, '{dtype}' there"):
            exact.contract.require_same(encoder.contract, "here")


def test_global_mean_pools_the_whole_window_both_ways(folder: Path, encoder: CarbonStateEncoder) -> None:
    globally = tiny_encoder(folder, pooling="global_mean", radius_tokens=512)
    window = random_window(15)
    expected = encoder.encode(window)
    assert torch.equal(globally.encode(window, 600), expected) and torch.equal(globally.encode(window), expected)
    assert globally.encoder_hash == encoder.encoder_hash and globally.contract != encoder.contract
    edit = snv(window, 600)
    encoded = encode_window(globally, window, [[edit]], np.array([100]))
    torch.testing.assert_close(encoded.reference[0], expected, atol=1e-5, rtol=0)
    edited = apply_edits_array(window, [edit])
    torch.testing.assert_close(encoded.targets[0], globally.encode(edited), atol=1e-5, rtol=0)


def test_attention_weights_sum_to_one_within_the_pool_and_are_a_mean_at_zero() -> None:
    pooling, hidden = AttentionPooling(8), torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    low, high = pool_bounds(torch.tensor([0, 20, 49]), 50, 5)
    means = centered_sums(hidden, low, high) / (high - low)[:, None]
    torch.testing.assert_close(pooling(hidden, low, high), means.float(), atol=1e-6, rtol=0)
    pooling.query.data = torch.tensor([3.0, -2.0, 0, 0, 1, 0, 0, 0])
    weights = pooling.weights(hidden, low, high)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3), atol=1e-6, rtol=0)
    assert [row.nonzero()[:, 0].tolist() for row in weights] == [[*range(6)], [*range(15, 26)], [*range(44, 50)]]
    expected = ((hidden[15:26] @ pooling.query) / 8**0.5).softmax(dim=0) @ hidden[15:26]
    torch.testing.assert_close(pooling(hidden, low, high)[1], expected, atol=1e-6, rtol=0)
    pooling(hidden, low, high).square().sum().backward()
    assert pooling.query.grad is not None and pooling.query.grad.any()


def test_attention_pooling_has_its_weights_in_the_folder_and_in_the_identity(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "tiny")
    with pytest.raises(EncoderFolderError, match=r"attention\.safetensors: not there, but the pooling is 'attention'"):
        tiny_encoder(tmp_path / "tiny", pooling="attention")
    pooling, window = AttentionPooling(32), random_window(16)
    save_attention_pooling(pooling, tmp_path / "tiny")
    at_zero = tiny_encoder(tmp_path / "tiny", pooling="attention")
    torch.testing.assert_close(at_zero.encode(window, 600), encoder.encode(window, 600), atol=1e-6, rtol=0)
    pooling.query.data.fill_(2.0)
    save_attention_pooling(pooling, tmp_path / "tiny")
    learned = tiny_encoder(tmp_path / "tiny", pooling="attention")
    assert (learned.encode(window, 600) - encoder.encode(window, 600)).norm() > 1e-3
    plain_again = tiny_encoder(tmp_path / "tiny")
    assert plain_again.encoder_hash == encoder.encoder_hash
    assert len({encoder.encoder_hash, at_zero.encoder_hash, learned.encoder_hash}) == 3
    with pytest.raises(EncoderSettingsError, match="edits of a window cannot share a pass; use encode_batch"):
        encode_window(learned, window, [[snv(window, 600)]], np.array([100]))


def test_attention_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    tiny_encoder(tmp_path / "tiny")
    save_attention_pooling(AttentionPooling(33), tmp_path / "tiny")
    with pytest.raises(EncoderFolderError, match=r"shape \(33,\), the encoder's hidden size is 32"):
        tiny_encoder(tmp_path / "tiny", pooling="attention")
    (tmp_path / "tiny" / ATTENTION_FILE).write_bytes(b"cut off")
    with pytest.raises(EncoderFolderError, match="no weights of an attention pooling"):
        tiny_encoder(tmp_path / "tiny", pooling="attention")


def test_encoder_hash_changes_with_weights_config_tokenizer_and_dtype(tmp_path: Path) -> None:
    tiny_encoder(tmp_path / "a")
    tiny_encoder(tmp_path / "b", seed=1)
    hashes = {
        encoder_hash(tmp_path / "a", "float32"),
        encoder_hash(tmp_path / "a", "bfloat16"),
        encoder_hash(tmp_path / "b", "float32"),
    }
    config = json.loads((tmp_path / "b" / "config.json").read_text())
    (tmp_path / "b" / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    hashes.add(encoder_hash(tmp_path / "b", "float32"))
    assert len(hashes) == 4


def test_another_encoder_is_refused(tmp_path: Path, encoder: CarbonStateEncoder) -> None:
    tiny_encoder(tmp_path / "other", seed=5)
    with pytest.raises(ContractMismatchError, match="give the folder of that encoder"):
        load_encoder(tmp_path / "other", encoder.contract)


def test_contracts_that_differ_never_meet(encoder: CarbonStateEncoder) -> None:
    contract = encoder.contract
    assert StateContract.from_dict(contract.to_dict()) == contract
    contract.require_same(StateContract.from_dict(contract.to_dict()), "here")
    other = StateContract(**settings(stride_bp=512, layer=-2), encoder_hash=contract.encoder_hash)
    with pytest.raises(
        ContractMismatchError, match=r"scoring: .*stride_bp: 2048 here, 512 there; layer: -1 here, -2 there"
    ):
        contract.require_same(other, "scoring")


@pytest.mark.parametrize(
    "changes",
    [
        {"layer": 0},
        {"layer": -5},
        {"pooling": "max"},
        {"dtype": "float64"},
        {"context": "all"},
        {"fit_side": "left"},
        {"window_bp": 3_070},
        {"window_bp": 0},
        {"stride_bp": 0},
        {"radius_tokens": -1},
        {"pooling": "global_mean"},
    ],
)
def test_settings_that_no_state_can_follow_are_refused(changes: dict[str, object]) -> None:
    name = "radius_tokens" if changes.get("pooling") == "global_mean" else next(iter(changes))
    with pytest.raises(ContractValueError, match=f"state contract: .*{name} .*expected"):
        StateContract(**settings(**changes), encoder_hash="")
