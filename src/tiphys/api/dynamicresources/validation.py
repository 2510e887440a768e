"""What is wrong with resource claims, classes and slices (`pkg/apis/resource/validation`), in the shapes of v1."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api.core.validation.scheduling import node_selector
from tiphys.api.dynamicresources import conversion
from tiphys.api.resource import Conversion, Object, Validate
from tiphys.api.validation import Errors, by_rule, dns_subdomain, immutable, in_range, one_of, required_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_SPEC = Path("spec")
_REQUESTS_LIMIT = 32
_ALTERNATIVES_LIMIT = 8
_RESERVED_FOR_LIMIT = 256
_DEVICES_LIMIT = 128
_ALLOCATION_MODES = ("All", "ExactCount")
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_POOL_NAME_LIMIT = 253


def resource_claim(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    return _claim_spec(spec, _SPEC)


def resource_claim_template(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    return _claim_spec(spec.get("spec") or {}, _SPEC.child("spec"))


def _claim_spec(spec: Object, path: Path) -> Errors:
    requests, here = (spec.get("devices") or {}).get("requests") or [], path.child("devices", "requests")
    errors: Errors = []
    if len(requests) > _REQUESTS_LIMIT:
        errors.append(FieldError.too_many(here, len(requests), _REQUESTS_LIMIT))
    seen: set[str] = set()
    for position, request in enumerate(requests):
        place, name = here.index(position), request.get("name") or ""
        errors += _request_name(name, place.child("name"))
        if name in seen:
            errors.append(FieldError.duplicate(place.child("name"), name))
        seen.add(name)
        errors += _request(request, place)
    return errors


def _request_name(name: str, path: Path) -> Errors:
    return required_name(names.dns1123_label, name, path)


def _request(request: Object, path: Path) -> Errors:
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or []
    if exactly is None and not alternatives:
        return [FieldError.required(path, "exactly one of `exactly` or `firstAvailable` is required")]
    if exactly is not None and alternatives:
        detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        return [FieldError.invalid(path, request, detail)]
    if exactly is not None:
        return _device_request(exactly, path.child("exactly"))
    here = path.child("firstAvailable")
    errors: Errors = []
    if len(alternatives) > _ALTERNATIVES_LIMIT:
        errors.append(FieldError.too_many(here, len(alternatives), _ALTERNATIVES_LIMIT))
    for position, alternative in enumerate(alternatives):
        errors += _request_name(alternative.get("name") or "", here.index(position).child("name"))
        errors += _device_request(alternative, here.index(position))
    return errors


def _device_request(request: Object, path: Path) -> Errors:
    name, here = request.get("deviceClassName") or "", path.child("deviceClassName")
    errors = dns_subdomain(name, here) if name else [FieldError.required(here)]
    for position, selector in enumerate(request.get("selectors") or ()):
        place = path.child("selectors").index(position)
        if selector.get("cel") is None:
            errors.append(FieldError.required(place.child("cel")))
        elif not (selector["cel"].get("expression") or "").strip():
            errors.append(FieldError.required(place.child("cel", "expression")))
    mode, count = request.get("allocationMode"), request.get("count") or 0
    here = path.child("count")
    if mode == "ExactCount" and count <= 0:
        errors.append(FieldError.invalid(here, count, "must be greater than zero"))
    elif mode == "All" and count:
        detail = "must not be specified when allocationMode is 'All'"
        errors.append(FieldError.invalid(here, count, detail))
    elif mode not in _ALLOCATION_MODES:
        errors.append(FieldError.not_supported(path.child("allocationMode"), mode or "", _ALLOCATION_MODES))
    return errors


def resource_claim_status(new: Object, old: Object | None) -> Errors:
    """Devices are given once, and only what was given can be reserved."""
    status, before = new.get("status") or {}, (old or {}).get("status") or {}
    here = Path("status")
    errors: Errors = []
    reserved = status.get("reservedFor") or []
    if len(reserved) > _RESERVED_FOR_LIMIT:
        errors.append(FieldError.too_many(here.child("reservedFor"), len(reserved), _RESERVED_FOR_LIMIT))
    if reserved and status.get("allocation") is None:
        detail = "may not be specified when `allocated` is not set"
        errors.append(FieldError.forbidden(here.child("reservedFor"), detail))
    if before.get("allocation") is not None and status.get("allocation") is not None:
        errors += immutable(status["allocation"], before["allocation"], here.child("allocation"))
    return errors


def device_class(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors: Errors = []
    for position, selector in enumerate(spec.get("selectors") or ()):
        if selector.get("cel") is None:
            errors.append(FieldError.required(_SPEC.child("selectors").index(position).child("cel")))
    if spec.get("extendedResourceName"):
        here = _SPEC.child("extendedResourceName")
        errors += by_rule(names.qualified_name, spec["extendedResourceName"], here)
    return errors


# Slices


def resource_slice(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    driver, pool = spec.get("driver") or "", spec.get("pool") or {}
    errors = required_name(names.dns1123_subdomain, driver.lower(), _SPEC.child("driver"))
    errors += _pool_name(pool.get("name") or "", _SPEC.child("pool", "name"))
    count = pool.get("resourceSliceCount") or 0
    if count <= 0:
        here = _SPEC.child("pool", "resourceSliceCount")
        errors.append(FieldError.invalid(here, count, "must be greater than zero"))
    errors += _placement(spec)
    errors += _devices(spec.get("devices") or [])
    if old is None:
        return errors
    before = old.get("spec") or {}
    errors += immutable(driver, before.get("driver") or "", _SPEC.child("driver"))
    errors += immutable(pool.get("name"), (before.get("pool") or {}).get("name"), _SPEC.child("pool", "name"))
    return errors + immutable(spec.get("nodeName"), before.get("nodeName"), _SPEC.child("nodeName"))


def _pool_name(name: str, path: Path) -> Errors:
    if not name:
        return [FieldError.required(path)]
    errors: Errors = []
    if len(name) > _POOL_NAME_LIMIT:
        errors.append(FieldError.too_long(path, _POOL_NAME_LIMIT))
    for part in name.split("/"):
        errors += dns_subdomain(part, path)
    return errors


_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")


def _placement(spec: Object) -> Errors:
    """Devices are on one node, on some, on all, or each says so itself."""
    chosen = [field for field in _PLACES if spec.get(field)]
    listed = ", ".join(f"`{field}`" for field in _PLACES)
    if len(chosen) > 1:
        shown = "{" + ", ".join(chosen) + "}"
        return [
            FieldError.invalid(
                _SPEC, shown, f"exactly one of {listed} is required, but multiple fields are set"
            )
        ]
    if not chosen:
        return [FieldError.required(_SPEC, f"exactly one of {listed} is required")]
    if chosen == ["nodeName"]:
        return dns_subdomain(spec["nodeName"], _SPEC.child("nodeName"))
    if chosen == ["nodeSelector"]:
        return node_selector(spec["nodeSelector"], _SPEC.child("nodeSelector"))
    return []


def _devices(devices: list[Object]) -> Errors:
    here = _SPEC.child("devices")
    errors: Errors = []
    if len(devices) > _DEVICES_LIMIT:
        errors.append(FieldError.too_many(here, len(devices), _DEVICES_LIMIT))
    seen: set[str] = set()
    for position, device in enumerate(devices):
        place, name = here.index(position), device.get("name") or ""
        errors += required_name(names.dns1123_label, name, place.child("name"))
        if name in seen:
            errors.append(FieldError.duplicate(place.child("name"), name))
        seen.add(name)
        for number, taint in enumerate(device.get("taints") or ()):
            errors += _taint(taint, place.child("taints").index(number))
    return errors


def _taint(taint: Object, path: Path) -> Errors:
    errors = required_name(names.qualified_name, taint.get("key"), path.child("key"))
    if taint.get("value"):
        errors += by_rule(names.label_value, taint["value"], path.child("value"))
    effect, here = taint.get("effect") or "", path.child("effect")
    return errors + (one_of(effect, _EFFECTS, here) if effect else [FieldError.required(here)])


def device_taint_rule(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _taint(spec.get("taint") or {}, _SPEC.child("taint"))
    selector, here = spec.get("deviceSelector") or {}, _SPEC.child("deviceSelector")
    if selector.get("driver") is not None:
        errors += dns_subdomain(selector["driver"].lower(), here.child("driver"))
    if selector.get("pool") is not None:
        errors += _pool_name(selector["pool"], here.child("pool"))
    if selector.get("device") is not None:
        errors += by_rule(names.dns1123_label, selector["device"], here.child("device"))
    return errors


def pool_status_request(new: Object, old: Object | None) -> Errors:
    """A question is asked once."""
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    errors = required_name(names.dns1123_subdomain, (spec.get("driver") or "").lower(), _SPEC.child("driver"))
    if spec.get("poolName") is not None:
        errors += _pool_name(spec["poolName"], _SPEC.child("poolName"))
    limit = spec.get("limit")
    return errors if limit is None else errors + in_range(limit, 1, 1000, _SPEC.child("limit"))


def _of_v1beta1(way: Conversion, check: Callable[[Object, Object | None], Errors]) -> Validate:
    """The same rules for what v1beta1 says in another form. Upstream, too, names the places of v1."""

    def validate(new: Object, old: Object | None) -> Errors:
        return check(way.to_stored(new), None if old is None else way.to_stored(old))

    return validate


resource_claim_v1beta1 = _of_v1beta1(conversion.RESOURCE_CLAIM, resource_claim)
resource_claim_template_v1beta1 = _of_v1beta1(conversion.RESOURCE_CLAIM_TEMPLATE, resource_claim_template)
resource_slice_v1beta1 = _of_v1beta1(conversion.RESOURCE_SLICE, resource_slice)
