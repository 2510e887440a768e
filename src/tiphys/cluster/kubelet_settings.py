"""What a kubelet's process is told: written by `up`, read at every start."""

from __future__ import annotations

import json
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from tiphys.machinery.frozen import frozen


@frozen
class KubeletSettings:
    """One JSON file; paths are absolute and the same inside the node as outside."""

    node: str
    """Whose certificate it has; for simulated nodes the first of them."""
    nodes: list[str]
    """The nodes that this process is the kubelet of: one, or all the simulated ones."""
    runtime: str
    server: str
    pki: str
    certificate: str
    """`<pki>/<certificate>.crt` and `.key`: its first client certificate."""
    serving: str
    """The same of its server certificate; of simulated nodes they are one."""
    address: str
    """The node's InternalIP, where its HTTPS API listens."""
    directory: str
    """Of the node: volumes, logs, containerd."""
    cgroup: str
    images: str
    """Where archives of the built-in images are kept between lives."""
    port: int = 10250
    """0: any free one, told to the API server in the node's status (simulated nodes share the host's loopback)."""
    configuration: dict[str, Any] = field(default_factory=dict)
    """A KubeletConfiguration (`kubelet/configuration.py`) as it stands in its file; empty: all defaults."""
    credential_provider_config: str = ""
    credential_provider_bin_dir: str = ""
    """Plugins that have credentials for images (`kubelet/credentials/settings.py`)."""

    def text(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> KubeletSettings:
        return cls(**json.loads(path.read_text()))
