"""What stops an asset that would build on something wrong, whichever job or button started it (spec 4, 8, 9).

Belongs here: refusals that an asset makes for itself, with the command that puts things right. Does not: the checks
(`checks`, and beside the assets), and what is out of date before a run starts (`freshness`).

Concept: a Dagster check stops the run that it is in, and nothing else. So what is protected asks for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from geno_model.genomics.errors import InputError
from geno_pipeline.config import command
from geno_pipeline.freshness import checks_not_passed, made_from, stale_above
from geno_pipeline.storage import MadeWith, Storage

JOBS = ("build_dataset", "train_model", "evaluate", "release")
"""Jobs that make the pipeline's assets, in the order of the data."""
SHOWN = 5


class GateError(InputError):
    """An asset that is not made, because what it would be made from does not hold or does not belong together."""


def require_checks(context: dg.AssetExecutionContext) -> None:
    """Refuse unless every blocking check of all that the running asset is made from has passed. Raises `GateError`."""
    from geno_pipeline.definitions import defs  # which loads the assets, and so this module

    graph = defs.resolve_asset_graph()
    failed = checks_not_passed(graph, context.instance, made_from(graph, [context.asset_key]))
    if failed:
        which = "; ".join(f"{key.name} of {key.asset_key.to_user_string()} {what}" for key, what in failed.items())
        raise GateError(
            f"not made, because of checks that have not passed: {which}. Put right what they say, then run: "
            + commands(defs, [key.asset_key for key in failed])
        )


def require_one_model(found: Mapping[str, MadeWith | None], now: MadeWith) -> None:
    """Refuse to join what was not made with the model `now`. Raises `GateError`, naming each of them.

    found: the model of each table or report, by name; None for one that does not say.
    """
    differing = [
        f"{name} of {'an unknown one' if made is None else _name(made, now)}"
        for name, made in found.items()
        if made != now
    ]
    if differing:
        raise GateError(
            f"not made, because it would join two models: the checkpoint is {now.checkpoint_sha256[:12]}, "
            f"{', '.join(differing)}. Make them with one model; run: {command('evaluate')}"
        )


def refusal(
    defs: dg.Definitions, instance: dg.DagsterInstance, job: str, contigs: Sequence[str], storage: Storage
) -> str | None:
    """Why a job cannot start: what its assets are made from is out of date, and what to run first. None if it can."""
    wanted = defs.resolve_job_def(job).asset_layer.executable_asset_keys
    stale = stale_above(defs, instance, wanted, contigs, storage.is_stored)
    if not stale:
        return None
    named = [f"{key.to_user_string()} ({why})" for key, why in stale.items()]
    more = f", and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    return (
        f"{job}: not started, for what it is made from is out of date: {', '.join(named[:SHOWN])}{more}. "
        f"Run first: {commands(defs, stale)}"
    )


def commands(defs: dg.Definitions, assets: Iterable[dg.AssetKey]) -> str:
    """The commands that make these assets."""
    missing, needed = set(assets), []
    for name in JOBS:
        made = set(defs.resolve_job_def(name).asset_layer.executable_asset_keys)
        if made & missing:
            needed.append(command(name))
    return " && ".join(needed)


def _name(made: MadeWith, now: MadeWith) -> str:
    if made.checkpoint_sha256 != now.checkpoint_sha256:
        return made.checkpoint_sha256[:12]
    return f"{made.checkpoint_sha256[:12]} with other settings"
