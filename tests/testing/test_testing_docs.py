"""docs/testing.md says everything that there is, and its first test works as it stands."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiphys.testing
from tiphys.kubelet.runtimes.behaviour import Behaviour
from tiphys.testing import Cluster, Namespace, controls, pytest_plugin
from tiphys.testing.requests import Fault

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
SAID = set(re.findall(r"\w+", PAGE))


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def test_the_first_test_passes(tmp_path: Path) -> None:
    block = re.search(r"```python\n# test_web.py\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    (tmp_path / "test_web.py").write_text(block[1])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_examples_are_python(block: str) -> None:
    indented = "\n".join(f"    {line}" for line in block.splitlines())
    compile(f"async def page():\n{indented}", "page", "exec")


@pytest.mark.parametrize(
    "kind", [Cluster, controls.Clock, controls.Pods, controls.Nodes, controls.Controllers, controls.Faults]
)
def test_what_can_be_done_to_a_cluster_is_said(kind: type) -> None:
    assert public(kind) <= SAID


def test_what_can_be_done_with_objects_is_said() -> None:
    inherited = set().union(*(public(base) for base in Namespace.__mro__[:-1]))
    assert inherited - {"make", "remove", "link"} <= SAID


def test_what_a_cluster_is_made_with_is_said() -> None:
    assert set(inspect.signature(Cluster.__init__).parameters) - {"self"} <= SAID


def test_fixtures_are_said() -> None:
    fixtures = {name for name in vars(pytest_plugin) if name.startswith("tiphys")}
    assert len(fixtures) == 4
    assert fixtures <= SAID


def test_rules_and_faults_can_be_given_in_full() -> None:
    behave = set(inspect.signature(controls.Pods.behave).parameters) - {"self"}
    assert behave == set(Behaviour.__dataclass_fields__)
    given = set(inspect.signature(controls.Faults.add).parameters) - {"self", "patterns"}
    patterns = {
        "user",
        "verb",
        "method",
        "path",
        "group",
        "resource",
        "subresource",
        "namespace",
        "name",
        "user_agent",
    }
    assert given | patterns == set(Fault.__dataclass_fields__)


def test_public_names_can_be_imported() -> None:
    assert all(getattr(tiphys.testing, name) for name in tiphys.testing.__all__)
    with pytest.raises(AttributeError):
        _ = tiphys.testing.nonsense
