"""The supervisor, as a process of its own with real children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tiphys.cluster.processes import is_alive
from tiphys.cluster.supervisor import Process, program_of, read_running, write_processes

RunSupervisor = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[RunSupervisor]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*processes: Process) -> subprocess.Popen[bytes]:
        write_processes(tmp_path, list(processes))
        started.append(subprocess.Popen([sys.executable, "-m", "tiphys.cluster.supervisor", str(tmp_path)]))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait(60)


def shell(tmp_path: Path, name: str, script: str, **more: float) -> Process:
    return Process(name, ["sh", "-c", script], str(tmp_path / f"{name}.log"), **more)  # type: ignore[arg-type]


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_starts_everything_and_says_what_runs(tmp_path: Path, supervise: RunSupervisor) -> None:
    supervise(shell(tmp_path, "one", "echo here; exec sleep 60"), shell(tmp_path, "two", "exec sleep 60"))
    eventually(lambda: len(read_running(tmp_path)) == 2)
    assert [entry["name"] for entry in read_running(tmp_path)] == ["one", "two"]
    eventually(lambda: (tmp_path / "one.log").read_text() == "here\n")
    assert all(is_alive(entry["pid"]) for entry in read_running(tmp_path))


def test_what_ends_is_started_again(tmp_path: Path, supervise: RunSupervisor) -> None:
    supervise(shell(tmp_path, "one", "exec sleep 60"))
    eventually(lambda: read_running(tmp_path))
    first = read_running(tmp_path)[0]["pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: read_running(tmp_path)[0]["pid"] not in (0, first))
    assert read_running(tmp_path)[0]["restarts"] == 1


def test_one_that_cannot_run_is_tried_again_later_and_later(tmp_path: Path, supervise: RunSupervisor) -> None:
    log = tmp_path / "broken.log"
    began = time.monotonic()
    supervise(Process("broken", ["/does/not/exist"], str(log)))
    eventually(lambda: log.exists() and log.read_text().count("cannot start") == 4)
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4


def test_it_ends_its_children_the_last_one_first(tmp_path: Path, supervise: RunSupervisor) -> None:
    note = tmp_path / "order"
    script = f"trap 'echo %s >> {note}; exit 0' TERM; echo ready; while true; do sleep 0.05; done"
    supervisor = supervise(shell(tmp_path, "one", script % "one"), shell(tmp_path, "two", script % "two"))
    eventually(lambda: len(read_running(tmp_path)) == 2)
    eventually(lambda: [(tmp_path / f"{name}.log").read_text() for name in ("one", "two")] == ["ready\n"] * 2)
    pids = [entry["pid"] for entry in read_running(tmp_path)]
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert note.read_text().split() == ["two", "one"]
    assert not any(map(is_alive, pids))
    assert read_running(tmp_path) == []


def test_a_child_that_will_not_end_is_killed(tmp_path: Path, supervise: RunSupervisor) -> None:
    deaf = "trap '' TERM; echo ready; while true; do sleep 0.05; done"
    stubborn = shell(tmp_path, "stubborn", deaf, stop_seconds=0.3)
    supervisor = supervise(stubborn)
    eventually(lambda: read_running(tmp_path))
    eventually(lambda: (tmp_path / "stubborn.log").read_text() == "ready\n")
    pid = read_running(tmp_path)[0]["pid"]
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert not is_alive(pid)


@pytest.mark.real
def test_what_was_stopped_for_a_while_and_then_killed_is_started_again(
    tmp_path: Path, supervise: RunSupervisor
) -> None:
    """What runs in a node has an nsenter before it, which stops with it and is not told that it goes on."""
    command = ["nsenter", f"--target={os.getpid()}", "--pid", "--", "sleep", "60"]
    supervise(Process("one", command, str(tmp_path / "one.log")))
    eventually(lambda: read_running(tmp_path))
    entrance = read_running(tmp_path)[0]["pid"]
    eventually(lambda: program_of(entrance) != entrance)
    program = program_of(entrance)
    os.kill(program, signal.SIGSTOP)
    eventually(lambda: state(entrance) == "T")
    os.kill(program, signal.SIGCONT)
    eventually(lambda: state(entrance) == "S")
    os.kill(program, signal.SIGSTOP)
    eventually(lambda: state(entrance) == "T")
    os.kill(program, signal.SIGKILL)
    eventually(lambda: read_running(tmp_path)[0]["pid"] not in (0, entrance))


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
