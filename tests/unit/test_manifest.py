"""The manifest of a release: what it lists, its identity, and every way in which a folder can differ from it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from geno_model.encoder.state_contract import StateContract
from geno_model.release.config import ReleaseConfig, read_config, write_config
from geno_model.release.manifest import ReleaseError, canonical_json, verify_release, write_manifest

CONTRACT = StateContract(3072, 2048, "right", -1, "centered_mean", 16, True, "float32", "locus", "ab" * 32)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "context").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "context" / "genes.parquet").write_bytes(b"genes")
    (folder / ".DS_Store").write_bytes(b"not part of it")
    return folder


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"é","b":[1,2.5]}'.encode()
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": float("nan")})


def test_manifest_lists_every_file_and_names_the_release(release: Path) -> None:
    model_id = write_manifest(release)
    raw = (release / "manifest.json").read_bytes()
    assert model_id == hashlib.sha256(raw).hexdigest() == verify_release(release)
    assert json.loads(raw) == {
        "schema_version": 1,
        "files": {
            "config.json": {"bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
            "context/genes.parquet": {"bytes": 5, "sha256": hashlib.sha256(b"genes").hexdigest()},
        },
    }


def test_same_files_give_the_same_identity_and_other_files_another(release: Path) -> None:
    first = write_manifest(release)
    assert write_manifest(release) == first
    (release / "config.json").write_text("{ }")
    assert write_manifest(release) != first


def test_sha256sum_reads_the_checksums(release: Path) -> None:
    write_manifest(release)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=release, capture_output=True, text=True, check=True)
    assert checked.stdout.splitlines() == ["config.json: OK", "context/genes.parquet: OK", "manifest.json: OK"]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda folder: (folder / "context" / "genes.parquet").write_bytes(b"genez"), "context/genes.parquet differs"),
        (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
        (lambda folder: (folder / "extra.bin").write_bytes(b""), "extra.bin is not in the manifest"),
        (lambda folder: (folder / "manifest.json").unlink(), "no model release at"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "is no manifest"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is no manifest"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
        (lambda folder: (folder / "SHA256SUMS").write_text(""), "contradict each other"),
        (
            lambda folder: (folder / "manifest.json").write_text('{"schema_version":9,"files":{}}'),
            "schema version 9",
        ),
    ],
)
def test_every_difference_is_told_by_name(release: Path, fault, expected: str) -> None:
    write_manifest(release)
    fault(release)
    with pytest.raises(ReleaseError, match=expected):
        verify_release(release)


def test_an_encoder_put_into_a_release_without_one_is_not_judged(release: Path) -> None:
    model_id = write_manifest(release)
    (release / "encoder").mkdir()
    (release / "encoder" / "model.safetensors").write_bytes(b"weights")
    assert verify_release(release) == model_id
    with_encoder = write_manifest(release)
    assert with_encoder != model_id
    (release / "encoder" / "other").write_bytes(b"")
    with pytest.raises(ReleaseError, match="encoder/other is not in the manifest"):
        verify_release(release)


def test_an_empty_folder_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no files"):
        write_manifest(tmp_path)
    with pytest.raises(ReleaseError, match="no model release"):
        verify_release(tmp_path / "absent")


def test_config_comes_back_and_says_what_made_it(tmp_path: Path) -> None:
    config = ReleaseConfig(CONTRACT, (0.1 + 0.2, 0.5))
    write_config(tmp_path, config, {"profile": "demo"})
    assert read_config(tmp_path) == config
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["about"] == {"profile": "demo"}
    assert values["window_policy"] == "most_central"
    assert "torch" in values["versions"]
    for data, is_synthetic in (("real, see the report", False), ("SYNTHETIC: a made-up genome", True)):
        write_config(tmp_path, config, {"data": data})
        assert (read_config(tmp_path).data, read_config(tmp_path).is_synthetic) == (data, is_synthetic)


@pytest.mark.parametrize(("key", "value"), [("window_policy", "nearest"), ("gc_edges", [0.4]), ("gc_edges", None)])
def test_config_of_another_policy_or_damaged_is_refused(tmp_path: Path, key: str, value: object) -> None:
    write_config(tmp_path, ReleaseConfig(CONTRACT, (0.4, 0.5)), {})
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {key: value}))
    with pytest.raises(ReleaseError, match=r"config\.json"):
        read_config(tmp_path)
