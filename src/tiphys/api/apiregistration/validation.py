"""What is wrong with an API service (kube-aggregator `pkg/apis/apiregistration/validation`)."""

from __future__ import annotations

from base64 import b64decode

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import name as name_of
from tiphys.machinery.quoting import quote

_SPEC = Path("spec")
_GROUP_PRIORITY_LIMIT = 20000
_VERSION_PRIORITY_LIMIT = 1000


def api_service(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    group, version = spec.get("group") or "", spec.get("version") or ""
    errors: Errors = []
    required = f"{version}.{group}"
    if name_of(new) != required:
        detail = f'must be `spec.version+"."+spec.group`: {quote(required)}'
        errors.append(FieldError.invalid(Path("metadata", "name"), name_of(new), detail))
    if not group:
        if version != "v1":
            detail = "only v1 may have an empty group and it better be legacy kube"
            errors.append(FieldError.required(_SPEC.child("group"), detail))
    else:
        errors += by_rule(names.dns1123_subdomain, group, _SPEC.child("group"))
    errors += by_rule(names.dns1035_label, version, _SPEC.child("version"))
    errors += _priority(spec, "groupPriorityMinimum", _GROUP_PRIORITY_LIMIT)
    errors += _priority(spec, "versionPriority", _VERSION_PRIORITY_LIMIT)
    insecure, bundle = spec.get("insecureSkipTLSVerify"), spec.get("caBundle") or ""
    if spec.get("service") is None:
        return errors + _local(bundle, insecure=bool(insecure))
    if insecure and bundle:
        here = _SPEC.child("insecureSkipTLSVerify")
        errors.append(FieldError.invalid(here, True, "may not be true if caBundle is present"))
    return errors + _service(spec["service"])


def _priority(spec: Object, field: str, limit: int) -> Errors:
    value = spec.get(field) or 0
    if 0 < value <= limit:
        return []
    return [FieldError.invalid(_SPEC.child(field), value, f"must be positive and less than {limit}")]


def _local(bundle: str, *, insecure: bool) -> Errors:
    errors: Errors = []
    if bundle:
        shown = f"{len(b64decode(bundle))} bytes"
        detail = "local APIServices may not have a caBundle"
        errors.append(FieldError.invalid(_SPEC.child("caBundle"), shown, detail))
    if insecure:
        detail = "local APIServices may not have insecureSkipTLSVerify"
        errors.append(FieldError.invalid(_SPEC.child("insecureSkipTLSVerify"), True, detail))
    return errors


def _service(service: Object) -> Errors:
    here = _SPEC.child("service")
    errors = [
        FieldError.required(here.child(field)) for field in ("namespace", "name") if not service.get(field)
    ]
    port = service.get("port")
    if port is not None and names.port_number(port):
        detail = f"port is not valid: {names.port_number(port)[0]}"
        errors.append(FieldError.invalid(here.child("port"), port, detail))
    return errors
