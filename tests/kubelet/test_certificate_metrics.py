"""How long a kubelet's certificates are good."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from tiphys.cluster.pki import Authority, Leaf
from tiphys.kubelet.certificate_metrics import CertificateMetrics
from tiphys.machinery.clock import SystemClock
from tiphys.machinery.metrics import Registry
from tiphys.net.tls_files import Pair


def test_the_time_that_is_left(tmp_path: Path) -> None:
    authority = Authority(tmp_path, datetime.now().astimezone())
    authority.ensure([Leaf("kubelet", "system:node:node-1", ("system:nodes",))])
    registry = Registry()
    there = Pair(str(authority.certificate("kubelet")), str(authority.key("kubelet")), "")
    gone = Pair(str(tmp_path / "none.crt"), str(tmp_path / "none.key"), "")
    CertificateMetrics(registry, SystemClock(), client=there, server=gone)
    lines = registry.render().decode().splitlines()
    values = dict(line.split(" ") for line in lines if not line.startswith("#"))
    assert float(values["kubelet_certificate_manager_client_ttl_seconds"]) > 3600
    assert values["kubelet_certificate_manager_server_ttl_seconds"] == "+Inf"
