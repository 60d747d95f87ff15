"""ClinVar-like alleles of the demo: which alleles were "submitted", and what was said of them.

Belongs here: sampling of alleles by consequence, labels from hidden harm with noise, review status, ClinVar's words.
Does not belong here: the harm itself (effects.py), VCF text (records.py).

Concept: a label is drawn from the planted harm of the allele plus noise, never from anything a reader of the files
could copy. The mixture follows ClinVar: truncating and splice alleles are mostly P/LP, synonymous and intronic ones
mostly B/LB, missense both or uncertain, and many benign alleles are common variants.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_pipeline.demo.config import DemoConfig, generator
from geno_pipeline.demo.effects import Effects, Term
from geno_pipeline.demo.genome import ContigGenome
from geno_pipeline.demo.population import ALLELE_SCHEMA, Population, draw_indel
from geno_pipeline.demo.sequence import LETTERS, N

# Alleles in 1,000, by how they are looked for.
_SNV_QUOTA: dict[Term, int] = {
    Term.STOP_GAINED: 85,
    Term.SPLICE_DONOR: 32,
    Term.SPLICE_ACCEPTOR: 32,
    Term.START_LOST: 6,
    Term.STOP_LOST: 4,
    Term.MISSENSE: 345,
    Term.SYNONYMOUS: 115,
    Term.UTR5: 28,
    Term.UTR3: 32,
    Term.UPSTREAM: 42,
}
_NEAR_EXON, _DEEP_INTRON, _INTERGENIC, _INDELS, _COMMON = 62, 30, 10, 82, 95
_NEAR_BP = 50
_LABEL_NOISE = 0.05
_CONFLICTING, _OTHER = 0.04, 0.012
_HARM_NOISE = 0.06

CONSEQUENCE_OF: dict[Term, str | None] = {
    Term.INTERGENIC: None,
    Term.NONCODING_EXON: "SO:0001619|non-coding_transcript_variant",
    Term.INTRON: "SO:0001627|intron_variant",
    Term.UPSTREAM: "SO:0001636|2KB_upstream_variant",
    Term.UTR3: "SO:0001624|3_prime_UTR_variant",
    Term.UTR5: "SO:0001623|5_prime_UTR_variant",
    Term.SYNONYMOUS: "SO:0001819|synonymous_variant",
    Term.MISSENSE: "SO:0001583|missense_variant",
    Term.STOP_LOST: "SO:0001578|stop_lost",
    Term.SPLICE_ACCEPTOR: "SO:0001574|splice_acceptor_variant",
    Term.SPLICE_DONOR: "SO:0001575|splice_donor_variant",
    Term.START_LOST: "SO:0001582|initiator_codon_variant",
    Term.STOP_GAINED: "SO:0001587|nonsense",
    Term.FRAMESHIFT: "SO:0001589|frameshift_variant",
}
INFRAME_DELETION, INFRAME_INSERTION = "SO:0001822|inframe_deletion", "SO:0001821|inframe_insertion"
_STATUS = (
    "no_assertion_criteria_provided",
    "criteria_provided,_single_submitter",
    "criteria_provided,_multiple_submitters,_no_conflicts",
    "reviewed_by_expert_panel",
    "practice_guideline",
)
_STATUS_CHANCE = (0.10, 0.52, 0.30, 0.07, 0.01)


def _near_exons(contig: ContigGenome) -> NDArray[np.bool_]:
    """(L,) True within 50 bp of an exon border."""
    near = np.zeros(contig.codes.size, dtype=bool)
    for gene in contig.genes:
        for transcript in gene.transcripts:
            for border in transcript.exons.ravel():
                near[max(0, border - _NEAR_BP) : border + _NEAR_BP] = True
    return near


def _pick_snvs(
    contig: ContigGenome, effects: Effects, sites: NDArray[np.int64], bases: NDArray[np.int64]
) -> pl.DataFrame:
    """Rows of ALLELE_SCHEMA for changes of 0-based `sites` to `bases`."""
    return pl.DataFrame(
        {
            "pos": sites + 1,
            "ref": LETTERS[contig.codes[sites]].view("S1").astype(str),
            "alt": LETTERS[bases].view("S1").astype(str),
            "site": sites,
            "term": effects.snv_term[sites, bases],
            "harm": effects.snv_harm[sites, bases].astype(np.float64),
        }
    ).cast(pl.Schema(ALLELE_SCHEMA))


def _draw_snvs(contig: ContigGenome, effects: Effects, scale: float, rng: np.random.Generator) -> list[pl.DataFrame]:
    """SNVs by consequence; promoter and UTR ones lie on functional words more often than chance has it."""
    real_change = (np.arange(4)[None, :] != contig.codes[:, None]) & (contig.codes != N)[:, None]
    near = _near_exons(contig)
    drawn: list[pl.DataFrame] = []

    def draw(eligible: NDArray[np.bool_], per_thousand: float) -> None:
        sites, bases = np.nonzero(eligible)
        size = min(int(round(per_thousand * scale)), sites.size)
        chosen = rng.choice(sites.size, size, replace=False)
        drawn.append(_pick_snvs(contig, effects, sites[chosen], bases[chosen]))

    for term, quota in _SNV_QUOTA.items():
        eligible = (effects.snv_term == term) & real_change
        if term in (Term.UPSTREAM, Term.UTR5, Term.UTR3):
            functional = eligible & (contig.weight > 0.3)[:, None]
            draw(functional, quota * 0.4)
            draw(eligible & ~functional, quota * 0.6)
        else:
            draw(eligible, quota)
    intron = (effects.region == Term.INTRON)[:, None] & real_change
    draw(intron & near[:, None], _NEAR_EXON)
    draw(intron & ~near[:, None], _DEEP_INTRON)
    draw((effects.region == Term.INTERGENIC)[:, None] & real_change, _INTERGENIC)
    return drawn


def _draw_indels(contig: ContigGenome, effects: Effects, scale: float, rng: np.random.Generator) -> pl.DataFrame:
    """Short indels: four in five anchored in coding sequence, the others in introns and UTRs."""
    coding = np.flatnonzero(effects.region == Term.SYNONYMOUS)
    around = np.flatnonzero(np.isin(effects.region, (Term.INTRON, Term.UTR3, Term.UTR5)))
    size = int(round(_INDELS * scale))
    anchors = np.r_[rng.choice(coding, size - size // 5), rng.choice(around, size // 5)]
    rows: list[tuple[object, ...]] = []
    for anchor in anchors:
        indel = draw_indel(contig, int(anchor), rng, effects)
        if indel is not None:
            pos, ref, alt, term, harm = indel
            rows.append((pos, ref, alt, int(anchor), term, harm))
    return pl.DataFrame(rows, schema=ALLELE_SCHEMA, orient="row")


def _label(harm: NDArray[np.float64], is_common: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.str_]:
    """A class of P, LP, B, LB, VUS, CONFLICTING or OTHER from noisy harm; common alleles are benign."""
    seen = np.clip(harm + rng.normal(0.0, _HARM_NOISE, harm.size), 0.0, 1.0)
    pathogenic = (seen > 0.5) ^ (rng.random(harm.size) < _LABEL_NOISE)
    pathogenic &= ~is_common
    firm = rng.random(harm.size) < 0.35 + 0.5 * np.abs(seen - 0.5)
    label = np.where(pathogenic, np.where(firm, "P", "LP"), np.where(firm, "B", "LB")).astype("<U12")
    uncertain = 0.06 + 0.50 * 4.0 * seen * (1.0 - seen)
    label[rng.random(harm.size) < np.where(is_common, 0.03, uncertain)] = "VUS"
    fate = rng.random(harm.size)
    label[fate < _CONFLICTING] = "CONFLICTING"
    label[fate > 1.0 - _OTHER] = "OTHER"
    return label


def _words(label: NDArray[np.str_], rng: np.random.Generator) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """CLNSIG and CLNREVSTAT as ClinVar spells them. Mixed classes need two submitters, so at least two stars."""
    words = {
        "P": "Pathogenic",
        "LP": "Likely_pathogenic",
        "B": "Benign",
        "LB": "Likely_benign",
        "VUS": "Uncertain_significance",
        "CONFLICTING": "Conflicting_classifications_of_pathogenicity",
        "OTHER": "not_provided",
    }
    clnsig = np.array([words[one] for one in label], dtype="<U48")
    stars = rng.choice(len(_STATUS), label.size, p=_STATUS_CHANCE)
    status = np.array(_STATUS)[stars].astype("<U60")
    mixed = (stars >= 2) & (rng.random(label.size) < 0.3)
    clnsig[mixed & np.isin(label, ("P", "LP"))] = "Pathogenic/Likely_pathogenic"
    clnsig[mixed & np.isin(label, ("B", "LB"))] = "Benign/Likely_benign"
    clnsig[(label == "P") & (rng.random(label.size) < 0.01)] = "Pathogenic|risk_factor"
    clnsig[(label == "OTHER") & (rng.random(label.size) < 0.5)] = "drug_response"
    status[label == "CONFLICTING"] = "criteria_provided,_conflicting_classifications"
    status[clnsig == "not_provided"] = "no_classification_provided"
    return clnsig, status


def _consequence() -> pl.Expr:
    """The MC value of each allele from its columns term, ref and alt; null between genes."""
    plain = {int(term): text for term, text in CONSEQUENCE_OF.items() if text is not None}
    is_deletion = pl.col("ref").str.len_bytes() > pl.col("alt").str.len_bytes()
    inframe = pl.when(is_deletion).then(pl.lit(INFRAME_DELETION)).otherwise(pl.lit(INFRAME_INSERTION))
    return (
        pl.when(pl.col("term") == int(Term.INFRAME))
        .then(inframe)
        .otherwise(pl.col("term").replace_strict(plain, default=None, return_dtype=pl.String))
    )


def make_clinvar(contig: ContigGenome, effects: Effects, people: Population, config: DemoConfig) -> pl.DataFrame:
    """ClinVar-like alleles of one contig, sorted by position, each allele once.

    Returns columns pos (1-based), ref, alt, term, harm (hidden; not written), label, clnsig, clnrevstat, mc (nullable),
    geneinfo (nullable).
    """
    rng = generator(config.seed, "clinvar", contig.name)
    scale = config.clinvar_per_mbp * contig.codes.size / 1e9
    near_genes = pl.Series(effects.gene[people.alleles["pos"].to_numpy() - 1] > 0)
    known = people.alleles.filter(near_genes & (pl.col("ac") >= 2) & (pl.col("term") != int(Term.INTERGENIC)))
    taken = rng.choice(known.height, min(known.height, round(_COMMON * scale)), replace=False)
    common = known[np.sort(taken)].with_columns(site=pl.col("pos") - 1).select(*ALLELE_SCHEMA)
    drawn = pl.concat([common, *_draw_snvs(contig, effects, scale, rng), _draw_indels(contig, effects, scale, rng)])
    drawn = drawn.unique(["pos", "ref", "alt"], keep="first", maintain_order=True).sort("pos", "ref", "alt")
    carried = people.alleles.filter(pl.col("ac") >= 2).select("pos", "ref", "alt", is_common=pl.lit(True))
    drawn = drawn.join(carried, on=["pos", "ref", "alt"], how="left", maintain_order="left")
    is_common = drawn["is_common"].fill_null(False).to_numpy()
    label = _label(drawn["harm"].to_numpy(), is_common, rng)
    clnsig, status = _words(label, rng)
    gene = pl.Series(effects.gene[drawn["pos"].to_numpy() - 1])
    also_noncoding = pl.Series(rng.random(drawn.height) < 0.1)
    return drawn.select("pos", "ref", "alt", "term", "harm", _consequence().alias("mc")).with_columns(
        label=pl.Series(label),
        clnsig=pl.Series(clnsig),
        clnrevstat=pl.Series(status),
        mc=pl.when(also_noncoding)
        .then(pl.col("mc") + "," + pl.lit(CONSEQUENCE_OF[Term.NONCODING_EXON]))
        .otherwise(pl.col("mc")),
        geneinfo=pl.when(gene > 0).then(pl.format("GENE{}:{}", gene, gene + 1_000)),
    )
