"""What one decision costs where there are many roles: the authorizer alone, with what it asks already in memory."""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import Any

import orjson

from bench.cluster import Ours
from bench.table import Figure, Row
from tiphys.apiserver.authorization.rbac import GROUP, RBAC
from tiphys.apiserver.cache import WatchCache, resource_prefix
from tiphys.apiserver.call import User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery.clock import SystemClock
from tiphys.store.memory import MemoryStore

ROLES, BINDINGS, USERS = 1_000, 5_000, 50
ROUNDS = 20_000


def decision(ours: Ours) -> Figure:
    """Microseconds of a warm decision; refusals look at all that a user has."""
    del ours
    return asyncio.run(_decision())


async def _decision() -> Figure:
    store = MemoryStore()
    cache = WatchCache(store, SystemClock())
    await asyncio.gather(*(store.write(key, orjson.dumps(obj)) for key, obj in _objects()))
    rbac = RBAC(lambda group, plural: cache.resource(resource_prefix(group, plural)))
    questions = [_question(number) for number in range(2 * USERS)]
    for user, info in questions:
        rbac.authorize(user, info)
    allowed = 0
    begun = perf_counter_ns()
    for number in range(ROUNDS):
        user, info = questions[number % len(questions)]
        allowed += rbac.authorize(user, info).allowed
    microseconds = (perf_counter_ns() - begun) / ROUNDS / 1000
    cache.close()
    await store.close()
    return Figure(microseconds, f"{allowed * 100 // ROUNDS} % allowed")


def _objects() -> list[tuple[str, Any]]:
    """Roles in ten namespaces, each bound to five users."""
    found = []
    for number in range(ROLES):
        namespace, name = f"namespace-{number % 10}", f"role-{number}"
        rule = {"apiGroups": [""], "resources": [f"kind-{number}"], "verbs": ["get", "list", "watch"]}
        role = {"metadata": {"name": name, "namespace": namespace, "uid": name}, "rules": [rule]}
        found.append((f"{resource_prefix(GROUP, 'roles')}{namespace}/{name}", role))
    for number in range(BINDINGS):
        role_number = number % ROLES
        namespace, name = f"namespace-{role_number % 10}", f"binding-{number}"
        binding = {
            "metadata": {"name": name, "namespace": namespace, "uid": name},
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": f"role-{role_number}"},
            "subjects": [{"kind": "User", "name": f"user-{number // 7 % USERS}"}],
        }
        found.append((f"{resource_prefix(GROUP, 'rolebindings')}{namespace}/{name}", binding))
    return found


def _question(number: int) -> tuple[User, RequestInfo]:
    """Every other one is about something that nobody may."""
    user = User(f"user-{number // 2 % USERS}", ("system:authenticated",))
    role_number = number // 2 % USERS * 7
    kind = f"kind-{role_number}" if number % 2 else "nothing"
    namespace = f"namespace-{role_number % 10}"
    return user, RequestInfo("", "get", True, "", "v1", namespace, kind, "", "x")


ROWS = [
    Row(f"RBAC decision, {ROLES} roles, {BINDINGS} bindings", "µs", decision, 20.0),
]
