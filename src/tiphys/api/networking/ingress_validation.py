"""What is wrong with ingresses and their classes (`pkg/apis/networking/validation`)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    by_rule,
    dns_subdomain,
    domain_prefixed_path,
    immutable,
    port_number,
    required_name,
)
from tiphys.machinery import addresses, names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_SPEC = Path("spec")
_NOT_AN_ADDRESS = "must be a DNS name, not an IP address"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_NEVER_INSIDE = ("//", "/./", "/../", "%2f", "%2F")
_NEVER_LAST = ("/..", "/.")
_CONTROLLER_LIMIT = 250
_SCOPES = ("Cluster", "Namespace")


def ingress(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors: Errors = []
    annotation = annotations_of(new).get(CLASS_ANNOTATION)
    if old is None and annotation is not None and spec.get("ingressClassName") is not None:
        here = Path("annotations").child(CLASS_ANNOTATION)
        errors.append(FieldError.invalid(here, annotation, "can not be set when the class field is also set"))
    rules, backend = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and backend is None:
        detail = "either `defaultBackend` or `rules` must be specified"
        errors.append(FieldError.invalid(_SPEC, rules, detail))
    for position, rule in enumerate(rules):
        errors += _rule(rule, _SPEC.child("rules").index(position))
    if backend is not None:
        errors += _backend(backend, _SPEC.child("defaultBackend"))
    for position, tls in enumerate(spec.get("tls") or ()):
        errors += _tls(tls, _SPEC.child("tls").index(position))
    if spec.get("ingressClassName") is not None:
        errors += dns_subdomain(spec["ingressClassName"], _SPEC.child("ingressClassName"))
    return errors


def _host(host: str, path: Path) -> Errors:
    rule = names.wildcard_dns1123_subdomain if "*" in host else names.dns1123_subdomain
    return by_rule(rule, host, path)


def _rule(rule: Object, path: Path) -> Errors:
    errors: Errors = []
    host = rule.get("host") or ""
    if host:
        if addresses.parse_address(host) is not None:
            errors.append(FieldError.invalid(path.child("host"), host, _NOT_AN_ADDRESS))
        errors += _host(host, path.child("host"))
    http = rule.get("http")
    if http is None:
        return errors
    paths, here = http.get("paths") or [], path.child("http", "paths")
    if not paths:
        errors.append(FieldError.required(here))
    for position, each in enumerate(paths):
        errors += _path(each, here.index(position))
    return errors


def _path(each: Object, path: Path) -> Errors:
    kind, text = each.get("pathType"), each.get("path") or ""
    if not kind:
        return [FieldError.required(path.child("pathType"), "pathType must be specified")]
    here = path.child("path")
    errors: Errors = []
    if kind not in _PATH_TYPES:
        errors.append(FieldError.not_supported(path.child("pathType"), kind, _PATH_TYPES))
    elif not text.startswith("/") and (text or kind != "ImplementationSpecific"):
        errors.append(FieldError.invalid(here, text, "must be an absolute path"))
    if kind in ("Exact", "Prefix"):
        errors += [
            FieldError.invalid(here, text, f"must not contain '{part}'")
            for part in _NEVER_INSIDE
            if part in text
        ]
        errors += [
            FieldError.invalid(here, text, f"cannot end with '{part}'")
            for part in _NEVER_LAST
            if text.endswith(part)
        ]
    return errors + _backend(each.get("backend") or {}, path.child("backend"))


def _backend(backend: Object, path: Path) -> Errors:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        return [FieldError.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _local_reference(resource, path.child("resource"))
    if service is None:
        return [FieldError.invalid(path, "", "resource or service backend is required")]
    here = path.child("service")
    errors = required_name(names.dns1035_label, service.get("name"), here.child("name"))
    port = service.get("port") or {}
    label, number = port.get("name"), port.get("number")
    if label and number:
        errors.append(FieldError.invalid(path, "", "cannot set both port name & port number"))
    elif label:
        errors += by_rule(names.port_name, label, here.child("port", "name"))
    elif number:
        errors += port_number(number, here.child("port", "number"))
    else:
        errors.append(FieldError.required(path, "port name or number is required"))
    return errors


def _local_reference(reference: Object, path: Path) -> Errors:
    """To an object of the same namespace, of any kind."""
    errors: Errors = []
    if reference.get("apiGroup") is not None:
        errors += dns_subdomain(reference["apiGroup"], path.child("apiGroup"))
    for field in ("kind", "name"):
        errors += required_name(names.path_segment_name, reference.get(field), path.child(field))
    return errors


def _tls(tls: Object, path: Path) -> Errors:
    errors: Errors = []
    for position, host in enumerate(tls.get("hosts") or ()):
        errors += _host(host, path.child("hosts").index(position))
    if tls.get("secretName"):
        errors += dns_subdomain(tls["secretName"], path.child("secretName"))
    return errors


def ingress_status(new: Object, old: Object | None) -> Errors:
    balancer = (new.get("status") or {}).get("loadBalancer") or {}
    errors: Errors = []
    for position, point in enumerate(balancer.get("ingress") or ()):
        here = Path("status", "loadBalancer", "ingress").index(position)
        if point.get("ip"):
            errors += by_rule(addresses.ip, point["ip"], here.child("ip"))
        if point.get("hostname"):
            name, place = point["hostname"], here.child("hostname")
            errors += dns_subdomain(name, place)
            if addresses.parse_address(name) is not None:
                errors.append(FieldError.invalid(place, name, _NOT_AN_ADDRESS))
    return errors


# Classes


def ingress_class(new: Object, old: Object | None) -> Errors:
    spec, here = new.get("spec") or {}, _SPEC.child("controller")
    controller = spec.get("controller") or ""
    if old is not None:
        errors = immutable(controller, (old.get("spec") or {}).get("controller") or "", here)
    else:
        errors = domain_prefixed_path(controller, here)
        if len(controller) > _CONTROLLER_LIMIT:
            errors.append(FieldError.too_long(here, _CONTROLLER_LIMIT))
    parameters = spec.get("parameters")
    return errors if parameters is None else errors + _parameters(parameters, _SPEC.child("parameters"))


def _parameters(reference: Object, path: Path) -> Errors:
    errors = _local_reference(reference, path)
    scope, namespace = reference.get("scope"), reference.get("namespace")
    here = path.child("namespace")
    if scope is None:
        errors.append(FieldError.required(path.child("scope")))
    elif scope not in _SCOPES:
        errors.append(FieldError.not_supported(path.child("scope"), scope, _SCOPES))
    elif scope == "Namespace" and namespace is None:
        errors.append(FieldError.required(here, "`parameters.scope` is set to 'Namespace'"))
    elif scope == "Cluster" and namespace is not None:
        errors.append(FieldError.forbidden(here, "`parameters.scope` is set to 'Cluster'"))
    if namespace is not None and scope == "Namespace":
        errors += by_rule(names.dns1123_label, namespace, here)
    return errors
