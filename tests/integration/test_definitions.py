"""The graph of assets: a snapshot of keys, groups and inputs, so that a change of the graph shows in review."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from geno_pipeline.config import PROFILES
from geno_pipeline.definitions import defs

SNAPSHOT = Path(__file__).parent / "asset_graph.txt"
REPOSITORY = Path(__file__).parents[2]


def graph() -> str:
    """One line an asset: group, key, `*` when it is partitioned by contig, the assets it is made from, its checks."""
    assets = defs.resolve_asset_graph()
    lines = []
    for key in assets.get_all_asset_keys():
        node = assets.get(key)
        deps = " ".join(sorted(parent.to_user_string() for parent in node.parent_keys)) or "-"
        checks = " ".join(sorted(check.name for check in assets.get_check_keys_for_assets({key}))) or "-"
        mark = "*" if node.partitions_def else ""
        lines.append(f"{node.group_name:<12} {key.to_user_string()}{mark} <- {deps} | {checks}\n")
    return "".join(sorted(lines))


def test_graph_is_as_reviewed() -> None:
    if os.environ.get("UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(graph())
    assert graph() == SNAPSHOT.read_text(), f"The graph has changed. If it should: UPDATE_SNAPSHOT=1 pytest {__file__}"


def test_every_asset_says_what_it_is_and_follows_its_code() -> None:
    for asset in defs.resolve_asset_graph().assets_defs:
        if isinstance(asset, dg.AssetsDefinition) and not asset.check_keys:
            spec = asset.specs_by_key[asset.key]
            assert spec.description, asset.key
            assert spec.code_version, asset.key


def test_jobs() -> None:
    jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    assert {"build_dataset", "everything"} <= jobs.keys()
    everything = set(jobs["everything"].asset_layer.executable_asset_keys)
    unused = {dg.AssetKey(name) for name in ("ablations", "adapted_encoder", "carbon_weights")}  # unless asked for
    assert everything == set(defs.resolve_asset_graph().get_all_asset_keys()) - unused
    assert not unused & set(jobs["train_model"].asset_layer.executable_asset_keys)
    assert everything.issuperset(jobs["build_dataset"].asset_layer.executable_asset_keys)


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES.glob("*.yaml")))
def test_workspace_loads_with_every_bundled_profile(profile: str, tmp_path: Path) -> None:
    # What `dagster dev -w workspace.yaml` does first, in the instance that it uses.
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(REPOSITORY / "workspace.yaml")]
    settings = {
        "GENO_PROFILE": profile,
        "GENO_RUNS": str(tmp_path),
        "DAGSTER_HOME": str(REPOSITORY / "dagster_home"),
        "PYTHONPATH": str(REPOSITORY),
    }
    result = subprocess.run(command, env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def run_command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m geno_pipeline` in a folder of its own."""
    command = [sys.executable, "-m", "geno_pipeline", *arguments]
    hidden = ("GENO_PROFILE", "GENO_DATA", "GENO_RUNS", "DAGSTER_HOME")
    settings = {name: value for name, value in os.environ.items() if name not in hidden}
    settings["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(command, env=settings, cwd=cwd, capture_output=True, text=True)


def test_missing_inputs_end_in_one_line(tmp_path: Path) -> None:
    result = run_command("run", "--profile", "real", "--data", "nowhere", "--job", "build_dataset", cwd=tmp_path)
    assert result.returncode == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "reference_genome: InputError: FASTA not found" in errors[0]
    assert "Traceback" not in result.stderr + result.stdout
    log = Path(result.stderr.splitlines()[-1].removeprefix("Full log: "))
    assert "Stack Trace" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--profile", "chr99"), "profile: found 'chr99', expected one of chr21, demo, real"),
        (("--job", "nothing"), "--job: found 'nothing', expected one of ablate, adapt_encoder, benchmark_refresh"),
        (("--data", "here"), "found --data here, expected none"),
    ],
)
def test_bad_arguments_end_in_one_line(tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    result = run_command("run", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr and result.stderr.count("\n") == 1


def test_a_profile_with_carbon_makes_all_states_with_it(tmp_path: Path) -> None:
    text = (PROFILES / "demo.yaml").read_text().replace("encoder:\n", "encoder:\n  carbon: {use: true}\n")
    (tmp_path / "carbon.yaml").write_text(text)
    script = (
        "from geno_pipeline.definitions import defs\n"
        "graph = defs.resolve_asset_graph()\n"
        "import dagster as dg\n"
        "print(*sorted(key.to_user_string() for key in graph.get(dg.AssetKey('encoder_identity')).parent_keys))\n"
        "job = {job.name: job for job in defs.resolve_all_job_defs()}['everything']\n"
        "print(*sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys))\n"
    )
    settings = {"GENO_PROFILE": str(tmp_path / "carbon.yaml")}
    run = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | settings, cwd=REPOSITORY, capture_output=True, text=True
    )
    parents, everything = (line.split() for line in run.stdout.splitlines())
    assert parents == ["carbon_weights"], run.stderr
    assert "carbon_weights" in everything and "demo_encoder" not in everything
