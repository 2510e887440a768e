"""The Lease in kube-system by which an API server says that it is there (KEP-1965), and the end of those whose servers are gone.

Renewed every ten seconds, good for an hour; every hour the leases that are over, or say no end, are deleted. Started by whoever runs an API
server that others may look for (`cluster/control_plane.py`), ended by the API server.
"""

from __future__ import annotations

import logging
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tiphys.apiserver.call import Call
from tiphys.apiserver.records import Record
from tiphys.apiserver.registry.deletion import DeleteOptions
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError, is_conflict, is_not_found
from tiphys.store.interface import StoreError

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

Object = dict[str, Any]
NAMESPACE = "kube-system"
LABEL, KUBE_APISERVER = "apiserver.kubernetes.io/identity", "kube-apiserver"
RENEW_SECONDS, LEASE_SECONDS, COLLECTION_SECONDS = 10.0, 3600, 3600.0
_JITTER = 0.04
_GROUP, _PLURAL = "coordination.k8s.io", "leases"


class IdentityLease:
    def __init__(self, server: APIServer, host: str) -> None:
        self._server = server
        self._host = host
        self._holder = f"{server.settings.identity}_{uuid4()}"

    async def run(self) -> None:
        collect_at = self._server.clock.monotonic()
        while True:
            try:
                await self._renew()
                if self._server.clock.monotonic() >= collect_at:
                    await self._collect()
                    collect_at = self._server.clock.monotonic() + COLLECTION_SECONDS
            except (StatusError, StoreError) as error:
                log.warning("cannot renew the lease %s: %s", self._server.settings.identity, error)
            await self._server.clock.sleep(RENEW_SECONDS * (1 + _JITTER * random.random()))

    async def _renew(self) -> None:
        name = self._server.settings.identity
        try:
            await self._server.writes.update(self._call(name), self._ours)
        except StatusError as error:
            if is_conflict(error):
                return  # somebody else has written it just now: next time
            if not is_not_found(error):
                raise
            made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            metadata = {"name": name, "namespace": NAMESPACE}
            await self._server.writes.create(self._call(""), self._ours({**made, "metadata": metadata}))

    def _ours(self, old: Object) -> Object:
        metadata = old["metadata"]
        labels = {
            **(metadata.get("labels") or {}),
            LABEL: KUBE_APISERVER,
            "kubernetes.io/hostname": self._host,
        }
        spec = {
            **(old.get("spec") or {}),
            "holderIdentity": self._holder,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": meta.format_micro_time(self._server.clock.now()),
        }
        return {**old, "metadata": {**metadata, "labels": labels}, "spec": spec}

    async def _collect(self) -> None:
        now = self._server.clock.now()
        records, _ = self._server.writes.cache(_GROUP, _PLURAL).page(NAMESPACE)
        for record in records:
            is_servers = meta.labels(record.object).get(LABEL) == KUBE_APISERVER
            if is_servers and is_over(record.object.get("spec") or {}, now):
                log.info("the API server of the lease %s is gone", record.name)
                await self._delete(record)

    async def _delete(self, record: Record) -> None:
        """As long as it is as we saw it: its server may have come back."""
        options = DeleteOptions(resource_version=str(record.revision))
        try:
            await self._server.writes.delete(self._call(record.name), record, options)
        except StatusError as error:
            if not is_not_found(error) and not is_conflict(error):
                raise

    def _call(self, name: str) -> Call:
        row = self._server.scheme.by_resource(_GROUP, "v1", _PLURAL)
        assert row is not None
        return self._server.internal_call(row, NAMESPACE, name)


def is_over(spec: Object, now: datetime) -> bool:
    """Whoever says nothing of his time has none."""
    renewed, seconds = spec.get("renewTime"), spec.get("leaseDurationSeconds")
    if not renewed or seconds is None:
        return True
    return now - datetime.fromisoformat(renewed) > timedelta(seconds=seconds)
