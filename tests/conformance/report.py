"""Which entries of the conformance suite have a test: `python tests/conformance/report.py`. Reads the tests, and runs none."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))

from entries import API_MACHINERY, APPS, AUTH, CLI, NETWORK, NODE, STORAGE, waits  # noqa: E402

KUBECTL = "Kubectl client "
"""What walks leave out of a codename."""


def marked() -> dict[str, list[str]]:
    """What tests are marked with, and where."""
    found: dict[str, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        if "conformance(" in (text := path.read_text()):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.conformance":
                    (name,) = node.args
                    assert isinstance(name, ast.Constant), f"{path}:{node.lineno}: name the entry itself"
                    found.setdefault(name.value, []).append(f"{path.relative_to(TESTS)}:{node.lineno}")
    return found


def walked() -> dict[str, list[str]]:
    """Comments of walks that are nothing but an entry's name, and where."""
    found: dict[str, list[str]] = {}
    named = {name.removeprefix(KUBECTL): name for name in CLI}
    for path in sorted((TESTS / "e2e").glob("kubectl*/*.txt")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if (name := named.get(line.removeprefix("# "))) is not None:
                found.setdefault(name, []).append(f"{path.relative_to(TESTS)}:{number}")
    return found


def held() -> dict[str, list[str]]:
    """Every entry that has a test, and where."""
    found = marked()
    for name, places in walked().items():
        found[name] = found.get(name, []) + places
    return found


def main() -> None:
    places = held()
    for group, entries in (
        ("sig-api-machinery", API_MACHINERY),
        ("sig-cli", CLI),
        ("sig-node", NODE),
        ("sig-storage", STORAGE),
        ("sig-auth", AUTH),
        ("sig-apps", APPS),
        ("sig-network", NETWORK),
    ):
        print(f"{group}: {sum(name in places for name in entries)} of {len(entries)}")
        for name, words in entries.items():
            print(f"  {name}\n    {words}: {', '.join(places.get(name, ())) or 'OPEN, ' + waits(name)}")


if __name__ == "__main__":
    main()
