"""LimitRanger: containers get the namespace's default resources, and nothing asks for less or more than its LimitRanges allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tiphys.api.core.pod_resources import pod_limits, pod_requests
from tiphys.api.core.quotas.amounts import Amounts, read
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.machinery import meta
from tiphys.machinery.quantity import NANO, Quantity

ANNOTATION = "kubernetes.io/limit-ranger"
_CONTAINERS = (("container", "containers"), ("init container", "initContainers"))
_KINDS = (("request", "requests"), ("limit", "limits"))


class LimitRanger:
    name = "LimitRanger"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        if kind == "admit":
            return _concerns_pod(attributes)
        return _concerns_pod(attributes) or _concerns_claim(attributes)

    def admit(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        for limit_range in _limit_ranges(attributes):
            set_defaults(attributes.object, limit_range)

    def validate(self, attributes: Attributes) -> None:
        obj = attributes.object
        check = pod_faults if attributes.row.plural == "pods" else claim_faults
        assert obj is not None
        for limit_range in _limit_ranges(attributes):
            faults = list(dict.fromkeys(check(obj, limit_range)))
            if faults:
                raise attributes.forbidden(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")


def _concerns_pod(attributes: Attributes) -> bool:
    """What containers ask for is said at the creation, and changed by `/resize` only."""
    if attributes.operation == CREATE:
        return attributes.is_for("", "pods")
    return attributes.operation == UPDATE and attributes.is_for("", "pods", "resize")


def _concerns_claim(attributes: Attributes) -> bool:
    return attributes.operation in (CREATE, UPDATE) and attributes.is_for("", "persistentvolumeclaims")


def _limit_ranges(attributes: Attributes) -> list[Object]:
    if attributes.old is not None and meta.is_deleting(attributes.old):
        return []
    records, _ = attributes.objects.cache("", "limitranges").page(attributes.namespace)
    return [record.object for record in records]


def _items(limit_range: Object, type: str) -> Iterator[Object]:
    return (item for item in limit_range["spec"].get("limits") or () if item.get("type") == type)


# Defaults


def set_defaults(pod: Object, limit_range: Object) -> None:
    """Gives every container what it does not say itself; an annotation tells of it."""
    defaults: dict[str, dict[str, str]] = {"requests": {}, "limits": {}}
    for item in _items(limit_range, "Container"):
        defaults["requests"] |= item.get("defaultRequest") or {}
        defaults["limits"] |= item.get("default") or {}
    told = [
        text
        for called, field in _CONTAINERS
        for container in pod["spec"].get(field) or ()
        for text in _set_container_defaults(container, defaults, called)
    ]
    if told:
        annotations = pod["metadata"].get("annotations") or {}
        text = f"LimitRanger plugin set: {'; '.join(told)}"
        pod["metadata"]["annotations"] = {**annotations, ANNOTATION: text}


def _set_container_defaults(
    container: Object, defaults: Mapping[str, dict[str, str]], called: str
) -> Iterator[str]:
    resources = dict(container.get("resources") or {})
    for kind, field in _KINDS:
        given = resources.get(field) or {}
        missing = {name: text for name, text in defaults[field].items() if name not in given}
        if missing:
            resources[field] = {**given, **missing}
            yield f"{', '.join(sorted(missing))} {kind} for {called} {container.get('name', '')}"
    container["resources"] = resources


# Bounds


def pod_faults(pod: Object, limit_range: Object) -> Iterator[str]:
    spec = pod["spec"]
    for item in limit_range["spec"].get("limits") or ():
        if item.get("type") == "Container":
            for _, field in _CONTAINERS:
                for container in spec.get(field) or ():
                    resources = container.get("resources") or {}
                    yield from _faults(item, read(resources.get("requests")), read(resources.get("limits")))
        elif item.get("type") == "Pod":
            # Overhead is not the pod's own wish.
            yield from _faults(item, pod_requests(spec, overhead=False), pod_limits(spec, overhead=False))


def claim_faults(claim: Object, limit_range: Object) -> Iterator[str]:
    """Of a claim only the request counts."""
    requests = read((claim["spec"].get("resources") or {}).get("requests"))
    for item in _items(limit_range, "PersistentVolumeClaim"):
        for name, least in read(item.get("min")).items():
            yield from _too_little(
                f"minimum {name} usage per {item['type']} is {least}", least, requests.get(name), None
            )
        for name, most in read(item.get("max")).items():
            rule = f"maximum {name} usage per {item['type']} is {most}"
            if name not in requests:
                yield f"{rule}.  No request is specified"
            elif requests[name] > most:
                yield f"{rule}, but request is {requests[name]}"


def _faults(item: Object, requests: Amounts, limits: Amounts) -> Iterator[str]:
    type: Any = item["type"]
    for name, least in read(item.get("min")).items():
        rule = f"minimum {name} usage per {type} is {least}"
        yield from _too_little(rule, least, requests.get(name), limits.get(name))
    for name, most in read(item.get("max")).items():
        rule = f"maximum {name} usage per {type} is {most}"
        yield from _too_much(rule, most, requests.get(name), limits.get(name))
    for name, ratio in read(item.get("maxLimitRequestRatio")).items():
        rule = f"{name} max limit to request ratio per {type} is {ratio}"
        yield from _too_far(rule, ratio, requests.get(name), limits.get(name))


def _too_little(
    rule: str, least: Quantity, request: Quantity | None, limit: Quantity | None
) -> Iterable[str]:
    if request is None:
        return (f"{rule}.  No request is specified",)
    if request < least:
        return (f"{rule}, but request is {request}",)
    return (f"{rule}, but limit is {limit}",) if limit is not None and limit < least else ()


def _too_much(rule: str, most: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterable[str]:
    if limit is None:
        return (f"{rule}.  No limit is specified",)
    if limit > most:
        return (f"{rule}, but limit is {limit}",)
    return (f"{rule}, but request is {request}",) if request is not None and request > most else ()


def _too_far(rule: str, ratio: Quantity, request: Quantity | None, limit: Quantity | None) -> Iterable[str]:
    if not request:
        return (f"{rule}, but no request is specified or request is 0",)
    if not limit:
        return (f"{rule}, but no limit is specified or limit is 0",)
    if limit.nanos * NANO > request.nanos * ratio.nanos:
        return (f"{rule}, but provided ratio is {limit.nanos / request.nanos:f}",)
    return ()
