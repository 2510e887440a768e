"""The kernel's own word that memory is used up to a threshold: an eviction need not wait for the next look. cgroup version 1 only.

`kernelMemcgNotification` asks for it, as upstream's kubelet has it. The kernel counts pages that it can give up at once among what is used and an
eviction does not: so the threshold is reckoned anew at every look, from what is still left then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

USAGE, CONTROL = "memory.usage_in_bytes", "cgroup.event_control"


class MemoryAlarm:
    """`groups`: directories of the memory groups that signals are about. Used by one task; `close` it at the end."""

    def __init__(self, groups: Mapping[str, Path]) -> None:
        self._groups = groups
        self._events: list[int] = []
        self._rung = asyncio.Event()

    def set(self, left: Mapping[str, int]) -> None:
        """Rings from now on when so many bytes more are used, by signal; not for what was set before."""
        self.close()
        self._rung.clear()
        for signal, amount_bytes in left.items():
            directory = self._groups.get(signal)
            if directory is None or amount_bytes <= 0:
                continue
            try:
                self._listen(directory, amount_bytes)
            except (OSError, ValueError) as error:
                log.info("the kernel does not tell of memory in %s: %s", directory, error)

    def _listen(self, directory: Path, amount_bytes: int) -> None:
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            with open(directory / USAGE, "rb") as usage, open(directory / CONTROL, "wb", 0) as control:
                threshold = int(usage.read()) + amount_bytes
                control.write(b"%d %d %d" % (event, usage.fileno(), threshold))
        except BaseException:
            os.close(event)
            raise
        asyncio.get_running_loop().add_reader(event, self._ring, event)
        self._events.append(event)

    def _ring(self, event: int) -> None:
        os.eventfd_read(event)
        self._rung.set()

    async def wait(self) -> None:
        """Until it rings."""
        await self._rung.wait()

    def close(self) -> None:
        for event in self._events:
            asyncio.get_running_loop().remove_reader(event)
            os.close(event)
        self._events.clear()
