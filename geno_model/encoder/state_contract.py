"""The state contract: everything that decides what number a state is.

One frozen value is made once, written into every table and file that holds a state, and compared at every door
(spec 2, "Identity"; pitfall 20: a public implementation trained on one kind of state and scored another).
Not here: how a state is computed (`carbon`, `pooling`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from geno_model.genomics.errors import InputError

Context = Literal["none", "sixmer", "locus"]


class ContractMismatchError(InputError):
    """Two state contracts that should be one value differ."""


@dataclass(frozen=True, slots=True)
class StateContract:
    """What a stored state means. Lengths in base pairs or DNA tokens as the names say."""

    window_bp: int
    stride_bp: int
    fit_side: Literal["right", "opposite"]
    layer: int
    pooling: Literal["centered_mean"]
    radius_tokens: int
    normalise: bool
    dtype: Literal["float32"]
    context: Context
    encoder_hash: str

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON form, as hex."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, one per field, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StateContract:
        """The inverse of `to_dict`; a missing or unknown field is a `ContractMismatchError`."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ContractMismatchError(
                f"a state contract has the fields {sorted(names)}, but this one has {sorted(values)}: "
                "it was written by another version; build it again"
            )
        return cls(**values)

    def require_same(self, other: StateContract, where: str) -> None:
        """Raise `ContractMismatchError` naming every field in which `other` differs; `where` says who found it."""
        mine, theirs = self.to_dict(), other.to_dict()
        differing = [
            f"{name}: {mine[name]!r} here, {theirs[name]!r} there" for name in mine if mine[name] != theirs[name]
        ]
        if differing:
            raise ContractMismatchError(
                f"{where}: the states follow two different contracts ({'; '.join(differing)}). "
                "States of different contracts never mix: rebuild one side with the other's settings"
            )
