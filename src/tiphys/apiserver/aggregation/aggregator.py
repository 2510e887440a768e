"""API aggregation: which server serves which group version, as APIServices say, and what follows from that.

Made with the API server and closed with it; `start` begins what runs by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tiphys.apiserver.aggregation.availability import LOCAL, Finding, with_finding
from tiphys.apiserver.aggregation.metrics import AvailabilityMetrics
from tiphys.apiserver.aggregation.priorities import Priority, service_name
from tiphys.apiserver.aggregation.registration import Registration
from tiphys.apiserver.aggregation.remote import Remote
from tiphys.apiserver.aggregation.services import GROUP, PLURAL, APIServices, is_remote, priority_of
from tiphys.apiserver.cache import Event
from tiphys.apiserver.call import Call
from tiphys.apiserver.documents import Document
from tiphys.apiserver.openapi.library import EncodedPiece
from tiphys.apiserver.openapi.merging import beside
from tiphys.apiserver.service_dialer import SERVICE_NAME
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupVersion

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

_BEHIND = (("", "services"), ("discovery.k8s.io", "endpointslices"), ("", "endpoints"))
"""What a Service consists of."""


class Aggregator:
    """What discovery and OpenAPI know of other servers, and who keeps APIServices."""

    def __init__(self, server: APIServer) -> None:
        self._server = server
        self._remotes: dict[GroupVersion, Remote] = {}
        self._changes = 0
        self._started = False
        self.services = APIServices(server.writes.cache(GROUP, PLURAL))
        self.services.on_change(self._service_changed)
        self.registration = Registration(server)
        self._metrics = AvailabilityMetrics(server.metrics, self.services)
        self._stops = [server.writes.cache(*each).watch(_Behind(self)) for each in _BEHIND]

    @property
    def revision(self) -> int:
        """Rises whenever something that documents are made of may have changed."""
        return self.services.revision + self._changes

    def start(self) -> None:
        self._started = True
        self._server.spawn(self.registration.run())
        for version, _ in self.services:
            self._service_changed(version)

    # Requests

    def remote_of(self, call: Call) -> Remote | None:
        """The server that a request is for, when that is not this one."""
        if not self._remotes:
            return None
        parts = call.request.path.strip("/").split("/")
        if parts[:2] == ["openapi", "v3"]:
            remote = self._named(parts[2:])
            return (
                remote
                if remote is not None and len(parts) in (4, 5) and remote.openapi.document is None
                else None
            )
        return self._named(parts)

    def _named(self, parts: list[str]) -> Remote | None:
        if parts[:1] == ["apis"] and len(parts) > 2:
            return self._remotes.get(GroupVersion(parts[1], parts[2]))
        if parts[:1] == ["api"] and len(parts) > 1:
            return self._remotes.get(GroupVersion("", parts[1]))
        return None

    # Documents

    def priorities(self) -> Mapping[GroupVersion, Priority]:
        return {version: priority_of(service) for version, service in self.services}

    def remote(self) -> Mapping[GroupVersion, bytes]:
        return {version: remote.discovery for version, remote in self._remotes.items()}

    def index(self) -> Mapping[str, str]:
        return {
            remote.openapi.name: remote.openapi.url for remote in self._remotes.values() if remote.openapi.url
        }

    def made_here(self, name: str) -> Document | None:
        remote = self._named(name.split("/")) if self._remotes else None
        return None if remote is None else remote.openapi.document

    def pieces(self, own: EncodedPiece) -> Iterable[EncodedPiece]:
        definitions, parameters = dict(own.definitions), dict(own.parameters)
        for _, remote in sorted(self._remotes.items()):
            if remote.openapi.piece is not None:
                piece = EncodedPiece(beside(remote.openapi.piece, definitions, parameters))
                definitions |= piece.definitions
                parameters |= piece.parameters
                yield piece

    # What changes

    def _service_changed(self, version: GroupVersion) -> None:
        if not self._started:
            return
        service, known = self.services.get(version), self._remotes.get(version)
        if service is not None and is_remote(service):
            if known is not None:
                known.update(service)
            else:
                self._remotes[version] = Remote(
                    self._server, version, service, publish=self._publish, changed=self._document_changed
                )
            return
        if known is not None:
            del self._remotes[version]
            self._server.spawn(known.close())
        if service is not None and with_finding(service, LOCAL, self._server.clock.now()) is not None:
            self._server.spawn(self._publish(version, LOCAL))

    def behind_changed(self, namespace: str, name: str) -> None:
        """A Service, or what stands behind it, has changed."""
        for remote in self._remotes.values():
            reference = remote.reference
            if (reference["namespace"], reference["name"]) == (namespace, name):
                remote.wake()

    @property
    def has_remotes(self) -> bool:
        return bool(self._remotes)

    def _document_changed(self) -> None:
        self._changes += 1

    async def _publish(self, version: GroupVersion, finding: Finding) -> None:
        """Writes what was found into the status of an APIService, if it does not say so yet."""
        service = self.services.get(version)
        server = self._server
        if service is None or with_finding(service, finding, server.clock.now()) is None:
            return
        row = server.scheme.by_resource(GROUP, "v1", PLURAL)
        assert row is not None
        self._metrics.found(service_name(version), finding)
        call = server.internal_call(row, "", service_name(version), subresource="status")
        try:
            await server.writes.update(
                call,
                lambda old: {
                    **old,
                    "status": with_finding(old, finding, server.clock.now()) or old["status"],
                },
            )
        except StatusError as error:
            if error.code != 404:
                raise

    def reconnect(self) -> None:
        """This server shows another certificate from now on."""
        for remote in self._remotes.values():
            remote.reconnect()

    async def close(self) -> None:
        for stop in self._stops:
            stop()
        self.registration.close()
        self.services.close()
        await asyncio.gather(*(remote.close() for remote in self._remotes.values()))
        self._remotes.clear()


class _Behind:
    """Watches what Services consist of, for the sake of those that APIServices name."""

    namespace = ""

    def __init__(self, aggregator: Aggregator) -> None:
        self._aggregator = aggregator

    def deliver(self, event: Event) -> None:
        if self._aggregator.has_remotes:
            record = event.record
            self._aggregator.behind_changed(record.namespace, record.labels.get(SERVICE_NAME) or record.name)
