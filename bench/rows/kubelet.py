"""What a kubelet's own work costs, without containers: probes, and reading what pods use."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

import uvloop

from bench.cluster import Ours
from bench.table import Figure, Row
from tiphys.kubelet.files import Files
from tiphys.kubelet.machine import simulated_machine
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.probes.prober import ProbeManager
from tiphys.kubelet.runtimes.interface import ContainerStatus, SandboxStatus
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.stats.cgroup_usage import CgroupUsage
from tiphys.kubelet.stats.disk_usage import DiskMeter
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.meter import NodeMeter
from tiphys.machinery.clock import Clock, SystemClock

PROBES, PERIOD_SECONDS, PERIODS = 1_000, 10, 2
PODS, ROUNDS = 100, 20
WEB_SERVER = """
import asyncio
async def answer(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def probes(ours: Ours) -> Figure:
    """Percent of a core for a thousand probes, half of them httpGet and half tcpSocket."""
    del ours
    with _web_server() as port:
        return uvloop.run(_probes(port))


@contextmanager
def _web_server() -> Iterator[int]:
    """In a process of its own: what it costs is the pods' affair."""
    process = subprocess.Popen([sys.executable, "-c", WEB_SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


async def _probes(port: int) -> Figure:
    clock, failed = SystemClock(), 0

    def tell(pod: Any, container: str, reason: str, message: str) -> None:
        nonlocal failed
        failed += 1

    prober = ProbeManager(Handlers(SimulatedRuntime(clock)), clock, lambda uid: None, tell, random=Random(1))
    for number in range(PROBES // 2):
        handler = {"httpGet": {"port": port, "path": "/"}} if number % 2 else {"tcpSocket": {"port": port}}
        probe = {**handler, "periodSeconds": PERIOD_SECONDS, "timeoutSeconds": 1}
        container = {"name": "main", "livenessProbe": probe, "readinessProbe": probe}
        pod = {
            "metadata": {"name": f"pod-{number}", "uid": f"uid-{number}"},
            "spec": {"containers": [container]},
        }
        prober.update(pod, {f"c{number}": _running(f"c{number}", clock)}, ("127.0.0.1",))
        await asyncio.sleep(PERIOD_SECONDS / (PROBES // 2))
    begun, used = perf_counter(), process_time()
    await asyncio.sleep(PERIODS * PERIOD_SECONDS)
    percent = (process_time() - used) / (perf_counter() - begun) * 100
    for number in range(PROBES // 2):
        prober.forget(f"uid-{number}")
    return Figure(percent, f"{failed} failed")


def _running(id: str, clock: Clock) -> ContainerStatus:
    now = clock.now()
    return ContainerStatus(id, "main", 0, "Running", now, now, None, 0, "", "", "", "", "", {}, {})


def usage(ours: Ours) -> Figure:
    """Milliseconds to read what a hundred pods with a container each use: what /metrics/resource costs the kubelet."""
    clock = SystemClock()
    top = ours.scratch / "cgroups"
    disks = DiskMeter(Files(ours.scratch), SimulatedRuntime(clock), clock)
    meter = NodeMeter("/node", disks, clock, machine=simulated_machine(), cgroups=CgroupUsage(top))
    pods = [_pod(top, number, clock) for number in range(PODS)]
    begun = process_time()
    for _ in range(ROUNDS):
        assert len(meter.pods(pods)) == PODS
        meter.node()
    return Figure((process_time() - begun) / ROUNDS * 1000)


def _pod(top: Path, number: int, clock: Clock) -> MeasuredPod:
    """With the files of cgroup v1, which are more."""
    uid = f"uid-{number}"
    for group in (f"pod{uid}", f"pod{uid}/sandbox", f"pod{uid}/main"):
        for controller, files in {
            "cpuacct": {"cpuacct.usage": "1000", "cpuacct.stat": "user 1\nsystem 1\n"},
            "memory": {
                "memory.usage_in_bytes": "1000",
                "memory.limit_in_bytes": "2000",
                "memory.memsw.limit_in_bytes": "2000",
                "memory.stat": "".join(f"total_line_{line} 1\n" for line in range(40)),
                "cgroup.procs": "1\n",
            },
        }.items():
            directory = top / controller / "node" / "kubepods" / "besteffort" / group
            directory.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (directory / name).write_text(text)
    pod = {"metadata": {"name": uid, "uid": uid}, "spec": {"containers": [{"name": "main"}]}}
    sandbox = SandboxStatus("sandbox", uid, "default", uid, 0, "Ready", clock.now(), {}, {})
    return MeasuredPod(pod, sandbox, (_running("main", clock),))


ROWS = [
    Row("1,000 probes every 10 s, http and tcp", "% of a core", probes, goal=5),
    Row("reading what 100 pods use", "ms", usage, goal=50),
]
