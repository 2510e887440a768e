"""Regular expressions as Go and RE2 know them, in time that is bounded by the length of the text.

Python's `re` knows another syntax and may try for centuries (`(a+)+$`). So patterns are parsed here. One that is
plain enough runs on Python's `re`, which is fast; any other on an automaton, which never goes back.
"""

from __future__ import annotations

from functools import lru_cache

from tiphys.machinery.cel.re2.automaton import Searcher
from tiphys.machinery.cel.re2.backtracking import Backtracker
from tiphys.machinery.cel.re2.parser import parse
from tiphys.machinery.cel.re2.tree import PatternError

__all__ = ["Pattern", "PatternError", "compile_pattern"]


class Pattern:
    """A compiled regular expression: `matches` anywhere in a text, `find` the first match, `find_all`."""

    __slots__ = ("_backtracker", "_searcher", "_tree")

    def __init__(self, text: str) -> None:
        self._tree = parse(text)
        self._backtracker = Backtracker(self._tree)
        self._searcher: Searcher | None = None

    def matches(self, text: str) -> bool:
        if self._backtracker.is_quick(len(text)):
            return self._backtracker.search(text, 0) is not None
        return self._automaton().matches(text)

    def find(self, text: str, start: int = 0) -> tuple[int, int] | None:
        """Where the leftmost match at or after `start` is."""
        if self._backtracker.is_quick(len(text)):
            found = self._backtracker.search(text, start)
            return None if found is None else found.span()
        return self._automaton().find(text, start)

    def find_all(self, text: str, limit: int = -1) -> list[str]:
        """The matches, none overlapping another, at most `limit` (negative: all)."""
        found: list[str] = []
        position, last_end = 0, -1
        while position <= len(text) and len(found) != limit:
            match = self.find(text, position)
            if match is None:
                break
            start, end = match
            # As in Go, an empty match right behind another one does not count.
            if end > start or start != last_end:
                found.append(text[start:end])
                last_end = end
            position = end if end > start else end + 1
        return found

    def _automaton(self) -> Searcher:
        if self._searcher is None:
            self._searcher = Searcher(self._tree)
        return self._searcher


@lru_cache(maxsize=1024)
def compile_pattern(text: str) -> Pattern:
    """PatternError (a ValueError), worded as Go words it, when the pattern is none."""
    return Pattern(text)
