"""`matches`, on RE2's syntax (the engine is in `re2/`)."""

from __future__ import annotations

from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.re2 import Pattern, PatternError, compile_pattern


def pattern(text: str) -> Pattern:
    try:
        return compile_pattern(text)
    except PatternError as error:
        raise CelRuntimeError(str(error)) from None


def matches(text: str, expression: str) -> bool:
    return pattern(expression).matches(text)
