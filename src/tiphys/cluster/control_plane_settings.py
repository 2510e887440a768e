"""What the control plane's process is told: written by `up`, read at every start."""

from __future__ import annotations

import json
from dataclasses import asdict, field
from pathlib import Path

from tiphys.machinery.frozen import frozen


@frozen
class ControlPlaneSettings:
    """One JSON file; paths are absolute."""

    pki: str
    database: str
    """Empty: objects are in memory and gone with the process."""
    host: str
    port: int
    port_file: str
    """Where the port is written once it is known: `port` 0 asks for any."""
    segment_namespace: str = ""
    """Network namespace of the segment: the API server also listens there, and reaches kubelets from there."""
    segment_address: str = ""
    service_cidr: str = "10.96.0.0/16"
    cluster_cidr: str = "10.91.0.0/16"
    controllers: str = "*,bootstrap-signer-controller,token-cleaner-controller"
    """As kubeadm has it: bootstrap tokens are of use to those who join."""
    nodes: dict[str, str] = field(default_factory=dict)
    """The nodes that the cluster made itself, and their addresses; simulated ones are not among them."""
    simulated_nodes: list[str] = field(default_factory=list)
    apiserver_args: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> ControlPlaneSettings:
        return cls(**json.loads(path.read_text()))
