"""/scale: the same three numbers for everything that has replicas (autoscaling/v1 Scale)."""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.resource import Object, Resource
from tiphys.api.types import schema_named
from tiphys.apiserver.bodies import check_fields, read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.patching import MERGE_PATCH, read_patch
from tiphys.apiserver.records import Record
from tiphys.apiserver.responses import json_response
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupKind, GroupVersionKind
from tiphys.machinery.selectors import label_selector_from_dict
from tiphys.net.http import Response

SCALE = GroupVersionKind("autoscaling", "v1", "Scale")
_TYPE = "autoscaling/v1.Scale"
__all__ = ["MERGE_PATCH", "scale"]


async def scale(call: Call) -> Response:
    writes = call.server.writes
    if call.info.verb == "get":
        record = writes.find(call.row, call.info.namespace, call.info.name)
        return _show(call.row, writes.decode(call.row, record))
    if call.info.verb == "update":
        wanted = read_object(call, SCALE, schema_named(_TYPE))
        record = await _write(call, lambda current: wanted)
    else:
        patch = read_patch(call)
        record = await _write(call, lambda current: _checked(call, patch(current)))
    return _show(call.row, writes.decode(call.row, record))


def _checked(call: Call, obj: Object) -> Object:
    return check_fields(call, obj, SCALE, schema_named(_TYPE))


async def _write(call: Call, want: Any) -> Record:
    row = call.row

    def change(old: Object) -> Object:
        new = want(_scale_of(row, old))
        replicas = (new.get("spec") or {}).get("replicas", 0)
        if replicas < 0:
            path = errors.Path("spec").child("replicas")
            found = errors.FieldError.invalid(path, replicas, "must be greater than or equal to 0")
            raise errors.invalid(GroupKind("autoscaling", "Scale"), call.info.name, [found])
        changed: Object = orjson.loads(orjson.dumps(old))
        version = (new.get("metadata") or {}).get("resourceVersion")
        if version:
            changed["metadata"]["resourceVersion"] = version
        else:
            changed["metadata"].pop("resourceVersion", None)
        _put(changed, _paths(row).spec_replicas, replicas)
        return changed

    record, _ = await call.server.writes.update(call, change)
    return record


def _paths(row: Resource) -> Any:
    if row.scale is None:
        raise errors.not_found(row.group_resource, "scale")
    return row.scale


def _show(row: Resource, obj: Object) -> Response:
    return json_response(_scale_of(row, obj))


def _scale_of(row: Resource, obj: Object) -> Object:
    paths = _paths(row)
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = _get(obj, paths.spec_replicas)
    status: Object = {"replicas": _get(obj, paths.status_replicas) or 0}
    selector = _selector_text(_get(obj, paths.selector))
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _selector_text(selector: Any) -> str:
    if not selector:
        return ""
    if isinstance(selector, str):
        return selector
    if "matchLabels" in selector or "matchExpressions" in selector:
        return str(label_selector_from_dict(selector))
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def _get(obj: Object, path: str) -> Any:
    value: Any = obj
    for name in path.strip(".").split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _put(obj: Object, path: str, value: Any) -> None:
    *parents, last = path.strip(".").split(".")
    for name in parents:
        obj = obj.setdefault(name, {})
    obj[last] = value
