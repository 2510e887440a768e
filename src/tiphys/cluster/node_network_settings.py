"""What the process of a node's service network is told: written by `up`, read at every start."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tiphys.machinery.frozen import frozen


@frozen
class NodeNetworkSettings:
    """One JSON file; paths are absolute and the same inside the node as outside."""

    node: str
    address: str
    """The node's InternalIP: node ports are served there, and names."""
    server: str
    pki: str
    pod_cidr: str
    """Of the node's own pods."""
    service_cidr: str
    dns_address: str
    """Of the DNS Service, behind which is every node's name server."""
    resolver: str = "/etc/resolv.conf"
    """Who is asked for names that are not the cluster's."""

    def text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> NodeNetworkSettings:
        return cls(**json.loads(path.read_text()))
