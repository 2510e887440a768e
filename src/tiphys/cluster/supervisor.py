"""Keeps a cluster's processes running: starts them, starts them again when they end, and ends them all when it is told to.

One small process a cluster, started by `up` and ended by `down` (SIGTERM). It sleeps in the kernel until a child ends or a
signal arrives, imports next to nothing, and knows nothing of Kubernetes. What it runs stands in `run/processes.json`; what
runs, in `run/running.json`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tiphys.machinery.frozen import frozen

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
ORDERS = "processes.json"
STOPPED_LOOK_SECONDS = 0.5
"""So often a program is looked at that somebody has stopped."""
STEADY_SECONDS = 30.0
"""A process that ran this long and ends is started again at once."""
_SIGNALS = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}


@frozen
class Process:
    """What to run. Processes end in the reverse of the order in which they are listed."""

    name: str
    arguments: list[str]
    log: str
    environment: dict[str, str] = field(default_factory=dict)
    stop_seconds: float = 10.0


@dataclass(slots=True)
class _Child:
    process: Process
    pid: int = 0
    started: float = 0.0
    delay: float = FIRST_DELAY_SECONDS
    due: float = 0.0
    restarts: int = 0


def processes_text(processes: list[Process]) -> str:
    """The content of `processes.json`."""
    return json.dumps([asdict(process) for process in processes], indent=1)


def write_processes(run: Path, processes: list[Process]) -> None:
    """What the supervisor of this directory shall run."""
    _replace(run / ORDERS, processes_text(processes))


def read_running(run: Path) -> list[dict[str, Any]]:
    """[{name, pid, started_at, restarts}] as the supervisor last wrote it, pid 0 for one that is down; empty when there is none.

    The pid is the supervisor's child's: see `program_of`.
    """
    try:
        running: list[dict[str, Any]] = json.loads((run / "running.json").read_text())
    except (FileNotFoundError, ValueError):
        return []
    return running


def _spawn(process: Process) -> int:
    """Its pid. OSError, which its log tells too, when its log or itself cannot be opened."""
    log = os.open(process.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log, 1),
        (os.POSIX_SPAWN_DUP2, log, 2),
    ]
    environment = {**os.environ, **process.environment}
    try:
        return os.posix_spawnp(
            process.arguments[0],
            process.arguments,
            environment,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
        )
    except OSError as error:
        os.write(log, f"cannot start {process.arguments[0]}: {error}\n".encode())
        raise
    finally:
        os.close(log)


class Supervisor:
    def __init__(self, run: Path) -> None:
        self._run = run
        loaded = json.loads((run / ORDERS).read_text())
        self._children = [_Child(Process(**entry)) for entry in loaded]
        self._stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then ends the children in reverse order and returns."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for child in self._children:
            self._start(child)
        self._note()
        while not self._stopping:
            self._wait()
        for child in reversed(self._children):
            self._stop(child)
        # Without its orders a supervisor has not died: it was told to end.
        for name in ("running.json", ORDERS):
            (self._run / name).unlink(missing_ok=True)

    def _wait(self) -> None:
        due = [child.due for child in self._children if not child.pid]
        timeout = max(0.0, min(due) - time.monotonic()) if due else 3600.0
        if self._has_stopped_entrance():
            timeout = min(timeout, STOPPED_LOOK_SECONDS)
        received = signal.sigtimedwait(_SIGNALS, timeout)
        if received is not None and received.si_signo != signal.SIGCHLD:
            self._stopping = True
            return
        changed = self._reap()
        now = time.monotonic()
        for child in self._children:
            if not child.pid and child.due <= now:
                self._start(child)
                changed = True
        if changed:
            self._note()

    def _has_stopped_entrance(self) -> bool:
        """nsenter stops when its program is stopped, and learns neither that this goes on nor that it died: then we wake it."""
        stopped = [child.pid for child in self._children if child.pid and _state(child.pid) == "T"]
        for pid in stopped:
            if program_of(pid) != pid and _state(program_of(pid)) != "T":
                _signal(pid, signal.SIGCONT)
        return bool(stopped)

    def _start(self, child: _Child) -> None:
        process = child.process
        try:
            child.pid = _spawn(process)
            child.started = time.time()
        except OSError as error:
            _say(f"cannot start {process.name}: {error}")
            child.restarts += 1
            self._postpone(child)

    def _reap(self) -> bool:
        changed = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return changed
            if not pid:
                return changed
            for child in self._children:
                if child.pid == pid:
                    self._ended(child, status)
                    changed = True

    def _ended(self, child: _Child, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        _say(f"{child.process.name} (pid {child.pid}) ended with {code}")
        if time.time() - child.started > STEADY_SECONDS:
            child.delay = FIRST_DELAY_SECONDS
        child.pid = 0
        child.restarts += 1
        self._postpone(child)

    def _postpone(self, child: _Child) -> None:
        child.due = time.monotonic() + child.delay
        child.delay = min(child.delay * 2, LONGEST_DELAY_SECONDS)

    def _stop(self, child: _Child) -> None:
        """TERM, and KILL after its time."""
        if not child.pid:
            return
        deadline = time.monotonic() + child.process.stop_seconds
        _signal(program_of(child.pid), signal.SIGTERM)
        while child.pid:
            left = deadline - time.monotonic()
            if left <= 0:
                _signal(program_of(child.pid), signal.SIGKILL)
                _signal(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
                child.pid = 0
                return
            signal.sigtimedwait({signal.SIGCHLD}, left)
            self._reap_only()

    def _reap_only(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if not pid:
                return
            for child in self._children:
                if child.pid == pid:
                    child.pid = 0

    def _note(self) -> None:
        running = [
            {
                "name": child.process.name,
                "pid": child.pid,
                "started_at": child.started,
                "restarts": child.restarts,
            }
            for child in self._children
        ]
        try:
            _replace(self._run / "running.json", json.dumps(running, indent=1))
        except OSError as error:  # a full disk must not end us, and with us everything
            _say(f"cannot note what runs: {error}")


def program_of(pid: int) -> int:
    """The program itself: a process that entered namespaces by nsenter is the child of one that waits for it."""
    try:
        if Path(f"/proc/{pid}/comm").read_text().strip() == "nsenter":
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return int(children[0]) if children else pid
    except OSError:
        pass
    return pid


def _state(pid: int) -> str:
    """As ps shows it: "S", "T" for stopped…; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".part")
    unfinished.write_text(text)
    unfinished.replace(path)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError:
        pass


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # what entered a node may be gone before the nsenter that waits for it
        pass


def main() -> None:
    """python -m tiphys.cluster.supervisor DIRECTORY"""
    Supervisor(Path(sys.argv[1])).run()


if __name__ == "__main__":
    main()
