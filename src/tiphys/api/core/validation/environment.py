"""Environment variables of containers and the objects that they are taken from; downward API references."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, quantity, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_KNOWN_FIELDS = frozenset(
    {*_ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
_SUBSCRIPTED = ("metadata.annotations", "metadata.labels")
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("limits.hugepages-", "requests.hugepages-")
_BYTES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def variables(env: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, variable in enumerate(env):
        name, source = variable.get("name"), variable.get("valueFrom")
        if name and source is None and not names.env_var_name(name):
            continue  # by far the most frequent
        here = path.index(position)
        errors += required_name(names.env_var_name, name, here.child("name"))
        if source is not None:
            errors += _value_from(source, variable.get("value"), here.child("valueFrom"))
    return errors


def _value_from(source: Object, value: str | None, path: Path) -> Errors:
    errors: Errors = []
    found = [kind for kind in _SOURCES if source.get(kind) is not None]
    for kind in found:
        errors += _source(kind, source[kind], path.child(kind))
    if not found:
        detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.append(FieldError.invalid(path, "", detail))
    elif value:
        errors.append(FieldError.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(found) > 1:
        errors.append(FieldError.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _source(kind: str, reference: Object, path: Path) -> Errors:
    match kind:
        case "fieldRef":
            return field_reference(reference, _ENV_FIELDS, path)
        case "resourceFieldRef":
            return resource_field_reference(reference, path, in_volume=False)
        case "fileKeyRef":
            missing = [field for field in ("volumeName", "path", "key") if not reference.get(field)]
            return [FieldError.required(path.child(field)) for field in missing]
    errors = by_rule(names.dns1123_subdomain, reference.get("name", ""), path.child("name"))
    return errors + required_name(names.config_map_key, reference.get("key"), path.child("key"))


def sources(env_from: Iterable[Object], path: Path) -> Errors:
    """`envFrom`: all entries of a ConfigMap or a Secret."""
    errors: Errors = []
    for position, source in enumerate(env_from):
        here = path.index(position)
        if source.get("prefix"):
            errors += by_rule(names.env_var_name, source["prefix"], here.child("prefix"))
        found = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in found:
            errors += required_name(
                names.dns1123_subdomain, source[kind].get("name"), here.child(kind, "name")
            )
        # The place is the whole list: upstream's, kept.
        if not found:
            errors.append(FieldError.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(found) > 1:
            detail = "may not have more than one field specified at a time"
            errors.append(FieldError.invalid(path, "", detail))
    return errors


def field_reference(reference: Object, allowed: tuple[str, ...], path: Path) -> Errors:
    """A `fieldRef`: a field of the pod, with a key for labels and annotations (`metadata.labels['app']`)."""
    version, label = reference.get("apiVersion"), reference.get("fieldPath")
    if not version:
        return [FieldError.required(path.child("apiVersion"))]
    if not label:
        return [FieldError.required(path.child("fieldPath"))]
    field, key = _split_subscript(label)
    fault = _unknown_field(version, label, field, key)
    if fault:
        return [FieldError.invalid(path.child("fieldPath"), label, f"error converting fieldPath: {fault}")]
    if key is not None:
        return by_rule(names.qualified_name, key.lower() if field == _SUBSCRIPTED[0] else key, path)
    field = "spec.nodeName" if field == "spec.host" else field
    return [] if field in allowed else [FieldError.not_supported(path.child("fieldPath"), field, allowed)]


def _split_subscript(label: str) -> tuple[str, str | None]:
    field, opened, rest = label.partition("['")
    return (field, rest[:-2]) if opened and field and rest.endswith("']") else (label, None)


def _unknown_field(version: str, label: str, field: str, key: str | None) -> str:
    if version != "v1":
        return f"unsupported pod version: {version}"
    if key is not None:
        return "" if field in _SUBSCRIPTED else f"field label does not support subscript: {label}"
    return "" if field in _KNOWN_FIELDS or field == "spec.host" else f"field label not supported: {label}"


def resource_field_reference(reference: Object, path: Path, *, in_volume: bool) -> Errors:
    """A `resourceFieldRef`: a request or limit of a container, in units of `divisor`."""
    resource = reference.get("resource") or ""
    errors: Errors = []
    if in_volume and not reference.get("containerName"):
        errors.append(FieldError.required(path.child("containerName")))
    elif not resource:
        errors.append(FieldError.required(path.child("resource")))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        errors.append(FieldError.not_supported(path.child("resource"), resource, _RESOURCES))
    return errors + _divisor(resource, reference.get("divisor"), path)


def _divisor(resource: str, divisor: str | None, path: Path) -> Errors:
    unit = quantity(divisor)
    if not unit:
        return []
    _, _, name = resource.partition(".")
    allowed: tuple[str, ...] = ("1m", "1") if name == "cpu" else _BYTES
    known = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": "local ephemeral storage"}
    noun = "hugepages" if resource.startswith(_HUGE_PAGES) else known.get(name)
    if noun is None or str(unit) in allowed:
        return []
    listed = "1m and 1" if name == "cpu" else ", ".join(_BYTES)
    detail = f"only divisor's values {listed} are supported with the {noun} resource"
    return [FieldError.invalid(path.child("divisor"), resource, detail)]
