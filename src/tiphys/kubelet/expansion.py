"""`$(NAME)` in commands, arguments and environment values. `$$` is a dollar sign; an unknown name stays as it stands. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")


def expand(text: str, values: Mapping[str, str]) -> str:
    return references(text, values)[0]


def references(text: str, values: Mapping[str, str]) -> tuple[str, set[str]]:
    """The text with its references replaced, and the names that have no value, or an empty one."""
    if "$" not in text:
        return text, set()
    missing: set[str] = set()

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        if not values.get(name):
            missing.add(name)
        return values.get(name, match[0])

    return _REFERENCE.sub(value, text), missing
