"""Where in a text something stands that a complaint names: `jwt[0].issuer.nope` is on line 7.

For people who wrote a file by hand. Looked for only when there is something to complain about.
"""

from __future__ import annotations

import re
from typing import Any

from tiphys.machinery import yaml as documents

_FIELD = re.compile(r"[A-Za-z_][\w-]*(?:\[\d+\])?(?:\.[\w-]+(?:\[\d+\])?)*")
_STEP = re.compile(r"[\w-]+")


def placed(text: bytes | str, problem: str, *, below: str = "") -> str:
    """The problem behind `line N: `, for the first field that it names, or the nearest thing around it that is there. A problem that
    names none of the document's fields stays as it is. `below`: the field that the others are below."""
    root = _composed(text)
    if root is None:
        return problem
    start = len(_STEP.findall(below))
    for name in _FIELD.findall(problem):
        lines = _lines(root, f"{below}.{name}" if below else name)
        if len(lines) > start:
            return f"line {lines[-1]}: {problem}"
    lines = _lines(root, below)
    return f"line {lines[-1]}: {problem}" if lines else problem


def _composed(text: bytes | str) -> Any:
    import yaml

    try:
        documents.load(text)  # what is too deep or too large is not composed
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except (ValueError, yaml.YAMLError):
        return None


def _lines(node: Any, path: str) -> list[int]:
    """Of each step of a path, for as long as there is something: where its key stands, or the item of a list."""
    lines = []
    for step in _STEP.findall(path):
        if node.id == "sequence" and step.isdigit() and int(step) < len(node.value):
            node = at = node.value[int(step)]
        elif node.id == "mapping" and (found := [pair for pair in node.value if pair[0].value == step]):
            at, node = found[0]
        else:
            break
        lines.append(at.start_mark.line + 1)
    return lines
