"""Properties of edits, tokens, windows and normalisation that hold for all inputs (spec 1, 3)."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from geno_model.genomics.alleles import REASONS, account, to_alleles
from geno_model.genomics.edits import (
    EditSpec,
    EditType,
    RelEdit,
    apply_edit,
    apply_edits,
    apply_edits_array,
    edits_overlap,
    fit_window,
    haplotype,
    sort_edits,
)
from geno_model.genomics.genome import Genome, grid_windows, most_central
from geno_model.genomics.tokens import N_COMPACT, OOV, SIXMER_OFFSET, allele_tokens, sixmer_ids

ALLELES = st.text("ACGT", min_size=1, max_size=16)


@st.composite
def windows_and_edits(draw: st.DrawFn) -> tuple[str, list[RelEdit]]:
    """A window and edits of it that do not overlap, in any order."""
    window = draw(st.text("ACGT", min_size=20, max_size=120))
    edits = []
    at = draw(st.integers(0, 10))
    while at < len(window) and len(edits) < 4:
        ref = window[at : at + draw(st.integers(1, 5))]
        alt = draw(st.text("ACGT", min_size=1, max_size=5).filter(lambda bases, ref=ref: bases != ref))
        edits.append(RelEdit(at, EditType.of_lengths(len(ref), len(alt)), ref, alt))
        at += len(ref) + draw(st.integers(0, 30))
    return window, draw(st.permutations(edits))


@given(st.lists(ALLELES, min_size=2, max_size=40, unique=True))
def test_different_alleles_have_different_inputs(alleles: list[str]) -> None:
    ids, lengths = allele_tokens(alleles)
    inputs = {(*row, length) for row, length in zip(ids.tolist(), lengths.tolist(), strict=True)}
    assert len(inputs) == len(alleles)
    assert lengths.tolist() == [len(allele) for allele in alleles]
    assert ids.min() >= OOV and ids.max() < N_COMPACT


def test_all_alleles_up_to_six_bases_are_told_apart() -> None:
    alleles = [""]
    for _ in range(6):
        alleles += [prefix + base for prefix in alleles for base in "ACGT"]
    alleles = sorted(set(alleles) - {""})
    ids, lengths = allele_tokens(alleles)
    assert len(np.unique(np.column_stack([ids, lengths]), axis=0)) == len(alleles) == sum(4**k for k in range(1, 7))


@given(st.text("ACGTNacgtnRYK-", max_size=80))
def test_sixmers_follow_their_definition(text: str) -> None:
    padded = text.upper() + "A" * (-len(text) % 6)
    expected = []
    for start in range(0, len(padded), 6):
        value = 0
        for base in padded[start : start + 6]:
            value = value * 4 + "ATCG".index(base) if value >= 0 and base in "ATCG" else -1
        expected.append(OOV if value < 0 else SIXMER_OFFSET + value)
    assert sixmer_ids(np.frombuffer(text.encode(), dtype=np.uint8)).tolist() == expected


@given(windows_and_edits())
def test_edits_in_any_order_and_either_form_agree(case: tuple[str, list[RelEdit]]) -> None:
    window, edits = case
    edited = apply_edits(window, edits)
    array = np.frombuffer(window.encode(), dtype=np.uint8)
    assert apply_edits_array(array, edits).tobytes().decode() == edited
    assert array.tobytes().decode() == window  # not changed in place
    assert len(edited) == len(window) + sum(len(edit.alt_bases) - len(edit.ref_bases) for edit in edits)
    expected, done = "", 0
    for edit in sort_edits(edits):  # left to right, written down anew
        expected += window[done : edit.rel_pos] + edit.alt_bases
        done = edit.rel_pos + len(edit.ref_bases)
    assert edited == expected + window[done:]


@given(windows_and_edits(), st.data())
def test_undoing_an_edit_gives_the_window_back(case: tuple[str, list[RelEdit]], data: st.DataObject) -> None:
    window, edits = case
    edit = (
        data.draw(st.sampled_from(edits))
        if edits
        else RelEdit(0, EditType.SNV, window[0], "ACGT"["ACGT".index(window[0]) - 1])
    )
    back = RelEdit(
        edit.rel_pos, EditType.of_lengths(len(edit.alt_bases), len(edit.ref_bases)), edit.alt_bases, edit.ref_bases
    )
    assert apply_edits(apply_edits(window, [edit]), [back]) == window


def moved(edits: list[RelEdit]) -> list[RelEdit]:
    """The edits of a haplotype, left to right, each at its place in the window with all before it made."""
    placed, shift = [], 0
    for edit in haplotype(edits):
        placed.append(RelEdit(edit.rel_pos + shift, edit.edit_type, edit.ref_bases, edit.alt_bases))
        shift += len(edit.alt_bases) - len(edit.ref_bases)
    return placed


def inverse(edits: list[RelEdit]) -> list[RelEdit]:
    """The edits of the edited window that give the unedited one."""
    return [
        RelEdit(at.rel_pos, EditType.of_lengths(len(at.alt_bases), len(at.ref_bases)), at.alt_bases, at.ref_bases)
        for at in moved(edits)
    ]


@given(windows_and_edits(), st.randoms(use_true_random=False))
def test_undoing_a_haplotype_gives_the_window_back(case: tuple[str, list[RelEdit]], random: Random) -> None:
    window, edits = case
    back = inverse(edits)
    assert inverse(back) == haplotype(edits)
    random.shuffle(back)
    edited = apply_edits(window, edits)
    assert apply_edits(edited, back) == window
    assert apply_edits_array(np.frombuffer(edited.encode(), dtype=np.uint8), back).tobytes().decode() == window


@given(windows_and_edits(), st.randoms(use_true_random=False))
def test_the_order_of_edits_does_not_matter(case: tuple[str, list[RelEdit]], random: Random) -> None:
    window, edits = case
    edited = apply_edits(window, edits)
    shuffled = random.sample(edits, len(edits))
    assert apply_edits(window, shuffled) == edited and haplotype(shuffled) == haplotype(edits) == sort_edits(edits)
    one_at_a_time = window
    for edit in moved(edits):
        one_at_a_time = apply_edit(one_at_a_time, edit)
    assert one_at_a_time == edited


@given(
    st.sampled_from(["1", "chrX", "HLA-A*01:01"]), st.integers(1, 3 * 10**8), ALLELES, ALLELES,
    st.integers(0, 20_000), st.integers(0, 20_000),
)  # fmt: skip
def test_relative_and_absolute_form_lead_to_each_other(
    chrom: str, pos: int, ref: str, alt: str, before: int, after: int
) -> None:
    assume(ref != alt)
    spec = EditSpec(chrom, pos, ref, alt)
    start, end = max(0, pos - 1 - before), pos - 1 + len(ref) + after
    inside = spec.relative_to(start, end)
    assert inside.absolute(chrom, start) == spec
    assert inside.absolute(chrom, start).relative_to(start, end) == inside
    assert 0 <= inside.rel_pos == pos - 1 - start and inside.rel_end <= end - start


@given(st.integers(0, 30), st.integers(1, 6), st.integers(0, 30), st.integers(1, 6))
def test_overlap_is_a_shared_base(first_at: int, first_len: int, second_at: int, second_len: int) -> None:
    first, second = (
        RelEdit(at, EditType.of_lengths(length, 1), "A" * length, "C")
        for at, length in ((first_at, first_len), (second_at, second_len))
    )
    shared = set(range(first_at, first_at + first_len)) & set(range(second_at, second_at + second_len))
    assert edits_overlap(first, second) == edits_overlap(second, first) == bool(shared)


@given(st.text("ACGT", min_size=1, max_size=60), st.integers(1, 60), st.data(), st.sampled_from(["right", "opposite"]))
def test_fit_window_has_the_length_and_keeps_one_end(edited: str, length: int, data: st.DataObject, side: str) -> None:
    locus = data.draw(st.integers(0, length - 1))
    fitted = fit_window(edited, length, locus, side, 256)
    assert len(fitted) == length
    assert (
        fit_window(np.frombuffer(edited.encode(), dtype=np.uint8), length, locus, side, 256).tobytes().decode()
        == fitted
    )
    n_same = min(length, len(edited))
    assert fitted[:n_same] == edited[:n_same] or fitted[-n_same:] == edited[-n_same:]


RIGHT_POOL_BP = 256 * 6


@st.composite
def edited_windows(draw: st.DrawFn) -> tuple[str, str, int]:
    """A window long enough for the default side, the same with one edit made, and the edit's rel_pos."""
    length = draw(st.integers(RIGHT_POOL_BP + 20, 2 * RIGHT_POOL_BP + 100))
    window = "".join(np.random.default_rng(draw(st.integers(0, 99))).choice(list("ACGT"), length))
    locus = draw(st.integers(0, length - 1))
    ref = window[locus : locus + draw(st.integers(1, 16))]
    alt = draw(ALLELES)
    return window, apply_edit(window, RelEdit(locus, EditType.of_lengths(len(ref), len(alt)), ref, alt)), locus


@given(edited_windows())
def test_the_default_side_keeps_the_prefix_and_what_is_pooled(case: tuple[str, str, int]) -> None:
    window, edited, locus = case
    length = len(window)
    fitted = fit_window(edited, length, locus, "right", 256)
    assert len(fitted) == length
    n_tokens_right = length // 6 - 1 - locus // 6
    if n_tokens_right >= 256:
        assert fitted[:locus] == window[:locus]
        pooled = edited[locus : locus + RIGHT_POOL_BP]  # less only where a deletion brings the window's end nearer
        assert fitted[locus : locus + len(pooled)] == pooled
        assert len(pooled) >= RIGHT_POOL_BP - max(0, length - len(edited))
        assert set(fitted[len(edited) :]) <= {"A"}
    else:
        assert fitted == fit_window(edited, length, locus, "opposite", 256)


@given(edited_windows())
def test_the_opposite_side_keeps_the_end_that_is_nearer(case: tuple[str, str, int]) -> None:
    window, edited, locus = case
    length, surplus = len(window), len(edited) - len(window)
    fitted = fit_window(edited, length, locus, "opposite", 256)
    right = (edited + "A" * -surplus)[:length]
    left = edited[surplus:] if surplus >= 0 else "A" * -surplus + edited
    assert fitted == (left if locus > length / 2 else right)
    if locus > length / 2:
        assert fitted[locus + 16 - length :] == window[locus + 16 :] or locus + 16 >= length
    else:
        assert fitted[:locus] == window[:locus]


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 60))
def test_cores_tile_the_contig_and_are_nearest(contig_length: int, window_bp: int, stride_bp: int) -> None:
    starts, low, high = grid_windows(contig_length, window_bp, min(stride_bp, window_bp))
    if contig_length < window_bp:
        assert starts.size == 0
        return
    assert starts[0] == 0 and starts[-1] == contig_length - window_bp
    assert low[0] == 0 and high[-1] == contig_length and (low[1:] == high[:-1]).all() and (low < high).all()
    pos0 = np.arange(contig_length)
    chosen = most_central(pos0, contig_length, window_bp, min(stride_bp, window_bp))
    distance = np.abs(pos0[:, None] + 0.5 - (starts + window_bp / 2))
    assert (chosen == starts[distance.argmin(axis=1)]).all()  # argmin takes the left one of a tie
    assert ((chosen <= pos0) & (pos0 < chosen + window_bp)).all()


@pytest.fixture(scope="module")
def repeats(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder: Path = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(">c\n" + "AAAAAACACACACAGTGTGTTTTTTACACACGGGGAAAAGAAAAGAAAAG" * 2 + "\n")
    return Genome.open(folder / "g.fa", cache_dir=folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.integers(0, 99), st.integers(1, 12), ALLELES)
def test_normalisation_keeps_the_haplotype_and_is_minimal(
    repeats: Genome, start: int, ref_length: int, alt: str
) -> None:
    """The edited contig stays the same, nothing more can be trimmed or shifted, and doing it again changes nothing."""
    sequence = repeats.bases("c").tobytes().decode()
    ref = sequence[start : start + ref_length]
    lines = pl.DataFrame(
        {"record": [0], "chrom": ["c"], "pos": [start + 1], "ref": [ref], "alt": [alt], "filter": ["."]}
    )
    row = to_alleles(lines, repeats).row(0, named=True)
    if ref == alt:
        assert row["reason"] == "no_alt"
        return
    if row["reason"] == "too_long":
        assert len(alt) == 16 and row["alt"] == alt  # 16 bp in the VCF can need a 17th as anchor
        return
    assert row["reason"] is None
    pos0, new_ref, new_alt = row["pos"] - 1, row["ref"], row["alt"]
    edited = sequence[:start] + alt + sequence[start + len(ref) :]
    assert sequence[:pos0] + new_alt + sequence[pos0 + len(new_ref) :] == edited
    assert pos0 <= start + len(ref) and new_ref != new_alt
    if pos0 > 0:
        assert new_ref[-1] != new_alt[-1]
    if min(len(new_ref), len(new_alt)) > 1:
        assert new_ref[0] != new_alt[0]
    again = lines.with_columns(pos=pl.lit(row["pos"], dtype=pl.Int64), ref=pl.lit(new_ref), alt=pl.lit(new_alt))
    assert to_alleles(again, repeats).select("pos", "ref", "alt").row(0) == (row["pos"], new_ref, new_alt)


ANY_ALLELE = st.one_of(
    st.text("ACGTNacgtnRYK*<>[]:.-=1é", max_size=20),
    ALLELES,
    st.sampled_from(["*", ".", "", "<DEL>", "G]c:3]", "A" * 40]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["c", "chrC", "nowhere", "é"]),
            st.integers(-3, 110) | st.sampled_from([2**31, 2**62, -(2**62)]),
            ANY_ALLELE,
            st.lists(ANY_ALLELE, min_size=1, max_size=3),
            st.sampled_from(["PASS", ".", "q10", ""]),
        ),
        max_size=8,
    )
)
def test_whatever_a_record_holds_each_allele_is_kept_or_has_one_reason(
    repeats: Genome, rows: list[tuple[str, int, str, list[str], str]]
) -> None:
    lines = pl.DataFrame(
        {
            "record": list(range(len(rows))),
            "chrom": [row[0] for row in rows],
            "pos": [row[1] for row in rows],
            "ref": [row[2] for row in rows],
            "alt": [",".join(row[3]) for row in rows],
            "filter": [row[4] for row in rows],
        },
        schema_overrides={"record": pl.Int64, "pos": pl.Int64, "chrom": pl.String, "ref": pl.String, "alt": pl.String,
                          "filter": pl.String},
    )  # fmt: skip
    alleles = to_alleles(lines, repeats, pass_only=True, mark_duplicates=True)
    assert alleles.select("record", "vcf_alt").rows() == [
        (number, alt) for number, row in enumerate(rows) for alt in ",".join(row[3]).split(",")
    ]
    assert account(alleles, "x")["n_alleles"].sum() == alleles.height
    assert set(alleles["reason"].drop_nulls()) <= set(REASONS)
    for row in alleles.filter(pl.col("reason").is_null()).iter_rows(named=True):
        edit = EditSpec(row["contig"], row["pos"], row["ref"], row["alt"])  # refuses what is no edit
        span = repeats.window("c", edit.pos - 1, edit.pos - 1 + len(edit.ref))
        assert span.tobytes().decode() == edit.ref and edit.edit_type == row["edit_type"]
