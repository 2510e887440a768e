"""A cluster for tests that are coroutines: what takes its time is awaited in a thread, and the test's own event loop goes on.

    async with Cluster() as cluster:
        async with cluster.namespace() as namespace:
            await cluster.wait_for("deployment/web", "Available", namespace=namespace.name)

What is over at once (`cluster.sync.user(...)`, `.faults.add(...)`, `.requests()`) is called as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.testing.conditions import Object, Test
from tiphys.testing.namespace import Namespace
from tiphys.testing.scope import MERGE_PATCH, WAIT_SECONDS, Manifest, Reference

if TYPE_CHECKING:
    from tiphys.testing.cluster import Cluster, Snapshot


class AsyncCluster:
    """`sync` is the Cluster itself. The methods are its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.sync = cluster

    @property
    def server(self) -> str:
        return self.sync.server

    @property
    def kubeconfig(self) -> Path:
        return self.sync.kubeconfig

    def kubeconfig_dict(self, *, namespace: str = "default") -> dict[str, Any]:
        return self.sync.kubeconfig_dict(namespace=namespace)

    @asynccontextmanager
    async def namespace(self, prefix: str = "test") -> AsyncIterator[Namespace]:
        made = await asyncio.to_thread(
            Namespace.make, self.sync.link, self.sync.directory, prefix, self.sync.kubeconfig_dict
        )
        try:
            yield made
        finally:
            await asyncio.to_thread(made.remove)

    async def get(self, reference: Reference, *, namespace: str = "") -> Object | None:
        return await asyncio.to_thread(self.sync.get, reference, namespace=namespace)

    async def list(self, kind: str, *, namespace: str = "", selector: str = "") -> Sequence[Object]:
        return await asyncio.to_thread(self.sync.list, kind, namespace=namespace, selector=selector)

    async def load(self, manifest: Manifest, *, namespace: str = "") -> Sequence[Object]:
        return await asyncio.to_thread(self.sync.load, manifest, namespace=namespace)

    async def patch(
        self,
        reference: Reference,
        patch: Any,
        *,
        namespace: str = "",
        content_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Object:
        return await asyncio.to_thread(
            self.sync.patch,
            reference,
            patch,
            namespace=namespace,
            content_type=content_type,
            subresource=subresource,
        )

    async def delete(
        self, reference: Reference, *, namespace: str = "", grace_period_seconds: int | None = None
    ) -> bool:
        return await asyncio.to_thread(
            self.sync.delete, reference, namespace=namespace, grace_period_seconds=grace_period_seconds
        )

    async def wait_for(
        self,
        reference: Reference,
        condition: str | Test = "Ready",
        timeout_seconds: float = WAIT_SECONDS,
        *,
        namespace: str = "",
    ) -> Object:
        return await asyncio.to_thread(
            self.sync.wait_for, reference, condition, timeout_seconds, namespace=namespace
        )

    async def wait_gone(
        self, reference: Reference, timeout_seconds: float = WAIT_SECONDS, *, namespace: str = ""
    ) -> None:
        await asyncio.to_thread(self.sync.wait_gone, reference, timeout_seconds, namespace=namespace)

    async def wait_for_all(
        self,
        kind: str,
        condition: Test,
        timeout_seconds: float = WAIT_SECONDS,
        *,
        namespace: str = "",
        selector: str = "",
    ) -> Sequence[Object]:
        return await asyncio.to_thread(
            self.sync.wait_for_all, kind, condition, timeout_seconds, namespace=namespace, selector=selector
        )

    async def advance(self, by: float | timedelta) -> None:
        await asyncio.to_thread(self.sync.clock.advance, by)

    async def snapshot(self) -> Snapshot:
        return await asyncio.to_thread(self.sync.snapshot)

    async def restore(self, snapshot: Snapshot) -> int:
        return await asyncio.to_thread(self.sync.restore, snapshot)
