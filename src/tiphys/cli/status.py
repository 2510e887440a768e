"""tiphys status"""

from __future__ import annotations

import argparse
import json
from typing import Any

from tiphys.cli import add_name, home


def arguments(sub: argparse.ArgumentParser) -> None:
    add_name(sub)
    sub.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to print it (default: text)"
    )


def run(options: argparse.Namespace) -> int:
    from tiphys.cluster.layout import require_layout
    from tiphys.cluster.status import status

    document = status(require_layout(home(), options.name))
    if options.output == "json":
        print(json.dumps(document, indent=2))
    else:
        print("\n".join(_lines(document)))
    return 0


def _lines(document: dict[str, Any]) -> list[str]:
    state = "ready" if document["ready"] else "not ready" if document["components"] else "stopped"
    lines = [f"cluster {document['name']}: {state}"]
    if document["server"]:
        lines.append(f"server: {document['server']}")
    lines.append(f"kubeconfig: {document['kubeconfig']}")
    for component in document["components"]:
        size = component["rss_bytes"] / (1 << 20)
        lines.append(
            f"  {component['name']:<28} pid {component['pid']:<8} {size:6.1f} MiB  up {component['uptime_seconds']:.0f} s"
        )
    for node in document["nodes"][:20]:
        lines.append(f"  node {node['name']:<23} {'Ready' if node['ready'] else 'NotReady'}")
    if len(document["nodes"]) > 20:
        ready = sum(1 for node in document["nodes"] if node["ready"])
        lines.append(f"  … {len(document['nodes'])} nodes, {ready} of them Ready")
    return lines
