"""docs/metrics.md names every metric with its type, labels and stability, and nothing that is none."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tiphys.apiserver.server import APIServer, Settings
from tiphys.client.client import Client
from tiphys.client.leases import ElectionMetrics
from tiphys.client.reflector import Informers
from tiphys.client.request_metrics import RequestMetrics
from tiphys.cluster.process_metrics import ProcessMetrics
from tiphys.dns.metrics import NameMetrics
from tiphys.kubelet.certificate_metrics import CertificateMetrics
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.machinery.metrics import Family, Registry
from tiphys.net.client import HTTPClient
from tiphys.net.tls_files import Pair
from tiphys.proxy.metrics import ProxyMetrics
from tiphys.scheduler.run import Scheduler
from tiphys.store.memory import MemoryStore
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"


def _no_kubelet(node: str, host: str, port: int) -> HTTPClient:
    raise AssertionError("nobody asks kubelets here")


def _row(family: Family) -> str:
    labels = ", ".join(sorted(family.label_names))
    return f"| `{family.name}` | {family.kind} | {labels} | {family.stability} | {family.text} |"


async def _families() -> list[Family]:
    """Of everything that counts, in one registry, as in the control plane's process."""
    registry, clock = Registry(), FakeClock()
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    store = MemoryStore()
    server = APIServer(store, Settings(key), kubelet_client=_no_kubelet, clock=clock, metrics=registry)
    informers = Informers(Client(FakeAPI(clock=clock)), clock=clock, metrics=registry)
    Scheduler(informers, clock=clock)
    ProcessMetrics(registry, Path("/proc/self"))
    kubelets = KubeletMetrics(registry)
    nothing = Pair("", "", "")
    CertificateMetrics(registry, clock, client=nothing, server=nothing)
    RequestMetrics(registry, clock)
    ElectionMetrics(registry, "kube-scheduler")
    ProxyMetrics(registry)
    NameMetrics(registry)
    registry.render()
    await server.close()
    await store.close()
    return sorted(
        (*registry.families, *server.slis.families, *kubelets.probes.registry.families),
        key=lambda family: family.name,
    )


async def test_the_page_is_what_is_counted() -> None:
    written = re.findall(r"^\| `.*$", PAGE.read_text(), re.MULTILINE)
    counted = [_row(family) for family in await _families()]
    missing = [row for row in counted if row not in written]
    assert not missing, "write into docs/metrics.md:\n" + "\n".join(missing)
    gone = [row for row in written if row not in counted]
    assert not gone, "nobody counts these any more, or not so:\n" + "\n".join(gone)


async def test_the_process_is_measured() -> None:
    registry = Registry()
    ProcessMetrics(registry, Path("/proc/self"))
    text = registry.render().decode()
    values = dict(line.split(" ") for line in text.splitlines() if not line.startswith("#"))
    assert float(values["process_resident_memory_bytes"]) > 1e6
    assert float(values["process_open_fds"]) >= 3
    assert float(values["process_start_time_seconds"]) > 1.6e9
    assert float(values["process_cpu_seconds_total"]) > 0
