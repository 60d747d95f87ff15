"""What is not joined and not built on, whichever button or job is used: two models, failed checks, strangers' states.

The buttons of the UI are pressed in a process that has the profile, as Dagster's pages do it: in the job that they use,
with the one asset.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_pipeline import answer, changed, copied, run, storage

pytestmark = pytest.mark.slow

PREAMBLE = '''
import json, shutil
import dagster as dg
from geno_pipeline import automation
from geno_pipeline.assets import PROFILE
from geno_pipeline.definitions import defs

instance, happened = dg.DagsterInstance.get(), {}
quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def press(what, asset):
    """Materialise one asset; happened: None, or what it died of."""
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(asset)], run_config=quiet, raise_on_error=False
    )
    died = [e.event_specific_data.error for e in result.all_events if e.is_step_failure and e.step_key == asset]
    while died and died[0].cause:
        died = [died[0].cause]
    happened[what] = died[0].message if died else None


def checked(asset, check, passed):
    """A check of an asset comes to this verdict."""
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=dg.AssetKey(asset), check_name=check, passed=passed, blocking=True)
    )

'''


def pressed(profile: Path, script: str) -> dict[str, Any]:
    """What happened in a process that has the profile."""
    return answer(profile, PREAMBLE + script + "\nprint(json.dumps(happened))")


TWO_MODELS = """
checked("eval_report", "skill_above_zero", True)
press("release with other settings", "model_release")
press("checkpoint", "checkpoint")
press("release", "model_release")
press("scores", "clinvar_scores")
press("table", "calibration")
press("report", "eval_report")
why = automation.stale_model(instance)
happened["sensor"] = why and why.skip_message
"""


class TwoModels:
    """A released model, other settings, and a checkpoint made with these alone: what buttons and jobs said to it."""

    def __init__(self, first: Path) -> None:
        self.root = storage(first)
        self.before = pressed(
            first, 'checked("eval_report", "skill_above_zero", True)\npress("release", "model_release")'
        )
        self.released = (self.root / "model_release" / "calibration.parquet").read_bytes()
        model = {"size": "demo", "steps": 5, "batch_size": 16, "learning_rate": 0.002, "seed": 2}
        self.profile = changed(first, model=model)
        self.buttons = pressed(self.profile, TWO_MODELS)
        self.jobs = {job: run(self.profile, job) for job in ("release", "benchmark_refresh")}
        self.still_released = (self.root / "model_release" / "calibration.parquet").read_bytes()
        self.evaluated = run(self.profile, "evaluate")


@pytest.fixture(scope="module")
def two_models(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> TwoModels:
    return TwoModels(copied(evaluated, tmp_path_factory.mktemp("two_models")))


def test_a_button_refuses_a_model_of_other_settings_and_says_which(two_models: TwoModels) -> None:
    assert two_models.before == {"release": None}
    said = two_models.buttons["release with other settings"]
    assert "n_steps was 4 and is 5 now; learning_rate was 0.001 and is 0.002 now" in said
    assert f"run: python -m geno_pipeline run --profile {two_models.profile} --job train_model" in said


def test_buttons_refuse_to_join_two_models(two_models: TwoModels) -> None:
    buttons = two_models.buttons
    assert buttons["checkpoint"] is None
    for what in ("scores", "table", "report", "release"):
        told = re.search(
            r"would join two models: the checkpoint is (\w{12}), calibration\w* of (\w{12})", buttons[what]
        )
        assert told and told[1] != told[2], buttons[what]
        assert f"run: python -m geno_pipeline run --profile {two_models.profile} --job evaluate" in buttons[what]
    assert two_models.still_released == two_models.released


def test_jobs_and_the_sensor_do_not_start_and_say_what_to_run(two_models: TwoModels) -> None:
    stale = "calibration_scores (checkpoint has changed)"
    for job, done in two_models.jobs.items():
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert f"error: {job}: not started, for what it is made from is out of date: " in done.stderr
        assert stale in done.stderr and f"--profile {two_models.profile} --job evaluate" in done.stderr
    assert stale in two_models.buttons["sensor"]


def test_the_next_report_is_of_one_model_and_says_that_it_has_changed(two_models: TwoModels) -> None:
    assert "skill_above_zero" in two_models.evaluated.stderr or two_models.evaluated.returncode == 0
    text = (two_models.root / "eval_report" / "eval_report.md").read_text()
    assert re.search(r"The model has changed: the last report was of checkpoint \w{12}, this one is of \w{12}\.", text)


GATES = """
checked("training_edits", "holdout_leakage", False)
press("leak", "checkpoint")
instance.report_runless_asset_event(dg.AssetMaterialization("training_edits", partition=PROFILE.contigs[0]))
press("not looked at", "checkpoint")
for name in ("holdout_leakage", "mix_exact", "contract"):
    checked("training_edits", name, True)
states = PROFILE.storage / "training_states"
shutil.copytree(states / "chr20", states / "chr21", dirs_exist_ok=True)
press("states of a held-out contig", "checkpoint")
(states / "chr22" / "00000.parquet").rename(states / "kept")
press("a shard is gone", "checkpoint")
(states / "kept").rename(states / "chr22" / "00000.parquet")
press("all is well", "checkpoint")
checked("eval_report", "skill_above_zero", False)
press("no skill", "model_release")
"""


class Gates:
    """A trained pipeline in which one thing after another does not hold."""

    def __init__(self, profile: Path) -> None:
        self.root = storage(profile)
        self.model = (self.root / "checkpoint" / "predictor.safetensors").read_bytes()
        self.said = pressed(profile, GATES)
        shutil.rmtree(self.root / "training_states" / "chr22")
        self.made_again = run(profile, "train_model")


@pytest.fixture(scope="module")
def gates(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(copied(evaluated, tmp_path_factory.mktemp("gates")))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("leak", "holdout_leakage of training_edits failed. Put right what they say, then run: .*--job build_dataset"),
        ("not looked at", "mix_exact of training_edits has not run since the asset was made"),
        (
            "a shard is gone",
            r"expected the states of the \d+ rows of training_edits, found those of \d+: \d+ rows have",
        ),
        ("no skill", "skill_above_zero of eval_report failed.*--job evaluate"),
    ],
)
def test_a_gate_stops_the_asset_itself(gates: Gates, what: str, told: str) -> None:
    assert re.search(told, gates.said[what] or ""), gates.said


def test_states_of_a_held_out_contig_are_never_read(gates: Gates) -> None:
    assert gates.said["states of a held-out contig"] is None and gates.said["all is well"] is None
    assert (gates.root / "checkpoint" / "predictor.safetensors").read_bytes() == gates.model


def test_a_deleted_contig_of_states_is_made_again(gates: Gates) -> None:
    assert gates.made_again.returncode == 0, gates.made_again.stderr
    assert "training_states" in gates.made_again.stdout
    assert list((gates.root / "training_states" / "chr22").glob("*.parquet"))
