"""Where the process of a node's service network begins: it waits until the API server listens, and only then loads what it is made of.

A cluster that comes up has one processor too few: what nobody can use yet shall not take time from those for whom everybody waits. So
nothing but the standard library is imported here, and little of that.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.05


def wait_until_served(server: str) -> None:
    """`server`: "https://10.90.0.1:6443"."""
    host, _, port = server.rpartition("/")[2].rpartition(":")
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1.0).close()
            return
        except OSError:
            time.sleep(LOOK_SECONDS)


def main() -> None:
    """python -m tiphys.cluster.node_network_process SETTINGS"""
    wait_until_served(json.loads(Path(sys.argv[1]).read_text())["server"])
    from tiphys.cluster import node_network

    node_network.main()


if __name__ == "__main__":
    main()
