"""What a node says of its container runtime. One that does not answer may just be starting again: for half a minute all is as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tiphys.kubelet.runtimes.interface import Image, Runtime, RuntimeCondition, RuntimeFailure, Version
from tiphys.machinery.clock import Clock

PATIENCE_SECONDS = 30.0
"""As upstream: so long ago may the last answer be."""
NEVER_ANSWERED = "container runtime status check may not have completed yet"
DOWN = "container runtime is down"


@dataclass(frozen=True, slots=True)
class RuntimeReport:
    """As it was when it last answered. `problem` is empty, or says that this was too long ago."""

    version: Version
    conditions: Sequence[RuntimeCondition] = ()
    images: Sequence[Image] = ()
    problem: str = ""


class RuntimeHealth:
    """Asks, and remembers the last answer."""

    def __init__(self, runtime: Runtime, clock: Clock, name: str = "containerd") -> None:
        self._runtime = runtime
        self._clock = clock
        self._last = RuntimeReport(Version(name, "", "v1"), problem=NEVER_ANSWERED)
        self._answered_at: float | None = None

    async def look(self) -> RuntimeReport:
        try:
            self._last = RuntimeReport(
                await self._runtime.version(), await self._runtime.status(), await self._runtime.list_images()
            )
        except RuntimeFailure:
            if self._answered_at is None or self._clock.monotonic() - self._answered_at <= PATIENCE_SECONDS:
                return self._last
            return RuntimeReport(self._last.version, problem=DOWN)
        self._answered_at = self._clock.monotonic()
        return self._last
