"""A cluster measured from outside: what a user waits for, and what it costs."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from bench import load

ROOT = Path(__file__).parent.parent
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


class Cluster:
    """A cluster with a home of its own, made by ./tiphys."""

    def __init__(self, home: Path, name: str, *options: str) -> None:
        self.name = name
        self._home = home
        self._options = options

    def tiphys(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "TIPHYS_HOME": str(self._home),
            "HOME": str(self._home),
            "KUBECONFIG": "",
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        result = subprocess.run(
            [str(ROOT / "tiphys"), *arguments], capture_output=True, text=True, env=environment, check=False
        )
        if result.returncode:
            sys.exit(f"tiphys {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    def up(self) -> float:
        """Seconds until the command has returned, every node Ready."""
        started = time.perf_counter()
        self.tiphys("up", "--name", self.name, "--api-port", "0", *self._options)
        return time.perf_counter() - started

    def down(self, *options: str) -> None:
        self.tiphys("down", "--name", self.name, *options)

    def status(self) -> Any:
        return json.loads(self.tiphys("status", "--name", self.name, "-o", "json"))

    @property
    def kubeconfig(self) -> Path:
        return Path(self.status()["kubeconfig"])


@contextmanager
def cluster(name: str, *options: str) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="tiphys-bench-") as home:
        made = Cluster(Path(home), name, *options)
        try:
            yield made
        finally:
            made.down("--purge")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_times(name: str, *options: str, rounds: int = 3) -> list[float]:
    """`up` of an existing cluster, several times."""
    with cluster(name, *options) as made:
        made.up()
        times = []
        for _ in range(rounds):
            made.down()
            times.append(made.up())
        return times


def idle(made: Cluster, seconds: float = 10.0) -> tuple[dict[str, float], dict[str, float]]:
    """(MiB of resident memory, percent of a core) of each process while nothing happens."""
    components = made.status()["components"]
    before = {item["name"]: cpu_seconds(item["pid"]) for item in components}
    time.sleep(seconds)
    after = {item["name"]: cpu_seconds(item["pid"]) for item in components}
    memory = {item["name"]: item["rss_bytes"] / (1 << 20) for item in components}
    return memory, {name: (after[name] - before[name]) / seconds * 100 for name in before}


def pod(number: int) -> bytes:
    """A pod as a workload's would be, bound nowhere."""
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sleep", "3600"],
        "env": [{"name": f"VARIABLE_{index}", "value": "x" * 40} for index in range(20)],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    labels = {"app": "bench", "number": str(number)}
    spec = {"schedulerName": "nobody", "containers": [container]}
    return orjson.dumps({"metadata": {"name": f"pod-{number:05d}", "labels": labels}, "spec": spec})


async def requests(kubeconfig: Path, *, rounds: int = 3) -> dict[str, Any]:
    """Medians over a few rounds of each kind of request."""
    connections = await load.connect(kubeconfig, 4)
    data = orjson.dumps({"metadata": {"generateName": "bench-"}, "data": {"value": "x" * 900}})
    named = orjson.dumps({"metadata": {"name": "one"}, "data": {"value": "x" * 900}})
    await load.run(
        connections, lambda n: ("POST", CONFIG_MAPS, named, "application/json"), total=1, in_flight=1
    )
    found: dict[str, Any] = {}

    async def measure(name: str, make: load.Body, total: int, in_flight: int = 32) -> None:
        results = [await load.run(connections, make, total=total, in_flight=in_flight) for _ in range(rounds)]
        failed = sum(result.failed for result in results)
        found[name] = {
            "per_second": statistics.median(result.per_second for result in results),
            "p50_ms": statistics.median(result.percentile(0.5) for result in results) * 1e3,
            "p99_ms": statistics.median(result.percentile(0.99) for result in results) * 1e3,
            "bytes_per_second": statistics.median(result.body_bytes / result.seconds for result in results),
            "failed": failed,
        }

    await measure("create ConfigMap", lambda n: ("POST", CONFIG_MAPS, data, "application/json"), 4000)
    await measure("get ConfigMap", lambda n: ("GET", f"{CONFIG_MAPS}/one", b"", ""), 15000)
    await load.run(
        connections, lambda n: ("POST", PODS, pod(n), "application/json"), total=5000, in_flight=32
    )
    patch = b'{"metadata":{"annotations":{"n":"%d"}}}'
    strategic = "application/strategic-merge-patch+json"
    await measure("patch Pod", lambda n: ("PATCH", f"{PODS}/pod-{n % 5000:05d}", patch % n, strategic), 2000)
    await measure("list 5,000 Pods", lambda n: ("GET", PODS, b"", ""), 4, in_flight=1)
    found["watch"] = await watch(kubeconfig)
    for connection in connections:
        connection.close()
    return found


async def watch(kubeconfig: Path, *, watchers: int = 200, writes: int = 50) -> dict[str, float]:
    """Milliseconds from sending one write until all watchers have it."""
    connections = await load.connect(kubeconfig, 5)
    counts = [0] * watchers

    def counter(index: int) -> Any:
        def piece(data: bytes) -> None:
            counts[index] += data.count(b'"type":"MODIFIED"')

        return piece

    for index in range(watchers):
        target = f"{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Done"
        connections[index % 5].request("GET", target, ended=lambda status: None, piece=counter(index))
    await asyncio.sleep(1.0)
    delays = []
    for number in range(writes):
        patch = b'{"data":{"number":"%d"}}' % time.time_ns()
        started = time.perf_counter()
        connections[0].request(
            "PATCH", f"{CONFIG_MAPS}/one", patch, "application/merge-patch+json", ended=lambda status: None
        )
        while min(counts) <= number:
            await asyncio.sleep(0)
        delays.append((time.perf_counter() - started) * 1e3)
    for connection in connections:
        connection.close()
    delays.sort()
    return {"p50_ms": delays[len(delays) // 2], "p99_ms": delays[int(len(delays) * 0.99)]}
