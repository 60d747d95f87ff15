"""Zero-shot likelihoods against a slow, obvious computation: one whole pass and one softmax a token (spec 5, 6)."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from geno_model.encoder import likelihood
from geno_model.encoder.carbon import CarbonStateEncoder, compact_vocabulary
from geno_model.encoder.likelihood import (
    NotAnSnvError,
    log_likelihood_difference,
    next_token_marginals,
    window_log_likelihood,
)
from geno_model.genomics.edits import EditType, OverlappingEditsError, ReferenceMismatchError, RelEdit
from tests.unit.encoders import hub_config, random_window, settings, tiny_encoder, write_hub_folder

LENGTH = 600
VOCABULARY = compact_vocabulary()
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


@pytest.fixture(scope="module", params=["ours", "hub"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CarbonStateEncoder:
    """Our small vocabulary, and Carbon's own with its text tokens; neither reads the last layer for its states."""
    folder = tmp_path_factory.mktemp("encoder") / request.param
    if request.param == "ours":
        return tiny_encoder(folder, layer=-2)
    write_hub_folder(folder, hub_config())
    return CarbonStateEncoder.load(folder, settings(layer=-2))


def ascii_of(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def text_window(seed: int, length: int = LENGTH) -> str:
    return random_window(seed, length).tobytes().decode()


def probabilities(encoder: CarbonStateEncoder, left: str) -> torch.Tensor:
    """p of every token of the full vocabulary after `<dna>` and the whole six-mers of `left`."""
    ids = [VOCABULARY.get(left[i : i + 6], VOCABULARY["<oov>"]) for i in range(0, len(left), 6)]
    with torch.inference_mode():
        logits = encoder.model(torch.tensor([[0, *ids]]) + encoder.dna_offset).logits
    return logits[0, -1].double().softmax(dim=0)


def slow(encoder: CarbonStateEncoder, text: str) -> float:
    """Sum over the six-mers of a window of log p, each from a pass of its own."""
    total = 0.0
    for start in range(0, len(text), 6):
        sixmer = text[start : start + 6]
        if sixmer in VOCABULARY:
            total += float(probabilities(encoder, text[:start])[VOCABULARY[sixmer] + encoder.dna_offset].log())
    return total


def test_window_likelihood_is_the_sum_over_its_tokens_in_any_batch_and_chunk(
    encoder: CarbonStateEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [text_window(seed, 120) for seed in range(5)]
    expected = torch.tensor([slow(encoder, text) for text in texts], dtype=torch.float64)
    windows = np.stack([ascii_of(text) for text in texts])
    found = window_log_likelihood(encoder, windows)
    assert found.total.dtype == torch.float64 and found.n_oov.tolist() == [0] * 5
    torch.testing.assert_close(found.total, expected, atol=1e-3, rtol=0)
    assert (found.total < -20 * 6).all()  # twenty six-mers, each far from certain
    monkeypatch.setattr(likelihood, "LOGIT_BYTES", 4 * 7 * encoder.model.config.vocab_size)  # seven tokens at once
    monkeypatch.setattr(likelihood, "WINDOWS_A_BATCH", 2)
    torch.testing.assert_close(window_log_likelihood(encoder, windows).total, found.total, atol=1e-4, rtol=0)
    assert window_log_likelihood(encoder, windows[:0]).total.shape == (0,)


def test_logits_are_never_alive_for_more_tokens_than_the_budget_allows(
    encoder: CarbonStateEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    hook = encoder.model.lm_head.register_forward_hook(lambda module, args, out: rows.append(out.shape[0]))
    try:
        monkeypatch.setattr(likelihood, "LOGIT_BYTES", 4 * 30 * encoder.model.config.vocab_size)
        window_log_likelihood(encoder, np.stack([random_window(seed, LENGTH) for seed in range(3)]))
    finally:
        hook.remove()
    assert max(rows) == 30 and sum(rows) == 3 * 100


def test_unknown_six_mers_are_left_out_and_counted(encoder: CarbonStateEncoder) -> None:
    text = text_window(1, 60)
    unknown = text[:14] + "N" + text[15:40] + "n" + text[41:]
    found = window_log_likelihood(encoder, np.stack([ascii_of(text), ascii_of(unknown)]))
    assert found.n_oov.tolist() == [0, 2]
    torch.testing.assert_close(found.total[1].item(), slow(encoder, unknown), atol=1e-3, rtol=0)


def test_differences_are_of_whole_windows_and_the_reference_is_run_once(encoder: CarbonStateEncoder) -> None:
    text = text_window(2, 120)
    other = {base: "ACGT"["ACGT".index(base) - 1] for base in "ACGT"}
    snv = RelEdit(50, EditType.SNV, text[50], other[text[50]])
    insertion = RelEdit(60, EditType.INS, text[60], text[60] + "GATT")
    deletion = RelEdit(20, EditType.DEL, text[20:24], text[20])
    edited = [
        text[:50] + snv.alt_bases + text[51:],
        text[:60] + insertion.alt_bases + text[61:-4],
        text[:20] + text[20] + text[24:] + "AAA",
        text[:20] + text[20] + text[24:50] + snv.alt_bases + text[51:] + "AAA",
        text,
    ]
    haplotypes = [[snv], [insertion], [deletion], [deletion, snv], []]
    before = encoder.n_tokens_run
    found = log_likelihood_difference(encoder, ascii_of(text), haplotypes)
    assert encoder.n_tokens_run - before == 6 * 20  # <dna> and 19 six-mers: nothing is read after the last
    expected = torch.tensor([slow(encoder, one) - slow(encoder, text) for one in edited], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    both = log_likelihood_difference(encoder, ascii_of(text), haplotypes, both_strands=True)
    turned = [one.translate(COMPLEMENT)[::-1] for one in [text, *edited]]
    reverse = torch.tensor([slow(encoder, one) - slow(encoder, turned[0]) for one in turned[1:]], dtype=torch.float64)
    torch.testing.assert_close(both, (expected + reverse) / 2, atol=2e-3, rtol=0)
    assert both[-1] == 0 and (both - found)[:-1].abs().min() > 1e-3


def test_sums_over_different_numbers_of_tokens_are_no_difference(encoder: CarbonStateEncoder) -> None:
    text = text_window(3, 60)
    text = text[:6] + "NNNNNN" + text[12:]
    window = ascii_of(text)
    insertion = RelEdit(3, EditType.INS, text[3], text[3] + "G")  # moves six N over two tokens
    whole = RelEdit(3, EditType.INS, text[3], text[3] + "GATTAC")
    after = RelEdit(20, EditType.INS, text[20], text[20] + "G")
    found = log_likelihood_difference(encoder, window, [[insertion], [whole], [after]])
    assert found.isnan().tolist() == [True, False, False]


def test_edits_that_do_not_fit_are_refused(encoder: CarbonStateEncoder) -> None:
    text = text_window(4, 60)
    foreign = "ACGT"["ACGT".index(text[10]) - 1]
    wrong = RelEdit(10, EditType.SNV, foreign, text[10])
    with pytest.raises(ReferenceMismatchError):
        log_likelihood_difference(encoder, ascii_of(text), [[wrong]])
    with pytest.raises(ReferenceMismatchError, match=f"expected the reference base '{foreign}' at rel_pos 10"):
        next_token_marginals(encoder, ascii_of(text), [wrong])
    right = RelEdit(10, EditType.SNV, text[10], foreign)
    with pytest.raises(OverlappingEditsError):
        log_likelihood_difference(encoder, ascii_of(text), [[right, right]])
    insertion = RelEdit(10, EditType.INS, text[10], text[10] + "G")
    with pytest.raises(NotAnSnvError, match="use log_likelihood_difference for it"):
        next_token_marginals(encoder, ascii_of(text), [right, insertion])


def slow_marginal(encoder: CarbonStateEncoder, text: str, edit: RelEdit, later: str) -> float:
    """log P(alt) - log P(ref), each a sum over six-mers, one at a time."""
    start, offset = edit.rel_pos // 6 * 6, edit.rel_pos % 6
    p = probabilities(encoder, text[:start])
    logs = []
    for base in (edit.alt_bases, edit.ref_bases):
        if later == "reference":
            sixmers = [text[start : start + offset] + base + text[edit.rel_pos + 1 : start + 6]]
        else:
            ends = itertools.product("ACGT", repeat=5 - offset)
            sixmers = [text[start : start + offset] + base + "".join(end) for end in ends]
        logs.append(sum(float(p[VOCABULARY[sixmer] + encoder.dna_offset]) for sixmer in sixmers))
    return float(np.log(logs[0]) - np.log(logs[1]))


@pytest.mark.parametrize("later", ["any", "reference"])
def test_next_token_marginals_of_all_places_in_a_token_from_one_pass(encoder: CarbonStateEncoder, later) -> None:
    text = text_window(5, 60)
    edits = [
        RelEdit(at, EditType.SNV, text[at], alt)
        for at in [*range(6), *range(30, 36), 59]
        for alt in sorted(set("ACGT") - {text[at]})
    ]
    before = encoder.n_tokens_run
    found = next_token_marginals(encoder, ascii_of(text), edits, later_bases=later)
    assert encoder.n_tokens_run - before == 1 + 9  # <dna> and what stands left of the last token
    expected = [slow_marginal(encoder, text, edit, later) for edit in edits]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert found.dtype == torch.float64 and found.abs().min() > 0
    assert next_token_marginals(encoder, ascii_of(text), []).shape == (0,)


def test_the_published_clinvar_score_is_the_marginal_of_a_base_that_opens_a_token(encoder: CarbonStateEncoder) -> None:
    """Left context, softmax of the last token, all six-mers that begin with ref or alt: log P(ref) / P(alt)."""
    text = text_window(6, 120)
    p = probabilities(encoder, text)
    by_base = {
        base: float(sum(p[i + encoder.dna_offset] for token, i in VOCABULARY.items() if i > 2 and token[0] == base))
        for base in "ACGT"
    }
    published = np.log(by_base["C"] / by_base["T"])
    found = next_token_marginals(encoder, ascii_of(text + "C"), [RelEdit(120, EditType.SNV, "C", "T")])
    assert found.item() == pytest.approx(-published, abs=1e-4)


def test_marginals_need_only_the_bases_that_are_given(encoder: CarbonStateEncoder) -> None:
    text = text_window(7, 60)
    edit = RelEdit(32, EditType.SNV, text[32], "ACGT"["ACGT".index(text[32]) - 1])  # place 2 of its token
    left_unknown, right_unknown = text[:31] + "N" + text[32:], text[:33] + "N" + text[34:]
    both = [
        [
            next_token_marginals(encoder, ascii_of(one), [edit], later_bases=later).item()
            for later in ("any", "reference")
        ]
        for one in (left_unknown, right_unknown)
    ]
    assert np.isnan(both).tolist() == [[True, True], [False, True]]
    assert both[1][0] == next_token_marginals(encoder, ascii_of(text), [edit]).item()


def test_likelihoods_do_not_depend_on_the_layer_that_states_are_taken_from(tmp_path: Path) -> None:
    windows = np.stack([random_window(8, 60)])
    last, before_last = (tiny_encoder(tmp_path / "tiny", layer=layer) for layer in (-1, -2))
    assert torch.equal(window_log_likelihood(last, windows).total, window_log_likelihood(before_last, windows).total)
