"""The demo's genome, effects and people, before any file: worked out by hand or by translating changed genes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geno_pipeline.demo.effects import TRUNCATING, Effects, Term, find_effects
from geno_pipeline.demo.genes import positions_of
from geno_pipeline.demo.genome import ContigGenome, make_contig, make_genome, make_species
from geno_pipeline.demo.population import Population, align_left, simulate_population
from geno_pipeline.demo.records import join_records
from geno_pipeline.demo.sequence import (
    CODON_AA,
    CODON_USAGE,
    GC_LEVELS,
    STOP,
    Background,
    Codes,
    N,
    decode,
    encode,
    reverse_complement,
    translate,
)
from tests.unit.demo_settings import SMALL


@pytest.fixture(scope="module")
def contigs() -> tuple[ContigGenome, ...]:
    return make_genome(SMALL)


@pytest.fixture(scope="module")
def first(contigs: tuple[ContigGenome, ...]) -> tuple[ContigGenome, Effects, Population]:
    effects = find_effects(contigs[0])
    return contigs[0], effects, simulate_population(contigs[0], effects, SMALL)


def test_a_contig_does_not_depend_on_the_others(contigs: tuple[ContigGenome, ...]) -> None:
    alone = make_contig("chr21", 70_000, 1, make_species(SMALL.seed), SMALL)
    assert np.array_equal(alone.codes, contigs[1].codes)


def test_genetic_code_and_usage_by_hand() -> None:
    assert translate(encode("ATGGCTTGGAAATAATAGTGA")) == "MAWK***"
    assert (CODON_AA == STOP).sum() == 3
    assert CODON_USAGE[int(encode("CTG") @ np.array([16, 4, 1]))] == pytest.approx(0.0396)
    assert decode(reverse_complement(encode("AACGTN"))) == "NACGTT"


def test_background_is_learnable_strand_symmetric_and_follows_gc_levels() -> None:
    background = Background.from_rng(np.random.default_rng(0))
    drawn = [background.sample(np.full(200_000, level, np.uint8), np.random.default_rng(level)) for level in (0, 2, 4)]
    gc = [np.isin(codes, (1, 2)).mean() for codes in drawn]
    assert gc == pytest.approx([GC_LEVELS[level] for level in (0, 2, 4)], abs=0.01)
    words = np.lib.stride_tricks.sliding_window_view(drawn[1], 6).astype(np.int64) @ 4 ** np.arange(6)[::-1]
    counts = np.bincount(words, minlength=4096).reshape(-1, 4) + 0.5
    share = counts / counts.sum(axis=1, keepdims=True)
    assert 1.6 < -(counts * np.log2(share)).sum() / counts.sum() < 1.92  # bits a base after five bases
    base = np.bincount(drawn[1], minlength=4) / drawn[1].size
    assert abs(base[0] - base[3]) < 0.01 and abs(base[1] - base[2]) < 0.01
    cpg = ((drawn[1][:-1] == 1) & (drawn[1][1:] == 2)).mean()
    assert cpg / (base[1] * base[2]) < 0.6


def _protein(codes: Codes, strand: str) -> str:
    return translate(codes if strand == "+" else reverse_complement(codes))


@pytest.mark.parametrize("strand", ["+", "-"])
def test_effects_agree_with_translating_the_changed_gene(contigs: tuple[ContigGenome, ...], strand: str) -> None:
    rng = np.random.default_rng(3)
    n_checked = 0
    for contig in contigs:
        effects = find_effects(contig)
        for gene in contig.genes:
            if gene.strand != strand or gene.biotype != "protein_coding" or len(gene.transcripts) != 1:
                continue
            coding = positions_of(gene.transcripts[0].cds())
            for position in rng.permutation(coding)[:15].tolist():
                alternate = int((contig.codes[position] + rng.integers(1, 4)) % 4)
                changed = contig.codes.copy()
                changed[position] = alternate
                before, after = (_protein(codes[coding], strand) for codes in (contig.codes, changed))
                if after == before:
                    expected = Term.SYNONYMOUS
                elif after[0] != "M":
                    expected = Term.START_LOST
                elif "*" in after[:-1]:
                    expected = Term.STOP_GAINED
                else:
                    expected = Term.MISSENSE if after[-1] == "*" else Term.STOP_LOST
                assert effects.snv_term[position, alternate] == expected
                n_checked += 1
    assert n_checked >= 45


def test_indel_effects_by_hand() -> None:
    region = np.array([0, 0, 5, 6, 6, 6, 6, 11, 11, 2, 2], dtype=np.uint8)  # ..., UTR5, four coding, GT, intron
    terms, harm = np.zeros((region.size, 4), np.uint8), np.zeros((region.size, 4), np.float32)
    effects = Effects(region, terms, harm, harm[:, 0], np.zeros(region.size, np.int32))
    assert effects.indel(2, 1, True)[0] == Term.FRAMESHIFT
    assert effects.indel(2, 3, True)[0] == Term.INFRAME
    assert effects.indel(5, 2, True)[0] == Term.SPLICE_DONOR  # the last coding base and G of GT
    assert effects.indel(3, 3, False)[0] == Term.INFRAME
    assert effects.indel(2, 1, False)[0] == Term.UTR5  # between the UTR and the first coding base
    assert effects.indel(6, 1, False)[0] == Term.SPLICE_DONOR  # between the exon and GT
    assert effects.indel(8, 1, False)[0] == Term.INTRON
    assert effects.indel(0, 1, True)[0] == Term.INTERGENIC


@given(st.text("AC", min_size=4, max_size=40), st.data())
def test_aligning_an_indel_left_keeps_the_sequence(text: str, data: st.DataObject) -> None:
    anchor = data.draw(st.integers(0, len(text) - 2))
    size = data.draw(st.integers(1, len(text) - anchor - 1))
    codes = encode(text)
    start, lost = align_left(codes, anchor, codes[anchor + 1 : anchor + 1 + size])
    assert start <= anchor and lost.size == size
    assert text[: start + 1] + text[start + 1 + size :] == text[: anchor + 1] + text[anchor + 1 + size :]
    assert decode(lost) == text[start + 1 : start + 1 + size]
    assert start == 0 or lost[-1] != codes[start]
    at, added = align_left(codes, anchor, encode("CA"))
    inserted = text[: anchor + 1] + "CA" + text[anchor + 1 :]
    assert text[: at + 1] + decode(added) + text[at + 1 :] == inserted


def test_joining_alleles_by_hand() -> None:
    alleles = pl.DataFrame({"pos": [5, 5, 9], "ref": ["C", "CAT", "G"], "alt": ["T", "C", "A"]})
    extended, record, rank = join_records(alleles)
    assert extended["ref"].to_list() == ["CAT", "CAT", "G"]
    assert extended["alt"].to_list() == ["TAT", "C", "A"]
    assert record.tolist() == [0, 0, 1] and rank.tolist() == [1, 2, 1]


def test_selection_depletes_common_truncating_alleles(first: tuple[ContigGenome, Effects, Population]) -> None:
    contig, effects, people = first
    coding = np.flatnonzero(effects.region == Term.SYNONYMOUS)
    possible = effects.snv_term[coding][np.arange(4)[None, :] != contig.codes[coding][:, None]]
    chance = np.isin(possible, TRUNCATING).mean()
    snvs = people.alleles.filter((pl.col("ref").str.len_bytes() == 1) & (pl.col("alt").str.len_bytes() == 1))
    common = snvs.filter((pl.col("ac") >= 2) & (pl.col("term") >= int(Term.SYNONYMOUS)))["term"].to_numpy()
    assert common.size > 50 and chance > 0.03
    assert np.isin(common, TRUNCATING).sum() < 0.3 * chance * common.size
    possible_missense = (possible == Term.MISSENSE).mean()
    assert (common == Term.MISSENSE).mean() < 0.9 * possible_missense


def test_people_are_as_dense_and_as_varied_as_asked(first: tuple[ContigGenome, Effects, Population]) -> None:
    contig, _, people = first
    counts = people.haplotypes.sum(axis=1)
    assert np.array_equal(counts, people.alleles["ac"].to_numpy())
    assert counts.min() >= 1 and counts.max() < people.haplotypes.shape[1]
    known_bp = int((contig.codes != N).sum())
    assert 90 < known_bp / (counts >= 2).sum() < 180
    sizes = people.alleles.select(pl.col("ref", "alt").str.len_bytes()).to_numpy()
    assert sizes.max() <= 16
    assert 0.07 < (sizes[:, 0] != sizes[:, 1]).mean() < 0.17
    assert people.alleles["pos"].is_sorted()
