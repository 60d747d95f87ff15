"""The state contract: everything that decides what number a state is.

One frozen value is made once, written into every table and file that holds a state, and compared at every door
(spec 2, "Identity"; pitfall 20: a public implementation trained on one kind of state and scored another).
Not here: how a state is computed (`carbon`, `pooling`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import BASES_PER_TOKEN

Context = Literal["none", "sixmer", "locus", "pool"]
FitRule = Literal["right", "opposite"]
Pooling = Literal["centered_mean", "global_mean", "attention"]
Dtype = Literal["float32", "bfloat16", "float16"]
LAYERS = (-1, -2, -3, -4)
_CHOICES: dict[str, tuple[Any, ...]] = {
    "fit_side": get_args(FitRule),
    "layer": LAYERS,
    "pooling": get_args(Pooling),
    "normalise": (True,),  # states of any other norm have misled before (pitfall 1), so none are made
    "dtype": get_args(Dtype),
    "context": get_args(Context),
}


class ContractValueError(InputError):
    """A setting that no state can follow."""


class ContractMismatchError(InputError):
    """Two state contracts that should be one value differ."""


@dataclass(frozen=True, slots=True)
class StateContract:
    """What a stored state means. Lengths in base pairs or DNA tokens as the names say.

    layer: -1 is the last, AFTER the model's final norm; -2 to -4 are the outputs of the layers before it, which no norm
    has touched (as in the `hidden_states` of transformers), so their scale differs from that of -1.
    pooling: centered_mean is the mean over 2 * radius_tokens + 1 tokens around the locus, clipped to the window;
    global_mean the mean over the window, whose radius_tokens is therefore all its tokens; attention a learned mean
    over the tokens of centered_mean.
    dtype: the arithmetic of the encoder. States are float32 whatever it is.
    Raises `ContractValueError` for values that no state can follow.
    """

    window_bp: int
    stride_bp: int
    fit_side: FitRule
    layer: int
    pooling: Pooling
    radius_tokens: int
    normalise: bool
    dtype: Dtype
    context: Context
    encoder_hash: str

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ContractValueError(
                    f"state contract: {name} is {getattr(self, name)!r}, expected one of "
                    f"{', '.join(map(repr, allowed))}; change that setting"
                )
        n_tokens = self.window_bp // BASES_PER_TOKEN
        if self.window_bp < BASES_PER_TOKEN or self.window_bp % BASES_PER_TOKEN or self.stride_bp < 1:
            raise ContractValueError(
                f"state contract: window_bp is {self.window_bp} and stride_bp {self.stride_bp}, expected a positive "
                f"multiple of {BASES_PER_TOKEN} and a positive number; change them"
            )
        if self.radius_tokens < 0 or (self.pooling == "global_mean" and self.radius_tokens != n_tokens):
            raise ContractValueError(
                f"state contract: radius_tokens is {self.radius_tokens} with {self.pooling}, expected at least 0, and "
                f"all {n_tokens} tokens of the window with global_mean; change it"
            )

    @property
    def right_tokens(self) -> int:
        """Tokens right of the locus that are pooled: what an edited window cut on the right must still have there.

        0 for global_mean: it pools both ends alike, so the one that leaves the six-mers their frame is cut.
        """
        return 0 if self.pooling == "global_mean" else self.radius_tokens

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
