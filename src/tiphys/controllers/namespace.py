"""Namespace deletion: everything in a namespace goes before the namespace does.

Pods first, alone (KEP-5080: what they still use, such as network policies, must outlive them), then all other namespaced kinds that
the server knows, custom resources included. What remains, and why, stands in the namespace's conditions. When nothing is left
the finalizer `kubernetes` is taken away, and with it the namespace. Words are upstream's `pkg/controller/namespace/deletion`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme, built_in
from tiphys.client.cache import View
from tiphys.client.client import Client
from tiphys.client.discovery import DiscoveryFailed, preferred_resources
from tiphys.client.parts import EXISTENCE
from tiphys.client.resources import NAMESPACES, PODS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NOTHING,
    Action,
    Delete,
    DeleteCollection,
    Plan,
    Update,
    UpdateStatus,
)
from tiphys.controllers.executor import Failure
from tiphys.controllers.pods import spec_of, status_of
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen

FINALIZER = "kubernetes"
LOOK_AGAIN_SECONDS = 1.0
DISCOVERY, PARSING, CONTENT, REMAINING, FINALIZERS = (
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
)
GOOD = {
    DISCOVERY: ("ResourcesDiscovered", "All resources successfully discovered"),
    PARSING: ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    CONTENT: ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    REMAINING: ("ContentRemoved", "All content successfully removed"),
    FINALIZERS: ("ContentRemoved", "All content successfully removed"),
}
Trouble = Mapping[str, tuple[str, str]]
"""Condition → (reason, message) of what is not as it should be."""


@frozen
class Content:
    """What is in the namespace, by kind; `failures` are kinds or groups that could not be asked."""

    objects: tuple[tuple[Resource, Sequence[Object]], ...] = ()
    discovery_failure: str = ""
    failures: tuple[str, ...] = ()


def observe(namespace: Object, view: View) -> Content:
    return Content()


def _is_dying(namespace: Object) -> bool:
    return meta.is_deleting(namespace) and FINALIZER in (spec_of(namespace).get("finalizers") or ())


async def gather(namespace: Object, observed: Content, client: Client) -> Content:
    """Pods while there are any; then all kinds."""
    if not _is_dying(namespace):
        return observed
    name = meta.name(namespace)
    pods = await client.list(PODS, name)
    if pods.items:
        return Content(((PODS, pods.items),))
    discovery_failure = ""
    try:
        resources = await preferred_resources(client, _scheme())
    except DiscoveryFailed as error:
        resources, discovery_failure = error.found, str(error)
    rows = [row for row in resources if row.namespaced and {"list", "delete"} <= set(row.verbs)]
    answers = await asyncio.gather(*(client.list(row, name) for row in rows), return_exceptions=True)
    objects: list[tuple[Resource, Sequence[Object]]] = []
    failures: list[str] = []
    for row, answer in zip(rows, answers, strict=True):
        if isinstance(answer, StatusError | OSError):
            failures.append(f"{row.plural}: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
        elif answer.items:
            objects.append((row, answer.items))
    return Content(tuple(objects), discovery_failure, tuple(sorted(failures)))


@cache
def _scheme() -> Scheme:
    return built_in()


def plan(namespace: Object, observed: Content, now: datetime) -> Plan:
    if not _is_dying(namespace):
        return NOTHING
    trouble = what_is_left(observed)
    if not trouble:
        left = [finalizer for finalizer in spec_of(namespace)["finalizers"] if finalizer != FINALIZER]
        done = {**namespace, "spec": {**spec_of(namespace), "finalizers": left}}
        return Plan((Update(NAMESPACES, done, subresource="finalize"),), reason="nothing is left")
    trying = any(_living(objects) for _, objects in observed.objects)
    status = _status(namespace, trouble, now, trying=trying)
    report = (
        [UpdateStatus(NAMESPACES, {**namespace, "status": status})] if status != status_of(namespace) else []
    )
    delete = [action for row, objects in observed.objects for action in _delete(row, namespace, objects)]
    # The report comes first: a deletion that fails must not keep it back.
    return Plan((*report, *delete), LOOK_AGAIN_SECONDS, "deleting its content")


def _delete(row: Resource, namespace: Object, objects: Sequence[Object]) -> Iterable[Action]:
    """What is not dying yet."""
    living = _living(objects)
    if living and "deletecollection" in row.verbs:
        return [DeleteCollection(row, meta.name(namespace))]
    return [Delete(row, meta.name(obj), meta.namespace(obj), uid=meta.uid(obj)) for obj in living]


def _living(objects: Sequence[Object]) -> list[Object]:
    return [obj for obj in objects if not meta.is_deleting(obj)]


def what_is_left(content: Content) -> Trouble:
    trouble: dict[str, tuple[str, str]] = {}
    if content.discovery_failure:
        trouble[DISCOVERY] = ("DiscoveryFailed", content.discovery_failure)
    if content.failures:
        count, texts = len(content.failures), ", ".join(content.failures)
        trouble[CONTENT] = (
            "ContentDeletionFailed",
            f"Failed to delete all resource types, {count} remaining: {texts}",
        )
    if content.objects:
        kinds = sorted(
            f"{row.plural}.{row.group} has {len(objects)} resource instances"
            for row, objects in content.objects
        )
        trouble[REMAINING] = ("SomeResourcesRemain", f"Some resources are remaining: {', '.join(kinds)}")
    finalizers = Counter(
        finalizer for _, objects in content.objects for obj in objects for finalizer in meta.finalizers(obj)
    )
    if finalizers:
        counted = sorted(
            f"{finalizer} in {count} resource instances" for finalizer, count in finalizers.items()
        )
        trouble[FINALIZERS] = ("SomeFinalizerRemain", f"Some finalizers are remaining: {', '.join(counted)}")
    return trouble


def _status(namespace: Object, trouble: Trouble, now: datetime, *, trying: bool) -> dict[str, Any]:
    """`trying`: deletions are about to be tried; a failure of the last time stands until that is over."""
    conditions = meta.conditions(namespace)
    for type, good in GOOD.items():
        if type == CONTENT and trying and type not in trouble and meta.is_condition_true(conditions, type):
            continue
        reason, message = trouble.get(type, good)
        truth = "True" if type in trouble else "False"
        conditions = meta.set_condition(conditions, type, truth, now, reason=reason, message=message)
    return {**status_of(namespace), "phase": "Terminating", "conditions": conditions}


def failed(namespace: Object, observed: Content, failure: Failure, now: datetime) -> Plan:
    """A kind whose objects could not be deleted stands in the condition."""
    if not isinstance(failure.action, Delete | DeleteCollection):
        return NOTHING
    message = f"{failure.action.resource.plural}: {failure.error}"
    trouble = what_is_left(
        Content(observed.objects, observed.discovery_failure, (*observed.failures, message))
    )
    status = _status(namespace, trouble, now, trying=False)
    if status == status_of(namespace):
        return NOTHING
    # Unconditional: the report of the same look has changed the version already.
    metadata = {name: value for name, value in namespace["metadata"].items() if name != "resourceVersion"}
    return Plan((UpdateStatus(NAMESPACES, {**namespace, "metadata": metadata, "status": status}),))


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    namespace = view.get(NAMESPACES, meta.namespace(pod))
    return (meta.namespace(pod),) if namespace is not None and meta.is_deleting(namespace) else ()


CONTROLLER = Controller(
    name="namespace-controller",
    kind=NAMESPACES,
    observe=observe,
    gather=gather,
    plan=plan,
    failed=failed,
    watches=[Watch(PODS, keys_of_pod, parts=EXISTENCE)],
)
