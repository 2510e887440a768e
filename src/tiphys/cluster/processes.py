"""Finds and ends processes that we started, also those of an earlier life of ours, by what cannot be mistaken.

A pid on file may be another's by now. A process that runs our own copy of a program, or has our own configuration file on its
command line, is ours.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PROC = Path("/proc")
POLL_SECONDS = 0.002


def spawn(arguments: Sequence[str], *, environment: dict[str, str], output: int) -> int:
    """Starts a program in a session of its own, its output going to the descriptor; its pid. It outlives us.

    OSError when the program cannot be run.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    ]
    return os.posix_spawnp(arguments[0], list(arguments), environment, file_actions=actions, setsid=True)


def pids() -> Iterator[int]:
    for name in os.listdir(PROC):
        if name.isdigit():
            yield int(name)


def running(program: Path) -> list[int]:
    """Processes that run this very file (not one like it)."""
    try:
        wanted = program.stat()
    except FileNotFoundError:
        return []
    return [pid for pid in pids() if _runs(pid, wanted)]


def _runs(pid: int, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(PROC / str(pid) / "exe"), wanted)
    except OSError:  # a zombie, or gone
        return False


def with_argument(program: str, argument: str) -> list[int]:
    """Processes of this name with this argument, the longest-lived first."""
    return sorted(pid for pid in pids() if _has_argument(pid, program, argument))


def _has_argument(pid: int, program: str, argument: str) -> bool:
    try:
        words = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return os.path.basename(words[0]) == program and argument in words


def is_alive(pid: int) -> bool:
    """False also for a zombie, which is reaped if it is our child."""
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def end(pid: int, *, grace_seconds: float = 0.0, kill_seconds: float = 10.0) -> bool:
    """TERM, and KILL after the grace; True once it is gone. False when even KILL did not end it in time."""
    if grace_seconds > 0:
        _signal(pid, signal.SIGTERM)
        if wait_until(lambda: not is_alive(pid), grace_seconds):
            return True
    _signal(pid, signal.SIGKILL)
    return wait_until(lambda: not is_alive(pid), kill_seconds)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Polls until the condition holds: for what the kernel tells no other way. False after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
