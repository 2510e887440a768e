"""Lifecycle hooks: postStart and preStop, as exec, httpGet or sleep. What they do and say is upstream's (`pkg/kubelet/lifecycle/handlers.go`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.probes.targets import trusting_anybody, url_of
from tiphys.kubelet.runtimes.interface import Runtime, RuntimeFailure
from tiphys.kubelet.spec import Object
from tiphys.machinery.clock import Clock
from tiphys.machinery.quoting import quote
from tiphys.net.client import HTTPClient, HTTPClientError

USER_AGENT = "kube-lifecycle/1.36"
DEFAULT_PORT = 80


class HookFailure(Exception):
    """The hook did not succeed; the message is fit for the container's status."""


Get = Callable[[str, str, list[tuple[str, str]]], Awaitable[object]]
"""(base URL, target, headers): asks a web server. Raises HTTPClientError or OSError."""


class Hooks:
    """Runs hooks of containers of one node. `get` None: requests are not made, for nobody is there to answer."""

    def __init__(self, runtime: Runtime, clock: Clock, get: Get | None) -> None:
        self._runtime = runtime
        self._clock = clock
        self._get = get

    async def run(
        self, hook: dict[str, Any], pod: Object, container: Object, container_id: str, ip: str
    ) -> None:
        """Until it is through. Raises HookFailure."""
        whose = f"for Container {quote(container['name'])} in Pod {quote(spec.described(pod))}"
        if "sleep" in hook:
            await self._clock.sleep(hook["sleep"].get("seconds", 0))
        elif "exec" in hook:
            await self._exec(hook["exec"].get("command") or [], container_id, whose)
        elif "httpGet" in hook:
            await self._ask(hook["httpGet"], container, ip, whose)
        else:
            # tcpSocket is an old mistake of the API: it was never run.
            raise HookFailure("Cannot run handler: invalid handler")

    async def _exec(self, command: list[str], container_id: str, whose: str) -> None:
        try:
            result = await self._runtime.exec_sync(container_id, command, 0)
        except RuntimeFailure as error:
            raise HookFailure(_exec_message(command, whose, error.message, "")) from error
        if result.exit_code:
            stderr, output = _text(result.stderr), _text(result.stdout + result.stderr)
            told = f"command '{' '.join(command)}' exited with {result.exit_code}: {stderr}"
            raise HookFailure(_exec_message(command, whose, told, output))

    async def _ask(self, action: Object, container: Object, ip: str, whose: str) -> None:
        """Any answer will do, whatever its status."""
        try:
            base, target = url_of({"port": DEFAULT_PORT, **action}, container, ip)
            if self._get is not None:
                await self._get(base, target, _headers(action))
        except (ValueError, HTTPClientError, OSError) as error:
            path = action.get("path") or ""
            raise HookFailure(f"HTTP lifecycle hook ({path}) {whose} failed - error: {error}") from error


def _exec_message(command: list[str], whose: str, error: str, output: str) -> str:
    return f"Exec lifecycle hook ([{' '.join(command)}]) {whose} failed - error: {error}, message: {quote(output)}"


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _headers(action: Object) -> list[tuple[str, str]]:
    headers = [(header["name"], header["value"]) for header in action.get("httpHeaders") or ()]
    named = {name.lower() for name, _ in headers}
    own = (("User-Agent", USER_AGENT), ("Accept", "*/*"), ("Connection", "close"))
    return headers + [(name, value) for name, value in own if name.lower() not in named]


async def get(base: str, target: str, headers: list[tuple[str, str]]) -> None:
    """The process must be in the node's network namespace: it reaches pods by their addresses."""
    client = HTTPClient(base, ssl_context=trusting_anybody() if base.startswith("https") else None)
    try:
        await client.request("GET", target, headers)
    finally:
        await client.close()
