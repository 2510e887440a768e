"""Controllers as pure functions: what is in the caches, and what they plan.

A story names the controller and the key, and gives the objects; pods may be written short (see `_pod`). What comes out is the
plan: creations, changes (only what differs), deletions, statuses and events, in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tiphys.api.scheme import built_in
from tiphys.client.cache import Cache, View
from tiphys.controllers import catalog
from tiphys.controllers.actions import Action, Create, Note, Plan, RecordEvent, Update, UpdateStatus
from tiphys.machinery import meta
from tiphys.machinery.gvk import parse_api_version
from tiphys.testing.golden import check_story, stories

FOLDER = Path(__file__).parent / "stories"
SCHEME = built_in()
NOW = "2026-01-01T00:00:00Z"
Object = dict[str, Any]


@pytest.mark.parametrize("path", stories(FOLDER), ids=lambda path: str(path.relative_to(FOLDER)))
def test_story(path: Path, *, update_golden: bool) -> None:
    check_story(path, tell, update=update_golden)


def tell(story: Object) -> Object:
    objects = {_key(obj): obj for obj in _objects(story["given"])}
    view = _view(objects.values())
    controller = catalog.make(story["controller"], catalog.Options(**story.get("options", {})))
    now = meta.parse_time(story.get("now", NOW))
    obj = view.cache(controller.kind).get(story["key"])
    assert obj is not None, f"{story['key']} is not among the given objects"
    return describe(controller.plan(obj, controller.observe(obj, view), now), objects)


# What goes in


def _objects(given: Iterable[Object]) -> Iterable[Object]:
    for number, entry in enumerate(given, 1):
        obj = _pod(entry["pod"]) if "pod" in entry else dict(entry)
        obj["metadata"] = {"uid": f"uid-{number}", "resourceVersion": str(number), **obj["metadata"]}
        yield obj


def _pod(short: Object) -> Object:
    """`pod: {name: a, owner: web/uid-1, labels: {…}, ready: true, node: n1, …}`; a Running pod unless said otherwise."""
    metadata = {"name": short["name"], "namespace": "default", "labels": short.get("labels", {})}
    for field in ("creationTimestamp", "deletionTimestamp", "annotations", "finalizers", "uid"):
        if field in short:
            metadata[field] = short[field]
    if "owner" in short:
        name, uid = short["owner"].split("/")
        kind = short.get("ownerKind", "ReplicaSet")
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid}
        metadata["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    status: Object = {"phase": short.get("phase", "Running")}
    if short.get("ready"):
        since = short["ready"] if isinstance(short["ready"], str) else "2025-12-31T00:00:00Z"
        status["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": since}]
    if "restarts" in short:
        status["containerStatuses"] = [{"name": "main", "restartCount": short["restarts"]}]
    if "ips" in short:
        status |= {"podIP": short["ips"][0], "podIPs": [{"ip": ip} for ip in short["ips"]]}
    spec = ({"nodeName": short["node"]} if "node" in short else {}) | short.get("spec", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def _view(objects: Iterable[Object]) -> View:
    caches = {row.gvr: Cache(row) for row in SCHEME}
    for obj in objects:
        gvk = parse_api_version(obj["apiVersion"]).with_kind(obj["kind"])
        row = SCHEME.by_kind(gvk)
        assert row is not None
        caches[row.gvr].apply("ADDED", obj)
    return View(caches)


def _key(obj: Object) -> str:
    return f"{obj['kind']} {meta.namespaced_name(obj)}"


# What comes out


def describe(plan: Plan, objects: dict[str, Object]) -> Object:
    told: Object = {}
    if plan.reason:
        told["reason"] = plan.reason
    if plan.requeue_after_seconds is not None:
        told["requeue_after_seconds"] = plan.requeue_after_seconds
    told["actions"] = _fold([_action(action, objects) for action in plan.actions])
    return told


def _fold(actions: list[Object]) -> list[Object]:
    """The same action several times over is told once."""
    folded: list[Object] = []
    for action in actions:
        times = folded[-1].get("times", 1) if folded else 0
        if folded and {**folded[-1], "times": 1} == {**action, "times": 1}:
            folded[-1]["times"] = times + 1
        else:
            folded.append(action)
    return folded


def _action(action: Action, objects: dict[str, Object]) -> Object:
    match action:
        case RecordEvent(type, reason, message):
            return {"event": f"{type} {reason}: {message}"}
        case Create(resource, obj):
            told: Object = {"create": resource.plural, "object": obj}
        case UpdateStatus(resource, obj):
            return {"status": f"{resource.plural} {meta.namespaced_name(obj)}", "is": obj["status"]}
        case Update(resource, obj):
            old = objects[_key(obj)]
            where = f"{resource.plural}{'/' if action.subresource else ''}{action.subresource}"
            told = {"update": f"{where} {meta.namespaced_name(obj)}", "changes": difference(old, obj)}
        case _:
            verb = type_name(action)
            told = {verb: f"{action.resource.plural} {_where(action)}"}
            if verb == "patch":
                return {**told, "with": action.patch}
            for field in ("uid", "subresource", "body", "propagation", "grace_period_seconds"):
                if getattr(action, field, None) not in (None, ""):
                    told[field] = getattr(action, field)
    for moment in ("done", "failed"):
        note: Note | None = getattr(action, moment, None)
        if note is not None:
            told[moment] = f"{note.type} {note.reason}: {note.message}"
    return told


def type_name(action: Action) -> str:
    return {"Delete": "delete", "Patch": "patch", "DeleteCollection": "delete all"}.get(
        type(action).__name__, "post"
    )


def _where(action: Any) -> str:
    name = getattr(action, "name", "*")
    return f"{action.namespace}/{name}" if action.namespace else name


def difference(old: Any, new: Any) -> Any:
    """A merge patch from one to the other."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    changed = {name: difference(old.get(name), new[name]) for name in new if old.get(name) != new[name]}
    return {**changed, **{name: None for name in old if name not in new}}
