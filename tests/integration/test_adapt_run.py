"""Phase 2 from the command line: an encoder is adapted, and a second profile makes all states with it (spec 4, 9)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from geno_model.encoder.carbon import load_encoder
from geno_model.encoder.state_contract import ContractMismatchError, StateContract
from geno_model.training.state_store import StateStore
from tests.tiny_pipeline import changed, copied, run

pytestmark = pytest.mark.slow


def contract_in(folder: Path) -> StateContract:
    return StateContract.from_dict(json.loads((folder / "contract.json").read_text()))


@pytest.fixture(scope="module")
def adapted(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny profile with the storage in which the job has made an adapted encoder."""
    profile = changed(copied(trained, tmp_path_factory.mktemp("first")), adapt={"steps": 2, "batch_size": 2})
    done = run(profile, "adapt_encoder")
    assert done.returncode == 0, done.stderr
    return profile


def test_the_job_makes_an_encoder_of_its_own(adapted: Path) -> None:
    root = adapted.parent / "data"
    old, new = contract_in(root / "checkpoint"), contract_in(root / "adapted_encoder" / "model")
    assert old.encoder_hash != new.encoder_hash
    load_encoder(root / "adapted_encoder", new)
    with pytest.raises(ContractMismatchError):
        load_encoder(root / "adapted_encoder", old)
    assert "nothing to make" in run(adapted, "adapt_encoder").stderr


def test_a_profile_makes_its_states_with_it_and_follows_its_content(adapted: Path, tmp_path: Path) -> None:
    folder = adapted.parent / "data" / "adapted_encoder"
    encoder = yaml.safe_load(adapted.read_text())["encoder"] | {"folder": str(folder)}
    profile = changed(adapted, storage=str(tmp_path / "data"), encoder=encoder)
    for job in ("build_dataset", "train_model"):
        done = run(profile, job)
        assert done.returncode == 0, done.stderr
    new = contract_in(folder / "model")
    assert contract_in(tmp_path / "data" / "checkpoint") == new
    assert StateStore(tmp_path / "data" / "training_states").contract == new
    assert not (tmp_path / "data" / "demo_encoder").exists()
    (folder / "model.safetensors").write_bytes(
        (adapted.parent / "data" / "demo_encoder" / "model.safetensors").read_bytes()
    )
    again = run(profile, "train_model")
    assert again.returncode == 0, again.stderr
    assert "local_encoder" in again.stdout
    assert contract_in(tmp_path / "data" / "checkpoint").encoder_hash != new.encoder_hash
