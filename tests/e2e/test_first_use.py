"""The script at the root of a checkout that nobody has used yet: what it makes, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e_cluster import ROOT

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """With a lock file that names what nobody has."""
    shutil.copy(ROOT / "tiphys", tmp_path)
    (tmp_path / "requirements.lock").write_text("tiphys-nothing-of-this-name==1.0\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    return tmp_path


def first_use(checkout: Path, *before: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(checkout)}
    return subprocess.Popen(
        [*before, str(checkout / "tiphys"), "--help"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_libraries_that_cannot_be_had_are_told_with_a_cure_and_tried_again(checkout: Path) -> None:
    for _ in range(2):
        process = first_use(checkout)
        _, told = process.communicate(timeout=120)
        assert process.returncode == 1
        lines = told.splitlines()
        assert lines[0].startswith("tiphys: first use: making a virtual environment in ")
        assert lines[-1].startswith("tiphys: cannot install the libraries")
        assert "Traceback" not in told


def test_two_first_uses_at_once_take_turns(checkout: Path) -> None:
    """A stand-in for our command: the one that comes second finds all made."""
    (checkout / "requirements.lock").write_text("")
    (checkout / "backend.py").write_text(BACKEND)
    both = [first_use(checkout), first_use(checkout)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert [out for out, _ in told] == ["here\n", "here\n"]
    assert sorted("first use" in err for _, err in told) == [False, True]


BACKEND = '''
"""Builds an editable wheel of nothing but a module that says that it is here."""
import zipfile


def build_editable(directory, settings=None, metadata=None):
    name = "tiphys-0-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr("tiphys/__init__.py", "")
        wheel.writestr("tiphys/cli.py", "print('here')\\n")
        wheel.writestr("tiphys-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiphys\\nVersion: 0\\n")
        wheel.writestr("tiphys-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("tiphys-0.dist-info/RECORD", "")
    return name


def build_wheel(directory, settings=None, metadata=None):
    return build_editable(directory)
'''


def test_a_checkout_that_cannot_be_written(checkout: Path) -> None:
    checkout.chmod(0o555)
    try:
        process = first_use(checkout, "unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
        _, told = process.communicate(timeout=60)
    finally:
        checkout.chmod(0o755)
    assert process.returncode == 1
    assert told == (
        f"tiphys: cannot write to {checkout} (its owner runs it once, or use a checkout of your own)\n"
    )
