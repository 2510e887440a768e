"""How a test's thread reaches its control plane: in a thread of this process, or in a process of its own.

Both give the same: `call(method, **arguments)` is a future of what `ControlPlane.method` returns. Arguments and results are plain
data. What a method raises is raised again here: StatusError, LookupError, ValueError, TimeoutError; anything else is a ClusterError.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tiphys.testing.control_plane import ControlPlane
    from tiphys.testing.plan import Plan

STOP_SECONDS = 20.0


class ClusterError(Exception):
    """The control plane cannot do it, or is not there (any more)."""


class Link(Protocol):
    def start(self) -> dict[str, Any]:
        """What `ControlPlane.start` returns, once the API answers."""

    def call(self, method: str, **arguments: Any) -> Future[Any]: ...

    def stop(self) -> None:
        """Everything that was started has ended when it returns. Harmless when repeated."""


class ThreadLink:
    """A control plane on an event loop of its own, in a thread of this process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._started: Future[dict[str, Any]] = Future()
        self._thread = threading.Thread(target=self._run, name="tiphys control plane", daemon=True)

    def start(self) -> dict[str, Any]:
        self._thread.start()
        return self._started.result()

    def _run(self) -> None:
        import uvloop

        loop = self._loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(self._serve())
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        try:
            with _collecting_later():
                from tiphys.testing.control_plane import ControlPlane

                self._control_plane: ControlPlane = ControlPlane(self._plan)
                answer = await self._control_plane.start()
        except BaseException as error:
            self._started.set_exception(error)
            return
        self._started.set_result(answer)
        await self._stopping.wait()
        await self._control_plane.stop()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def call(self, method: str, **arguments: Any) -> Future[Any]:
        if not self._thread.is_alive():
            return _failed(ClusterError("the cluster is not running"))
        work = getattr(self._control_plane, method)(**arguments)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        if self._thread.is_alive():
            with suppress(RuntimeError):  # its loop ended by itself in this moment
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_SECONDS)


class ProcessLink:
    """A control plane in a process of its own: one JSON text a line, calls to its standard input, answers from its standard output.

    It ends when we end, whatever the reason: its standard input is closed then.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._reader: threading.Thread | None = None

    def start(self) -> dict[str, Any]:
        with Path(self._plan.directory, "control-plane.log").open("wb") as log:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "tiphys.testing.process", json.dumps(asdict(self._plan))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=_environment(),
            )
        assert process.stdout is not None
        started: Future[Any] = Future()
        self._waiting[0] = started
        self._reader = threading.Thread(
            target=self._read, args=(process.stdout,), name="tiphys control plane's answers", daemon=True
        )
        self._reader.start()
        answer: dict[str, Any] = started.result()
        return answer

    def _read(self, answers: IO[bytes]) -> None:
        with answers:
            for line in answers:
                answer = json.loads(line)
                with self._lock:
                    future = self._waiting.pop(answer["id"], None)
                if future is None:
                    continue
                if "error" in answer:
                    future.set_exception(_error(answer["error"]))
                else:
                    future.set_result(answer["result"])
        with self._lock:
            lost, self._waiting = list(self._waiting.values()), {}
        for future in lost:
            future.set_exception(ClusterError(f"the control plane's process has ended: {self._last_words()}"))

    def _last_words(self) -> str:
        with suppress(OSError):
            lines = Path(self._plan.directory, "control-plane.log").read_text().splitlines()
            return lines[-1] if lines else ""
        return ""

    def call(self, method: str, **arguments: Any) -> Future[Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdin.closed:
            return _failed(ClusterError("the cluster is not running"))
        future: Future[Any] = Future()
        with self._lock:
            self._next += 1
            self._waiting[self._next] = future
            line = json.dumps({"id": self._next, "method": method, "arguments": arguments})
            try:
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError:
                self._waiting.pop(self._next, None)
                return _failed(ClusterError(f"the control plane's process has ended: {self._last_words()}"))
        return future

    def stop(self) -> None:
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(STOP_SECONDS)


@contextmanager
def _collecting_later() -> Iterator[None]:
    """No garbage collection while half a thousand modules are imported: nothing of them is garbage, and looking costs an eighth of a start."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _environment() -> dict[str, str]:
    """Ours, with the way to this very package: a test may have put it on its path by hand."""
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


# Errors on the wire

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (LookupError, ValueError, TimeoutError, TypeError)
}


def error_text(error: Exception) -> dict[str, Any]:
    """For the way from the process."""
    from tiphys.machinery.errors import StatusError

    if isinstance(error, StatusError):
        return {"status": error.status()}
    kind = next((name for name, known in _KINDS.items() if isinstance(error, known)), "")
    return {"kind": kind, "message": str(error)}


def _error(text: dict[str, Any]) -> Exception:
    if "status" in text:
        from tiphys.machinery.errors import StatusError

        return StatusError.from_status(text["status"])
    return _KINDS.get(text["kind"], ClusterError)(text["message"])
