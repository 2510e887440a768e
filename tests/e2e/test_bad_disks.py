"""What becomes of objects when the control plane is killed, its file is damaged, or its disk is full."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from e2e_cluster import WAIT_SECONDS, Cluster, wait_for
from weather import component, kill, processes

from tiphys.client import kubeconfig
from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.reflector import Reflector
from tiphys.client.resources import CONFIGMAPS
from tiphys.machinery import meta
from tiphys.machinery.clock import SystemClock
from tiphys.machinery.errors import StatusError

SIMULATED = ("--runtime", "simulated", "--api-port", "0")


@asynccontextmanager
async def client_of(cluster: Cluster) -> AsyncIterator[Client]:
    transport = HTTPSTransport(kubeconfig.access(Path(cluster.status()["kubeconfig"])))
    try:
        yield Client(transport)
    finally:
        await transport.close()


def config_map(name: str, text: str = "") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": {"text": text},
    }


# Killed while writing


class Writers:
    """Clients that write without a pause, and remember what they were told was written."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.acknowledged: set[str] = set()
        self.failures = 0

    async def write(self, writer: int, rounds: asyncio.Event) -> None:
        number = 0
        while not rounds.is_set():
            name = f"w{writer}-{number}"
            number += 1
            try:
                await self.client.create(CONFIGMAPS, config_map(name, "x" * 200))
                self.acknowledged.add(name)
            except (StatusError, OSError, asyncio.IncompleteReadError):
                self.failures += 1
                await asyncio.sleep(0.02)


async def test_no_acknowledged_write_is_lost_and_watches_go_on(place: Cluster) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    async with client_of(place) as client, client_of(place) as watcher:
        reflector = Reflector(watcher, CONFIGMAPS, clock=SystemClock(), namespace="default")
        watching = asyncio.create_task(reflector.run())
        await reflector.wait_synced()
        writers, done = Writers(client), asyncio.Event()
        writing = [asyncio.create_task(writers.write(number, done)) for number in range(8)]
        for _ in range(3):
            before = len(writers.acknowledged)
            async with asyncio.timeout(WAIT_SECONDS):
                while len(writers.acknowledged) < before + 100:
                    await asyncio.sleep(0.01)
            pid = await asyncio.to_thread(component, place, "control-plane")
            await asyncio.to_thread(kill, pid)
        before = len(writers.acknowledged)
        async with asyncio.timeout(WAIT_SECONDS):
            while len(writers.acknowledged) < before + 50:
                await asyncio.sleep(0.01)
        done.set()
        await asyncio.gather(*writing)
        assert writers.failures > 0
        listing = await client.list(CONFIGMAPS, "default")
        stored = {meta.name(each) for each in listing.items}
        assert writers.acknowledged <= stored
        async with asyncio.timeout(WAIT_SECONDS):
            while {meta.name(each) for each in reflector.cache} != stored:
                await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.wait([watching])


def test_a_cluster_in_memory_starts_over_after_a_kill(place: Cluster) -> None:
    """Its revisions begin anew: whoever watched from a later one lists again instead of waiting for it.

    The node misses its lease at its next sign of life, which simulated nodes give every 30 s.
    """
    place.tiphys("up", "--name", place.name, "--datastore", "memory", *SIMULATED)
    place.kubectl("create", "configmap", "c0")
    kill(component(place, "control-plane"))
    wait_for(lambda: place.status()["ready"], "the node is registered again", interval_seconds=1)
    assert place.kubectl("get", "configmap", "c0", check=False).returncode == 1
    place.kubectl("create", "deployment", "web", "--image=any")
    place.kubectl("rollout", "status", "deployment/web", "--timeout=300s")


# Damaged


@pytest.mark.parametrize("damage", ["beginning", "middle"])
def test_a_damaged_database_is_named_soon(place: Cluster, damage: str) -> None:
    place.tiphys("up", "--name", place.name, *SIMULATED)
    place.tiphys("down", "--name", place.name)
    database = place.home / "tiphys" / place.name / "store" / "state.db"
    content = bytearray(database.read_bytes())
    if damage == "beginning":
        content[:20] = b"no database any more"
    else:
        content[4096 : 4096 * 4] = b"Z" * (4096 * 3)
    database.write_bytes(content)
    result = place.tiphys("up", "--name", place.name, check=False)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"tiphys: control-plane does not start: {database} is not a usable store (")
    assert "move it aside together with its -wal and -shm files, then restore a backup or start empty" in last
    assert "Traceback" not in result.stderr
    assert processes(place) == []


# Full


@pytest.fixture
def small_disk(place: Cluster) -> Iterator[Path]:
    """16 MiB, as the cluster's data directory's file system."""
    directory = place.home / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(directory)], check=True)
    try:
        yield directory
        place.tiphys("down", "--name", place.name, "--purge")
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as out:
        for size in (1 << 16, 1 << 12):
            try:
                while True:
                    out.write(b"\0" * size)
            except OSError:
                continue


async def first_refusal(client: Client) -> StatusError:
    """Of large objects, one after the other."""
    for number in range(20):
        try:
            await client.create(CONFIGMAPS, config_map(f"large-{number}", "x" * 500_000))
        except StatusError as error:
            return error
    pytest.fail("all were written")


@pytest.mark.real
async def test_a_full_disk_stops_writes_only_and_only_while_it_is_full(
    place: Cluster, small_disk: Path
) -> None:
    place.tiphys("up", "--name", place.name, "--data-dir", str(small_disk / "data"), *SIMULATED)
    pids = processes(place, "tiphys.cluster")
    async with client_of(place) as client:
        await client.create(CONFIGMAPS, config_map("before"))
        filler = small_disk / "filler"
        fill(filler)
        refusal = await first_refusal(client)
        assert (refusal.code, refusal.reason) == (500, "InternalError")
        assert "no space left to write" in refusal.message
        assert "nothing that was acknowledged is lost" in refusal.message
        assert meta.name(await client.get(CONFIGMAPS, "before", "default")) == "before"
        listing = await client.list(CONFIGMAPS, "default")
        assert "before" in {meta.name(each) for each in listing.items}
        filler.unlink()
        await client.create(CONFIGMAPS, config_map("after"))
        assert processes(place, "tiphys.cluster") == pids
        # A full disk is no reason not to stop, or not to be started when there is space again.
        fill(filler)
        await asyncio.to_thread(place.tiphys, "down", "--name", place.name)
        filler.unlink()
    await asyncio.to_thread(place.tiphys, "up", "--name", place.name)
    async with client_of(place) as client:
        names = {meta.name(each) for each in (await client.list(CONFIGMAPS, "default")).items}
    assert {"before", "after"} <= names
