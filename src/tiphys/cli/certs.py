"""tiphys certs"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tiphys.cli import add_name, home, tell

if TYPE_CHECKING:
    from tiphys.cluster.certificates import Shown


def arguments(sub: argparse.ArgumentParser) -> None:
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    shown = actions.add_parser("show", help="list the cluster's certificates and when they expire")
    add_name(shown)
    shown.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to print it (default: text)"
    )
    rotated = actions.add_parser("rotate", help="make the cluster's certificates anew, while it runs")
    add_name(rotated)
    rotated.add_argument(
        "--ca",
        action="store_true",
        help="the authority too; the one before it stays trusted until the next time",
    )


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster import certificates
    from tiphys.cluster.layout import require_layout

    layout = require_layout(home(), options.name)
    if options.action == "rotate":
        made = certificates.rotate(layout, options.name, home(), os.environ, ca=options.ca)
        tell(f"made {len(made)} certificates anew: {', '.join(made)}; what runs takes them within seconds")
        return 0
    found = certificates.show(layout)
    if options.output == "json":
        print(json.dumps([_document(each) for each in found], indent=2))
    else:
        print("\n".join(_lines(found)))
    return 0


def _document(each: Shown) -> dict[str, str]:
    expires = each.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"file": each.file, "subject": each.subject, "expires": expires, "issuer": each.issuer}


def _lines(found: Sequence[Shown]) -> list[str]:
    now = datetime.now(UTC)
    rows = [("FILE", "SUBJECT", "EXPIRES", "LEFT", "ISSUER")]
    for each in found:
        expires, left = each.expires.strftime("%Y-%m-%d %H:%M"), f"{(each.expires - now).days}d"
        rows.append((each.file, each.subject, expires, left, each.issuer))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
