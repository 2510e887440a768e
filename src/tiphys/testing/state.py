"""The whole state of a test cluster, taken and put back; and namespaces erased.

A snapshot is every key of the store. Putting it back is one group of writes, of what differs and nothing else: revisions go on
rising, watches see the changes like any others, and a client that holds an object of the time between meets a conflict. The road
not taken is to put the store's content back behind everybody's back and to end all watches with 410, as restoring etcd does:
every component, ours and the test's, would have to begin anew, while so a level-triggered one simply follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tiphys.apiserver.cache import resource_prefix
from tiphys.store.interface import Conflict, Store

HEARTBEATS = f"{resource_prefix('coordination.k8s.io', 'leases')}kube-node-lease/"
"""Signs of life are of now: an old one must not make a node look dead."""
NAMESPACES = resource_prefix("", "namespaces")

Snapshot = dict[str, bytes]


def take(store: Store) -> Snapshot:
    return {
        entry.key: entry.value for entry in store.list("").entries if not entry.key.startswith(HEARTBEATS)
    }


async def put_back(store: Store, snapshot: Snapshot) -> int:
    """How many objects had to be written."""
    now = take(store)
    changes: dict[str, bytes | None] = {key: None for key in now if key not in snapshot}
    changes |= {key: value for key, value in snapshot.items() if now.get(key) != value}
    await _write(store, changes.items())
    return len(changes)


async def erase_namespace(store: Store, namespace: str) -> int:
    """Everything in a namespace and the namespace itself, whatever finalizers say; how many objects that were."""
    keys = [entry.key for entry in store.list("").entries if is_in_namespace(entry.key, namespace)]
    await _write(store, [(key, None) for key in keys])
    return len(keys)


def is_in_namespace(key: str, namespace: str) -> bool:
    if key == NAMESPACES + namespace:
        return True
    parts = key.split("/")  # "", "registry", group, plural, namespace, name
    return len(parts) == 6 and parts[4] == namespace


async def _write(store: Store, changes: Iterable[tuple[str, bytes | None]]) -> None:
    """All in one turn of the loop: nobody sees a half."""
    results = await asyncio.gather(
        *(store.write(key, value) for key, value in changes), return_exceptions=True
    )
    for result in results:
        # Somebody deleted it in the meantime: it is gone, as it should be.
        if isinstance(result, BaseException) and not isinstance(result, Conflict):
            raise result
