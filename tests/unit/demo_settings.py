"""Settings of a small demo genome: 160 kb that hold genes on both strands and some thousand alleles."""

from __future__ import annotations

from geno_pipeline.demo import DemoConfig

SMALL = DemoConfig(
    seed=11,
    contigs=(("chr20", 90_000), ("chr21", 70_000)),
    telomere_bp=600,
    gap_bp=800,
    genes_per_mbp=160.0,
    max_intron_bp=500,
    segdup_bp=1_500,
    n_samples=30,
    clinvar_per_mbp=6_000.0,
    sample_records=120,
    sample_contigs=1,
)
