"""Golden stories: a YAML file that tells what goes in and what must come out.

    # A pod that tolerates nothing stays away from a tainted node.
    nodes: [...]
    ---
    decision: ...

The first lines say why the story exists. What comes after the line `---` is compared with what `tell(input)` returns;
`pytest --update-golden` rewrites it (look at the difference before you commit it).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

SEPARATOR = "\n---\n"


class _Dumper(yaml.SafeDumper):
    """Plain YAML: no anchors for objects that occur twice, lists indented below their names."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001
        super().increase_indent(flow, False)


class _Loader(yaml.SafeLoader):
    """YAML in which times stay the texts that the API has them as."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def stories(folder: Path) -> list[Path]:
    """The stories of a folder and those below it, for `pytest.mark.parametrize`."""
    return sorted(folder.rglob("*.yaml"))


def load(text: str) -> Any:
    return yaml.load(text, _Loader)


def dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True)


def check_story(path: Path, tell: Callable[[Any], Any], *, update: bool) -> None:
    """AssertionError when what is told differs from what is written, unless it is to be rewritten."""
    text = path.read_text()
    assert text.startswith("#"), f"{path} does not say why it exists: begin with a comment"
    given, _, expected = text.partition(SEPARATOR)
    told = load(dump(tell(load(given))))
    if update:
        path.write_text(given.rstrip("\n") + SEPARATOR + dump(told))
    else:
        assert told == load(expected), f"{path.name} (pytest --update-golden rewrites it)"
