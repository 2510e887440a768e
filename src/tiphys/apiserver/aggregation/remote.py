"""One group version that another server serves: whether that is there, what it says of itself, and requests passed on to it.

Made when an APIService names a Service, ended when that or the APIService goes. Its task looks whenever something has
changed, else every half minute; after a failure sooner, ever more slowly.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tiphys.api.resource import Object
from tiphys.apiserver.aggregation import remote_discovery
from tiphys.apiserver.aggregation.availability import PASSED, Finding, look, probe
from tiphys.apiserver.aggregation.identity import context_for, context_for_probes
from tiphys.apiserver.aggregation.proxy import forward, plain_error
from tiphys.apiserver.aggregation.remote_openapi import RemoteOpenAPI
from tiphys.apiserver.aggregation.services import is_available
from tiphys.apiserver.call import Call
from tiphys.machinery.gvk import GroupVersion
from tiphys.net.client import HTTPClient
from tiphys.net.http import Response

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

RESYNC_SECONDS = 30.0
DOCUMENTS_SECONDS = 60.0
FIRST_RETRY_SECONDS = 0.005
LAST_RETRY_SECONDS = 30.0


class Remote:
    """`publish` writes the condition into the APIService; `changed` is called when a document may look different."""

    def __init__(
        self,
        server: APIServer,
        version: GroupVersion,
        service: Object,
        *,
        publish: Callable[[GroupVersion, Finding], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._server = server
        self.version = version
        self.service = service
        self._publish = publish
        self._changed = changed
        self._wake = asyncio.Event()
        self._documents_due = 0.0
        self._resources: list[Object] = []
        self.discovery = remote_discovery.encode(version, [], is_current=False)
        self.openapi = RemoteOpenAPI(version)
        self._problem = ""
        self._client: HTTPClient | None = None
        self._prober: HTTPClient | None = None
        self._open()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def reference(self) -> Object:
        """The Service: `spec.service`."""
        reference: Object = self.service["spec"]["service"]
        return reference

    def _open(self) -> None:
        reference, dialer = self.reference, self._server.service_dialer
        where = (reference["namespace"], reference["name"], reference.get("port") or 443)
        self._prober = dialer.client(*where, ssl_context=context_for_probes(self._server.front_proxy))
        try:
            context = context_for(self.service, self._server.front_proxy)
        except (ValueError, ssl.SSLError) as error:
            self._client, self._problem = None, f"unable to load root certificates: {error}"
        else:
            self._client, self._problem = dialer.client(*where, ssl_context=context), ""

    def update(self, service: Object) -> None:
        """The APIService has changed."""
        before, self.service = self.service, service
        if before["spec"] != service["spec"]:
            self.reconnect()

    def reconnect(self) -> None:
        """Another address, or another certificate of ours: everything is asked anew."""
        self._close_clients()
        self._open()
        self._documents_due = 0.0
        self.wake()

    def wake(self) -> None:
        """Look again now: the Service or what stands behind it has changed."""
        self._wake.set()

    # Requests

    async def serve(self, call: Call) -> Response:
        """A request for this group version."""
        if not is_available(self.service):
            return plain_error("service unavailable", 503)
        if self._client is None:
            return plain_error(self._problem, 500)
        return await forward(call, self._client)

    # Looking after it

    async def _run(self) -> None:
        failures = 0
        clock = self._server.clock
        while True:
            self._wake.clear()
            try:
                good = await self._look()
            except Exception:
                log.exception("looking after the APIService of %s failed", self.version)
                good = False
            failures = 0 if good else failures + 1
            wait_seconds = (
                RESYNC_SECONDS
                if good
                else min(FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 20), LAST_RETRY_SECONDS)
            )
            timer = clock.call_later(wait_seconds, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    async def _look(self) -> bool:
        """False when it should be tried again soon."""
        assert self._prober is not None
        finding = look(self.reference, self._server.service_dialer)
        was_probed = finding is None
        if finding is None:
            finding = await probe(self._prober, self._address(), self.version)
        await self._publish(self.version, finding)
        if finding != PASSED:
            self._documents_due = 0.0
            self._keep(None)
            return not was_probed
        if self._server.clock.monotonic() < self._documents_due or self._client is None:
            return True
        self._keep(await remote_discovery.fetch_resources(self._client, self.version))
        if await self.openapi.fetch(self._client):
            self._changed()
        self._documents_due = self._server.clock.monotonic() + DOCUMENTS_SECONDS
        return True

    def _keep(self, resources: list[Object] | None) -> None:
        """What the server says that it serves; None: it does not say, so what it said last may be out of date."""
        if resources is not None:
            self._resources = resources
        encoded = remote_discovery.encode(self.version, self._resources, is_current=resources is not None)
        if encoded != self.discovery:
            self.discovery = encoded
            self._changed()

    def _address(self) -> str:
        """How the Service is called in messages: by its address."""
        reference = self.reference
        spec = self._server.service_dialer.service(reference["namespace"], reference["name"])["spec"]
        host = spec.get("externalName") or spec.get("clusterIP") or ""
        return f"{host}:{reference.get('port') or 443}"

    def _close_clients(self) -> None:
        for client in (self._client, self._prober):
            if client is not None:
                self._server.spawn(client.close())
        self._client = self._prober = None

    async def close(self) -> None:
        """Ends the task and every connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for client in (self._client, self._prober):
            if client is not None:
                await client.close()
