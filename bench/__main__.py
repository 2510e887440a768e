"""python -m bench: our figures as a table, the goal of each, and upstream's beside them where its programs are on PATH."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bench.cluster import Ours
from bench.rows import ROWS
from bench.table import (
    HEADER,
    Figure,
    NotMeasured,
    Row,
    can_measure_upstream,
    cells_line,
    line,
    rule,
    select,
)
from bench.upstream import Upstream

Subject = TypeVar("Subject", Ours, Upstream)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Tiphys.")
    parser.add_argument(
        "--only", action="append", default=[], metavar="ROW", help="rows with this in their names; repeatable"
    )
    parser.add_argument("--list", action="store_true", help="name the rows and measure nothing")
    parser.add_argument("--no-containers", action="store_true", help="leave out what needs root")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    containers = not options.no_containers and os.geteuid() == 0
    try:
        rows = select(ROWS, options.only, containers=containers)
    except NotMeasured as error:
        print(error, file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0
    print(machine(), end="\n\n")
    print(cells_line(HEADER), rule(), sep="\n", flush=True)
    # Not /tmp, which may be in memory: what is measured is durable.
    with tempfile.TemporaryDirectory(prefix="tiphys-bench-", dir="/var/tmp") as scratch:
        return measure(rows, Ours(Path(scratch, "ours")), Upstream(Path(scratch, "upstream")))


def machine() -> str:
    """What figures depend on; with a load that is not small they say little."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {python_loop():.1f} ns a turn of an empty loop"
    )


def python_loop() -> float:
    """How fast the interpreter is just now, in nanoseconds: the same machine may be twice as slow an hour later."""
    rounds, turns = 7, 200_000
    return min(timeit.repeat("pass", number=turns, repeat=rounds)) / turns * 1e9


def measure(rows: Sequence[Row], ours: Ours, upstream: Upstream) -> int:
    """Prints each row as soon as it is known. The exit code: 1 when one could not be measured."""
    failed = False
    for subject in (ours, upstream):
        subject.scratch.mkdir()
    try:
        for row in rows:
            figure = figure_or_reason(row.measure, ours)
            beside = None
            if row.beside is not None and can_measure_upstream(row, shutil.which):
                beside = figure_or_reason(row.beside.measure, upstream)
            failed |= isinstance(figure, str) or isinstance(beside, str)
            print(shown(row, figure, beside), flush=True)
    finally:
        ours.close()
        upstream.close()
    return int(failed)


def figure_or_reason(work: Callable[[Subject], Figure], subject: Subject) -> Figure | str:
    try:
        return work(subject)
    except NotMeasured as error:
        return str(error)


def shown(row: Row, figure: Figure | str, beside: Figure | str | None) -> str:
    if isinstance(figure, str):
        return cells_line([row.name, f"not measured: {figure}", "", "", ""])
    if isinstance(beside, str):
        return f"{line(row, figure, None)} upstream not measured: {beside}"
    return line(row, figure, beside)


if __name__ == "__main__":
    sys.exit(main())
