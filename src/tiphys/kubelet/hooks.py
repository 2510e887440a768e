"""Lifecycle hooks: postStart and preStop, as exec, httpGet, tcpSocket or sleep."""

from __future__ import annotations

from typing import Any

from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import Clock


class HookFailure(Exception):
    """The hook did not succeed; the message is the handler's."""


class Hooks:
    """Runs hooks of containers of one node."""

    def __init__(self, handlers: Handlers, clock: Clock) -> None:
        self._handlers = handlers
        self._clock = clock

    async def run(self, hook: dict[str, Any], container: Object, container_id: str, ip: str) -> None:
        """Until it is through. Raises HookFailure."""
        if "sleep" in hook:
            await self._clock.sleep(hook["sleep"].get("seconds", 0))
            return
        result = await self._handlers.run(hook, container, container_id, ip, timeout_seconds=0)
        if not result.succeeded:
            raise HookFailure(result.message)
