"""Keeps the logs of running containers small: a log that has grown past its size is set aside, older ones are compressed, the oldest go.

Upstream's `containerLogMaxSize`, `containerLogMaxFiles` and `containerLogMonitorInterval`, to the names of the files: a log set aside is
`0.log.20060102-150405`, and has `.gz` behind it once the next one is set aside (until then the container may still write to it, and
somebody read it). A quiet container costs one stat() at each look. Run by the kubelet, until cancelled.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tiphys.kubelet.runtimes.interface import ContainerStatus, Runtime, RuntimeFailure
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

COMPRESSED, UNFINISHED = ".gz", ".tmp"
_STAMP = "%Y%m%d-%H%M%S"


@frozen
class RotationPolicy:
    """Upstream's defaults. A negative size: logs are left alone."""

    max_size_bytes: int = 10 << 20
    max_files: int = 5
    monitor_seconds: float = 10.0


@frozen
class Tidying:
    """What becomes of the files that were set aside before: names, oldest first."""

    remove: tuple[str, ...]
    compress: tuple[str, ...]


def tidying(names: Iterable[str], max_files: int) -> Tidying:
    """Of files that were set aside earlier, so that there is room for one more beside the log itself.

    What an interrupted compression left behind goes: its beginning, and the plain file of a whole compressed one.
    """
    found = sorted(names)
    leftover = [name for name in found if name.endswith(UNFINISHED) or (f"{name}{COMPRESSED}" in found)]
    kept = [name for name in found if name not in leftover]
    excess = len(kept) - max(max_files - 2, 0)
    remove, kept = (kept[:excess], kept[excess:]) if excess > 0 else ([], kept)
    return Tidying((*leftover, *remove), tuple(name for name in kept if not name.endswith(COMPRESSED)))


def set_aside(path: Path) -> list[str]:
    """The names of a log's files beside itself, in no order."""
    prefix = f"{path.name}."
    return [name for name in os.listdir(path.parent) if name.startswith(prefix)]


class LogRotation:
    """`running()` gives the containers that run now, as far as is known without asking."""

    def __init__(
        self,
        runtime: Runtime,
        running: Callable[[], Iterable[ContainerStatus]],
        clock: Clock,
        policy: RotationPolicy | None = None,
    ) -> None:
        self._runtime = runtime
        self._running = running
        self._clock = clock
        self._policy = policy or RotationPolicy()

    async def run(self) -> None:
        while self._policy.max_size_bytes >= 0:
            await self._clock.sleep(self._policy.monitor_seconds)
            await self.look()

    async def look(self) -> None:
        """Once through all logs."""
        for status in list(self._running()):
            if not status.log_path:
                continue
            try:
                await self._look_at(status.id, Path(status.log_path))
            except (OSError, RuntimeFailure) as error:
                log.warning("cannot rotate the log of container %s: %s", status.id, error)

    async def _look_at(self, id: str, path: Path) -> None:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            # Somebody removed it: the container writes to what nobody sees.
            await self._runtime.reopen_log(id)
            return
        if size >= self._policy.max_size_bytes:
            await self._rotate(id, path)

    async def _rotate(self, id: str, path: Path) -> None:
        rotated = path.with_name(f"{path.name}.{self._clock.now().strftime(_STAMP)}")
        if rotated.exists():
            return  # twice in a second: the next look is soon enough
        todo = tidying(set_aside(path), self._policy.max_files)
        for name in todo.remove:
            path.with_name(name).unlink(missing_ok=True)
        for name in todo.compress:
            await asyncio.to_thread(compress, path.with_name(name))
        path.rename(rotated)
        try:
            await self._runtime.reopen_log(id)
        except RuntimeFailure:
            if not path.exists():
                rotated.rename(path)  # the next look tries again
            raise


def compress(path: Path) -> None:
    """Beside itself, then in its place: never both half."""
    unfinished = path.with_name(f"{path.name}{UNFINISHED}")
    with path.open("rb") as source, unfinished.open("wb") as file:
        os.fchmod(file.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
        with gzip.GzipFile(fileobj=file, filename="", mode="wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    unfinished.rename(path.with_name(f"{path.name}{COMPRESSED}"))
    path.unlink()
