"""The settings of a release that scoring must follow: `config.json` (spec 5, 8).

Belongs here: the state contract, the window policy and the GC thirds that the calibration froze, and who made the
release with what. Does not: the sizes of the model (`model.json`, written by the model itself), any number that a run
could choose.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from geno_model import __version__
from geno_model.encoder.state_contract import StateContract
from geno_model.release.manifest import ReleaseError, canonical_json

CONFIG = "config.json"
SYNTHETIC = "SYNTHETIC"
"""How `about.data` begins in a release whose data were made up."""

WindowPolicy = Literal["most_central", "centred", "mean_of_all", "max_of_all", "median_of_all", "mean_of_phases"]
_RECORDED = ("numpy", "polars", "safetensors", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class ReleaseConfig:
    """What calibration and scoring must share.

    contract: of every state; gc_edges: upper borders of the lower two GC thirds, shares of G and C in a window;
    window_policy: in which windows an allele is scored (`scoring.windows`). data: what the release was made from, as
    read from `data` of its `about`; "" where that is not said.
    """

    contract: StateContract
    gc_edges: tuple[float, float]
    window_policy: WindowPolicy = "most_central"
    data: str = ""

    @property
    def is_synthetic(self) -> bool:
        """Whether the genome, the variants and the ClinVar behind the release were made up."""
        return self.data.startswith(SYNTHETIC)


def write_config(folder: Path, config: ReleaseConfig, about: Mapping[str, Any]) -> None:
    """Write `config.json` into a release folder that is being built.

    about: facts for the reader (name of the encoder, profile, counts), finite JSON values.
    """
    values = {
        "schema_version": 1,
        "state_contract": config.contract.to_dict(),
        "window_policy": config.window_policy,
        "gc_edges": list(config.gc_edges),
        "about": dict(about),
        "versions": {"geno_model": __version__, **{name: _version(name) for name in _RECORDED}},
    }
    (folder / CONFIG).write_bytes(canonical_json(values) + b"\n")


def read_config(folder: Path) -> ReleaseConfig:
    """Read what `write_config` wrote. Raises `ReleaseError` for a file that this version cannot follow."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        policy, edges, fields = values["window_policy"], values["gc_edges"], values["state_contract"]
        low, high = (float(edge) for edge in edges)
        data = str(values["about"].get("data", ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{path} holds no settings of a release ({error}); copy the release again") from None
    if policy not in get_args(WindowPolicy):
        raise ReleaseError(
            f"{path}: the release was calibrated with the window policy {policy!r}, this program knows "
            f"{', '.join(get_args(WindowPolicy))}; install the version that made the release"
        )
    return ReleaseConfig(StateContract.from_dict(fields), (low, high), policy, data)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
