"""tiphys logs"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tiphys.cli import add_name, home

_POLL_SECONDS = 0.2
_TAIL_BYTES = 64 << 10


def arguments(sub: argparse.ArgumentParser) -> None:
    add_name(sub)
    sub.add_argument("component", metavar="COMPONENT", help="as `status` names it")
    sub.add_argument("-f", "--follow", action="store_true", help="go on as more is written")


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster.layout import ClusterError, require_layout

    layout = require_layout(home(), options.name)
    path = layout.log(options.component)
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in layout.logs.glob("*.log"))) or "none yet"
        raise ClusterError(f"there is no log of {options.component!r}", f"there are: {known}")
    follow(path) if options.follow else _print_all(path)
    return 0


def _print_all(path: Path) -> None:
    sys.stdout.write(path.read_text(errors="replace"))


def follow(path: Path) -> None:
    """The end of the file, then what is written, until interrupted."""
    with path.open(errors="replace") as file:
        size = path.stat().st_size
        if size > _TAIL_BYTES:
            file.seek(size - _TAIL_BYTES)
            file.readline()
        while True:
            text = file.read()
            if text:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                time.sleep(_POLL_SECONDS)
