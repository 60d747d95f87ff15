"""The likelihood beside the states: that of whole windows up to the pool's end; what nobody asks for is not run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from geno_model.cli.score import app
from geno_model.encoder.carbon import CHUNK_TOKENS, CarbonStateEncoder
from geno_model.encoder.likelihood import log_likelihood_difference, next_token_marginals, window_log_likelihood
from geno_model.encoder.shared_prefix import encode_window
from geno_model.genomics.edits import EditType, RelEdit, apply_edits_array, fit_window
from geno_model.scoring.report_words import COLUMNS
from geno_model.scoring.vcf_header import _INFO_FIELDS
from tests.unit.encoders import WINDOW_BP, random_window, tiny_encoder
from tests.unit.test_shared_prefix import chains_of, drawn_edits

N_TOKENS = WINDOW_BP // 6
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "tiny"
    tiny_encoder(path)
    return path


def naive(encoder: CarbonStateEncoder, window: np.ndarray, edits: list[RelEdit], pool_token: int) -> float:
    """Both windows in full, cut where the pool ends."""
    contract = encoder.contract
    fit = edits[0].rel_pos, contract.fit_side, contract.right_tokens
    edited = fit_window(apply_edits_array(window, edits), len(window), *fit)
    end = min(pool_token + encoder.contract.radius_tokens + 1, N_TOKENS) * 6
    of_edited, of_window = (
        float(window_log_likelihood(encoder, bases[None, :end]).total[0]) for bases in (edited, window)
    )
    return of_edited - of_window


@pytest.mark.parametrize(("layer", "fit_side"), [(-1, "right"), (-2, "right"), (-2, "opposite")])
def test_it_is_the_likelihood_of_the_windows_up_to_the_end_of_the_pool(folder: Path, layer: int, fit_side: str) -> None:
    encoder = tiny_encoder(folder, layer=layer, fit_side=fit_side)
    window = random_window(3)
    chains = chains_of(drawn_edits(window, 3, 5, margin_bp=0), 3)
    pools = np.array([chain[0].rel_pos // 6 for chain in chains])
    encoded = encode_window(encoder, window, chains, pools, with_likelihood=True)
    steps = [
        (chain[:k], int(pool)) for chain, pool in zip(chains, pools, strict=True) for k in range(1, len(chain) + 1)
    ]
    expected = torch.tensor([naive(encoder, window, edits, pool) for edits, pool in steps], dtype=torch.float64)
    assert len(expected) > 12 and float(expected.abs().max()) > 0.1
    torch.testing.assert_close(encoded.delta_loglik, expected, atol=2e-3, rtol=1e-4)
    plain = encode_window(encoder, window, chains, pools)
    torch.testing.assert_close(encoded.targets, plain.targets, atol=1e-6, rtol=0)
    assert plain.delta_loglik.numel() == 0


def test_below_zero_is_less_likely(folder: Path) -> None:
    """An encoder that likes AAAAAA everywhere, most after another AAAAAA; likelihoods worked out by hand.

    Without attention and MLP a token's last hidden state is its own embedding, normalised. With the embedding (1, 2) of
    AAAAAA, (1, 0.5) of all others and zeros in the 30 other places, the logit of j after t is (1 + b_j b_t) / rms_t.
    """
    encoder = tiny_encoder(folder)
    for name, weight in encoder.model.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.data.zero_()
    table = encoder.model.get_parameter("model.embed_tokens.weight").data.zero_()
    table[:, 0], table[:, 1] = 1, 0.5
    table[encoder.dna_offset + 3, 1] = 2  # AAAAAA is the first six-mer
    n_others = len(table) - 1
    after_a, after_other = (1.5 * b / np.sqrt((1 + b**2) / 32) for b in (2.0, 0.5))  # logit of AAAAAA above the others
    liked_after_a, liked_after_other = (x - np.log(np.exp(x) + n_others) for x in (after_a, after_other))
    other_after_a = liked_after_a - after_a
    # An odd token amid A's is less likely itself, and so is the AAAAAA behind it.
    expected = (other_after_a - liked_after_a) + (liked_after_other - liked_after_a)
    assert expected == pytest.approx(-11.0, abs=0.1)

    plain = np.full(WINDOW_BP, ord("A"), dtype=np.uint8)
    odd = plain.copy()
    odd[603] = ord("C")
    to_odd, to_plain = RelEdit(603, EditType.SNV, "A", "C"), RelEdit(603, EditType.SNV, "C", "A")
    for window, edit, value in ((plain, to_odd, expected), (odd, to_plain, -expected)):
        encoded = encode_window(encoder, window, [[edit]], np.array([100]), with_likelihood=True)
        assert float(encoded.delta_loglik) == pytest.approx(value, abs=1e-3)
        assert float(log_likelihood_difference(encoder, window, [[edit]])) == pytest.approx(value, abs=1e-3)
        assert float(next_token_marginals(encoder, window, [edit])) * value > 0


def test_the_texts_say_which_sign_is_which() -> None:
    help_text = " ".join(re.findall(r"\w+", CliRunner().invoke(app, ["--help"]).output))
    assert "log p of the edited DNA less that of the reference below 0 less likely" in help_text
    (described,) = (text for name, _, text, _ in _INFO_FIELDS if name == "GLM_DLL")
    assert described == "log p of edited DNA less that of the reference, nats; below 0: less likely"
    assert "Below 0: the change makes the sequence less likely." in COLUMNS["ΔlogLik"]
    (row,) = (line for line in README.read_text().splitlines() if line.startswith("| `--head`, `--delta-loglik`"))
    assert "below 0, the edit makes the DNA less likely" in row


def test_an_unknown_six_mer_counts_as_nothing_and_one_moved_across_a_border_gives_nan(folder: Path) -> None:
    encoder = tiny_encoder(folder)
    window = random_window(4)
    window[636:642] = ord("N")  # token 106, six bases
    snv, base = 600, chr(window[600])
    chains = [
        [RelEdit(snv, EditType.SNV, base, "ACGT"[("ACGT".index(base) + 1) % 4])],
        [RelEdit(snv, EditType.INS, base, base + "AC")],  # the run of N lies in two six-mers now
    ]
    delta = encode_window(encoder, window, chains, np.array([100, 100]), with_likelihood=True).delta_loglik
    assert torch.isfinite(delta[0]) and torch.isnan(delta[1])
    assert float(delta[0]) == pytest.approx(naive(encoder, window, chains[0], 100), abs=2e-3)


def test_without_targets_no_edited_window_is_run(folder: Path) -> None:
    encoder = tiny_encoder(folder)
    window = random_window(8)
    at = [300, 900, 1_500]
    chains = [[RelEdit(p, EditType.SNV, chr(window[p]), "ACGT"[("ACGT".index(chr(window[p])) + 1) % 4])] for p in at]
    tokens = np.array(at) // 6
    encode_window(encoder, window, chains, tokens)  # the table of six-mer states is measured once
    before = encoder.n_tokens_run
    bare = encode_window(encoder, window, chains, tokens, with_targets=False)
    # The reference up to the end of the last pool, 268 tokens with `<dna>`, in whole chunks: no edited window.
    assert encoder.n_tokens_run - before == 3 * CHUNK_TOKENS == 384
    whole = encode_window(encoder, window, chains, tokens)
    assert bare.targets.shape == (0, encoder.d_state)
    for name in ("reference", "locus", "shift"):
        torch.testing.assert_close(getattr(bare, name), getattr(whole, name), atol=1e-6, rtol=0)
