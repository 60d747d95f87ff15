"""What a person who only scores installs: the wheel, and each of its commands (pitfall 29)."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from geno_model.__main__ import COMMANDS

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["scripts"]


@pytest.mark.slow
def test_every_command_of_the_wheel_starts(tmp_path: Path) -> None:
    """The wheel in an environment that has nothing of the checkout; libraries are those of this environment."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "geno_pipeline/profiles/demo.yaml" in names and not any(name.startswith("tests/") for name in names)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True, timeout=300)
    libraries = next(path for path in map(Path, sys.path) if (path / "torch").is_dir())
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(libraries), "COLUMNS": "80"}
    for script in SCRIPTS:
        command = [str(tmp_path / "venv" / "bin" / script), "--help"]
        shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0 and "Usage" in shown.stdout, (script, shown.stderr)
    found = subprocess.run(
        [str(python), "-c", "import geno_model; print(geno_model.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(tmp_path) in found.stdout


def test_the_module_runs_the_same_commands(tmp_path: Path) -> None:
    assert set(COMMANDS) == {script.removeprefix("geno-") for script in SCRIPTS}
    environment = os.environ | {"COLUMNS": "80"}
    for command in COMMANDS:
        module = [sys.executable, "-m", "geno_model", command, "--help"]
        shown = subprocess.run(module, env=environment, capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0 and f"geno-{command}" in shown.stdout, shown.stderr
    wrong = subprocess.run([sys.executable, "-m", "geno_model", "x"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and "{score,verify,import,release}" in wrong.stderr
