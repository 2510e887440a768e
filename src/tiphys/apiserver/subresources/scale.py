"""/scale: the same three numbers for everything that has replicas (autoscaling/v1 Scale)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson

from tiphys.api.columns import AGE, NAME, age
from tiphys.api.resource import Column, Object, Resource, Table
from tiphys.api.types import schema_named
from tiphys.apiserver.admission.attributes import UPDATE
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.patch_results import Form
from tiphys.apiserver.patching import read_patch
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.registry.metadata import check_name
from tiphys.apiserver.registry.owners import field_path, manager_of
from tiphys.machinery import errors
from tiphys.machinery.apply import Target, update
from tiphys.machinery.apply.scale import ReplicasPaths, parent_entries, scale_entries
from tiphys.machinery.gvk import GroupKind, GroupVersionKind
from tiphys.machinery.quoting import quote
from tiphys.machinery.selectors import label_selector_from_dict
from tiphys.net.http import Response

SCALE = GroupVersionKind("autoscaling", "v1", "Scale")
_SCHEMA = schema_named("autoscaling/v1.Scale")
_FORM = Form(
    SCALE,
    _SCHEMA,
    Target(api_version=SCALE.api_version, kind=SCALE.kind, shape=_SCHEMA.shape, subresource="scale"),
)


def _cells(obj: Object, now: datetime) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        obj["metadata"].get("name", ""),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        age(obj, now),
    ]


ROW = Resource(
    group=SCALE.group,
    version=SCALE.version,
    kind=SCALE.kind,
    plural="scales",
    namespaced=True,
    type="autoscaling/v1.Scale",
    table=Table(
        (
            Column("Name", description=NAME.description),
            Column("Desired", type="integer", description="Number of replicas that there should be."),
            Column("Available", type="integer", description="Number of replicas that there are."),
            AGE,
        ),
        _cells,
    ),
)
"""How a Scale is shown."""


async def scale(call: Call) -> Response:
    writes = call.server.writes
    if call.info.verb == "get":
        return _show(call, await writes.read(call.row, call.info.namespace, call.info.name))
    if call.info.verb == "update":
        wanted = read_object(call, SCALE, _SCHEMA)
        record = await _write(call, lambda current: wanted, applies=False)
    else:
        patch = read_patch(call, _FORM)
        record = await _write(call, patch.change, applies=patch.applies)
    return _show(call, writes.decode(call.row, record))


async def _write(call: Call, want: Callable[[Object], Object], *, applies: bool) -> Record:
    row, info, server = call.row, call.info, call.server
    paths = _replicas_paths(call)

    wanted: list[Object] = []

    def shown(old: Object) -> Object:
        scale = _scale_of(row, old)
        scale["metadata"]["managedFields"] = scale_entries(old["metadata"].get("managedFields"), paths)
        return scale

    async def review(old: Object) -> None:
        """Admission sees the Scale, and may change it."""
        new = want(shown(old))
        check_name(new, row, info.name, info.namespace)
        new = {**new, "metadata": dict(new["metadata"])}
        if not applies:
            new["metadata"]["managedFields"] = update(
                _FORM.target, shown(old), new, manager_of(call), server.clock.now()
            )
        await server.writes.review(call, UPDATE, new, kind=SCALE, old=shown(old))
        wanted[:] = [new]

    def change(old: Object) -> Object:
        (new,) = wanted
        entries, owners = old["metadata"].get("managedFields"), new["metadata"].get("managedFields")
        changed = _scaled(call, old, new)
        changed["metadata"]["managedFields"] = parent_entries(entries, owners, paths, row.api_version)
        return changed

    record, _ = await server.writes.update(call, change, owned=True, review=review)
    return record


def _scaled(call: Call, old: Object, scale: Object) -> Object:
    """The object after its replicas have become what the scale says. Raises 422."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        path = errors.Path("spec").child("replicas")
        found = errors.FieldError.invalid(path, replicas, "must be greater than or equal to 0")
        raise errors.invalid(GroupKind("autoscaling", "Scale"), call.info.name, [found])
    changed: Object = orjson.loads(orjson.dumps(old))
    for name in ("uid", "resourceVersion"):
        if scale["metadata"].get(name):
            changed["metadata"][name] = scale["metadata"][name]
        else:
            changed["metadata"].pop(name, None)
    _put(changed, _paths(call.row).spec_replicas, replicas)
    return changed


def _replicas_paths(call: Call) -> ReplicasPaths:
    """Where each version of the kind keeps its replicas."""
    row = call.row
    return {
        each.api_version: field_path(each.scale.spec_replicas.strip(".")) if each.scale is not None else None
        for each in call.server.scheme.versions(row.group, row.plural)
    }


def _paths(row: Resource) -> Any:
    if row.scale is None:
        raise errors.not_found(row.group_resource, "scale")
    return row.scale


def _show(call: Call, obj: Object) -> Response:
    """As the client wants to see a Scale, which is stored nowhere."""
    shown, revision = _scale_of(call.row, obj), int(obj["metadata"]["resourceVersion"])
    record = Record("", "", call.info.name, revision, with_version(encode_stored(shown), revision))
    view = call.server.reads.view(call, ROW)
    return Response(200, [("content-type", view.content_type)], view.one(record))


def _scale_of(row: Resource, obj: Object) -> Object:
    paths = _paths(row)
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = _get(obj, paths.spec_replicas)
    if replicas is None and row.reading is not None:
        raise errors.internal_error(f"the spec replicas field {quote(paths.spec_replicas)} does not exist")
    status: Object = {"replicas": _get(obj, paths.status_replicas) or 0}
    selector = _selector_text(_get(obj, paths.selector)) if paths.selector else ""
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
