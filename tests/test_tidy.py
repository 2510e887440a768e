"""The shape of the house, as a ratchet: when a test here fails, its message says the cure."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "tiphys").rglob("*.py"))
FILE_LINES = 500
FUNCTION_LINES = 70
POSITIONAL = 5
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
# Tables of facts may be long.
LONG_FILES = {"resources.py", "columns.py"}


def _functions() -> list[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((path, node))
    return found


def test_files_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {count} lines"
        for path in SOURCES
        if path.name not in LONG_FILES and (count := len(path.read_text().splitlines())) > FILE_LINES
    ]
    assert not long, f"split these by noun (never _part2): {long}"


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path, node in _functions()
        if (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES
    ]
    assert not long, f"give the steps of these functions names: {long}"


def test_functions_have_few_positional_parameters() -> None:
    wide = []
    for path, node in _functions():
        names = [argument.arg for argument in [*node.args.posonlyargs, *node.args.args]]
        given = names[1:] if names[:1] in (["self"], ["cls"]) else names
        if len(given) > POSITIONAL + 1 or (
            len(given) > POSITIONAL and node.name != "__init__" and not node.name.startswith("_")
        ):
            wide.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}({', '.join(given)})")
    assert not wide, f"make a frozen dataclass of these parameters, or keyword-only: {wide}"


def test_names_are_nouns_of_the_field() -> None:
    vague = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES
    ]
    assert not vague, f"say what is in these files: {vague}"


def test_modules_say_what_they_are_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert not silent, f"give these modules a docstring: {silent}"


def test_test_files_have_names_of_their_own() -> None:
    """pytest imports test modules by their bare names."""
    names: dict[str, list[Path]] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        if path.name not in ("__init__.py", "conftest.py"):
            names.setdefault(path.name, []).append(path.relative_to(ROOT))
    twice = {name: paths for name, paths in names.items() if len(paths) > 1}
    assert not twice, f"rename one of each: {twice}"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "requirements-programs.lock"])
def test_libraries_are_pinned(lock: str) -> None:
    lines = [
        line for line in (ROOT / lock).read_text().splitlines() if line and not line.startswith(("#", " "))
    ]
    assert lines
    assert all("==" in line for line in lines), f"pin every line of {lock}: make locks"


def test_both_locks_agree() -> None:
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))

    plain, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    differing = {
        name: (version, dev.get(name)) for name, version in plain.items() if dev.get(name) != version
    }
    assert not differing, f"make locks: {differing}"
