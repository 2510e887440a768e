"""Which patterns may run on Python's `re`, on how long texts.

Backtracking tries at most every combination of choices: how often each repetition goes, which alternative is taken.
A pattern runs on `re` while the number of combinations is small for the length of the text. That can be counted
when every repetition is of single characters, or of a group whose turns are told apart by how they begin, as in
`label(\\.label)*`. All other patterns run on the automaton.
"""

from __future__ import annotations

import re

from tiphys.machinery.cel.re2.tree import (
    HIGHEST,
    Assertion,
    Chars,
    Choice,
    Ranges,
    Repeat,
    Sequence,
    Tree,
    complement,
    overlap,
)

# Steps that `re` may take: a few milliseconds.
STEP_LIMIT = 1_000_000


class Backtracker:
    """The pattern for Python's `re`, and how many steps it may take."""

    __slots__ = ("factor", "power", "search")

    def __init__(self, tree: Tree) -> None:
        combinations = _combinations(tree)
        self.power, self.factor = combinations or (0, STEP_LIMIT + 1)
        # One more for where a search begins.
        self.power += 0 if _is_anchored(tree) else 1
        self.search = re.compile(translate(tree)).search if combinations else re.compile("").search

    def is_quick(self, length: int) -> bool:
        return bool(self.factor * (length + 1) ** self.power <= STEP_LIMIT)


def _is_anchored(tree: Tree) -> bool:
    first = tree.items[0] if isinstance(tree, Sequence) and tree.items else tree
    return first == Assertion("begin")


def _combinations(tree: Tree) -> tuple[int, int] | None:
    """(p, f): at most f * (length + 1) ** p combinations. None when nobody knows."""
    if isinstance(tree, Chars | Assertion):
        return 0, 1
    if isinstance(tree, Repeat):
        return _repeat_combinations(tree)
    parts = [_combinations(item) for item in tree.items]
    if None in parts:
        return None
    known = [part for part in parts if part is not None]
    factor = 1
    if isinstance(tree, Sequence):
        for part in known:
            factor = min(factor * part[1], STEP_LIMIT + 1)
        return sum(part[0] for part in known), factor
    return max(part[0] for part in known), min(sum(part[1] for part in known), STEP_LIMIT + 1)


def _repeat_combinations(tree: Repeat) -> tuple[int, int] | None:
    inside = _combinations(tree.item)
    if inside is None:
        return None
    if isinstance(tree.item, Chars):
        if tree.high is None:
            return 1, 1
        return 0, tree.high - tree.low + 1
    if tree.high == 1:
        return inside[0], inside[1] + 1
    if not _turns_are_distinct(tree.item):
        return None
    # Each turn begins with a character that nothing else in it can be: there is one way to divide the text.
    return inside[0] + 1, inside[1]


def _turns_are_distinct(item: Tree) -> bool:
    if not isinstance(item, Sequence) or not item.items or not isinstance(item.items[0], Chars):
        return False
    first = item.items[0].ranges
    return not any(overlap(first, ranges) for part in item.items[1:] for ranges in _characters(part))


def _characters(tree: Tree) -> list[Ranges]:
    if isinstance(tree, Chars):
        return [tree.ranges]
    if isinstance(tree, Assertion):
        return []
    if isinstance(tree, Repeat):
        return _characters(tree.item)
    return [ranges for item in tree.items for ranges in _characters(item)]


_PLACES = {
    "begin": r"\A",
    "end": r"\Z",
    "line_begin": "(?m:^)",
    "line_end": "(?m:$)",
    "word": r"(?a:\b)",
    "not_word": r"(?a:\B)",
}


def translate(tree: Tree) -> str:
    """The tree in Python's syntax. Only escapes of code points go into it, no text of the user's."""
    if isinstance(tree, Chars):
        return _set(tree.ranges)
    if isinstance(tree, Assertion):
        return _PLACES[tree.kind]
    if isinstance(tree, Sequence):
        return "".join(map(translate, tree.items))
    if isinstance(tree, Choice):
        return "(?:" + "|".join(map(translate, tree.items)) + ")"
    bounds = f"{{{tree.low},{'' if tree.high is None else tree.high}}}"
    return f"(?:{translate(tree.item)}){bounds}{'' if tree.greedy else '?'}"


def _set(ranges: Ranges) -> str:
    if not ranges:
        return r"(?!)"
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _code(ranges[0][0])
    others = complement(ranges)
    if not others:
        return r"[\s\S]"
    sign, shown = ("^", others) if ranges[-1][1] == HIGHEST else ("", ranges)
    return f"[{sign}{''.join(_code(low) if low == high else f'{_code(low)}-{_code(high)}' for low, high in shown)}]"


def _code(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
