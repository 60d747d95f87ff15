"""Codon consequences: hand-worked cases on both strands, and a slow reference implementation over random genes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from geno_model.genomics.consequence import (
    MISSENSE,
    NONSENSE,
    NOT_CODING,
    SYNONYMOUS,
    ChangedSpans,
    CodingSequences,
    changed_spans,
    overlapping_pairs,
)

CODE = {
    a + b + c: "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"[16 * i + 4 * j + k]
    for i, a in enumerate("TCAG")
    for j, b in enumerate("TCAG")
    for k, c in enumerate("TCAG")
}
RC = str.maketrans("ACGTN", "TGCAN")

#            0    5    10          22 23  26   29
#            utr5 ATGGC gt-intron-ag T TGG TAA utr3
GENE = "CCCCC" + "ATGGC" + "GTAAAAAAAAAG" + "TTGGTAA" + "CCCC"
SEGMENTS = [(5, 10), (22, 29)]

# (start, end, alternate bases on the forward strand of GENE) -> consequence; protein M A W *
HAND_WORKED = [
    ((5, 6, "G"), NONSENSE),  # ATG -> GTG, start lost
    ((8, 9, "C"), MISSENSE),  # GCT -> CCT, the codon spans the intron
    ((22, 23, "C"), SYNONYMOUS),  # GCT -> GCC, on the other side of the intron
    ((25, 26, "A"), NONSENSE),  # TGG -> TGA, stop gained
    ((26, 27, "C"), MISSENSE),  # TAA -> CAA, stop lost
    ((28, 29, "G"), SYNONYMOUS),  # TAA -> TAG, stop retained
    ((24, 26, "AA"), NONSENSE),  # MNV: TGG -> TAA
    ((22, 24, "CC"), MISSENSE),  # MNV over two codons: GCT -> GCC, TGG -> CGG
    ((25, 28, "TCA"), MISSENSE),  # MNV over two codons: TGG -> TGT, TAA -> CAA
    ((4, 7, "AAA"), NONSENSE),  # MNV over the UTR's end: ATG -> AAG
    ((9, 11, "TT"), MISSENSE),  # MNV over the exon's end: GCT -> GTT
    ((25, 25, "A"), NONSENSE),  # insertion of 1, frameshift
    ((23, 23, "AAA"), MISSENSE),  # insertion of a codon between two
    ((23, 23, "TAG"), NONSENSE),  # ... of a stop
    ((24, 24, "AAT"), NONSENSE),  # inside a codon: T AAT GG -> TAA TGG
    ((24, 24, "ACT"), MISSENSE),  # inside a codon: T ACT GG -> TAC TGG
    ((6, 6, "TGC"), MISSENSE),  # inside the start codon, which stays: A TGC TG
    ((6, 6, "CCC"), NONSENSE),  # ... which goes: A CCC TG
    ((5, 5, "CCC"), NOT_CODING),  # between UTR and start codon
    ((10, 10, "CCC"), NOT_CODING),  # between exon and intron
    ((22, 22, "CCC"), NOT_CODING),  # between intron and exon
    ((29, 29, "CCC"), NOT_CODING),  # between stop codon and UTR
    ((23, 26, ""), MISSENSE),  # a codon deleted
    ((24, 25, ""), NONSENSE),  # frameshift
    ((22, 25, ""), MISSENSE),  # the exon's first codon's worth, read on over the intron: GC TTG G -> GC G
    ((7, 10, ""), NONSENSE),  # the exon's last one: AT GGC T -> AT T, start lost
    ((21, 30, ""), MISSENSE),  # a whole exon and a base on either side
    ((5, 8, ""), NONSENSE),  # the start codon deleted
    ((4, 6, ""), NONSENSE),  # over the UTR's end into the start codon
    ((9, 12, ""), MISSENSE),  # over the exon's end
    ((27, 31, ""), MISSENSE),  # over the stop codon's end
    ((23, 27, "A"), MISSENSE),  # unequal, in frame: TGGT AA -> A AA
    ((22, 25, "TAAGGA"), MISSENSE),  # unequal, in frame: GCTTGG -> GCT AAG GAG
    ((24, 25, "AGTT"), NONSENSE),  # unequal, of one base: TGG -> TAG TTG
    ((22, 25, "ATAAGG"), NONSENSE),  # ... with a stop: GCTTGG -> GCA TAA GGG
    ((12, 13, "C"), NOT_CODING),
    ((0, 1, "A"), NOT_CODING),
]


def coding(gene: str, transcripts: list[tuple[str, list[tuple[int, int]]]], **options: bool) -> CodingSequences:
    rows = [(start, end, strand, f"t{i}") for i, (strand, cds) in enumerate(transcripts) for start, end in cds]
    frame = pl.DataFrame(rows, schema=["start_bp", "end_bp", "strand", "transcript_id"], orient="row")
    return CodingSequences(frame, np.frombuffer(gene.encode(), dtype=np.uint8), **options)


def spans_of(edits: list[tuple[int, int, str]]) -> ChangedSpans:
    width = max(max(len(alt) for _, _, alt in edits), 1)
    alt = np.array([alt for _, _, alt in edits], dtype=f"S{width}").view(np.uint8).reshape(len(edits), width)
    start, end = (np.array([edit[i] for edit in edits], dtype=np.int64) for i in (0, 1))
    return ChangedSpans(start, end, alt, np.array([len(alt) for _, _, alt in edits], dtype=np.int64))


def mirror(length: int, edit: tuple[int, int, str]) -> tuple[int, int, str]:
    return length - edit[1], length - edit[0], edit[2].translate(RC)[::-1]


def test_hand_worked_on_the_forward_strand() -> None:
    found = coding(GENE, [("+", SEGMENTS)]).consequences(spans_of([edit for edit, _ in HAND_WORKED]))
    assert dict(zip([e for e, _ in HAND_WORKED], found.tolist(), strict=True)) == dict(HAND_WORKED)


def test_hand_worked_on_the_reverse_strand() -> None:
    n = len(GENE)
    segments = [(n - end, n - start) for start, end in SEGMENTS]
    edits = [mirror(n, edit) for edit, _ in HAND_WORKED]
    found = coding(GENE.translate(RC)[::-1], [("-", segments)]).consequences(spans_of(edits))
    assert dict(zip(edits, found.tolist(), strict=True)) == dict(zip(edits, [c for _, c in HAND_WORKED], strict=True))


def test_most_severe_of_several_transcripts() -> None:
    # GENE[22:28] is TTG GTA (L V) forward and TAC CAA (Y Q) backward.
    edits = spans_of([(22, 23, "C"), (24, 25, "A"), (24, 25, "T")])
    both, forward, backward = ("+", SEGMENTS), ("+", [(22, 28)]), ("-", [(22, 28)])
    assert coding(GENE, [both]).consequences(edits).tolist() == [SYNONYMOUS, NONSENSE, MISSENSE]  # GCC, TAG, TTG
    assert coding(GENE, [forward]).consequences(edits).tolist() == [SYNONYMOUS, SYNONYMOUS, MISSENSE]  # CTG, TTA, TTT
    assert coding(GENE, [backward]).consequences(edits).tolist() == [SYNONYMOUS, NONSENSE, MISSENSE]  # CAG, TAA, AAA
    assert coding(GENE, [forward, backward]).consequences(edits).tolist() == [SYNONYMOUS, NONSENSE, MISSENSE]
    assert coding(GENE, [forward, both]).consequences(edits).tolist() == [SYNONYMOUS, NONSENSE, MISSENSE]


def test_a_first_codon_that_is_no_start_cannot_be_lost() -> None:
    assert coding("CTGGCTTAA", [("+", [(0, 9)])]).consequences(spans_of([(0, 1, "T"), (0, 1, "A")])).tolist() == [
        SYNONYMOUS,  # CTG -> TTG, both L
        MISSENSE,  # CTG -> ATG
    ]


def test_unknown_amino_acids_are_missense() -> None:
    gene = coding("ATGNCTAC", [("+", [(0, 8)])])
    assert gene.consequences(spans_of([(5, 6, "A"), (7, 8, "A")])).tolist() == [MISSENSE, MISSENSE]


def test_the_mitochondrial_code() -> None:
    edit = spans_of([(5, 6, "A"), (0, 3, "ATA"), (8, 9, "A")])
    # TGG -> TGA is W in mitochondria, ATG -> ATA is M, AGC -> AGA is a stop.
    gene = "ATGTGGAGCTAA"
    assert coding(gene, [("+", [(0, 12)])], mitochondrial=True).consequences(edit).tolist() == [
        SYNONYMOUS,
        SYNONYMOUS,
        NONSENSE,
    ]
    assert coding(gene, [("+", [(0, 12)])]).consequences(edit).tolist() == [NONSENSE, NONSENSE, MISSENSE]


def test_nothing_in_nothing_out() -> None:
    nothing = changed_spans(pl.Series([], dtype=pl.Int64), *[pl.Series([], dtype=pl.String)] * 2)
    assert coding(GENE, [("+", SEGMENTS)]).consequences(nothing).tolist() == []
    empty = CodingSequences(
        pl.DataFrame(
            schema={"start_bp": pl.Int64, "end_bp": pl.Int64, "strand": pl.String, "transcript_id": pl.String}
        ),
        np.frombuffer(b"ACGT", dtype=np.uint8),
    )
    assert empty.consequences(spans_of([(1, 2, "T")])).tolist() == [NOT_CODING]


@pytest.mark.parametrize(
    ("ref", "alt", "start", "end", "rest"),
    [
        ("A", "C", 9, 10, "C"),
        ("A", "ACG", 10, 10, "CG"),
        ("ACG", "A", 10, 12, ""),
        ("ACG", "TCG", 9, 10, "T"),
        ("ACG", "ATG", 10, 11, "T"),
        ("ACGT", "TGA", 9, 13, "TGA"),
        ("AA", "AAA", 11, 11, "A"),
        ("CAT", "CT", 10, 11, ""),
    ],
)
def test_changed_spans(ref: str, alt: str, start: int, end: int, rest: str) -> None:
    # A longer allele beside it, so that padding is there to be mistaken for bases.
    spans = changed_spans(pl.Series([10, 3]), pl.Series([ref, "ACGTACGTA"]), pl.Series([alt, "ACGTACGTACCC"]))
    assert (spans.start_bp[0], spans.end_bp[0], spans.alt_length[0]) == (start, end, len(rest))
    assert bytes(spans.alt[0]).rstrip(b"\0").decode() == rest
    assert (spans.start_bp[1], spans.end_bp[1], spans.alt_length[1]) == (11, 11, 3)


def test_overlapping_pairs_against_all_pairs() -> None:
    rng = np.random.default_rng(1)
    start = rng.integers(0, 60, 80)
    end = start + rng.integers(0, 5, 80)
    span_start = rng.integers(0, 60, 12)
    span_end = span_start + rng.integers(1, 30, 12)
    found = set(zip(*(part.tolist() for part in overlapping_pairs(start, end, span_start, span_end)), strict=True))

    def overlap(i: int, j: int) -> bool:
        if start[i] == end[i]:
            return bool(span_start[j] < start[i] < span_end[j])
        return bool(set(range(start[i], end[i])) & set(range(span_start[j], span_end[j])))

    assert found == {(i, j) for i in range(80) for j in range(12) if overlap(i, j)}


# --- the slow, obvious way: edit the segments as strings, translate the whole protein, compare


def protein(sequence: str) -> str:
    sequence += "N" * (-len(sequence) % 3)
    return "".join(CODE.get(sequence[i : i + 3], "X") for i in range(0, len(sequence), 3))


def slow_consequence(gene: str, strand: str, segments: list[tuple[int, int]], edit: tuple[int, int, str]) -> int:
    start, end, alt = edit
    if strand == "-":
        n = len(gene)
        return slow_consequence(
            gene.translate(RC)[::-1], "+", [(n - b, n - a) for a, b in reversed(segments)], mirror(n, edit)
        )
    positions = [p for a, b in segments for p in range(a, b)]
    before = "".join(gene[p] for p in positions)
    if end - start == len(alt):
        changed = {start + i: base for i, base in enumerate(alt)}
        if not set(changed) & set(positions):
            return NOT_CODING
        touched = {positions.index(p) // 3 for p in changed if p in positions}
        old, new = protein(before), protein("".join(changed.get(p, gene[p]) for p in positions))
        if any(new[i] == "*" != old[i] for i in touched) or (old[0] == "M" != new[0]):
            return NONSENSE
        return MISSENSE if any(old[i] != new[i] or old[i] == "X" for i in touched) else SYNONYMOUS
    home = [s for s in segments if (s[0] < start < s[1] if start == end else s[0] <= start and end <= s[1])]
    if not home:
        touched = [i for i, p in enumerate(positions) if start <= p < end]
        if not touched:
            return NOT_CODING
        return NONSENSE if protein(before)[0] == "M" and touched[0] < 3 else MISSENSE
    if (len(alt) - (end - start)) % 3:
        return NONSENSE
    at = positions.index(start)
    after = before[:at] + alt + before[at + end - start :]
    old, new = protein(before), protein(after)
    head, tail = at // 3, len(old) - -(-(at + end - start) // 3)
    if "*" in new[head : len(new) - tail] and "*" not in old[head : len(old) - tail]:
        return NONSENSE
    return NONSENSE if head == 0 and old[0] == "M" and new[:1] != "M" else MISSENSE


def random_segments(rng: np.random.Generator, length: int) -> list[tuple[int, int]]:
    cuts = np.sort(rng.choice(np.arange(5, length - 5), 2 * int(rng.integers(1, 5)), replace=False))
    return [(int(a), int(b)) for a, b in cuts.reshape(-1, 2)]


def random_edits(rng: np.random.Generator, length: int, n: int) -> list[tuple[int, int, str]]:
    edits = []
    while len(edits) < n:
        start, replaced, inserted = int(rng.integers(1, length - 8)), int(rng.integers(0, 7)), int(rng.integers(0, 7))
        if replaced or inserted:
            edits.append((start, start + replaced, "".join(rng.choice(list("ACGT"), inserted))))
    return edits


@pytest.mark.parametrize("seed", range(30))
def test_against_the_slow_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gene = "".join(rng.choice(list("ACGT"), 90))
    transcripts = [(str(rng.choice(["+", "-"])), random_segments(rng, 90)) for _ in range(3)]
    plant = transcripts[0]  # a true start codon, so that starts can be lost
    if plant[0] == "+" and plant[1][0][1] - plant[1][0][0] >= 3:
        gene = gene[: plant[1][0][0]] + "ATG" + gene[plant[1][0][0] + 3 :]
    elif plant[0] == "-" and plant[1][-1][1] - plant[1][-1][0] >= 3:
        gene = gene[: plant[1][-1][1] - 3] + "CAT" + gene[plant[1][-1][1] :]
    edits = [(p, p + 1, base) for p in range(90) for base in "ACGT" if base != gene[p]] + random_edits(rng, 90, 300)
    found = coding(gene, transcripts).consequences(spans_of(edits))
    for edit, consequence in zip(edits, found.tolist(), strict=True):
        expected = min(slow_consequence(gene, strand, segments, edit) for strand, segments in transcripts)
        assert consequence == expected, (gene, transcripts, edit)
