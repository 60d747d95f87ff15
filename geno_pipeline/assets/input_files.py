"""The input files: made elsewhere, watched here (group `inputs`, spec 3, 9).

Concept: an input is an asset that Dagster only observes. Its data version is the SHA-256 of the files' content, so a
file that was touched but not changed makes nothing stale, and a changed one what is made from it. A hash is kept beside
the file's size and time (`<storage>/input_hashes.json`), so an unchanged file is read for it once.
A synthetic profile has none of these: its inputs are the asset `demo_inputs`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from geno_model.files import replacing_file
from geno_pipeline.assets import PROFILE
from geno_pipeline.storage import combined_sha256, file_sha256

HASHES = "input_hashes.json"
CLINVAR_RELEASE = "clinvar_release.json"  # of the file that `clinvar_variants` was made from
BENCHMARK_FILES = "benchmark_files.json"  # of those that `benchmark_alleles` was made from


def version_of(paths: Sequence[Path], hashes: Path) -> dg.DataVersion:
    """Data version over the names and the content of files; see `contents_of`."""
    return dg.DataVersion(combined_sha256({path.name: content for path, content in contents_of(paths, hashes).items()}))


def contents_of(paths: Sequence[Path], hashes: Path) -> dict[Path, str]:
    """SHA-256 of each file, `missing` for one that is not there.

    hashes: JSON file of path -> [size, time in ns, SHA-256] of earlier calls; brought up to date.
    """
    known = json.loads(hashes.read_text()) if hashes.is_file() else {}
    for path in paths:
        stat = path.stat() if path.is_file() else None
        stamp = [stat.st_size, stat.st_mtime_ns] if stat else [0, 0]
        if known.get(str(path), [])[:2] != stamp:
            known[str(path)] = [*stamp, file_sha256(path) if stat else "missing"]
    with replacing_file(hashes) as temporary:
        temporary.write_text(json.dumps(known, sort_keys=True, indent=1))
    return {path: known[str(path)][2] for path in paths}


def input_asset(name: str, paths: Sequence[Path], description: str) -> dg.SourceAsset:
    """An observed asset over the files of one input."""

    @dg.observable_source_asset(
        name=f"{name}_files",
        group_name="inputs",
        description=description,
        metadata={"paths": dg.MetadataValue.md("  \n".join(str(path) for path in paths))},
    )
    def observe() -> dg.DataVersion:
        return version_of(paths, PROFILE.storage / HASHES)

    return observe


def _paths(given: Path | Sequence[Path] | None) -> list[Path]:
    several = [] if given is None else [given] if isinstance(given, Path) else list(given)
    return [PROFILE.input_path(path) for path in several]


BENCHMARKS = _paths(
    [path for name in ("brca1", "brca2", "traitgym", "other_scores") if (path := getattr(PROFILE.inputs, name))]
)
INPUT_ASSETS = (
    []
    if PROFILE.synthetic
    else [
        input_asset("reference", _paths(PROFILE.inputs.reference), "The reference genome's FASTA."),
        input_asset("gnomad", _paths(PROFILE.inputs.gnomad), "Population sites with frequencies, VCF or BCF."),
        input_asset("clinvar", _paths(PROFILE.inputs.clinvar), "The ClinVar release, VCF."),
        input_asset("benchmark", BENCHMARKS, "Tables of the benchmarks and of other models' scores; none is allowed."),
        input_asset(
            "frequency",
            _paths(PROFILE.inputs.frequencies or PROFILE.inputs.gnomad),
            "Site files to look benchmark alleles up in.",
        ),
        input_asset("phased", _paths(PROFILE.inputs.phased), "Phased genotypes, VCF or BCF."),
        input_asset("genes", _paths(PROFILE.inputs.genes), "Gene models, GTF or GFF3; none is allowed."),
        input_asset("corpus", _paths(PROFILE.inputs.corpus), "Sequences without coordinates; none is allowed."),
        input_asset("repeats", _paths(PROFILE.inputs.repeats), "Repeats, RepeatMasker, UCSC or BED; none is allowed."),
    ]
)


def benchmark_tables(hashes: Path) -> str:
    """SHA-256 over the user's benchmark tables, as they are."""
    return combined_sha256({str(path): content for path, content in contents_of(BENCHMARKS, hashes).items()})
