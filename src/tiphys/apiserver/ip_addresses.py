"""IPAddress objects: who has which cluster address, for everybody to see; and ServiceCIDRs, from which addresses are taken.

Services are the truth (`allocators.py`); their IPAddress objects follow every write of a Service in the same request, and
`repair` makes up for a process that died in between, at the start, and for somebody who deletes one, at once. An IPAddress that somebody made by hand keeps its address from
Services. Names and labels are upstream's (`pkg/registry/core/service/ipallocator`, KEP-1880).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from tiphys.api.resource import Object, Resource
from tiphys.apiserver.cache import DELETED, Event
from tiphys.machinery import errors, meta
from tiphys.machinery.addresses import parse_address, parse_network

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

GROUP = "networking.k8s.io"
MANAGED_BY = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
FAMILY = "ipaddress.kubernetes.io/ip-family"
Key = tuple[str, str]
"""Namespace and name of a Service."""


class IPAddresses:
    """Reads the watch cache; writes as the server itself."""

    def __init__(self, server: APIServer, default_network: IPv4Network) -> None:
        self._server = server
        self._default = default_network
        self._removing: set[str] = set()
        self._stop: Callable[[], None] | None = None

    def start(self) -> None:
        """From now on what others delete is made again, if a Service has the address."""
        self._stop = self._server.writes.cache(GROUP, "ipaddresses").watch(_Losses(self))

    def close(self) -> None:
        if self._stop is not None:
            self._stop()

    def lost(self, address: str) -> None:
        if address not in self._removing:
            self._server.spawn(self.repair())

    def networks(self) -> list[IPv4Network]:
        """Where addresses may come from: the server's own network first, then every ServiceCIDR that is ready."""
        found = [self._default]
        page, _ = self._server.writes.cache(GROUP, "servicecidrs").page()
        for record in page:
            cidr = record.object
            if meta.is_deleting(cidr) or not meta.is_condition_true(meta.conditions(cidr), "Ready"):
                continue
            networks = map(parse_network, (cidr.get("spec") or {}).get("cidrs") or ())
            found += [each for each in networks if isinstance(each, IPv4Network) and each not in found]
        return found

    def taken(self, but: Key) -> set[int]:
        """Addresses with an IPAddress object, except those of one Service."""
        page, _ = self._server.writes.cache(GROUP, "ipaddresses").page()
        parsed = ((parse_address(record.name), _parent(record.object)) for record in page)
        return {
            int(address) for address, parent in parsed if isinstance(address, IPv4Address) and parent != but
        }

    async def follow(self, before: Object | None, after: Object | None) -> None:
        """A Service was written: `before` is how it was, `after` how it is."""
        old, new = set(_cluster_ips(before)), set(_cluster_ips(after))
        for address in sorted(new - old):
            assert after is not None
            await self._create(address, _key(after))
        for address in sorted(old - new):
            assert before is not None
            await self._delete(address, _key(before))

    async def repair(self) -> None:
        """Makes what is missing, and removes what no Service has any more of what was made here."""
        page, _ = self._server.writes.cache("", "services").page()
        wanted = {address: _key(record.object) for record in page for address in _cluster_ips(record.object)}
        found, _ = self._server.writes.cache(GROUP, "ipaddresses").page()
        for record in found:
            is_ours = MANAGED_BY.items() <= record.labels.items()
            if is_ours and wanted.get(record.name) != _parent(record.object):
                await self._delete(record.name, _parent(record.object))
        for address, service in wanted.items():
            if self._server.writes.cache(GROUP, "ipaddresses").get("", address) is None:
                await self._create(address, service)

    @property
    def _row(self) -> Resource:
        row = self._server.scheme.by_resource(GROUP, "v1", "ipaddresses")
        assert row is not None
        return row

    async def _create(self, address: str, service: Key) -> None:
        row, (namespace, name) = self._row, service
        labels = {FAMILY: "IPv6" if ":" in address else "IPv4", **MANAGED_BY}
        parent = {"group": "", "resource": "services", "namespace": namespace, "name": name}
        obj: Object = {
            "kind": row.kind,
            "apiVersion": row.api_version,
            "metadata": {"name": address, "labels": labels},
            "spec": {"parentRef": parent},
        }
        try:
            await self._server.writes.create(self._server.internal_call(row, "", ""), obj)
        except errors.StatusError as error:
            if not errors.is_already_exists(error):
                raise

    async def _delete(self, address: str, service: Key) -> None:
        """Unless it belongs to another Service by now."""
        from tiphys.apiserver.registry.deletion import DeleteOptions

        row = self._row
        record = self._server.writes.cache_of(row).get("", address)
        if record is None or _parent(record.object) != service:
            return
        call = self._server.internal_call(row, "", address)
        self._removing.add(address)
        try:
            await self._server.writes.delete(call, record, DeleteOptions(uid=meta.uid(record.object)))
        except errors.StatusError as error:
            if not (errors.is_not_found(error) or errors.is_conflict(error)):
                raise
        finally:
            self._removing.discard(address)


class _Losses:
    """Tells of every IPAddress that is deleted."""

    namespace = ""

    def __init__(self, addresses: IPAddresses) -> None:
        self._addresses = addresses

    def deliver(self, event: Event) -> None:
        if event.type == DELETED:
            self._addresses.lost(event.record.name)


def _key(service: Object) -> Key:
    return meta.namespace(service), meta.name(service)


def _parent(address: Object) -> Key:
    parent = (address.get("spec") or {}).get("parentRef") or {}
    return parent.get("namespace") or "", parent.get("name") or ""


def _cluster_ips(service: Object | None) -> Iterable[str]:
    spec = (service or {}).get("spec") or {}
    if spec.get("type") == "ExternalName":
        return ()
    return [address for address in spec.get("clusterIPs") or () if address != "None"]
