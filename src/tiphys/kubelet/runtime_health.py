"""What a node says of its container runtime. One that does not answer may just be starting again: for half a minute all is as it was."""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.kubelet.runtimes.interface import (
    Image,
    Runtime,
    RuntimeCondition,
    RuntimeFailure,
    RuntimeHandler,
    Version,
)
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

PATIENCE_SECONDS = 30.0
"""As upstream: so long ago may the last answer be."""
NEVER_ANSWERED = "container runtime status check may not have completed yet"
DOWN = "container runtime is down"


@frozen
class RuntimeReport:
    """As it was when it last answered. `problem` is empty, or says that this was too long ago."""

    version: Version
    conditions: Sequence[RuntimeCondition] = ()
    images: Sequence[Image] = ()
    handlers: Sequence[RuntimeHandler] = ()
    supplemental_groups_policy: bool | None = None
    problem: str = ""


class RuntimeHealth:
    """Asks, and remembers the last answer."""

    def __init__(self, runtime: Runtime, clock: Clock, name: str = "containerd") -> None:
        self._runtime = runtime
        self._clock = clock
        self._last = RuntimeReport(Version(name, "", "v1"), problem=NEVER_ANSWERED)
        self._answered_at: float | None = None

    async def known(self) -> RuntimeReport:
        """What it said when it last answered; asks only one that never did."""
        return self._last if self._answered_at is not None else await self.look()

    async def look(self) -> RuntimeReport:
        try:
            version, status = await self._runtime.version(), await self._runtime.status()
            self._last = RuntimeReport(
                version,
                status.conditions,
                await self._runtime.list_images(),
                status.handlers,
                status.supplemental_groups_policy,
            )
        except RuntimeFailure:
            if self._answered_at is None or self._clock.monotonic() - self._answered_at <= PATIENCE_SECONDS:
                return self._last
            return RuntimeReport(self._last.version, problem=DOWN)
        self._answered_at = self._clock.monotonic()
        return self._last
