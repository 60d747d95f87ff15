"""Which assets a run has to make: those that are missing, or whose code, settings or inputs have changed (spec 9).

Belongs here: asking Dagster what is out of date or has not passed its checks, and putting it in an order. Does not:
running anything (`run`).

Concept: a run goes in rounds. A round makes what is out of date and has nothing out of date above it but what is made
in the same round; then Dagster is asked again. So what came out the same as before ends the chain, and what depends on
nothing that changed is not made. From nothing, all is missing and there is one round.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

# Dagster's own answer, the one that its UI shows. It has no public name; the version is pinned in constraints.txt.
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus


@dataclass(frozen=True, slots=True)
class Round:
    """Assets to make in one run, and the contigs of those that are partitioned: a stretch of the profile's contigs."""

    assets: tuple[dg.AssetKey, ...]
    contigs: tuple[str, ...]


def next_round(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    wanted: Iterable[dg.AssetKey],
    contigs: Sequence[str],
    is_stored: Callable[[dg.AssetKey, str | None], bool],
) -> Round | None:
    """What to make next of the `wanted` assets; None when all are up to date.

    Args:
        contigs: all contigs of the profile, in its order.
        is_stored: whether the files of an asset (of a contig, where it is partitioned) are there.

    An asset is out of date when it was never made, its files are gone, its code version or the data version of an input
    is another than it was made with, or one of its blocking checks has not passed since.
    """
    graph, wanted = defs.resolve_asset_graph(), set(wanted)
    stale = _out_of_date(graph, instance, wanted, contigs, is_stored)
    chosen: list[dg.AssetKey] = []
    touched: set[dg.AssetKey] = set()  # out of date, or below something that is
    for key in graph.toposorted_asset_keys:
        above = graph.get(key).parent_keys
        if key in stale and all(parent in chosen or parent not in touched for parent in above):
            chosen.append(key)
        if key in stale or touched & above:
            touched.add(key)
    if not chosen:
        return None
    places = [contigs.index(part) for key in chosen for part in stale[key] if part is not None]
    stretch = contigs[min(places) : max(places) + 1] if places else ()
    return Round(tuple(chosen), tuple(stretch))


def stale_above(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    wanted: Iterable[dg.AssetKey],
    contigs: Sequence[str],
    is_stored: Callable[[dg.AssetKey, str | None], bool],
) -> dict[dg.AssetKey, str]:
    """What the `wanted` assets are made from, without themselves, and is out of date: the reason by asset.

    What is out of date only because one of the wanted assets was made again is left out: a refresh of the benchmarks
    makes ClinVar's variants, and trains no model on them.
    """
    graph, wanted = defs.resolve_asset_graph(), set(wanted)
    stale = _out_of_date(graph, instance, made_from(graph, wanted) - wanted, contigs, is_stored, ignored=wanted)
    return {key: next(iter(reasons.values())) for key, reasons in stale.items()}


def made_from(graph: BaseAssetGraph, keys: Iterable[dg.AssetKey]) -> set[dg.AssetKey]:
    """All assets that these are made from, directly or not, without those that are only watched."""
    ancestors = {parent for key in keys for parent in graph.get_ancestor_asset_keys(key)}
    return ancestors & graph.materializable_asset_keys


def checks_not_passed(
    graph: BaseAssetGraph, instance: dg.DagsterInstance, assets: Iterable[dg.AssetKey]
) -> dict[dg.AssetCheckKey, str]:
    """Blocking checks of assets that have not passed since the asset was made last: what became of them instead."""
    wanted = set(assets)
    blocking = [key for key in graph.asset_check_keys if graph.get(key).blocking and key.asset_key in wanted]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(blocking)
    made = {key: instance.get_latest_materialization_event(key) for key in {check.asset_key for check in blocking}}
    found: dict[dg.AssetCheckKey, str] = {}
    for check in blocking:
        record, last = records.get(check), made[check.asset_key]
        event = record.event if record else None
        if last is None:
            continue  # there is nothing to check
        if record is None or event is None or event.timestamp < last.timestamp:
            found[check] = "has not run since the asset was made"
        elif record.status != AssetCheckExecutionRecordStatus.SUCCEEDED:
            found[check] = "failed"
    return found


def _out_of_date(
    graph: BaseAssetGraph,
    instance: dg.DagsterInstance,
    assets: Collection[dg.AssetKey],
    contigs: Sequence[str],
    is_stored: Callable[[dg.AssetKey, str | None], bool],
    ignored: Collection[dg.AssetKey] = (),
) -> dict[dg.AssetKey, dict[str | None, str]]:
    """Those of the assets that are out of date, in the order of the data: why, by contig (None: not partitioned).

    ignored: assets of which another version than before makes nothing out of date.
    """
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    unchecked = {
        check.asset_key: f"its check {check.name} {what}"
        for check, what in checks_not_passed(graph, instance, assets).items()
    }

    def reason(key: dg.AssetKey, part: str | None) -> str | None:
        if resolver.get_status(key, part) == StaleStatus.MISSING:
            return "was never made"
        if not is_stored(key, part):
            return "its files are gone"
        causes = [cause for cause in resolver.get_stale_causes(key, part) if cause.dependency_asset_key not in ignored]
        if any(cause.dependency_asset_key is None for cause in causes):
            return "its settings or its code have changed"
        if causes:
            names = {cause.dependency_asset_key.to_user_string() for cause in causes if cause.dependency_asset_key}
            return f"{', '.join(sorted(names))} has changed"
        return unchecked.get(key)

    found: dict[dg.AssetKey, dict[str | None, str]] = {}
    for key in (key for key in graph.toposorted_asset_keys if key in assets):
        parts: Sequence[str | None] = contigs if graph.get(key).is_partitioned else [None]
        if reasons := {part: why for part in parts if (why := reason(key, part))}:
            found[key] = reasons
    return found
