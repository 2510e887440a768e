"""pods/binding: the scheduler's one word, that a pod shall run on a node."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.types import schema_named
from tiphys.apiserver.admission.attributes import CREATE
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.responses import statement
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource, GroupVersionKind
from tiphys.machinery.meta import generation, set_condition
from tiphys.net.http import Response

_BINDING = GroupVersionKind("", "v1", "Binding")
_PODS_BINDING = GroupResource("", "pods/binding")
_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def bind_pod(call: Call) -> Response:
    return await _bind(call, read_object(call, _BINDING, schema_named("core/v1.Binding")))


async def create_binding(call: Call) -> Response:
    """The old way: POST to /bindings with the pod's name in the metadata."""
    binding = read_object(call, _BINDING, schema_named("core/v1.Binding"))
    call.info.name = (binding.get("metadata") or {}).get("name", "")
    row = call.server.scheme.by_resource("", "v1", "pods")
    assert row is not None
    call.row, call.subresource = row, row.subresource("binding")
    call.info.resource, call.info.subresource = "pods", "binding"
    return await _bind(call, binding)


async def _bind(call: Call, binding: Object) -> Response:
    # A binding leaves the owners as they are: upstream writes it past the field manager.
    await call.server.writes.review(call, CREATE, binding, kind=_BINDING)
    target = binding.get("target") or {}
    node, name = target.get("name") or "", call.info.name
    if target.get("kind") not in (None, "", "Node"):
        path = errors.Path("target").child("kind")
        found = errors.FieldError.not_supported(path, target["kind"], ("Node", "<empty>"))
        raise errors.invalid(_BINDING.group_kind, name, [found])
    if not node:
        path = errors.Path("target").child("name")
        raise errors.invalid(_BINDING.group_kind, name, [errors.FieldError.required(path)])
    uid = (binding.get("metadata") or {}).get("uid")

    def change(pod: Object) -> Object:
        return _assign(call, pod, node, uid, binding.get("metadata") or {})

    await call.server.writes.update(call, change, owned=True, reviewed=True)
    return statement(call, _SUCCESS, 201)


def _assign(call: Call, pod: Object, node: str, uid: str | None, given: Object) -> Object:
    name, spec = call.info.name, pod["spec"]
    if uid and uid != pod["metadata"]["uid"]:
        cause = (
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod['metadata']['uid']}"
        )
        raise errors.conflict(_PODS_BINDING, name, cause)
    if pod["metadata"].get("deletionTimestamp"):
        raise errors.conflict(
            _PODS_BINDING, name, f"pod {name} is being deleted, cannot be assigned to a host"
        )
    if spec.get("nodeName"):
        raise errors.conflict(
            _PODS_BINDING, name, f'pod {name} is already assigned to node "{spec["nodeName"]}"'
        )
    if spec.get("schedulingGates"):
        raise errors.conflict(_PODS_BINDING, name, f"pod {name} has non-empty .spec.schedulingGates")
    metadata = {key: value for key, value in pod["metadata"].items() if key != "resourceVersion"}
    for field in ("annotations", "labels"):
        if given.get(field):
            metadata[field] = {**(metadata.get(field) or {}), **given[field]}
    status = dict(pod.get("status") or {})
    conditions = status.get("conditions")
    status["conditions"] = set_condition(
        conditions, "PodScheduled", "True", call.server.clock.now(), observedGeneration=generation(pod)
    )
    return {**pod, "metadata": metadata, "spec": {**spec, "nodeName": node}, "status": status}
