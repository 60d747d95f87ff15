"""Which assets a run has to make: those that are missing, or whose code, settings or inputs have changed (spec 9).

Belongs here: asking Dagster what is out of date, and putting it in an order. Does not: running anything (`run`).

Concept: a run goes in rounds. A round makes what is out of date and has nothing out of date above it but what is made
in the same round; then Dagster is asked again. So what came out the same as before ends the chain, and what depends on
nothing that changed is not made. From nothing, all is missing and there is one round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import dagster as dg

# Dagster's own answer, the one that its UI shows. It has no public name; the version is pinned in constraints.txt.
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
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
    is another than it was made with, or its last blocking check failed.
    """
    graph, wanted = defs.resolve_asset_graph(), set(wanted)
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    failed = _failed(graph, instance)

    def stale_contigs(key: dg.AssetKey) -> list[str | None]:
        parts: Sequence[str | None] = contigs if graph.get(key).is_partitioned else [None]
        return [
            part
            for part in parts
            if key in failed or resolver.get_status(key, part) != StaleStatus.FRESH or not is_stored(key, part)
        ]

    stale: dict[dg.AssetKey, list[str | None]] = {}
    chosen: list[dg.AssetKey] = []
    touched: set[dg.AssetKey] = set()  # out of date, or below something that is
    for key in graph.toposorted_asset_keys:
        above = graph.get(key).parent_keys
        if key in wanted and (parts := stale_contigs(key)):
            stale[key] = parts
            if all(parent in chosen or parent not in touched for parent in above):
                chosen.append(key)
        if key in stale or touched & above:
            touched.add(key)
    if not chosen:
        return None
    places = [contigs.index(part) for key in chosen for part in stale[key] if part is not None]
    stretch = contigs[min(places) : max(places) + 1] if places else ()
    return Round(tuple(chosen), tuple(stretch))


def _failed(graph: AssetGraph, instance: dg.DagsterInstance) -> set[dg.AssetKey]:
    """Assets of which a blocking check did not pass when it ran last."""
    blocking = [key for key in graph.asset_check_keys if graph.get(key).blocking]
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(blocking)
    passed = AssetCheckExecutionRecordStatus.SUCCEEDED
    return {key.asset_key for key, record in records.items() if record.status != passed}
