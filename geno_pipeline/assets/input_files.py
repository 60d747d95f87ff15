"""The input files: made elsewhere, watched here (group `inputs`, spec 3, 9).

Concept: an input is an asset that Dagster only observes. Its data version is the SHA-256 of the files' content, so a
file that was touched but not changed makes nothing stale, and a changed one what is made from it. A hash is kept beside
the file's size and time (`<storage>/input_hashes.json`), so an unchanged file is read for it once.
A synthetic profile has none of these: its inputs are the asset `demo_inputs`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from geno_model.files import replacing_file
from geno_pipeline.assets import PROFILE
from geno_pipeline.storage import combined_sha256, file_sha256

HASHES = "input_hashes.json"
CLINVAR_RELEASE = "clinvar_release.json"  # of the file that `clinvar_variants` was made from
BENCHMARK_FILES = "benchmark_files.json"  # of those that `benchmark_alleles` was made from


def version_of(files: Mapping[str, Path], hashes: Path) -> dg.DataVersion:
    """Data version over the names and the content of files; see `contents_of`."""
    contents = contents_of(list(files.values()), hashes)
    return dg.DataVersion(combined_sha256({name: contents[path] for name, path in files.items()}))


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


def files_of(given: Path | Sequence[Path] | None) -> dict[str, Path]:
    """Input files of a setting by their names in the profile: two folders may have files of one name."""
    several = [] if given is None else [given] if isinstance(given, Path) else given
    return {str(path): PROFILE.input_path(path) for path in several}


def input_asset(name: str, files: Mapping[str, Path], description: str) -> dg.SourceAsset:
    """An observed asset over the files of one input."""

    @dg.observable_source_asset(
        name=f"{name}_files",
        group_name="inputs",
        description=description,
        metadata={"paths": dg.MetadataValue.md("  \n".join(str(path) for path in files.values()))},
    )
    def observe() -> dg.DataVersion:
        return version_of(files, PROFILE.storage / HASHES)

    return observe


GIVEN = PROFILE.inputs
BENCHMARKS = files_of([path for path in (GIVEN.brca1, GIVEN.brca2, GIVEN.traitgym, GIVEN.other_scores) if path])
INPUT_ASSETS = (
    []
    if PROFILE.synthetic
    else [
        input_asset("reference", files_of(GIVEN.reference), "The reference genome's FASTA."),
        input_asset("gnomad", files_of(GIVEN.gnomad), "Population sites with frequencies, VCF or BCF."),
        input_asset("clinvar", files_of(GIVEN.clinvar), "The ClinVar release, VCF."),
        input_asset("benchmark", BENCHMARKS, "Tables of the benchmarks and of other models' scores; none is allowed."),
        input_asset(
            "frequency", files_of(GIVEN.frequencies or GIVEN.gnomad), "Site files to look benchmark alleles up in."
        ),
        input_asset("phased", files_of(GIVEN.phased), "Phased genotypes, VCF or BCF."),
        input_asset("genes", files_of(GIVEN.genes), "Gene models, GTF or GFF3; none is allowed."),
        input_asset("corpus", files_of(GIVEN.corpus), "Sequences without coordinates; none is allowed."),
        input_asset("repeats", files_of(GIVEN.repeats), "Repeats, RepeatMasker, UCSC or BED; none is allowed."),
    ]
)


def benchmark_tables(hashes: Path) -> str:
    """SHA-256 over the user's benchmark tables, as they are."""
    return version_of(BENCHMARKS, hashes).value
