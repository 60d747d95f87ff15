"""The index beside a `.vcf.gz`: of this file, or none.

Belongs here: making it, and removing an older file's. Does not: the VCF itself.

The concept: htslib takes a `.csi` before a `.tbi`, whichever is newer, and an index of another file finds nothing or
the wrong records. So both go before a VCF gets its name, and its own index comes after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pysam

from geno_model.files import replacing_file

TABIX_REACH_BP = 1 << 29  # what a tabix index can hold of a contig


def index_paths(vcf: Path) -> list[Path]:
    """Where an index of this VCF may lie."""
    return [Path(f"{vcf}{suffix}") for suffix in (".tbi", ".csi")]


def remove_indices(vcf: Path) -> None:
    """Remove what is an index of the file that has had this name so far."""
    for path in index_paths(vcf):
        path.unlink(missing_ok=True)


def make_index(vcf: Path, contigs: Mapping[str, int]) -> str | None:
    """Index a sorted bgzip VCF: tabix, or CSI where tabix cannot hold it. Returns why none was made, if so.

    contigs: name to length in bp, of the reference.
    """
    tabix, csi = index_paths(vcf)
    is_long = max(contigs.values(), default=0) > TABIX_REACH_BP
    verbosity = pysam.set_verbosity(0)  # htslib would complain on standard error
    try:
        for path in [csi] if is_long else [tabix, csi]:
            if _is_made(vcf, path, is_csi=path == csi):
                return None
    finally:
        pysam.set_verbosity(verbosity)
    return "no index was made: htslib could not, maybe for a POS, or an END in INFO, that is beyond any index"


def _is_made(vcf: Path, path: Path, *, is_csi: bool) -> bool:
    try:
        with replacing_file(path) as temporary:
            pysam.tabix_index(str(vcf), preset="vcf", index=str(temporary), csi=is_csi, force=True)
    except OSError:
        return False
    return True
