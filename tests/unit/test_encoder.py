"""The Carbon encoder: tokens, pooling, identity, and the shared-prefix pass against the plain one (spec 2)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder.carbon import (
    CarbonStateEncoder,
    EncoderFolderError,
    compact_vocabulary,
    encoder_hash,
    load_encoder,
)
from geno_model.encoder.pooling import centered_sums, pool_bounds
from geno_model.encoder.protocol import StateEncoder
from geno_model.encoder.shared_prefix import encode_window
from geno_model.encoder.state_contract import ContractMismatchError, StateContract
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array, fit_window
from geno_model.genomics.tokens import CARBON_DNA_OPEN
from tests.unit.encoders import random_window, settings, tiny_encoder


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


def snv(window: np.ndarray, position: int) -> RelEdit:
    ref = bases_at(window, position, 1)
    return RelEdit(position, EditType.SNV, ref, "ACGT"["ACGT".index(ref) - 1])


def plain(encoder: CarbonStateEncoder, window: np.ndarray, edits: list[RelEdit], pool_token: int) -> torch.Tensor:
    edited = fit_window(apply_edits_array(window, edits), len(window), edits[0].rel_pos, encoder.contract.fit_side)
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
    from geno_model.genomics.tokens import sixmer_ids

    window = random_window(1)
    ids = torch.from_numpy(np.concatenate([[0], sixmer_ids(window), [1]]).astype(np.int64))[None]
    with torch.inference_mode():
        hidden = encoder.model.model(input_ids=ids).last_hidden_state[0]
    expected = hidden[1 + 100 - 16 : 1 + 100 + 17].mean(dim=0)
    torch.testing.assert_close(encoder.encode(window, 603), expected / expected.norm(), atol=1e-6, rtol=0)


def test_states_have_norm_one_and_a_batch_of_one_equals_a_batch_of_many(encoder: CarbonStateEncoder) -> None:
    windows = np.stack([random_window(seed) for seed in range(3)])
    many = encoder.encode_batch(windows, [60, 600, 1_500])
    assert many.dtype == torch.float32 and many.shape == (3, 32)
    torch.testing.assert_close(many.norm(dim=1), torch.ones(3), atol=1e-5, rtol=0)
    for window, locus, state in zip(windows, [60, 600, 1_500], many, strict=True):
        torch.testing.assert_close(encoder.encode(window, locus), state, atol=1e-6, rtol=0)
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
    assert (
        encoder.n_tokens_run - before == 1 + (101 + 17) + 2 * 17
    )  # <dna> and the window up to the last pool, then c .. c + 16 each


def test_locus_states_and_tokens(encoder: CarbonStateEncoder) -> None:
    from geno_model.genomics.tokens import sixmer_ids

    window = random_window(13)
    edit = RelEdit(604, EditType.INS, bases_at(window, 604, 1), bases_at(window, 604, 1) + "TTT")
    encoded = encode_window(encoder, window, [[edit]], np.array([100]))
    ids = torch.from_numpy(np.concatenate([[0], sixmer_ids(window)]).astype(np.int64))[None]
    with torch.inference_mode():
        hidden = encoder.model.model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(
        encoded.locus[0], hidden[[100, 101]], atol=1e-5, rtol=0
    )  # tokens 99 and 100, after <dna>
    edited = np.concatenate([window[:605], np.frombuffer(b"TTT", dtype=np.uint8), window[605:]])
    assert encoded.tokens_before[0].tolist() == sixmer_ids(window[600:624]).tolist()
    assert encoded.tokens_after[0].tolist() == sixmer_ids(edited[600:624]).tolist()


def test_hidden_layer_is_part_of_the_state(folder: Path) -> None:
    window = random_window(14)
    last, before_last = tiny_encoder(folder).encode(window, 600), tiny_encoder(folder, layer=-2).encode(window, 600)
    assert (last - before_last).norm() > 1e-3


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


def test_a_folder_without_an_encoder_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(EncoderFolderError, match=r"config\.json is missing"):
        CarbonStateEncoder.load(tmp_path, settings())
    broken = tmp_path / "broken"
    tiny_encoder(broken)
    vocabulary = compact_vocabulary()
    vocabulary["AAAAAA"], vocabulary["AAAAAT"] = vocabulary["AAAAAT"], vocabulary["AAAAAA"]
    (broken / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    with pytest.raises(EncoderFolderError, match="2 DNA tokens are not where"):
        CarbonStateEncoder.load(broken, settings())


def test_contracts_that_differ_never_meet(encoder: CarbonStateEncoder) -> None:
    contract = encoder.contract
    assert StateContract.from_dict(contract.to_dict()) == contract
    contract.require_same(StateContract.from_dict(contract.to_dict()), "here")
    other = StateContract(**settings(stride_bp=512, layer=-2), encoder_hash=contract.encoder_hash)
    with pytest.raises(
        ContractMismatchError, match=r"scoring: .*stride_bp: 2048 here, 512 there; layer: -1 here, -2 there"
    ):
        contract.require_same(other, "scoring")
