"""docs/add-a-controller.md names every controller, and nothing that is none."""

import re
from pathlib import Path

from tiphys.controllers.catalog import CATALOG

TEXT = (Path(__file__).parents[2] / "docs" / "add-a-controller.md").read_text()


def test_the_table_is_the_catalog() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|", TEXT, re.MULTILINE)
    assert rows == [entry.name for entry in CATALOG]


def test_every_controller_has_stories_or_tests_of_its_own() -> None:
    here = Path(__file__).parent
    tests = "\n".join(path.read_text() for path in here.glob("test_*.py") if path != Path(__file__))
    for entry in CATALOG:
        module = entry.module.split(".")[0]
        assert (here / "stories" / module).is_dir() or module in tests or entry.name in tests, entry.name
