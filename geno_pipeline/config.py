"""The profile: every setting of one run of the pipeline, read from one YAML file.

Belongs here: the frozen models of a profile, reading a profile, and the one-line error of a bad one.
Does not belong here: what a setting does (the plain functions do that), and Dagster run config; a profile is read once,
when the definitions are loaded, because the contig partitions come from it.

Concept: a profile is a value. The same profile and the same inputs give the same bytes, so each asset's code version
holds a digest of the settings that it uses (`digest`): a changed setting shows as a stale asset.

Paths: `storage` and `data` are relative to the current directory; input files are relative to `data`, which
`--data DIR` or the environment variable GENO_DATA overrides. A synthetic profile has no `data`: its first asset writes
the inputs to `<storage>/demo_inputs`. Coordinates in a profile are 0-based, half-open. Source: spec 9, 3.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geno_model.genomics.errors import InputError
from geno_model.release.config import WindowPolicy

PROFILES = Path(__file__).parent / "profiles"
DEFAULT_PROFILE = "demo"
CORPUS = "corpus"  # contig of sequences without coordinates


class ProfileError(InputError):
    """A profile that cannot be used: one line with file, field, what was found and what was expected."""


class Settings(BaseModel):
    """Base of all sections: frozen, and a misspelt key is an error instead of a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Inputs(Settings):
    """Input files, relative to the profile's `data` folder."""

    reference: Path = Field(description="FASTA, plain or bgzip")
    gnomad: tuple[Path, ...] = Field(
        min_length=1, description="population sites: exomes, genomes or both; whole or one a chromosome"
    )
    clinvar: Path = Field(description="ClinVar VCF")
    phased: Path = Field(description="VCF or BCF with phased genotypes")
    genes: Path | None = Field(description="GTF or GFF3; without it every variant's region class is 'other'")
    repeats: tuple[Path, ...] | None = Field(
        description="RepeatMasker .out or BED files; without them every repeat class is 'none'"
    )
    corpus: Path | None = Field(
        default=None, description="FASTA or Parquet of sequences without coordinates, as more windows to train on"
    )
    an_where_af_missing: int | None = Field(
        default=None, ge=1, description="chromosomes in the panel, for a site file that has AC but no AF and no AN"
    )
    score_vcf: Path = Field(description="VCF that the release scores at the end of `everything`")
    brca1: Path | None = Field(default=None, description="benchmark: layout of Findlay 2018 or HuggingFaceBio")
    brca2: Path | None = Field(default=None, description="benchmark: layout of Huang 2025 or HuggingFaceBio")
    traitgym: Path | None = Field(default=None, description="benchmark: layout of TraitGym or HuggingFaceBio")
    other_scores: Path | None = Field(
        default=None, description="table of other models' scores: chrom, pos, ref, alt, ..."
    )
    frequencies: tuple[Path, ...] | None = Field(
        default=None, description="sites for benchmark alleles, not `gnomad`'s"
    )


class Windows(Settings):
    """Grid of reference windows (spec 3)."""

    window_bp: int = Field(default=12_288, gt=0, multiple_of=6)
    stride_bp: int = Field(default=8_192, gt=0)
    max_n_fraction: float = Field(default=0.05, ge=0, le=1, description="windows with a larger share of N are dropped")


class Holdouts(Settings):
    """What training never sees (spec 3)."""

    contigs: tuple[str, ...] = Field(default=(), description="contigs that are held out whole")
    spans: tuple[tuple[str, int, int], ...] = Field(default=(), description="contig, start_bp, end_bp")
    clinvar_fraction: float = Field(ge=0, le=1, description="share of the P/LP and B/LB alleles that is held out")
    haplotype_fraction: float = Field(ge=0, le=1, description="share of the phased blocks that is held out")

    @model_validator(mode="after")
    def _spans_in_order(self) -> Holdouts:
        for contig, start_bp, end_bp in self.spans:
            if not 0 <= start_bp < end_bp:
                raise ValueError(f"a span with 0 <= start_bp < end_bp, not [{contig}, {start_bp}, {end_bp}]")
        return self


class Mix(Settings):
    """Sources of training edits (spec 3)."""

    edits_per_window: float = Field(default=8.0, gt=0, description="mean over the training windows")
    gnomad_share: float = Field(default=0.4, ge=0, le=1)
    synthetic_snv_share: float = Field(default=0.3, ge=0, le=1)
    synthetic_indel_share: float = Field(default=0.2, ge=0, le=1)
    clinvar_share: float = Field(default=0.1, ge=0, le=1)
    mnv_share: float = Field(default=0.1, ge=0, le=1, description="part of synthetic_indel that is MNVs")
    complex_share: float = Field(default=0.1, ge=0, le=1, description="part of synthetic_indel: complex indels")
    multi_edit_fraction: float = Field(default=0.1, ge=0, le=1, description="share of rows with two or three edits")
    off_centre_fraction: float = Field(default=0.2, ge=0, le=1, description="share of rows pooled beside the edit")
    calibration_fraction: float = Field(gt=0, lt=1, description="share of common variants kept for calibration")
    min_af: float = Field(default=0.01, ge=0, le=1, description="smallest allele frequency of a common variant")

    @property
    def shares(self) -> dict[str, float]:
        """Share of each source, by the source's name in `edit_mix`."""
        return {
            "gnomad": self.gnomad_share,
            "synthetic_snv": self.synthetic_snv_share,
            "synthetic_indel": self.synthetic_indel_share,
            "clinvar": self.clinvar_share,
        }

    @model_validator(mode="after")
    def _shares_add_up(self) -> Mix:
        total = sum(self.shares.values())
        if abs(total - 1) > 1e-9:
            raise ValueError(f"four shares that add up to 1, not to {total:g}")
        if self.mnv_share + self.complex_share > 1:
            raise ValueError("mnv_share and complex_share that add up to at most 1")
        return self


class Validation(Settings):
    """Rows drawn from the holdouts, in each contig (spec 3)."""

    singles_per_window: int = Field(ge=1, description="single edits in a window of holdout-chr, on average")
    chains_per_k: int = Field(ge=0, description="synthetic chains on holdout-chr for each k above 1")
    k_values: tuple[int, ...] = Field(default=(1, 2, 3, 5, 8, 13), description="numbers of edits in a chain")
    haplotypes_per_k: int = Field(default=200, ge=0, description="most rows of holdout-haplotypes for each k")
    clinvar_rows: int = Field(default=500, ge=0, description="most rows of holdout-clinvar")


class Carbon(Settings):
    """A published encoder in place of the one that is trained here (spec 2, "Weights")."""

    use: bool = Field(default=False, description="download it in the run and make all states with it")
    repo: str = "HuggingFaceBio/Carbon-500M"
    revision: str = Field(
        default="5d31d59b3c845b288a13aedb1358934196852eec", pattern="^[0-9a-f]{40}$", description="a commit, no branch"
    )


class Encoder(Settings):
    """Pretraining of the demo encoder, or another one to use instead (spec 2)."""

    carbon: Carbon = Carbon()
    folder: Path | None = Field(
        default=None, description="a local encoder to make all states with, such as an `adapted_encoder`"
    )

    hidden: int = Field(default=128, gt=0)
    layers: int = Field(default=4, gt=0)
    heads: int = Field(default=2, gt=0)
    steps: int = Field(gt=0)
    batch_size: int = Field(default=4, gt=0, description="half windows a step")
    learning_rate: float = Field(default=3e-3, gt=0)
    time_budget_s: float | None = Field(default=None, gt=0, description="stop earlier, at this many seconds")
    seed: int = 1

    @model_validator(mode="after")
    def _one_encoder(self) -> Encoder:
        if self.folder is not None and self.carbon.use:
            raise ValueError("`folder` or `carbon.use`, not both: a run has one encoder")
        return self


class State(Settings):
    """The choices of the state contract that a person makes (spec 2)."""

    layer: Literal[-4, -3, -2, -1] = -2
    radius_tokens: int = Field(default=256, gt=0)
    fit_side: Literal["right", "opposite"] = "right"
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="the encoder's arithmetic; refused where its noise hides an SNV"
    )
    context: Literal["none", "sixmer", "locus", "pool"] = Field(
        default="pool", description="what the predictor knows of the DNA around an edit (RFC 0006)"
    )


class Model(Settings):
    """Predictor and its training (spec 4)."""

    size: Literal["demo", "small", "base"] = "demo"
    steps: int = Field(gt=0)
    batch_size: int = Field(default=256, gt=0)
    micro_batch: int | None = Field(default=None, gt=0, description="rows at once, where a whole batch is too much")
    learning_rate: float = Field(default=3e-4, gt=0)
    bf16: bool = Field(default=False, description="the predictor's blocks in bfloat16")
    save_every: int = Field(default=500, gt=0, description="steps between two states that a killed run goes on from")
    validate_every: int = Field(default=500, gt=0, description="steps between two looks at the holdouts")
    tensorboard: bool = Field(default=False, description="event files in <storage>/tensorboard")
    seed: int = 2


class Adapt(Settings):
    """Phase 2: LoRA of the encoder, made by the job `adapt_encoder` alone (spec 4)."""

    steps: int = Field(default=40, gt=0)
    batch_size: int = Field(default=8, ge=2, description="rows of edits a step; each window is encoded whole")
    learning_rate: float = Field(default=1e-5, gt=0, description="of the adapters")
    predictor_learning_rate: float | None = Field(default=3e-4, gt=0, description="null: the predictor stays as it is")
    rank: int = Field(default=16, gt=0)
    alpha: int = Field(default=32, gt=0)
    last_layers: int = Field(default=8, gt=0, description="layers that get adapters, counted from the last")
    seed: int = 3


class Ablation(Settings):
    """Ablations, made by the job `ablate` alone (spec 4)."""

    seeds: int = Field(default=3, ge=2, description="trainings of each variant")
    steps: int | None = Field(default=None, gt=0, description="steps of a training; those of `model` if null")
    other_states: bool = Field(default=True, description="variants that need states of their own: layer, radius, phase")


class Calibration(Settings):
    """Calibration table (spec 5)."""

    max_rows: int = Field(gt=0, description="most common variants that are scored for the table")
    window_policy: WindowPolicy = Field(
        default="most_central", description="in which windows an allele is scored, here and by the release"
    )


class Evaluation(Settings):
    """Evaluation report (spec 6)."""

    bootstrap: int = Field(default=1_000, gt=0, description="resamples behind each interval")
    zero_shot_window_bp: int = Field(default=8_192, gt=0, description="centred window of the zero-shot likelihoods")
    zero_shot_rows: int | None = Field(default=None, gt=0, description="most alleles by benchmark and label; null: all")


class Demo(Settings):
    """Size of the synthetic genome and its population (spec 9, last point)."""

    contigs: tuple[tuple[str, int], ...] = Field(min_length=1, description="name and length in bp, in file order")
    n_samples: int = Field(default=100, ge=6, description="diploid people of the simulated population")


class Release(Settings):
    """Name of the release folder."""

    version: str = Field(min_length=1)


class Profile(Settings):
    """All settings of one run; `load_profile` makes one."""

    name: str = Field(min_length=1)
    synthetic: bool = Field(description="the inputs are made up by the pipeline itself")
    storage: Path = Field(description="folder of everything that the pipeline writes")
    data: Path | None = Field(default=None, description="folder of the input files; not for a synthetic profile")
    seed: int = 0
    executor: Literal["in_process", "multiprocess"] = Field(
        default="in_process", description="of runs started in the UI; the run command works in one process"
    )
    contigs: tuple[str, ...] = Field(min_length=1, description="as the FASTA spells them, heaviest first")
    inputs: Inputs
    windows: Windows = Windows()
    holdouts: Holdouts
    mix: Mix
    validation: Validation
    encoder: Encoder
    state: State = State()
    model: Model
    adapt: Adapt = Adapt()
    ablation: Ablation = Ablation()
    calibration: Calibration
    evaluation: Evaluation = Evaluation()
    release: Release
    demo: Demo | None = Field(default=None, description="for a synthetic profile, and for no other")

    @model_validator(mode="after")
    def _hangs_together(self) -> Profile:
        if self.synthetic == (self.data is not None):
            raise ValueError("a `data` folder if, and only if, `synthetic` is false")
        if self.synthetic != (self.demo is not None):
            raise ValueError("a `demo` section if, and only if, `synthetic` is true")
        if self.demo is not None and {name for name, _ in self.demo.contigs} != set(self.contigs):
            raise ValueError("the same names in `contigs` and in `demo.contigs`")
        if (self.inputs.corpus is not None) != (CORPUS in self.contigs):
            raise ValueError(f"`{CORPUS}` among `contigs` if, and only if, `inputs.corpus` is given")
        if len(set(self.contigs)) < len(self.contigs):
            raise ValueError("contigs that are named once each")
        held = {*self.holdouts.contigs, *(span[0] for span in self.holdouts.spans)}
        if unknown := held - set(self.contigs):
            raise ValueError(f"holdouts on contigs of the profile, not on {', '.join(sorted(unknown))}")
        return self

    @property
    def data_folder(self) -> Path:
        """Folder of the input files."""
        return self.storage / "demo_inputs" if self.data is None else self.data

    def input_path(self, path: Path) -> Path:
        """An input file's path from the current directory; an absolute one stays as it is."""
        return self.data_folder / path

    @property
    def digest(self) -> str:
        """SHA-256 of all settings."""
        return digest(self)


def digest(*settings: object) -> str:
    """SHA-256 of settings as canonical JSON: the part of an asset's code version that follows the profile."""
    plain = [value.model_dump(mode="json") if isinstance(value, BaseModel) else value for value in settings]
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def profile_path(name_or_path: str | Path) -> Path:
    """The YAML file of a bundled profile's name (`demo`, `real`), or of a path (anything with a dot or a slash)."""
    text = str(name_or_path)
    if "/" in text or "." in text:
        return Path(text)
    bundled = PROFILES / f"{text}.yaml"
    if not bundled.is_file():
        known = ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))
        raise ProfileError(f"profile: found '{text}', expected one of {known}, or the path of a YAML file")
    return bundled


def load_profile(name_or_path: str | Path, data: Path | None = None) -> Profile:
    """Read a profile.

    Args:
        name_or_path: a bundled profile's name or the path of a YAML file.
        data: replaces the profile's `data` folder; the environment variable GENO_DATA does so when this is None.

    Raises:
        ProfileError: one line with file, field, what was found and what was expected.
    """
    path = profile_path(name_or_path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read ({error.strerror}), expected the YAML file of a profile") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: found text that is not YAML ({_one_line(error)}), expected a profile") from error
    if not isinstance(raw, dict):
        raise ProfileError(f"{path}: found {_short(raw)}, expected a mapping of settings")
    override = data or (Path(os.environ["GENO_DATA"]) if os.environ.get("GENO_DATA") else None)
    if override is not None and not raw.get("synthetic"):
        raw = {**raw, "data": override}
    elif data is not None:
        raise ProfileError(f"{path}: found --data {data}, expected none: a synthetic profile makes its own inputs")
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        raise ProfileError(f"{path}: {_explain(error)}") from error


@cache
def active_profile() -> Profile:
    """The profile of this process: the environment variable GENO_PROFILE (a name or a path), else `demo`."""
    return load_profile(os.environ.get("GENO_PROFILE") or DEFAULT_PROFILE)


def command(job: str) -> str:
    """What to type to run a job of this process's profile."""
    options = [f"--profile {shlex.quote(os.environ.get('GENO_PROFILE') or DEFAULT_PROFILE)}"]
    if os.environ.get("GENO_DATA"):
        options.append(f"--data {shlex.quote(os.environ['GENO_DATA'])}")
    return " ".join(["python -m geno_pipeline run", *options, f"--job {job}"])


def _explain(error: ValidationError) -> str:
    """First fault of a validation as `field: found X, expected Y`, and how many more there are."""
    faults = error.errors(include_url=False)
    first = faults[0]
    field = ".".join(str(part) for part in first["loc"]) or "profile"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    match first["type"]:
        case "missing":
            return f"{field}: found nothing, expected a value{more}"
        case "extra_forbidden":
            return f"{field}: found a setting of that name, expected none: no setting is called so{more}"
        case "value_error":
            return f"{field}: expected {_one_line(first['msg']).removeprefix('Value error, ')}{more}"
        case _:
            message = first["msg"].removeprefix("Input should be ")
            return f"{field}: found {_short(first['input'])}, expected {message}{more}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
