"""What a held-out allele blocks: its position, all places at which it can be written, and its codon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from data_contracts import GeneAnnotation, HoldoutChr, HoldoutClinvar, HoldoutHaplotypes, HoldoutRegions, validate
from geno_model.genomics.genome import Genome
from geno_model.genomics.normalise import Alleles, normalise, right_shift
from geno_pipeline.build.regions import codon_spans, holdout_regions, interrupted_codons
from tests.unit.build_inputs import haplotype
from tests.unit.test_consequence import phases

# 0-based:  0         10 11 . 16 17  19 20..23 24
SEQUENCE = "TTTTTTTTTTGCACACATG" + "C" + "AAAA" + "C" + "G" * 75


def genes(*segments: tuple[int, int], strand: str = "+") -> pl.DataFrame:
    """Coding segments (0-based, half-open) of one transcript on contig 1."""
    rows = [
        ("1", *segment, strand, "CDS", "t", "g", None, phase)
        for segment, phase in zip(segments, phases(strand, list(segments)), strict=True)
    ]
    return pl.DataFrame(rows, schema=GeneAnnotation.empty().schema, orient="row")


def spans(*rows: tuple[int, int]) -> pl.DataFrame:
    return pl.DataFrame([("1", *row) for row in rows], schema=["contig", "start_bp", "end_bp"], orient="row")


def held_clinvar(*alleles: tuple[int, str, str, int]) -> pl.DataFrame:
    """Held-out alleles of contig 1: pos (1-based), ref, alt, edit type."""
    rows = [("1", pos, ref, alt, kind, 1, True, 1) for pos, ref, alt, kind in alleles]
    return pl.DataFrame(rows, schema=HoldoutClinvar.empty().schema, orient="row")


def small_genome(folder: Path) -> Genome:
    (folder / "ref.fa").write_text(f">1\n{SEQUENCE}\n")
    return Genome.open(folder / "ref.fa", cache_dir=folder / "cache")


def test_regions_by_hand(tmp_path: Path) -> None:
    genome = small_genome(tmp_path)
    chromosome = pl.DataFrame([("1", 90, 100)], schema=HoldoutChr.empty().schema, orient="row")
    # a deletion of CA that can stand at 11, 13 and 15; an insertion of A before, in and after AAAA; an SNV
    clinvar = held_clinvar((11, "GCA", "G", 2), (20, "C", "CA", 1), (40, "G", "T", 0))
    block = haplotype([("1", 60, "G", "C"), ("1", 64, "G", "GT")])
    found = holdout_regions(chromosome, clinvar, block, GeneAnnotation.empty(), genome)
    validate(HoldoutRegions, found)
    assert found.select("holdout", "kind", "start_bp", "end_bp").rows() == [
        ("holdout-chr", "span", 90, 100),
        ("holdout-clinvar", "codon", 8, 15),
        ("holdout-clinvar", "codon", 17, 22),
        ("holdout-clinvar", "codon", 37, 42),
        ("holdout-clinvar", "position", 10, 13),
        ("holdout-clinvar", "position", 19, 20),
        ("holdout-clinvar", "position", 39, 40),
        ("holdout-clinvar", "shift", 10, 17),
        ("holdout-clinvar", "shift", 19, 24),
        ("holdout-haplotypes", "span", 59, 64),
    ]
    nothing = (HoldoutChr.empty(), HoldoutClinvar.empty(), HoldoutHaplotypes.empty(), GeneAnnotation.empty())
    assert holdout_regions(*nothing, genome).equals(HoldoutRegions.empty())


@given(st.text("AC", min_size=3, max_size=14), st.data())
def test_right_shift_reaches_the_last_place_that_gives_the_same_sequence(text: str, data: st.DataObject) -> None:
    text = "G" + text + "G"
    at = data.draw(st.integers(1, len(text) - 2))
    if data.draw(st.booleans()):
        inserted = data.draw(st.text("AC", min_size=1, max_size=4))
        allele = (at, text[at - 1], text[at - 1] + inserted)
    else:
        length = data.draw(st.integers(1, min(4, len(text) - 1 - at)))
        allele = (at, text[at - 1 : at + length], text[at - 1])
    bases = np.frombuffer(text.encode(), dtype=np.uint8)
    normal = normalise(Alleles.of(*(pl.Series([value]) for value in allele)), bases)
    (pos,), (ref,), (alt,) = (column.to_list() for column in normal.columns())
    edited = text[: pos - 1] + alt + text[pos - 1 + len(ref) :]
    d = len(edited) - len(text)
    same = []
    for anchor in range(pos - 1, len(text)):  # 0-based anchor of every way to write it, from the left-most on
        left, rest = text[: anchor + 1], text[anchor + 1 + max(-d, 0) :]
        middle = edited[anchor + 1 : anchor + 1 + max(d, 0)]
        if anchor + 1 + max(-d, 0) <= len(text) and left + middle + rest == edited:
            same.append(anchor - (pos - 1))
    assert right_shift(normal, bases).tolist() == [max(same)]


def test_a_codon_that_an_intron_interrupts() -> None:
    # forward: 4 bases, so one of the second codon; its other two begin the next segment
    assert interrupted_codons(genes((100, 104), (200, 204))).drop("codon").rows() == [("1", 103, 104), ("1", 200, 202)]
    # reverse: transcription begins at 203; one base of the second codon is 200, the other two are 103 and 102
    reverse = interrupted_codons(genes((100, 104), (200, 204), strand="-"))
    assert reverse.drop("codon").rows() == [("1", 200, 201), ("1", 102, 104)]
    assert interrupted_codons(genes((100, 106), (200, 206))).is_empty()  # between two codons
    incomplete = genes((100, 106), (200, 206)).with_columns(phase=pl.Series([2, 2]))  # two bases of a codon first
    assert interrupted_codons(incomplete).drop("codon").rows() == [("1", 105, 106), ("1", 200, 202)]
    assert interrupted_codons(genes((100, 101), (150, 151), (200, 204))).drop("codon").rows() == [
        ("1", 100, 101), ("1", 150, 151), ("1", 150, 151), ("1", 200, 201),
    ]  # fmt: skip


def test_the_codon_of_an_allele_goes_on_behind_the_intron() -> None:
    split = genes((100, 104), (200, 204))
    assert codon_spans(spans((103, 104)), split).sort("start_bp").rows() == [
        ("1", 101, 106), ("1", 103, 104), ("1", 200, 202),
    ]  # fmt: skip
    assert codon_spans(spans((100, 101)), split).rows() == [("1", 98, 103)]  # another codon
    assert codon_spans(spans((0, 1)), split).rows() == [("1", 0, 3)]
