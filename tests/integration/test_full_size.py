"""Carbon-500M's own size and layout, with random weights: it loads, encodes, and stays within its memory (spec 2).

The weights mean nothing; shapes, ids, norms, tokens, seconds and bytes do.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder.carbon import CHUNK_TOKENS, CarbonStateEncoder
from geno_model.encoder.likelihood import window_log_likelihood
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.edits import EditType, RelEdit
from geno_model.genomics.tokens import CARBON_DNA_OPEN
from tests.unit.encoders import hub_config, random_window, settings, write_hub_folder

pytestmark = pytest.mark.slow

WINDOW_BP = 12_288
CENTRE = 1_024  # token
RADIUS = 256
MOST_GIB = 8.0
N_PARAMETERS = 511_894_528  # 155,776 * 1,024 + 28 * (2 * 1,024² + 2 * 512 * 1,024 + 3 * 3,072 * 1,024 + 2,048) + 1,024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Carbon-500M as the Hub holds it, its weights in two files."""
    path = tmp_path_factory.mktemp("hub") / "Carbon-500M"
    config = hub_config(1_024, 28, 16)
    assert (config["intermediate_size"], config["num_key_value_heads"], config["head_dim"]) == (3_072, 8, 64)
    write_hub_folder(path, config, n_files=2, scale=0.02)
    return path


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str, float], None]:
    def record(name: str, value: float) -> None:
        record_property(name, round(value, 3))
        print(f"{name}: {value:.3f}")

    return record


def peak_gib() -> float:
    """Most memory that this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def test_a_window_and_an_edit_at_full_size(folder: Path, measured: Callable[[str, float], None]) -> None:
    started = time.perf_counter()
    encoder = CarbonStateEncoder.load(folder, settings(window_bp=WINDOW_BP, radius_tokens=RADIUS))
    measured("load_float32_s", time.perf_counter() - started)
    measured("load_float32_peak_gib", peak_gib())
    assert sum(parameter.numel() for parameter in encoder.model.parameters()) == N_PARAMETERS
    assert encoder.d_state == 1_024 and encoder.dna_offset == CARBON_DNA_OPEN
    assert encoder.model.dtype == torch.float32 and encoder.sixmer_embeddings().shape == (4_099, 1_024)

    window = random_window(0, WINDOW_BP)
    ref = chr(window[CENTRE * 6])
    edit = RelEdit(CENTRE * 6, EditType.SNV, ref, "ACGT"["ACGT".index(ref) - 1])
    started = time.perf_counter()
    encoded = encode_window(encoder, window, [[edit]], np.array([CENTRE]))
    measured("encode_window_one_edit_s", time.perf_counter() - started)
    measured("encode_window_peak_gib", peak_gib())
    n_reference = 1 + CENTRE + RADIUS + 1
    assert encoder.n_tokens_run == -(-n_reference // CHUNK_TOKENS) * CHUNK_TOKENS + RADIUS + 1
    states = torch.cat([encoded.reference, encoded.targets])
    assert states.shape == (2, 1_024) and states.dtype == torch.float32
    torch.testing.assert_close(states.norm(dim=1), torch.ones(2), atol=1e-5, rtol=0)
    assert 0 < (states[0] - states[1]).norm() < 1
    assert encoded.locus.shape == (1, 5, 1_024)

    started = time.perf_counter()
    plain = encoder.encode(window, CENTRE * 6)
    measured("encode_whole_window_s", time.perf_counter() - started)
    torch.testing.assert_close(encoded.reference[0], plain, atol=1e-5, rtol=0)
    started = time.perf_counter()
    likelihood = window_log_likelihood(encoder, window[None, : WINDOW_BP // 4])
    measured("likelihood_of_a_quarter_window_s", time.perf_counter() - started)
    assert likelihood.n_oov.tolist() == [0]
    n_tokens = WINDOW_BP // 24
    assert -likelihood.total.item() / n_tokens == pytest.approx(np.log(155_776), rel=0.1)  # random weights: chance
    measured("peak_gib", peak_gib())
    assert peak_gib() < MOST_GIB


def test_bf16_halves_the_model(folder: Path, measured: Callable[[str, float], None]) -> None:
    gc.collect()
    encoder = CarbonStateEncoder.load(folder, settings(window_bp=WINDOW_BP, radius_tokens=RADIUS, dtype="bfloat16"))
    n_bytes = sum(parameter.numel() * parameter.itemsize for parameter in encoder.model.parameters())
    assert n_bytes == 2 * N_PARAMETERS
    started = time.perf_counter()
    state = encoder.encode(random_window(0, WINDOW_BP // 4), 1_500)
    measured("encode_a_quarter_window_bfloat16_s", time.perf_counter() - started)
    assert state.dtype == torch.float32 and state.norm().item() == pytest.approx(1, abs=1e-5)
