"""What a run makes: all at first, then only what is below a change, contig by contig; nothing when nothing changed."""

# No `from __future__ import annotations`: Dagster wants the class on `context`, not its name.
from collections.abc import Callable
from dataclasses import dataclass, field

import dagster as dg
import pytest

from geno_pipeline.freshness import checks_not_passed, next_round, stale_above

CONTIGS = ("1", "2", "3")
PARTS = dg.StaticPartitionsDefinition(list(CONTIGS))
SINGLE = dg.BackfillPolicy.single_run()


@dataclass
class World:
    """A graph of five assets over two watched inputs; `made` says what was made, in order.

    vcf -> variants (by contig) -> mix -> rows (by contig); fasta -> windows (by contig) -> mix
    """

    instance: dg.DagsterInstance
    content: dict[str, str] = field(default_factory=lambda: {"vcf": "a", "fasta": "b"})
    rows_follow_vcf: bool = True
    check_passes: bool = True
    code: str = "1"
    made: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    contigs: tuple[str, ...] = CONTIGS

    def definitions(self) -> dg.Definitions:
        def watch(name: str) -> dg.SourceAsset:
            @dg.observable_source_asset(name=name)
            def observe() -> dg.DataVersion:
                return dg.DataVersion(self.content[name])

            return observe

        def asset(name: str, deps: list[str], version: Callable[[], str], *, parted: bool) -> dg.AssetsDefinition:
            parts = {"partitions_def": PARTS, "backfill_policy": SINGLE} if parted else {}

            code = self.code if name == "mix" else "1"

            @dg.asset(name=name, deps=deps, code_version=code, **parts)  # pyright: ignore[reportArgumentType]
            def make(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
                contigs = sorted(context.partition_keys) if parted else []
                self.made.append(name + (":" + ",".join(contigs) if parted else ""))
                return dg.MaterializeResult(data_version=dg.DataVersion(version()))

            return make  # pyright: ignore[reportReturnType]

        @dg.asset_check(asset="mix", blocking=True)
        def sound() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=self.check_passes)

        assets = [
            asset("variants", ["vcf"], lambda: self.content["vcf"][0], parted=True),
            asset("windows", ["fasta"], lambda: self.content["fasta"], parted=True),
            asset("mix", ["variants", "windows"], lambda: self.code + "".join(self.content.values()), parted=False),
            asset("rows", ["mix"], lambda: "rows", parted=True),
            asset("report", ["rows"], lambda: "report", parted=False),
        ]
        inputs = [watch("vcf"), watch("fasta")]
        jobs = [
            dg.define_asset_job("all", selection=[one.key for one in assets], executor_def=dg.in_process_executor),
            dg.define_asset_job("watch", selection=[one.key for one in inputs]),
        ]
        return dg.Definitions(assets=[*inputs, *assets], asset_checks=[sound], jobs=jobs)

    def run(self) -> list[str]:
        """Watch, then make round after round; what was made, in order. Ends at a round that fails."""
        self.made.clear()
        defs = self.definitions()
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        defs.resolve_job_def("watch").execute_in_process(instance=self.instance, run_config=quiet)
        job = defs.resolve_job_def("all")
        wanted = job.asset_layer.executable_asset_keys
        while part := next_round(defs, self.instance, wanted, self.contigs, self._is_stored):
            tags = {}
            if part.contigs:
                ends = (part.contigs[0], part.contigs[-1])
                tags = dict(zip(("start", "end"), ends, strict=True))
                tags = {f"dagster/asset_partition_range_{name}": value for name, value in tags.items()}
            done = job.execute_in_process(
                instance=self.instance, asset_selection=part.assets, run_config=quiet, tags=tags, raise_on_error=False
            )
            self.lost.clear()
            if not done.success:
                break
        return self.made

    def _is_stored(self, key: dg.AssetKey, contig: str | None) -> bool:
        return f"{key.to_user_string()}:{contig}" not in self.lost


@pytest.fixture
def world():
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(instance)


def test_all_at_first_and_then_nothing(world: World) -> None:
    first = world.run()
    assert sorted(first) == ["mix", "report", "rows:1,2,3", "variants:1,2,3", "windows:1,2,3"]
    assert world.run() == []


def test_a_changed_input_makes_what_is_below_it_and_nothing_else(world: World) -> None:
    world.run()
    world.content["vcf"] = "changed"
    assert world.run() == ["variants:1,2,3", "mix", "rows:1,2,3"]  # rows came out the same, so no report
    assert world.run() == []


def test_a_chain_ends_where_an_asset_came_out_the_same(world: World) -> None:
    world.run()
    world.content["vcf"] = "another file with the same variants"
    assert world.run() == ["variants:1,2,3"]


def test_changed_code_makes_that_asset_and_what_follows_from_it(world: World) -> None:
    world.run()
    world.code = "2"
    assert world.run() == ["mix", "rows:1,2,3"]


def test_a_new_contig_is_made_alone(world: World) -> None:
    world.contigs = CONTIGS[:2]
    assert "variants:1,2" in world.run()
    world.contigs = CONTIGS
    assert world.run()[:2] in (["variants:3", "windows:3"], ["windows:3", "variants:3"])


def test_a_lost_file_is_made_again_before_what_reads_it(world: World) -> None:
    world.run()
    world.lost = {"windows:2"}
    world.code = "2"
    assert world.run() == ["windows:2", "mix", "rows:1,2,3"]


def test_what_failed_a_blocking_check_is_not_passed_by_in_the_next_run(world: World) -> None:
    world.check_passes = False
    assert [name for name in world.run() if name.startswith(("rows", "report"))] == []
    assert world.run() == ["mix"]
    world.check_passes = True
    assert world.run() == ["mix", "rows:1,2,3", "report"]


def above(world: World, *wanted: str) -> dict[str, str]:
    """What is out of date of what these assets are made from."""
    keys = [dg.AssetKey(name) for name in wanted]
    found = stale_above(world.definitions(), world.instance, keys, world.contigs, world._is_stored)
    return {key.to_user_string(): why for key, why in found.items()}


def test_what_a_job_is_made_from_is_named_with_the_reason(world: World) -> None:
    assert above(world, "report") == dict.fromkeys(["variants", "windows", "mix", "rows"], "was never made")
    world.run()
    assert above(world, "report") == above(world, "variants") == {}
    world.code = "2"
    assert above(world, "report") == {"mix": "its settings or its code have changed"}
    assert above(world, "mix", "rows") == {}  # the job makes it itself
    world.run()
    world.lost = {"rows:2"}
    assert above(world, "report") == {"rows": "its files are gone"}


def test_what_follows_from_a_refresh_does_not_stop_the_next_one(world: World) -> None:
    world.run()
    world.content["vcf"] = "changed"
    defs, quiet = world.definitions(), {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    defs.resolve_job_def("watch").execute_in_process(instance=world.instance, run_config=quiet)
    refreshed = [dg.AssetKey("variants"), dg.AssetKey("report")]
    tags = {f"dagster/asset_partition_range_{name}": CONTIGS[end] for name, end in (("start", 0), ("end", -1))}
    job = defs.resolve_job_def("all")
    job.execute_in_process(instance=world.instance, asset_selection=refreshed[:1], run_config=quiet, tags=tags)
    assert above(world, "variants", "report") == {}
    assert above(world, "report") == {"mix": "variants has changed"}


def test_a_check_counts_for_what_it_has_looked_at_and_no_more(world: World) -> None:
    world.run()
    defs, mix = world.definitions(), dg.AssetKey("mix")

    def not_passed() -> list[str]:
        return list(checks_not_passed(defs.resolve_asset_graph(), world.instance, [mix]).values())

    assert not_passed() == []
    world.instance.report_runless_asset_event(dg.AssetMaterialization("mix"))  # as somebody makes it without its checks
    assert not_passed() == ["has not run since the asset was made"]
    assert above(world, "report")["mix"] == "its check sound has not run since the asset was made"
    world.check_passes = False
    world.run()
    assert not_passed() == ["failed"]
