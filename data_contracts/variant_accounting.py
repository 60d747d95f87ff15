"""What became of every allele that was read (spec 1)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns

RETAINED = "retained"
REASONS = (
    "too_long",
    "symbolic",
    "spanning_deletion",
    "breakend",
    "ambiguous_base",
    "no_alt",
    "ref_mismatch",
    "contig_unknown",
    "filtered",
    "duplicate",
    "low_af",
    "out_of_range",
    "little_context",
)
OF_THE_PIPELINE = ("both_filtered", "contradictory")
"""Reasons of a data set alone: alleles that failed in both parts of a joint gnomAD file; whose record says two things
of what is needed, or which two records, equally well reviewed, label differently."""
RETAINED_BY_PART = ("retained_exomes", "retained_genomes")
"""Kept by what one part of a joint gnomAD file says, as the other failed its filters."""


class VariantAccounting(columns.Table):
    """Alleles by source, contig and reason; retained plus excluded equals the number of alleles read."""

    source: str = pa.Field(
        str_length={"min_value": 1}, description="input that the alleles came from: gnomad, clinvar, phased"
    )
    contig: str = pa.Field(description="sequence name in the FASTA, or the file's own name where the FASTA has none")
    reason: str = pa.Field(
        isin=[RETAINED, *RETAINED_BY_PART, *REASONS, *OF_THE_PIPELINE],
        description="why the allele was left out, or retained; retained_exomes, retained_genomes: by that part of a "
        "joint file alone",
    )
    n_alleles: int = pa.Field(ge=0, description="number of alternate alleles")
