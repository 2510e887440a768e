"""tiphys image import | ls | rm"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tiphys.cli import add_name, home, tell


def arguments(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    bring = actions.add_parser("import", help="bring a docker-archive or an OCI archive into every node")
    bring.add_argument("file", type=Path, metavar="FILE.tar")
    add_name(bring)
    add_name(actions.add_parser("ls", help="list what the nodes have"))
    remove = actions.add_parser("rm", help="remove an image from every node")
    remove.add_argument("image", metavar="IMAGE")
    add_name(remove)


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster import nodes
    from tiphys.cluster.layout import require_layout

    layout = require_layout(home(), options.name)
    work: dict[str, Callable[[], Awaitable[list[str]]]] = {
        "import": lambda: nodes.import_image(layout, options.file),
        "ls": lambda: nodes.list_images(layout),
        "rm": lambda: nodes.remove_image(layout, options.image),
    }

    async def act() -> list[str]:
        return await work[options.action]()

    lines = asyncio.run(act())
    for line in lines:
        if options.action == "ls":
            print(line)
        else:
            tell(line)
    return 0
