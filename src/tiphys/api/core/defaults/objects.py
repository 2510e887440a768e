"""Defaults of the core kinds that need only a few: namespaces, nodes, secrets, events, limits, replication controllers."""

from __future__ import annotations

from base64 import b64encode

from tiphys.api.core.defaults.pods import pod_template
from tiphys.api.resource import Object

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)


def namespace(obj: Object) -> None:
    metadata = obj.setdefault("metadata", {})
    name = metadata.get("name")
    if name:  # a generated name is not known yet: `prepare` sets the label then
        labels = metadata.get("labels")
        if labels is None:
            labels = metadata["labels"] = {}
        labels[NAMESPACE_LABEL] = name
    obj.setdefault("spec", {})
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Active"


def node(obj: Object) -> None:
    _pod_ranges(obj.setdefault("spec", {}))
    status = obj.setdefault("status", {})
    if status.get("allocatable") is None and status.get("capacity") is not None:
        status["allocatable"] = dict(status["capacity"])
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
    info = status.setdefault("nodeInfo", {})
    for field in _NODE_INFO:
        info.setdefault(field, "")


def _pod_ranges(spec: Object) -> None:
    """`podCIDR` is the first of `podCIDRs`; where they differ, the old field wins."""
    first, ranges = spec.get("podCIDR"), spec.get("podCIDRs")
    if first and (not ranges or ranges[0] != first):
        spec["podCIDRs"] = [first]
    elif ranges and not first:
        spec["podCIDR"] = ranges[0]


def secret(obj: Object) -> None:
    """`stringData` is written over `data` (base64) and is never kept: upstream does it while it decodes."""
    if not obj.get("type"):
        obj["type"] = "Opaque"
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: b64encode(text.encode()).decode() for key, text in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def event(obj: Object) -> None:
    obj.setdefault("involvedObject", {})
    obj.setdefault("source", {})
    for field in ("reportingComponent", "reportingInstance"):
        obj.setdefault(field, "")


def resource_quota(obj: Object) -> None:
    obj.setdefault("spec", {})
    obj.setdefault("status", {})


def limit_range(obj: Object) -> None:
    for item in obj.setdefault("spec", {}).get("limits") or ():
        if item.get("type") == "Container":
            _container_limits(item)


def _container_limits(item: Object) -> None:
    """The default limit is the maximum; the default request is the default limit, else the minimum."""
    maximum, minimum = item.get("max") or {}, item.get("min") or {}
    default = {**maximum, **(item.get("default") or {})}
    request = {**minimum, **default, **(item.get("defaultRequest") or {})}
    if default:
        item["default"] = default
    if request:
        item["defaultRequest"] = request


def replication_controller(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    template = spec.get("template")
    if template is not None:
        _labels_from_template(obj, spec, template)
        pod_template(template)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _labels_from_template(obj: Object, spec: Object, template: Object) -> None:
    labels = (template.get("metadata") or {}).get("labels")
    if not labels:
        return
    if not spec.get("selector"):
        spec["selector"] = dict(labels)
    metadata = obj.setdefault("metadata", {})
    if not metadata.get("labels"):
        metadata["labels"] = dict(labels)
