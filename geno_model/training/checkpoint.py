"""What a run needs to go on where it was killed: weights, optimiser, history; safetensors and JSON (spec 4).

Belongs here: writing and reading `<checkpoint>.partial/`. Does not: the finished checkpoint (`WorldModel.save`), when
to write (`loop`). Batches and dropout follow from (seed, step): the number of steps done is all of the sampler's state.

    <checkpoint>.partial/  state.safetensors   model.<name>, optimiser.<name>.<value>
                           run.json            identity of the run, steps done, history
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from geno_model.files import replacing_folder, sweep
from geno_model.genomics.errors import InputError

_STATE, _RUN = "state.safetensors", "run.json"


class ResumeError(InputError):
    """An unfinished run that is damaged, or is one of other data, settings or encoder."""


@dataclass
class Progress:
    """How far a run has come. history: a dict per logged step; running: loss summed since the last of them."""

    step: int = 0
    running: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, Any]] = field(default_factory=list)


def partial_folder(folder: Path) -> Path:
    """Where the unfinished run of a checkpoint folder lies."""
    return folder.with_name(f"{folder.name}.partial")


def save_progress(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress, identity: dict[str, Any]
) -> None:
    """Write the unfinished run of `folder`, replacing the one before; killed at any point, one of the two is whole."""
    names = _names(model)
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            tensors[f"optimiser.{names[id(parameter)]}:{name}"] = value.contiguous()
    run = {"identity": identity, **progress.__dict__}
    with replacing_folder(partial_folder(folder)) as temporary:
        save_file(tensors, temporary / _STATE)
        (temporary / _RUN).write_text(json.dumps(run, sort_keys=True, indent=1) + "\n")


def load_progress(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, identity: dict[str, Any]
) -> Progress:
    """Put model and optimiser where the unfinished run of `folder` left them; a run that never began is at step 0.

    Raises `ResumeError` where it is damaged or of another identity, naming what differs.
    """
    source = partial_folder(folder)
    sweep(source.parent)  # puts it back where a kill came in the middle of its exchange
    if not source.exists():
        return Progress()
    try:
        run = json.loads((source / _RUN).read_text())
        tensors = load_file(source / _STATE)
        found = run.pop("identity")
        progress = Progress(**run)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ResumeError(f"{source}: the unfinished run cannot be read ({error}); remove that folder") from error
    differing = [
        f"{name} was {found.get(name)!r} and is {value!r}"
        for name, value in identity.items()
        if found.get(name) != value
    ]
    if differing:
        raise ResumeError(
            f"{source}: the unfinished run there is another one ({'; '.join(differing)}). Finish it with its own data "
            "and settings, or remove that folder to begin anew"
        )
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
    for name, parameter in model.named_parameters():
        start = f"optimiser.{name}:"
        state = {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
        if state:
            optimiser.state[parameter] = state
    return progress


def _names(model: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}
