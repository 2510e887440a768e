"""The form of the table: a row is one figure, its goal, how it is measured, and how upstream's is, where its programs are.

A row is added with one function and one line in a file of `bench/rows/`; nothing else knows about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bench.cluster import Ours
    from bench.upstream import Upstream

HEADER = ("what", "measured", "goal", "upstream", "ours/upstream")
WIDTHS = (46, 40, 14, 30, 13)


class NotMeasured(Exception):
    """One row cannot be measured here; the text says why. Other rows go on."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A median, in the row's unit, and what a reader should know beside it."""

    value: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Beside:
    """The same measurement of upstream's programs, which must be on PATH."""

    measure: Callable[[Upstream], Figure]
    programs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    unit: str
    measure: Callable[[Ours], Figure]
    goal: float | None = None
    better: Literal["less", "more"] = "less"
    needs_containers: bool = False
    """And so root."""
    beside: Beside | None = None


def select(rows: Iterable[Row], only: Sequence[str], *, containers: bool) -> list[Row]:
    """Rows whose names have one of the words, in any case; all rows without any. NotMeasured when none has."""
    rows = [row for row in rows if containers or not row.needs_containers]
    wanted = [row for row in rows if not only or any(word.casefold() in row.name.casefold() for word in only)]
    if not wanted:
        raise NotMeasured(f"no row is called so; there are: {'; '.join(row.name for row in rows)}")
    return wanted


def can_measure_upstream(row: Row, which: Callable[[str], str | None]) -> bool:
    return row.beside is not None and all(which(program) for program in row.beside.programs)


def line(row: Row, ours: Figure, upstream: Figure | None) -> str:
    """One row of the table. A goal that is missed says so."""
    ratio = f"{ours.value / upstream.value:.2f} x" if upstream and upstream.value else ""
    cells = (row.name, _shown(row, ours), _goal(row, ours), _shown(row, upstream) if upstream else "", ratio)
    return cells_line(cells)


def cells_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)) + " |"


def rule() -> str:
    return cells_line(["-" * width for width in WIDTHS])


def is_met(row: Row, ours: Figure) -> bool:
    if row.goal is None:
        return True
    return ours.value <= row.goal if row.better == "less" else ours.value >= row.goal


def _goal(row: Row, ours: Figure) -> str:
    if row.goal is None:
        return ""
    sign = "≤" if row.better == "less" else "≥"
    return f"{sign} {_number(row.goal)} {row.unit}{'' if is_met(row, ours) else ' !'}"


def _shown(row: Row, figure: Figure) -> str:
    note = f" ({figure.note})" if figure.note else ""
    return f"{_number(figure.value)} {row.unit}{note}"


def _number(value: float) -> str:
    """Three digits that mean something, more of large numbers."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What several rows share is measured once for each subject."""
    known: dict[int, Any] = {}

    def ask(subject: Any) -> Any:
        if id(subject) not in known:
            known[id(subject)] = function(subject)
        return known[id(subject)]

    return ask
