"""docs/add-a-plugin.md names every plugin with what it does, and nothing that is none."""

import re
from pathlib import Path

from tiphys.scheduler.plugins import FILTERS, SCORES

TEXT = (Path(__file__).parents[2] / "docs" / "add-a-plugin.md").read_text()


def test_the_table_is_the_list_of_plugins() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (.*?) ?\|$", TEXT, re.MULTILINE)
    assert [name for name, does_filter, _ in rows if does_filter] == [plugin.name for plugin in FILTERS]
    weights = {name: int(score.rpartition("weight ")[2]) for name, _, score in rows if score}
    assert weights == {plugin.name: plugin.weight for plugin in SCORES}


def test_every_reason_of_a_filter_is_told_in_a_story() -> None:
    stories = "\n".join(path.read_text() for path in (Path(__file__).parent / "stories").glob("*.yaml"))
    for plugin in FILTERS:
        assert f"- {plugin.name}" in stories, plugin.name
