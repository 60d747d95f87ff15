"""The noise floor by number type, and the refusal above 5 % of the signal (spec 2, "Signal and noise"; pitfall 33)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geno_model.encoder.carbon import EncoderSettingsError
from geno_model.encoder.folder import save_attention_pooling
from geno_model.encoder.noise import NoiseFloor, measure_noise
from geno_model.encoder.pooling import AttentionPooling
from geno_model.genomics.edits import EditType, RelEdit
from tests.unit.encoders import random_window, tiny_encoder

WINDOWS = np.stack([random_window(seed) for seed in range(2)])


@pytest.fixture(scope="module")
def floors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NoiseFloor]:
    folder = tmp_path_factory.mktemp("encoder") / "tiny"
    return {
        dtype: measure_noise(tiny_encoder(folder, dtype=dtype), WINDOWS) for dtype in ("float32", "float16", "bfloat16")
    }


def test_float32_is_quiet(floors: dict[str, NoiseFloor]) -> None:
    noise = floors["float32"]
    assert noise.dtype == "float32" and noise.n_snvs == 16
    assert noise.signal > 1e-2 and noise.share < 1e-4
    assert noise.is_quiet


def test_pitfall_33_the_fewer_digits_the_louder(floors: dict[str, NoiseFloor], record_property) -> None:
    """bf16 hidden states differed by 5e-2 in a spike; here both ways of rounding are measured, whatever they give."""
    for dtype, noise in floors.items():
        record_property(f"noise_share_{dtype}", noise.share)
    assert floors["float32"].share < floors["float16"].share / 10 < floors["bfloat16"].share / 10
    assert floors["bfloat16"].share > 0.01
    assert floors["bfloat16"].signal == pytest.approx(floors["float32"].signal, rel=0.1)


def test_a_floor_above_five_per_cent_is_refused_and_says_what_to_do() -> None:
    assert NoiseFloor("bfloat16", 0.0499, 1.0, 100).is_quiet
    noise = NoiseFloor("bfloat16", 0.006, 0.1, 100)
    assert not noise.is_quiet
    assert str(noise) == (
        "bfloat16: two encodings of one window differ by 0.006, which is 6.00% of what an SNV does (0.1, median of "
        "100); at most 5% is allowed for states. Encode in float32."
    )
    for broken in (NoiseFloor("float16", float("nan"), 0.1, 100), NoiseFloor("float32", 0.0, 0.0, 100)):
        assert not broken.is_quiet


def test_the_signal_is_the_median_change_of_the_given_snvs(tmp_path: Path) -> None:
    encoder, window = tiny_encoder(tmp_path / "tiny"), WINDOWS[0]
    edits = [
        RelEdit(at, EditType.SNV, chr(window[at]), "ACGT"["ACGT".index(chr(window[at])) - 1]) for at in (300, 601, 902)
    ]
    changes = []
    for edit in edits:
        edited = window.copy()
        edited[edit.rel_pos] = ord(edit.alt_bases)
        before, after = encoder.encode_batch(np.stack([window, edited]), [edit.rel_pos] * 2)
        changes.append(float((after - before).norm()))
    noise = measure_noise(encoder, window[None], [edits])
    assert noise.signal == pytest.approx(np.median(changes), abs=1e-6) and noise.n_snvs == 3


def test_attention_pooling_cannot_share_a_prefix(tmp_path: Path) -> None:
    tiny_encoder(tmp_path / "tiny")
    save_attention_pooling(AttentionPooling(32), tmp_path / "tiny")
    with pytest.raises(EncoderSettingsError, match="cannot share a pass"):
        measure_noise(tiny_encoder(tmp_path / "tiny", pooling="attention"), WINDOWS)
