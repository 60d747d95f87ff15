"""What every possible change of a demo contig does: consequence, harm, gene.

Belongs here: consequence terms of all SNVs at once and of single indels, with the hidden harm that drives selection and
labels. Does not belong here: the context classes of the product (geno_model.genomics.context). This is written apart
from them on purpose: the demo's truth must not inherit their mistakes.

Concept: one table over bases x 4 alternate bases, filled transcript by transcript; the most severe term wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from geno_pipeline.demo.genes import PROMOTER_BP, Gene, positions_of
from geno_pipeline.demo.genome import ContigGenome
from geno_pipeline.demo.sequence import CODON_AA, STOP, Codes, amino_acid_distance


class Term(IntEnum):
    """Consequence of an allele, mildest first."""

    INTERGENIC = 0
    NONCODING_EXON = 1
    INTRON = 2
    UPSTREAM = 3
    UTR3 = 4
    UTR5 = 5
    SYNONYMOUS = 6
    MISSENSE = 7
    INFRAME = 8
    STOP_LOST = 9
    SPLICE_ACCEPTOR = 10
    SPLICE_DONOR = 11
    START_LOST = 12
    STOP_GAINED = 13
    FRAMESHIFT = 14


TRUNCATING = (Term.START_LOST, Term.STOP_GAINED, Term.FRAMESHIFT)
SPLICE = (Term.SPLICE_ACCEPTOR, Term.SPLICE_DONOR)
# Harm of a term without, and what full functional weight of the base adds.
_HARM = {
    Term.INTERGENIC: (0.01, 0.0),
    Term.NONCODING_EXON: (0.03, 0.0),
    Term.INTRON: (0.02, 0.8),
    Term.UPSTREAM: (0.02, 0.9),
    Term.UTR3: (0.03, 0.8),
    Term.UTR5: (0.04, 0.9),
    Term.SYNONYMOUS: (0.02, 0.03),
    Term.MISSENSE: (0.3, 0.4),
    Term.INFRAME: (0.35, 0.45),
    Term.STOP_LOST: (0.6, 0.2),
    Term.SPLICE_ACCEPTOR: (0.93, 0.0),
    Term.SPLICE_DONOR: (0.94, 0.0),
    Term.START_LOST: (0.9, 0.0),
    Term.STOP_GAINED: (0.96, 0.0),
    Term.FRAMESHIFT: (0.96, 0.0),
}
HARM_BASE, HARM_SLOPE = (np.array(column, dtype=np.float32) for column in zip(*(_HARM[t] for t in Term), strict=True))
_DISTANCE = amino_acid_distance()


@dataclass(frozen=True, slots=True)
class Effects:
    """Consequences on one contig, by 0-based position.

    Attributes:
        region: (L,) Term of the base itself; coding bases read SYNONYMOUS.
        snv_term: (L, 4) Term of the change to A, C, G, T. The entry of the reference base itself means nothing.
        snv_harm: (L, 4) harm of that change in [0, 1].
        weight: (L,) functional weight, constraint of the gene included, in [0, 1].
        gene: (L,) number of the gene, promoter included; 0 between genes.
    """

    region: NDArray[np.uint8]
    snv_term: NDArray[np.uint8]
    snv_harm: NDArray[np.float32]
    weight: NDArray[np.float32]
    gene: NDArray[np.int32]

    def indel(self, anchor: int, n_bases: int, is_deletion: bool) -> tuple[Term, float]:
        """Term and harm of `n_bases` inserted after, or deleted after, the 0-based `anchor` base."""
        last = anchor + 1 + (n_bases if is_deletion else 1)
        touched = self.region[anchor + 1 : last] if is_deletion else self.region[anchor:last]
        # A deletion does its worst. An insertion lies between two bases and is in what both of them are in, but between
        # a coding base and GT or AG it parts the exon from its splice site.
        parts_exon = touched.min() == Term.SYNONYMOUS and touched.max() in SPLICE
        term = Term(int(touched.max() if is_deletion or parts_exon else touched.min()))
        if term == Term.SYNONYMOUS:
            term = Term.INFRAME if n_bases % 3 == 0 else Term.FRAMESHIFT
        reach = float(self.weight[anchor + 1 : last].max(initial=0.0))
        return term, float(min(HARM_BASE[term] + HARM_SLOPE[term] * reach, 0.98))


def _paint_regions(contig: ContigGenome) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Term of each base, most severe over transcripts, and its gene."""
    size = contig.codes.size
    region = np.zeros(size, dtype=np.uint8)
    owner = np.zeros(size, dtype=np.int32)

    def paint(start: int, end: int, term: Term) -> None:
        np.maximum(region[start:end], np.uint8(term), out=region[start:end])

    for gene in contig.genes:
        start, end = gene.span
        left_end = gene.tss - PROMOTER_BP if gene.strand == "+" else gene.tss + 1
        promoter = (left_end, left_end + PROMOTER_BP)
        owner[min(start, promoter[0]) : max(end, promoter[1])] = gene.number
        paint(*promoter, Term.UPSTREAM)
        for transcript in gene.transcripts:
            exons = transcript.exons
            left, right = (Term.SPLICE_DONOR, Term.SPLICE_ACCEPTOR)[:: 1 if gene.strand == "+" else -1]
            for low, high in zip(exons[:-1, 1], exons[1:, 0], strict=True):
                paint(low, high, Term.INTRON)
                paint(low, low + 2, left)
                paint(high - 2, high, right)
            for low, high in exons:
                if transcript.coding is None:
                    paint(low, high, Term.NONCODING_EXON)
                    continue
                first, second = (Term.UTR5, Term.UTR3)[:: 1 if gene.strand == "+" else -1]
                paint(low, min(high, transcript.coding[0]), first)
                paint(max(low, transcript.coding[1]), high, second)
            for low, high in transcript.cds():
                paint(low, high, Term.SYNONYMOUS)
    return region, owner


def _codon_effects(
    codes: Codes, gene: Gene, positions: NDArray[np.int64], weight: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Terms and harms (n, 4) by genomic alternate base for the coding `positions` of one transcript, in sense order."""
    forward = gene.strand == "+"
    sense = codes[positions] if forward else 3 - codes[positions]
    codons = sense.reshape(-1, 3).astype(np.int64)
    index = codons @ np.array([16, 4, 1])
    step = np.array([16, 4, 1])[None, :, None] * (np.arange(4)[None, None, :] - codons[:, :, None])
    before = CODON_AA[index][:, None, None]
    after = CODON_AA[index[:, None, None] + step]  # (codons, 3, 4 sense alternates)
    same = after == before
    changed = np.where(after == STOP, Term.STOP_GAINED, np.where(before == STOP, Term.STOP_LOST, Term.MISSENSE))
    terms = np.where(same, Term.SYNONYMOUS, changed).astype(np.uint8)
    terms[0] = np.where(same[0], Term.SYNONYMOUS, Term.START_LOST)
    reach = weight[positions].reshape(-1, 3, 1)
    harm = HARM_BASE[terms] + HARM_SLOPE[terms] * reach
    logit = -5.0 + 4.0 * _DISTANCE[before, after] + 3.4 * reach + 2.4 * gene.constraint
    harm = np.where(terms == Term.MISSENSE, 1.0 / (1.0 + np.exp(-1.6 * logit)), harm)
    terms, harm = terms.reshape(-1, 4), harm.reshape(-1, 4).astype(np.float32)
    return (terms, harm) if forward else (terms[:, ::-1], harm[:, ::-1])


def find_effects(contig: ContigGenome) -> Effects:
    """Consequences of every change of one contig."""
    region, owner = _paint_regions(contig)
    terms = np.repeat(region[:, None], 4, axis=1)
    harm = np.repeat((HARM_BASE[region] + HARM_SLOPE[region] * contig.weight)[:, None], 4, axis=1)
    weight = contig.weight.copy()
    for gene in contig.genes:
        for transcript in gene.transcripts:
            positions = positions_of(transcript.cds())
            if gene.strand == "-":
                positions = positions[::-1]
            if positions.size == 0:
                continue
            new_terms, new_harm = _codon_effects(contig.codes, gene, positions, contig.weight)
            worse = new_terms >= terms[positions]
            terms[positions] = np.where(worse, new_terms, terms[positions])
            harm[positions] = np.where(worse, new_harm, harm[positions])
            weight[positions] = contig.weight[positions] * (0.4 + 0.6 * gene.constraint)
    return Effects(region, terms, harm.clip(0.0, 0.98), weight, owner)
