"""Requests over TLS and HTTP/2, as many at a time as clients of a busy cluster make."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import orjson

from bench import load
from bench.table import Beside, Figure, NotMeasured, Row, once

ROUNDS = 3
IN_FLIGHT = 32
PODS = 5000
WATCHERS = 200
WRITES = 200
CONFIG_MAPS_PATH = "/api/v1/namespaces/default/configmaps"
PODS_PATH = "/api/v1/namespaces/default/pods"
STORMING = 2
STORM_BEGINS_SECONDS = 2.0
GETS = 300
JSON = "application/json"
AS_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
APPLIED = 100
"""Objects that are applied to in turn, each time with another value."""
PROGRAMS = ("etcd", "kube-apiserver")


class Served(Protocol):
    """An API server that answers."""

    @property
    def kubeconfig(self) -> Path: ...


def measure(
    served: Served, make: load.Body, total: int, in_flight: int = IN_FLIGHT, *, accept: str = JSON
) -> list[load.Result]:
    """A few rounds of these requests. NotMeasured when one of them fails."""

    async def rounds() -> list[load.Result]:
        connections = await load.connect(served.kubeconfig, 4, accept=accept)
        try:
            return [
                await load.run(connections, make, total=total, in_flight=in_flight) for _ in range(ROUNDS)
            ]
        finally:
            for connection in connections:
                connection.close()

    results = asyncio.run(rounds())
    if failed := sum(result.failed for result in results):
        raise NotMeasured(f"{failed} of {ROUNDS * total} requests failed")
    return results


def rate(results: list[load.Result]) -> Figure:
    p99 = statistics.median(result.percentile(0.99) for result in results) * 1e3
    return Figure(statistics.median(result.per_second for result in results), f"p99 {p99:.1f} ms")


# What must be there first


@once
def config_map(served: Served) -> str:
    """The path of one ConfigMap."""
    body = orjson.dumps({"metadata": {"name": "one"}, "data": {"value": "x" * 900}})
    fill(served, lambda number: ("POST", CONFIG_MAPS_PATH, body, JSON), 1)
    return f"{CONFIG_MAPS_PATH}/one"


@once
def pods(served: Served) -> int:
    """How many Pods there are, bound nowhere."""
    fill(served, lambda number: ("POST", PODS_PATH, pod(number), JSON), PODS)
    return PODS


def fill(served: Served, make: load.Body, total: int) -> None:
    async def once_through() -> load.Result:
        connections = await load.connect(served.kubeconfig, 4)
        try:
            return await load.run(connections, make, total=total, in_flight=IN_FLIGHT)
        finally:
            for connection in connections:
                connection.close()

    if failed := asyncio.run(once_through()).failed:
        raise NotMeasured(f"{failed} of {total} objects could not be made")


def pod(number: int) -> bytes:
    """A pod as a workload's would be."""
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


# Rows


def create(served: Served) -> Figure:
    body = orjson.dumps({"metadata": {"generateName": "bench-"}, "data": {"value": "x" * 900}})
    return rate(measure(served, lambda number: ("POST", CONFIG_MAPS_PATH, body, JSON), 4000))


def get(served: Served) -> Figure:
    path = config_map(served)
    return rate(measure(served, lambda number: ("GET", path, b"", ""), 15000))


def patch(served: Served) -> Figure:
    count = pods(served)

    def make(number: int) -> tuple[str, str, bytes, str]:
        body = b'{"metadata":{"annotations":{"n":"%d"}}}' % time.time_ns()
        return "PATCH", f"{PODS_PATH}/pod-{number % count:05d}", body, STRATEGIC

    return rate(measure(served, make, 2000))


def apply_config_maps(served: Served) -> Figure:
    def make(number: int) -> tuple[str, str, bytes, str]:
        name = f"applied-{number % APPLIED}"
        data = {"value": "x" * 900, "number": str(time.time_ns())}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
        return "PATCH", f"{CONFIG_MAPS_PATH}/{name}?fieldManager=bench", orjson.dumps(body), APPLY

    return rate(measure(served, make, 4000))


def apply_pods(served: Served) -> Figure:
    def make(number: int) -> tuple[str, str, bytes, str]:
        name = f"applied-{number % APPLIED}"
        return (
            "PATCH",
            f"{PODS_PATH}/{name}?fieldManager=bench",
            applied_pod(name, str(time.time_ns())),
            APPLY,
        )

    return rate(measure(served, make, 2000))


def applied_pod(name: str, value: str) -> bytes:
    """A pod of 4 KB, as the tools of a team would apply it."""
    containers = [
        {
            "name": container,
            "image": "registry.example.com/team/app:1.2.3",
            "command": ["/bin/app", "--listen=:8080"],
            "env": [{"name": f"VARIABLE_{index}", "value": "x" * 40} for index in range(12)],
            "ports": [{"containerPort": 8080 + number, "name": container, "protocol": "TCP"}],
            "resources": {
                "requests": {"cpu": "10m", "memory": "16Mi"},
                "limits": {"cpu": "1", "memory": "64Mi"},
            },
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080 + number}, "periodSeconds": 10},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080 + number}, "periodSeconds": 5},
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/app"},
                {"name": "scratch", "mountPath": "/tmp"},
            ],
        }
        for number, container in enumerate(("main", "side"))
    ]
    volumes = [{"name": "config", "configMap": {"name": "app"}}, {"name": "scratch", "emptyDir": {}}]
    spec = {"schedulerName": "nobody", "containers": containers, "volumes": volumes}
    metadata = {
        "name": name,
        "labels": {"app": "bench", "tier": "front"},
        "annotations": {"example.com/value": value},
    }
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def status_pods(served: Served) -> Figure:
    """What a kubelet sends when a container has become ready."""
    count = pods(served)

    def make(number: int) -> tuple[str, str, bytes, str]:
        now = f"2026-01-01T00:00:{number % 60:02}Z"
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in (
                "PodReadyToStartContainers",
                "Initialized",
                "Ready",
                "ContainersReady",
                "PodScheduled",
            )
        ]
        container = {
            "name": "main",
            "ready": True,
            "restartCount": 0,
            "image": "busybox",
            "imageID": "busybox@sha256:0",
            "containerID": f"containerd://{time.time_ns()}",
            "state": {"running": {"startedAt": now}},
        }
        status = {
            "phase": "Running",
            "podIP": "10.0.0.2",
            "conditions": conditions,
            "containerStatuses": [container],
        }
        target = f"{PODS_PATH}/pod-{number % count:05d}/status"
        return "PATCH", target, orjson.dumps({"status": status}), STRATEGIC

    return rate(measure(served, make, 2000))


def list_pods(served: Served) -> Figure:
    pods(served)
    results = measure(served, lambda number: ("GET", PODS_PATH, b"", ""), 4, in_flight=1)
    p50 = statistics.median(result.percentile(0.5) for result in results) * 1e3
    return Figure(
        statistics.median(result.body_bytes / result.seconds for result in results) / 1e6, f"{p50:.0f} ms"
    )


def table_of_pods(served: Served) -> Figure:
    """What `kubectl get pods` asks for, over all of them: how long the server says that it took, and until the last byte had come."""
    pods(served)
    before = asyncio.run(listing_seconds(served.kubeconfig))
    results = measure(served, lambda number: ("GET", PODS_PATH, b"", ""), 4, in_flight=1, accept=AS_TABLE)
    after = asyncio.run(listing_seconds(served.kubeconfig))
    mebibytes = results[0].body_bytes / 4 / (1 << 20)
    p50 = statistics.median(result.percentile(0.5) for result in results) * 1e3
    mean = (after[0] - before[0]) / (after[1] - before[1]) * 1e3
    return Figure(mean, f"{mebibytes:.1f} MiB, at the client after {p50:.0f} ms")


async def listing_seconds(config: Path) -> tuple[float, float]:
    """What the server has counted of lists of the pods of a namespace: seconds in all, and how many."""
    (connection,) = await load.connect(config, accept="text/plain")
    pieces: list[bytes] = []
    ended = asyncio.Event()
    connection.request("GET", "/metrics", ended=lambda status: ended.set(), piece=pieces.append)
    await ended.wait()
    connection.close()
    found = dict(line.rsplit(" ", 1) for line in b"".join(pieces).decode().splitlines() if _is_listing(line))
    return tuple(  # type: ignore[return-value]
        sum(float(value) for name, value in found.items() if f"_{kind}{{" in name)
        for kind in ("sum", "count")
    )


def _is_listing(line: str) -> bool:
    return line.startswith("apiserver_request_duration_seconds_") and all(
        label in line for label in ('resource="pods"', 'verb="LIST"', 'scope="namespace"')
    )


def storm(served: Served) -> Figure:
    """What others notice of two clients who list everything again and again: small GETs, one at a time."""
    path, _ = config_map(served), pods(served)
    made = multiprocessing.get_context("spawn")
    listing = [made.Process(target=list_for_ever, args=(served.kubeconfig,)) for _ in range(STORMING)]
    for process in listing:
        process.start()
    try:
        delays = sorted(asyncio.run(_gets(served.kubeconfig, path)))
    finally:
        for process in listing:
            process.terminate()
            process.join()
    return Figure(delays[int(len(delays) * 0.99)], f"p50 {delays[len(delays) // 2]:.1f} ms")


def list_for_ever(config: Path) -> None:
    """The work of a process of its own, until that is ended: in the one that measures it would delay what is measured."""

    async def lists() -> None:
        await load.run(
            await load.connect(config),
            lambda number: ("GET", PODS_PATH, b"", ""),
            total=sys.maxsize,
            in_flight=1,
        )

    asyncio.run(lists())


async def _gets(config: Path, path: str) -> list[float]:
    """Milliseconds, of each."""
    connections = await load.connect(config)
    await asyncio.sleep(STORM_BEGINS_SECONDS)
    delays = []
    for _ in range(GETS):
        result = await load.run(connections, lambda number: ("GET", path, b"", ""), total=1, in_flight=1)
        delays.append(result.seconds * 1e3)
        await asyncio.sleep(0.01)
    for connection in connections:
        connection.close()
    return delays


def watch(served: Served) -> Figure:
    """From sending a write until all watchers have it."""
    delays = sorted(asyncio.run(_watch(served.kubeconfig, config_map(served))))
    return Figure(delays[int(len(delays) * 0.99)], f"p50 {delays[len(delays) // 2]:.1f} ms")


async def _watch(config: Path, path: str) -> list[float]:
    """Milliseconds, of each write."""
    connections = await load.connect(config, 5)
    counts = [0] * WATCHERS

    def counter(index: int) -> Callable[[bytes], None]:
        def piece(data: bytes) -> None:
            counts[index] += data.count(b'"type":"MODIFIED"')

        return piece

    for index in range(WATCHERS):
        target = f"{CONFIG_MAPS_PATH}?watch=1&fieldSelector=metadata.name%3Done"
        connections[index % 5].request("GET", target, ended=lambda status: None, piece=counter(index))
    await asyncio.sleep(1.0)
    delays = []
    for number in range(WRITES):
        body = b'{"data":{"number":"%d"}}' % time.time_ns()
        begun = time.perf_counter()
        connections[0].request("PATCH", path, body, "application/merge-patch+json", ended=lambda status: None)
        while min(counts) <= number:
            await asyncio.sleep(0)
        delays.append((time.perf_counter() - begun) * 1e3)
    for connection in connections:
        connection.close()
    return delays


def row(name: str, unit: str, measured: Callable[[Served], Figure], goal: float) -> Row:
    """The same requests to both."""
    better: Literal["less", "more"] = "less" if unit == "ms" else "more"
    return Row(name, unit, measured, goal, better, beside=Beside(measured, PROGRAMS))


ROWS = [
    row(f"create ConfigMap, 1 KiB, durable, {IN_FLIGHT} in flight", "/s", create, 4000),
    row(f"get ConfigMap, {IN_FLIGHT} in flight", "/s", get, 15000),
    row(f"patch Pod, {IN_FLIGHT} in flight", "/s", patch, 1500),
    row(f"apply ConfigMap, 1 KiB, {IN_FLIGHT} in flight", "/s", apply_config_maps, 2500),
    row(f"apply Pod, 4 KB, {IN_FLIGHT} in flight", "/s", apply_pods, 1200),
    row(f"patch Pod's status, {IN_FLIGHT} in flight", "/s", status_pods, 1200),
    row(f"list {PODS:,} Pods, JSON", "MB/s", list_pods, 300),
    row(f"list {PODS:,} Pods, Table, at the server", "ms", table_of_pods, 40),
    row(f"get ConfigMap while {STORMING} clients list {PODS:,} Pods, p99", "ms", storm, 20),
    row(f"one write to {WATCHERS} watchers, p99", "ms", watch, 10),
]
