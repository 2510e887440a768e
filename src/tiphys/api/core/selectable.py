"""Fields of core objects that field selectors may name, beyond name and namespace; as upstream offers them."""

from __future__ import annotations

from tiphys.api.resource import FieldGetter, Object


def field_of(*path: str) -> FieldGetter:
    """The text at a path; "" where nothing is; booleans as true and false."""

    def get(obj: Object) -> str:
        value: object = obj
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return _text(value)

    return get


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _flag(*path: str) -> FieldGetter:
    """A boolean that is false where it is not set."""
    get = field_of(*path)
    return lambda obj: get(obj) or "false"


def _count(*path: str) -> FieldGetter:
    get = field_of(*path)
    return lambda obj: get(obj) or "0"


def _pod_ip(pod: Object) -> str:
    addresses = (pod.get("status") or {}).get("podIPs") or ()
    return str(addresses[0].get("ip", "")) if addresses else ""


def _event_source(event: Object) -> str:
    return (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""


POD: dict[str, FieldGetter] = {
    "spec.nodeName": field_of("spec", "nodeName"),
    "spec.restartPolicy": field_of("spec", "restartPolicy"),
    "spec.schedulerName": field_of("spec", "schedulerName"),
    "spec.serviceAccountName": field_of("spec", "serviceAccountName"),
    "spec.hostNetwork": _flag("spec", "hostNetwork"),
    "status.phase": field_of("status", "phase"),
    "status.podIP": _pod_ip,
    "status.nominatedNodeName": field_of("status", "nominatedNodeName"),
}
NODE: dict[str, FieldGetter] = {"spec.unschedulable": _flag("spec", "unschedulable")}
NAMESPACE: dict[str, FieldGetter] = {"status.phase": field_of("status", "phase")}
SECRET: dict[str, FieldGetter] = {"type": field_of("type")}
SERVICE: dict[str, FieldGetter] = {
    "spec.clusterIP": field_of("spec", "clusterIP"),
    "spec.type": field_of("spec", "type"),
}
REPLICAS: dict[str, FieldGetter] = {"status.replicas": _count("status", "replicas")}
"""Of ReplicaSets too."""
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
EVENT: dict[str, FieldGetter] = {
    **{f"involvedObject.{field}": field_of("involvedObject", field) for field in _INVOLVED},
    "reason": field_of("reason"),
    "reportingComponent": field_of("reportingComponent"),
    "source": _event_source,
    "type": field_of("type"),
}
