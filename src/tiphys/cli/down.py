"""tiphys down"""

from __future__ import annotations

import argparse
import os

from tiphys.cli import add_name, home, tell


def arguments(sub: argparse.ArgumentParser) -> None:
    add_name(sub)
    sub.add_argument(
        "--purge", action="store_true", help="remove its data, its certificates and its context too"
    )


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster.down import down

    existed = down(options.name, home(), os.environ, tell, purge=options.purge)
    if not existed:
        tell(f"there is no cluster {options.name!r}")
    elif options.purge:
        tell(f"cluster {options.name!r} is gone")
    else:
        tell(
            f"cluster {options.name!r} is stopped; its data stay (resume it with up, remove them with down --purge)"
        )
    return 0
