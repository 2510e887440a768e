"""The wheel, in an empty virtual environment, is the same command as the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, **environment: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "KUBECONFIG")}
    result = subprocess.run(
        [str(word) for word in command],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    return result.stdout


@pytest.mark.slow
def test_the_wheel_gives_the_same_command(tmp_path: Path) -> None:
    built, environment, home = tmp_path / "built", tmp_path / "environment", tmp_path / "home"
    home.mkdir()
    # A copy is built: setuptools leaves things beside the sources.
    source = tmp_path / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    files = {str(path.relative_to(source / "src")) for path in source.glob("src/**/*") if path.is_file()}
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    run(sys.executable, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", built, source)
    (wheel,) = built.iterdir()
    assert files <= set(zipfile.ZipFile(wheel).namelist())

    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin" / "python", *pip, "install", "--requirement", ROOT / "requirements.lock")
    run(environment / "bin" / "python", *pip, "install", "--no-deps", wheel)
    tiphys = environment / "bin" / "tiphys"
    where = {"HOME": str(home), "TIPHYS_HOME": str(home / "tiphys")}
    help_text = run(tiphys, "--help", **where)
    assert help_text == run(sys.executable, "-m", "tiphys.cli", "--help", **where)
    named = ("--name", "wheel")
    try:
        run(tiphys, "up", *named, "--runtime", "simulated", "--api-port", "0", **where)
        assert json.loads(run(tiphys, "status", *named, "-o", "json", **where))["ready"] is True
        assert run(tiphys, "kubectl", *named, "get", "nodes", "-o", "name", **where) == "node/wheel-node-1\n"
    finally:
        run(tiphys, "down", *named, "--purge", **where)
