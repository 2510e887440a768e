"""Processes on this machine: starting and ending them, and what they cost."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.table import NotMeasured
from tiphys.net.tls import client_context

READY_SECONDS = 60.0
POLL_SECONDS = 0.002


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was started just now, whose certificates are in `directory`/pki."""

    name: str
    pid: int
    begun: float
    directory: Path
    port: int
    is_running: Callable[[], bool]

    def log(self) -> str:
        return (self.directory / f"{self.name}.log").read_text(errors="replace")

    def wait_for(self, answers: Callable[[], bool]) -> float:
        """Seconds since its start until it answers. NotMeasured when it has ended, or takes too long."""
        while not answers():
            if not self.is_running() or time.perf_counter() - self.begun > READY_SECONDS:
                raise NotMeasured(f"{self.name} does not come up: {self.log()[-300:].strip()}")
            time.sleep(POLL_SECONDS)
        return time.perf_counter() - self.begun

    def wait_for_readyz(self) -> float:
        """Seconds until the first 200 of /readyz."""
        pki = self.directory / "pki"
        context = client_context(
            ca_file=str(pki / "ca.crt"),
            cert_file=str(pki / "admin.crt"),
            key_file=str(pki / "admin.key"),
            alpn=("http/1.1",),
        )
        return self.wait_for(lambda: status_of(self.port, "/readyz", context) == 200)


@contextmanager
def started(name: str, command: Sequence[str], directory: Path, port: int) -> Iterator[Started]:
    """A process with its log in the directory, ended in the end."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with (directory / f"{name}.log").open("wb") as log:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
        )
    try:
        yield Started(name, process.pid, begun, directory, port, lambda: process.poll() is None)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def status_of(port: int, path: str, context: ssl.SSLContext | None = None) -> int:
    """Of a GET on loopback; 0 when nobody answers."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
        if context
        else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    )
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def start_seconds(start: Callable[[], AbstractContextManager[Started]], rounds: int) -> float:
    """Median of several starts until /readyz; the first one, which makes what others find, does not count."""
    times = []
    for _ in range(rounds + 1):
        with start() as process:
            times.append(process.wait_for_readyz())
    return statistics.median(times[1:])


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a process while nothing happens."""

    resident_mib: float
    cpu_percent: float


def idle_costs(pids: Mapping[str, int], *, settle_seconds: float, seconds: float) -> dict[str, Cost]:
    """By name; what starting left behind may come to rest first."""
    time.sleep(settle_seconds)
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {
        name: Cost(resident_mib(pid), (cpu_seconds(pid) - before[name]) / seconds * 100)
        for name, pid in pids.items()
    }


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
