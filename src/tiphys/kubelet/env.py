"""The environment of a container: services, envFrom, env; in this order, later ones win. Pure.

What must be looked up is named by `needs` first; `environment` then gets the objects. Messages are upstream's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from tiphys.kubelet.downward import Surroundings, UnknownField, field_value, resource_value
from tiphys.kubelet.env_files import BadEnvFile, value_of
from tiphys.kubelet.expansion import expand
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

Kind = Literal["configmap", "secret"]
Found = Mapping[tuple[Kind, str], Object | None]
_SOURCES: tuple[tuple[str, Kind], ...] = (("configMapRef", "configmap"), ("secretRef", "secret"))
_KEYS: tuple[tuple[str, Kind, str], ...] = (
    ("configMapKeyRef", "configmap", "ConfigMap"),
    ("secretKeyRef", "secret", "Secret"),
)


class BadEnvironment(Exception):
    """The environment cannot be made; the message is fit for the container's status."""


@frozen
class EnvironmentInput:
    pod: Object
    container: Object
    objects: Found
    """Every (kind, name) that `needs` asked for; None: there is none."""
    files: Mapping[tuple[str, str], str | None]
    """Every (volume, path) that `file_needs` asked for; None: it could not be read."""
    services: Mapping[str, str]
    around: Surroundings


def needs(container: Object) -> Iterator[tuple[Kind, str]]:
    """ConfigMaps and Secrets of the pod's namespace that the environment is made of."""
    for kind, reference in references(container):
        yield kind, reference.get("name", "")


def references(container: Object) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    """As `needs`, with what is said of each: its key, and whether it may be missing."""
    for source in container.get("envFrom") or ():
        for field, kind in _SOURCES:
            if field in source:
                yield kind, source[field]
    for entry in container.get("env") or ():
        for field, kind, _ in _KEYS:
            reference = (entry.get("valueFrom") or {}).get(field)
            if reference:
                yield kind, reference


def file_needs(container: Object) -> Iterator[tuple[str, str]]:
    """Files that the environment is made of: volume and path."""
    for entry in container.get("env") or ():
        reference = (entry.get("valueFrom") or {}).get("fileKeyRef")
        if reference:
            yield reference["volumeName"], reference["path"]


def environment(given: EnvironmentInput) -> dict[str, str]:
    """Names and values in the order in which they are set. Raises BadEnvironment."""
    found: dict[str, str] = {}
    for source in given.container.get("envFrom") or ():
        found |= _all_of(source, given.objects)
    known = {**given.services, **found}
    for entry in given.container.get("env") or ():
        value = _value(entry, given, known)
        if value is not None:
            # Set again: it comes last, where expansions of later entries see it too.
            found.pop(entry["name"], None)
            found[entry["name"]] = known[entry["name"]] = value
    return {**found, **{name: value for name, value in given.services.items() if name not in found}}


def _all_of(source: Object, objects: Found) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for field, kind in _SOURCES:
        if field not in source:
            continue
        reference = source[field]
        obj = objects.get((kind, reference.get("name", "")))
        if obj is None:
            if reference.get("optional"):
                return {}
            raise BadEnvironment(_not_found(kind, reference))
        return {f"{prefix}{key}": value for key, value in _texts(obj).items()}
    return {}


def _texts(obj: Object) -> dict[str, str]:
    """Binary data of a ConfigMap are no variables."""
    if obj.get("kind") == "Secret":
        return {key: _text(value) for key, value in content(obj).items()}
    return dict(obj.get("data") or {})


def content(obj: Object) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds, by key."""
    if obj.get("kind") == "Secret":
        return {key: base64.b64decode(value or "") for key, value in (obj.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return {**{key: value.encode() for key, value in (obj.get("data") or {}).items()}, **binary}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _value(entry: Mapping[str, Any], given: EnvironmentInput, known: Mapping[str, str]) -> str | None:
    """None: it is optional and not there."""
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", known)
    try:
        if "fieldRef" in source:
            return field_value(given.pod, source["fieldRef"]["fieldPath"], given.around)
        if "resourceFieldRef" in source:
            return resource_value(given.pod, given.container, source["resourceFieldRef"], given.around)
    except UnknownField as error:
        raise BadEnvironment(str(error)) from None
    if "fileKeyRef" in source:
        return _from_file(source["fileKeyRef"], given)
    return _referenced(source, given)


def _from_file(reference: Mapping[str, Any], given: EnvironmentInput) -> str | None:
    """A value that is empty is one that is not there (upstream's)."""
    volume, path, key = reference["volumeName"], reference["path"], reference["key"]
    if all(each["name"] != volume for each in given.pod["spec"].get("volumes") or ()):
        raise BadEnvironment(f"cannot find the volume {quote(volume)} referenced by FileKeyRef")
    text = given.files.get((volume, path))
    try:
        value = value_of(text, key) if text is not None else None
    except BadEnvFile:
        value = None
    if value is None:
        # No more than that: the file may be somebody's secret.
        raise BadEnvironment("couldn't parse env file")
    if value:
        return value
    if reference.get("optional"):
        return None
    raise BadEnvironment(f"environment variable key {quote(key)} not found in file {quote(path)}")


def _referenced(source: Mapping[str, Any], given: EnvironmentInput) -> str | None:
    for field, kind, kind_name in _KEYS:
        reference = source.get(field)
        if reference is None:
            continue
        name, is_optional = reference.get("name", ""), reference.get("optional", False)
        obj = given.objects.get((kind, name))
        if obj is not None and reference["key"] in (values := _texts(obj)):
            return values[reference["key"]]
        if is_optional:
            return None
        if obj is None:
            raise BadEnvironment(_not_found(kind, reference))
        raise BadEnvironment(_no_key(given.pod, kind_name, reference))
    return None


def problem(pod: Object, kind: Kind, reference: Mapping[str, Any], obj: Object | None) -> str:
    """Why the environment cannot be made with this object for one of its references; empty when it can."""
    if reference.get("optional"):
        return ""
    if obj is None:
        return _not_found(kind, reference)
    if "key" in reference and reference["key"] not in _texts(obj):
        return _no_key(pod, next(name for _, each, name in _KEYS if each == kind), reference)
    return ""


def _not_found(kind: Kind, reference: Mapping[str, Any]) -> str:
    return f'{kind} "{reference.get("name", "")}" not found'


def _no_key(pod: Object, kind_name: str, reference: Mapping[str, Any]) -> str:
    where = f"{kind_name} {meta.namespace(pod)}/{reference.get('name', '')}"
    return f"couldn't find key {reference['key']} in {where}"


def service_variables(
    pod: Object, services: Iterable[Object], master_namespace: str = "default"
) -> dict[str, str]:
    """The variables of the services of the pod's namespace (unless it wants none), and always those of the API server."""
    chosen: dict[str, Object] = {}
    wants_all = pod["spec"].get("enableServiceLinks", True)
    for service in services:
        name = meta.name(service)
        is_master = meta.namespace(service) == master_namespace and name == "kubernetes"
        is_neighbour = wants_all and meta.namespace(service) == meta.namespace(pod)
        has_address = service["spec"].get("clusterIP") not in (None, "", "None")
        if has_address and (is_neighbour or (is_master and name not in chosen)):
            chosen[name] = service
    found: dict[str, str] = {}
    for name in sorted(chosen):
        found |= _variables_of(chosen[name])
    return found


def _variables_of(service: Object) -> dict[str, str]:
    name = meta.name(service).upper().replace("-", "_")
    ip, ports = service["spec"]["clusterIP"], service["spec"].get("ports") or ()
    if not ports:
        return {}
    first = ports[0]
    found = {f"{name}_SERVICE_HOST": ip, f"{name}_SERVICE_PORT": str(first["port"])}
    for port in ports:
        if port.get("name"):
            found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = (port.get("protocol") or "TCP").lower()
        url = f"{protocol}://{ip}:{port['port']}"
        if index == 0:
            found[f"{name}_PORT"] = url
        prefix = f"{name}_PORT_{port['port']}_{protocol.upper()}"
        found |= {
            prefix: url,
            f"{prefix}_PROTO": protocol,
            f"{prefix}_PORT": str(port["port"]),
            f"{prefix}_ADDR": ip,
        }
    return found
