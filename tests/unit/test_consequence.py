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
    UNKNOWN,
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


def coding(
    gene: str, transcripts: list[tuple[str, list[tuple[int, int]]]], phase: int = 0, *, mitochondrial: bool = False
) -> CodingSequences:
    """phase: of each transcript's first segment."""
    rows = [
        (*segment, strand, f"t{i}", of_segment)
        for i, (strand, cds) in enumerate(transcripts)
        for segment, of_segment in zip(cds, phases(strand, cds, phase), strict=True)
    ]
    frame = pl.DataFrame(rows, schema=["start_bp", "end_bp", "strand", "transcript_id", "phase"], orient="row")
    return CodingSequences(frame, np.frombuffer(gene.encode(), dtype=np.uint8), mitochondrial=mitochondrial)


def phases(strand: str, segments: list[tuple[int, int]], first: int = 0) -> list[int]:
    """Phase of each segment, which follows from the lengths of those translated before it."""
    found, phase = {}, first
    for segment in sorted(segments, reverse=strand == "-"):
        found[segment] = phase
        phase = (phase - (segment[1] - segment[0])) % 3
    return [found[segment] for segment in segments]


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


def test_unknown_amino_acids() -> None:
    gene = coding("ATGNCTGCTAC", [("+", [(0, 11)])])
    # ... N CT, GCT -> GCC beside it, and both at once: the one's silence does not speak for the other.
    edits = spans_of([(5, 6, "A"), (10, 11, "A"), (8, 9, "C"), (5, 9, "AGCC"), (5, 9, "ACCT")])
    assert gene.consequences(edits).tolist() == [UNKNOWN, UNKNOWN, SYNONYMOUS, UNKNOWN, MISSENSE]
    # What another transcript says counts before it: CTG -> CTA, both L.
    known = coding("ATGNCTGCTAC", [("+", [(0, 11)]), ("+", [(4, 10)])])
    assert known.consequences(spans_of([(5, 6, "A")])).tolist() == [MISSENSE]  # CTG -> CAG
    assert coding("ATGNCTG", [("+", [(0, 7)]), ("+", [(4, 7)])]).consequences(spans_of([(6, 7, "A")])).tolist() == [
        SYNONYMOUS
    ]


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


def test_mitochondrial_start_codons() -> None:
    # The human ND2 begins with ATT, ND3 with ATA: both are read M, and so are ATC, ATG and GTG.
    edits = spans_of([(2, 3, "C"), (2, 3, "G"), (0, 3, "GTG"), (1, 2, "C"), (0, 1, "C"), (0, 3, "")])
    gene = coding("ATTCCCTAA", [("+", [(0, 9)])], mitochondrial=True)
    assert gene.consequences(edits).tolist() == [SYNONYMOUS, SYNONYMOUS, SYNONYMOUS, NONSENSE, NONSENSE, NONSENSE]
    assert coding("ATTCCCTAA", [("+", [(0, 9)])]).consequences(edits).tolist() == [SYNONYMOUS] + [MISSENSE] * 5


#                   5   7      10     13     16
INCOMPLETE = "CCCCC" + "GC" + "ATG" + "GCT" + "TA" + "CCCC"  # phase 2: ?GC ATG GCT TA?
INCOMPLETE_EDITS = [
    ((4, 5, "A"), NOT_CODING),
    ((5, 6, "A"), UNKNOWN),  # of the first codon one base is missing
    ((6, 7, "A"), UNKNOWN),
    ((5, 7, "TT"), UNKNOWN),
    ((6, 8, "AG"), MISSENSE),  # ... and ATG -> GTG, which is no start
    ((7, 8, "G"), MISSENSE),
    ((7, 10, ""), MISSENSE),
    ((12, 13, "A"), SYNONYMOUS),  # GCT -> GCA
    ((5, 6, ""), NONSENSE),  # frameshift
    ((4, 6, ""), MISSENSE),  # over the border
    ((6, 6, "AAA"), MISSENSE),
    ((7, 7, "TAA"), NONSENSE),  # a stop between the incomplete codon and the next
    ((13, 14, "C"), UNKNOWN),  # of the last codon one base is missing
    ((14, 15, "C"), UNKNOWN),
    ((13, 14, ""), NONSENSE),
    ((15, 16, "A"), NOT_CODING),
]


@pytest.mark.parametrize("strand", ["+", "-"])
def test_incomplete_first_and_last_codons(strand: str) -> None:
    n, edits = len(INCOMPLETE), [edit for edit, _ in INCOMPLETE_EDITS]
    if strand == "+":
        gene = coding(INCOMPLETE, [("+", [(5, 15)])], phase=2)
    else:
        gene = coding(INCOMPLETE.translate(RC)[::-1], [("-", [(n - 15, n - 5)])], phase=2)
        edits = [mirror(n, edit) for edit in edits]
    found = gene.consequences(spans_of(edits)).tolist()
    assert dict(zip(edits, found, strict=True)) == dict(zip(edits, [c for _, c in INCOMPLETE_EDITS], strict=True))


def test_an_incomplete_codon_over_an_intron() -> None:
    # Phase 2, and one base before the intron: ?G.C GCT TAA
    gene = coding("G" + "GTAAG" + "CGCTTAA", [("+", [(0, 1), (6, 13)])], phase=2)
    edits = [(0, 1, "A"), (6, 7, "A"), (9, 10, "C"), (7, 8, "A")]
    assert gene.consequences(spans_of(edits)).tolist() == [UNKNOWN, UNKNOWN, SYNONYMOUS, MISSENSE]


def test_a_segment_in_another_frame_than_the_one_before() -> None:
    # ATG G..|GCT TAA: the genome lacks the end of the second codon, the annotation says that the next one is whole.
    rows = {"start_bp": [0, 4], "end_bp": [4, 10], "strand": "+", "transcript_id": "t", "phase": [0, 0]}
    gene = CodingSequences(pl.DataFrame(rows), np.frombuffer(b"ATGGGCTTAA", dtype=np.uint8))
    edits = [(3, 4, "A"), (4, 5, "A"), (6, 7, "A"), (7, 8, "C"), (9, 10, "G")]
    assert gene.consequences(spans_of(edits)).tolist() == [UNKNOWN, MISSENSE, SYNONYMOUS, MISSENSE, SYNONYMOUS]


SELENOPROTEIN = "CC" + "ATGGCCTGACTGTAA" + "CC"  # M A U L *
SELENOCYSTEINE_EDITS = [
    ((9, 10, "A"), NONSENSE),  # TGA -> TAA
    ((9, 11, "AG"), NONSENSE),  # TGA -> TAG
    ((10, 11, "G"), MISSENSE),  # TGA -> TGG
    ((8, 9, "C"), MISSENSE),  # TGA -> CGA
    ((7, 8, "A"), SYNONYMOUS),  # GCC -> GCA, beside it
    ((7, 12, "TTGAT"), SYNONYMOUS),  # MNV over it: GCC TGA CTG -> GCT TGA TTG
    ((7, 12, "TTAAT"), NONSENSE),  # ... GCT TAA TTG
    ((15, 16, "G"), SYNONYMOUS),  # TAA -> TGA, the stop retained
    ((8, 11, ""), MISSENSE),  # deleted
    ((7, 10, ""), MISSENSE),  # GCC TGA -> GCA
    ((9, 9, "CCT"), MISSENSE),  # TCC TGA
    ((9, 9, "AAT"), NONSENSE),  # TAA TGA
    ((9, 9, "GAT"), NONSENSE),  # TGA TGA: one more than there was
    ((8, 8, "TGA"), NONSENSE),
    ((11, 11, "TGA"), NONSENSE),
    ((10, 10, "CCG"), MISSENSE),  # TGC CGA
    ((9, 10, ""), NONSENSE),  # frameshift
]


@pytest.mark.parametrize("strand", ["+", "-"])
def test_an_internal_tga_of_a_whole_coding_sequence_is_a_selenocysteine(strand: str) -> None:
    n, edits = len(SELENOPROTEIN), [edit for edit, _ in SELENOCYSTEINE_EDITS]
    if strand == "-":
        gene = coding(SELENOPROTEIN.translate(RC)[::-1], [("-", [(2, n - 2)])])
        edits = [mirror(n, edit) for edit in edits]
    else:
        gene = coding(SELENOPROTEIN, [("+", [(2, n - 2)])])
    found = gene.consequences(spans_of(edits)).tolist()
    assert dict(zip(edits, found, strict=True)) == dict(zip(edits, [c for _, c in SELENOCYSTEINE_EDITS], strict=True))


@pytest.mark.parametrize(
    "sequence",
    [
        "ATGGCCTGACTGCTG",  # no stop at its end
        "CTGGCCTGACTGTAA",  # no start
        "ATGTAATGACTGTAA",  # another stop inside: out of frame, or no gene
        "ATGGCCTGACTGTA",  # cut short
    ],
)
def test_a_tga_of_another_coding_sequence_is_one_where_the_annotation_says_so(sequence: str) -> None:
    edit = spans_of([(7, 8, "A")])  # TGA -> TAA
    segments = [(0, 8), (8, len(sequence))]
    assert coding(sequence, [("+", segments)]).consequences(edit).tolist() == [SYNONYMOUS]
    bases, n = np.frombuffer(sequence.encode(), dtype=np.uint8), len(sequence)
    rows = {"start_bp": [0, 8], "end_bp": [8, n], "strand": "+", "transcript_id": "t", "phase": [0, 1]}

    def consequence(start_bp: int, end_bp: int, transcript: str) -> int:
        said = pl.DataFrame({"start_bp": [start_bp], "end_bp": [end_bp], "transcript_id": transcript})
        return int(CodingSequences(pl.DataFrame(rows), bases, said).consequences(edit)[0])

    assert consequence(6, 9, "t") == NONSENSE
    assert consequence(8, 9, "t") == NONSENSE  # the part of it behind the intron
    assert consequence(6, 9, "u") == SYNONYMOUS  # of another transcript
    assert consequence(3, 6, "t") == SYNONYMOUS  # no TGA there


def test_nothing_in_nothing_out() -> None:
    nothing = changed_spans(pl.Series([], dtype=pl.Int64), *[pl.Series([], dtype=pl.String)] * 2)
    assert coding(GENE, [("+", SEGMENTS)]).consequences(nothing).tolist() == []
    empty = CodingSequences(
        pl.DataFrame(
            schema={
                "start_bp": pl.Int64,
                "end_bp": pl.Int64,
                "strand": pl.String,
                "transcript_id": pl.String,
                "phase": pl.Int64,
            }
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


def with_selenocysteines(sequence: str) -> str:
    """The protein, the TGA inside a whole coding sequence read as U."""
    acids = protein(sequence)
    tga = [i for i in range(len(acids) - 1) if sequence[3 * i : 3 * i + 3] == "TGA"]
    is_whole = acids[0] == "M" and acids[-1] == "*" and acids[:-1].count("*") == len(tga)
    return "".join("U" if is_whole and i in tga else acid for i, acid in enumerate(acids))


def slow_consequence(
    gene: str, strand: str, segments: list[tuple[int, int]], edit: tuple[int, int, str], phase: int = 0
) -> int:
    start, end, alt = edit
    if strand == "-":
        n = len(gene)
        return slow_consequence(
            gene.translate(RC)[::-1], "+", [(n - b, n - a) for a, b in reversed(segments)], mirror(n, edit), phase
        )
    positions = [-1] * (-phase % 3) + [p for a, b in segments for p in range(a, b)]  # -1: a base that is not there
    gene += "N"
    before = "".join(gene[p] for p in positions)
    if end - start == len(alt):
        changed = {start + i: base for i, base in enumerate(alt)}
        if not set(changed) & set(positions):
            return NOT_CODING
        touched = {positions.index(p) // 3 for p in changed if p in positions}
        old, new = with_selenocysteines(before), protein("".join(changed.get(p, gene[p]) for p in positions))
        kept = [i for i in touched if all(changed.get(p, gene[p]) == gene[p] for p in positions[3 * i : 3 * i + 3])]
        new = "".join(old[i] if i in kept else acid for i, acid in enumerate(new))
        if any(new[i] == "*" != old[i] for i in touched) or (old[0] == "M" != new[0]):
            return NONSENSE
        if any(old[i] != new[i] != "X" != old[i] for i in touched):
            return MISSENSE
        return UNKNOWN if any("X" in (old[i], new[i]) for i in touched) else SYNONYMOUS
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
    old, new = with_selenocysteines(before), protein(after)
    head, tail = at // 3, len(old) - -(-(at + end - start) // 3)
    place = range(head, len(new) - tail)
    n_tga = sum(after[3 * i : 3 * i + 3] == "TGA" for i in place)
    n_stops = sum(new[i] == "*" for i in place) - min(n_tga, old[head : len(old) - tail].count("U"))
    if n_stops and "*" not in old[head : len(old) - tail]:
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
    for phase in range(3):
        found = coding(gene, transcripts, phase).consequences(spans_of(edits))
        for edit, consequence in zip(edits, found.tolist(), strict=True):
            expected = min(slow_consequence(gene, strand, segments, edit, phase) for strand, segments in transcripts)
            assert consequence == expected, (gene, transcripts, edit, phase)


@pytest.mark.parametrize("seed", range(6))
def test_selenoproteins_against_the_slow_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codons = rng.choice([codon for codon, acid in CODE.items() if acid != "*"], 20).tolist()
    codons[0], codons[-1] = "ATG", "TAG"
    for i in rng.choice(np.arange(1, 19), 3, replace=False):
        codons[i] = "TGA"
    cut = int(rng.integers(10, 50))
    gene = "CCCCC" + "".join(codons)[:cut] + "GTAAAAAAAAAG" + "".join(codons)[cut:] + "CCCCC"
    segments = [(5, 5 + cut), (17 + cut, 77)]
    edits = [(p, p + 1, base) for p in range(82) for base in "ACGT" if base != gene[p]] + random_edits(rng, 82, 600)
    for strand in "+-":
        if strand == "-":
            gene, segments = gene.translate(RC)[::-1], [(82 - b, 82 - a) for a, b in reversed(segments)]
            edits = [mirror(82, edit) for edit in edits]
        found = coding(gene, [(strand, segments)]).consequences(spans_of(edits))
        for edit, consequence in zip(edits, found.tolist(), strict=True):
            assert consequence == slow_consequence(gene, strand, segments, edit), (gene, strand, segments, edit)
