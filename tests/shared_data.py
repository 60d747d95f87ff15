"""Where the real human test data lie, and how tests that need them skip."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import pytest

from geno_model.genomics.genome import Genome

SHARED = Path(os.environ.get("GENO_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

needs_shared_data = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"real human data absent: {SHARED} (GENO_SHARED_DATA)"
)

REAL_VCFS = (
    "grch37/clinvar",
    "grch37/gnomad_exomes",
    "grch37/kg_sites",
    "grch37/kg_phased",
    "grch38/kg_phased",
    "grch38/chr21_dbsnp_gnomad_1kg",
)
"""Real VCFs whose reference is there, without `.vcf.gz`; the folder is the build."""


@cache
def shared_genome(build: str) -> Genome:
    """`grch37` or `grch38`, whose folder of bases (400 MB) is kept in the temporary folder between runs."""
    place = Path(tempfile.gettempdir()) / f"geno-test-genomes-{os.getuid()}"
    return Genome.open(SHARED / build / "reference.fa.gz", cache_dir=place)
