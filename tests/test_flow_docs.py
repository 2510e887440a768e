"""docs/flow.md names the symbol at each hop: they are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "flow.md").read_text()
ROOMS = {path.name for path in (ROOT / "src" / "tiphys").iterdir() if path.is_dir()}
DOTTED = sorted(
    {
        name
        for name in re.findall(r"`([a-z_0-9]+(?:\.\w+)+)`", TEXT)
        if name.partition(".")[0] in ROOMS or name.partition(".")[0] in ("admission", "watch")
    }
)
# Written short, beside the room that they are in.
INSIDE = {"admission": "apiserver.", "watch": "apiserver."}


def resolve(name: str) -> object:
    """A module of ours, or something in one. AttributeError or ModuleNotFoundError when there is none."""
    parts = name.split(".")
    found: object = importlib.import_module("tiphys")
    for number, part in enumerate(parts, 1):
        if not hasattr(found, part):
            importlib.import_module("tiphys." + ".".join(parts[:number]))
        found = getattr(found, part)
    return found


def test_there_is_much_to_resolve() -> None:
    assert len(DOTTED) >= 20


@pytest.mark.parametrize("name", DOTTED)
def test_symbols_exist(name: str) -> None:
    assert resolve(INSIDE.get(name.partition(".")[0], "") + name) is not None


def test_the_steps_are_the_pipelines_in_its_order() -> None:
    from tiphys.apiserver.pipeline import STEPS

    (hop,) = [line for line in re.split(r"\n\d+\. ", TEXT) if "pipeline.STEPS" in line]
    named = [word for word in re.findall(r"`(\w+)`", hop) if word in {step.__name__ for step in STEPS}]
    steps = [step.__name__ for step in STEPS]
    assert named == steps, f"name the steps of hop 2 of docs/flow.md in this order: {steps}"


@pytest.mark.parametrize("path", re.findall(r"`(api/[\w/.]+\.types)`", TEXT))
def test_files_exist(path: str) -> None:
    assert (ROOT / "src" / "tiphys" / path).exists()
