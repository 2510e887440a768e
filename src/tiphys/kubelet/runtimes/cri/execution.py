"""exec with streams, through containerd's task service and named pipes of ours.

CRI's own exec goes through a streaming server that can neither close stdin alone nor be spoken to without another protocol; the
task service can: a pipe for each stream, CloseIO for end-of-file, ResizePty, and the exact exit code.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiphys.kubelet.runtimes.cri.pipes import PipeReader, PipeWriter
from tiphys.kubelet.runtimes.cri.wire import Service
from tiphys.kubelet.runtimes.interface import RuntimeFailure, Unavailable
from tiphys.machinery.frozen import frozen

PROCESS_TYPE = "types.containerd.io/opencontainers/runtime-spec/1/Process"
SIGKILL = 9
RETRY_SECONDS = 0.1
_CONTAINER = "container"
_CALL_SECONDS = 10.0


@frozen
class Streams:
    """Which streams a client wants. With a tty there is no stderr: the terminal has one output."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@frozen
class PipeDirectory:
    """Where pipes are made: the same directory as we see it, and as containerd in the node's mount namespace does."""

    ours: Path
    nodes: str

    def make(self, name: str, container_id: str) -> PipeDirectory:
        """For a session; it tells a later kubelet whose that was."""
        made = PipeDirectory(self.ours / name, f"{self.nodes}/{name}")
        made.ours.mkdir(parents=True, mode=0o700)
        (made.ours / _CONTAINER).write_text(container_id)
        return made


def process_spec(container: dict[str, Any], command: Sequence[str], *, tty: bool) -> bytes:
    """The OCI process to exec: the container's own (user, environment, capabilities) with another command."""
    process = {**container, "args": list(command), "terminal": tty}
    if tty:
        inherited = [entry for entry in process.get("env") or [] if not entry.startswith("TERM=")]
        process["env"] = [*inherited, "TERM=xterm"]
    return json.dumps(process).encode()


class Execution:
    """A process in a container: an ExecSession."""

    def __init__(self, tasks: Service, container_id: str, directory: PipeDirectory, streams: Streams) -> None:
        self._tasks = tasks
        self._id: dict[str, Any] = {"container_id": container_id, "exec_id": directory.ours.name}
        self._directory = directory
        self._streams = streams
        # The shim wants both outputs, or neither can be; a terminal has one. What nobody asked for is read and dropped.
        has_pipe = {"stdout": True, "stderr": not streams.tty, "stdin": streams.stdin}
        paths = {name: self._make_pipe(name) for name, is_there in has_pipe.items() if is_there}
        self._stdin = PipeWriter(paths["stdin"]) if "stdin" in paths else None
        self._outputs = [PipeReader(paths[name]) for name in ("stdout", "stderr") if name in paths]
        self.stdout = self._outputs[0] if streams.stdout else PipeReader(None)
        self.stderr = self._outputs[1] if streams.stderr and not streams.tty else PipeReader(None)
        self._dropping: list[asyncio.Task[None]] = []
        self._nodes_paths: dict[str, Any] = {name: f"{directory.nodes}/{name}" for name in paths}
        self._exit: asyncio.Task[int] | None = None
        self._closing: asyncio.Task[None] | None = None

    def _make_pipe(self, name: str) -> str:
        path = str(self._directory.ours / name)
        os.mkfifo(path, 0o600)
        return path

    async def start(self, spec: bytes) -> None:
        """Starts the process; RuntimeFailure, with nothing left behind, when it cannot be."""
        try:
            await self._tasks.call(
                "Exec",
                **self._id,
                **self._nodes_paths,
                terminal=self._streams.tty,
                spec={"type_url": PROCESS_TYPE, "value": spec},
            )
            # Waiting begins before the start, or a short process would be gone unseen.
            self._exit = asyncio.create_task(self._wait_for_exit())
            await asyncio.sleep(0)
            await self._tasks.call("Start", **self._id)
            unwanted = [pipe for pipe in self._outputs if pipe not in (self.stdout, self.stderr)]
            self._dropping = [asyncio.create_task(_drain(pipe)) for pipe in unwanted]
            if self._stdin is not None:
                await self._stdin.connect()
        except BaseException as error:
            await self.close()
            if type(error) is RuntimeFailure:
                message = f'failed to exec in container: failed to start exec "{self._id["exec_id"]}": {error.message}'
                raise RuntimeFailure(message) from None
            raise

    async def _wait_for_exit(self) -> int:
        while True:
            try:
                answer = await self._tasks.call("Wait", timeout_seconds=None, **self._id)
            except Unavailable:  # containerd restarts, the process lives on
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if self._stdin is not None:
                self._stdin.close()
            return int(answer.exit_status)

    async def write_stdin(self, data: bytes) -> None:
        if self._stdin is not None:
            await self._stdin.write(data)

    async def close_stdin(self) -> None:
        if self._stdin is None:
            return
        self._stdin.close()
        try:
            await self._tasks.call("CloseIO", **self._id, stdin=True)
        except RuntimeFailure:
            pass  # it has ended, and its stdin with it

    async def resize(self, columns: int, rows: int) -> None:
        await self._tasks.call("ResizePty", **self._id, width=columns, height=rows)

    async def wait(self) -> int:
        assert self._exit is not None
        return await asyncio.shield(self._exit)

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        # The shim deletes a process only once its output has been read.
        drains = [*self._dropping, *(asyncio.create_task(_drain(pipe)) for pipe in self._outputs)]
        if self._stdin is not None:
            self._stdin.close()
        if self._exit is not None and not self._exit.done():
            await self._quietly("Kill", signal=SIGKILL)
            await asyncio.wait([self._exit], timeout=RETRY_SECONDS * 20)
        await self._quietly("DeleteProcess")
        for task in [*drains, *([self._exit] if self._exit is not None else [])]:
            task.cancel()
        for pipe in self._outputs:
            pipe.close()
        shutil.rmtree(self._directory.ours, ignore_errors=True)

    async def _quietly(self, method: str, **fields: Any) -> None:
        try:
            await self._tasks.call(method, timeout_seconds=_CALL_SECONDS, **self._id, **fields)
        except RuntimeFailure:
            pass


async def _drain(stream: PipeReader) -> None:
    async for _ in stream:
        pass


async def end_left_behind(tasks: Service, directory: Path) -> None:
    """Ends the process of a session whose kubelet died: nobody else would, and its client is long gone."""
    try:
        session = {"container_id": (directory / _CONTAINER).read_text(), "exec_id": directory.name}
    except OSError:
        session = {}
    pipes = [
        PipeReader(str(directory / name)) for name in ("stdout", "stderr") if (directory / name).exists()
    ]
    drains = [asyncio.create_task(_drain(pipe)) for pipe in pipes]
    try:
        calls: list[tuple[str, dict[str, Any]]] = [
            ("Kill", {"signal": SIGKILL}),
            ("Wait", {}),
            ("DeleteProcess", {}),
        ]
        for method, fields in calls if session else ():
            await tasks.call(method, timeout_seconds=_CALL_SECONDS, **session, **fields)
    except RuntimeFailure:
        pass  # it has ended by itself, or its container has
    finally:
        for task in drains:
            task.cancel()
        for pipe in pipes:
            pipe.close()
        shutil.rmtree(directory, ignore_errors=True)
