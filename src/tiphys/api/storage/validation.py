"""What is wrong with storage classes, drivers and attachments (`pkg/apis/storage/validation`)."""

from __future__ import annotations

from tiphys.api.core.validation.volume_sources import csi_driver_name
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    by_rule,
    dns_subdomain,
    immutable,
    label_selector,
    non_negative_quantity,
    one_of,
    qualified_name,
    quantity,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import name as name_of

_SPEC = Path("spec")
_PARAMETERS = Path("parameters")
_PARAMETERS_LIMIT = 512
_PARAMETERS_LIMIT_BYTES = 256 * 1024
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_RECLAIM_POLICIES = ("Delete", "Retain")
_LIFE_CYCLES = ("Persistent", "Ephemeral")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_NODE_ID_LIMIT = 192
_TOKEN_SECONDS = range(600, 2**32 + 1)


def storage_class(new: Object, old: Object | None) -> Errors:
    provisioner, policy = new.get("provisioner") or "", new.get("reclaimPolicy")
    here = Path("provisioner")
    errors: Errors = []
    if provisioner:
        errors += [
            FieldError.invalid(here, provisioner, text) for text in names.qualified_name(provisioner.lower())
        ]
    else:
        errors.append(FieldError.required(here))
    errors += _parameters(new.get("parameters"), allow_empty=True)
    if policy is not None:
        errors += one_of(policy, _RECLAIM_POLICIES, Path("reclaimPolicy"))
    mode, here = new.get("volumeBindingMode"), Path("volumeBindingMode")
    errors += [FieldError.required(here)] if mode is None else one_of(mode, _BINDING_MODES, here)
    errors += _topologies(new.get("allowedTopologies") or [])
    return errors if old is None else errors + _storage_class_update(new, old)


def _storage_class_update(new: Object, old: Object) -> Errors:
    errors = _fixed(new, old, "parameters", "provisioner", "reclaimPolicy")
    return errors + immutable(
        new.get("volumeBindingMode"), old.get("volumeBindingMode"), Path("volumeBindingMode")
    )


def _fixed(new: Object, old: Object, *fields: str) -> Errors:
    return [
        FieldError.forbidden(Path(field), f"updates to {field} are forbidden.")
        for field in fields
        if (new.get(field) or None) != (old.get(field) or None)
    ]


def _parameters(parameters: dict[str, str] | None, *, allow_empty: bool) -> Errors:
    if not parameters:
        detail = "must contain at least one key/value pair"
        return [] if allow_empty else [FieldError.required(_PARAMETERS, detail)]
    errors: Errors = []
    if len(parameters) > _PARAMETERS_LIMIT:
        errors.append(FieldError.too_long(_PARAMETERS, _PARAMETERS_LIMIT))
        return errors
    if "" in parameters:
        errors.append(FieldError.invalid(_PARAMETERS, "", "field can not be empty."))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in parameters.items())
    if size > _PARAMETERS_LIMIT_BYTES:
        errors.append(FieldError.too_long(_PARAMETERS, _PARAMETERS_LIMIT_BYTES))
    return errors


def _topologies(terms: list[Object]) -> Errors:
    errors: Errors = []
    for position, term in enumerate(terms):
        seen: set[str] = set()
        for number, requirement in enumerate(term.get("matchLabelExpressions") or ()):
            here = Path("allowedTopologies").index(position).child("matchLabelExpressions").index(number)
            key, values = requirement.get("key") or "", requirement.get("values") or []
            errors += qualified_name(key, here.child("key"))
            if not values:
                errors.append(FieldError.required(here.child("values")))
            if key in seen:
                errors.append(FieldError.duplicate(here.child("key"), key))
            seen.add(key)
    return errors


def volume_attributes_class(new: Object, old: Object | None) -> Errors:
    driver = new.get("driverName") or ""
    errors = csi_driver_name(driver, Path("driverName"))
    errors += _parameters(new.get("parameters"), allow_empty=False)
    return errors if old is None else errors + _fixed(new, old, "driverName", "parameters")


# Attachments


def volume_attachment(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    if old is not None:
        return immutable(spec, old.get("spec") or {}, _SPEC)
    errors = csi_driver_name(spec.get("attacher") or "", _SPEC.child("attacher"))
    source, here = spec.get("source") or {}, _SPEC.child("source")
    inline, volume = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and volume is None:
        errors.append(FieldError.required(here, _ONE_SOURCE))
    elif inline is not None and volume is not None:
        errors.append(FieldError.forbidden(here, _ONE_SOURCE))
    elif volume is not None:
        errors += dns_subdomain(volume, here.child("persistentVolumeName"))
    return errors + dns_subdomain(spec.get("nodeName") or "", _SPEC.child("nodeName"))


# Drivers


def csi_driver(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = csi_driver_name(name_of(new), Path("metadata", "name")) if old is None else []
    for field in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(field) is None:
            errors.append(FieldError.required(_SPEC.child(field)))
    for position, mode in enumerate(spec.get("volumeLifecycleModes") or ()):
        errors += one_of(mode, _LIFE_CYCLES, _SPEC.child("volumeLifecycleModes").index(position))
    if spec.get("fsGroupPolicy") is not None:
        errors += one_of(spec["fsGroupPolicy"], _GROUP_POLICIES, _SPEC.child("fsGroupPolicy"))
    errors += _token_requests(spec.get("tokenRequests") or [])
    if old is None:
        return errors
    before = old.get("spec") or {}
    for field in ("attachRequired", "volumeLifecycleModes"):
        errors += immutable(spec.get(field), before.get(field), _SPEC.child(field))
    return errors


def _token_requests(requests: list[Object]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, request in enumerate(requests):
        here, audience = _SPEC.child("tokenRequests").index(position), request.get("audience") or ""
        if audience in seen:
            errors.append(FieldError.duplicate(here.child("audience"), audience))
        seen.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is None:
            continue
        place = here.child("expirationSeconds")
        if seconds < _TOKEN_SECONDS.start:
            errors.append(
                FieldError.invalid(place, seconds, "may not specify a duration less than 10 minutes")
            )
        elif seconds not in _TOKEN_SECONDS:
            errors.append(
                FieldError.invalid(place, seconds, "may not specify a duration larger than 2^32 seconds")
            )
    return errors


def csi_node(new: Object, old: Object | None) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    before = {each.get("name"): each for each in ((old or {}).get("spec") or {}).get("drivers") or ()}
    for position, driver in enumerate((new.get("spec") or {}).get("drivers") or ()):
        here, name = _SPEC.child("drivers").index(position), driver.get("name") or ""
        errors += csi_driver_name(name, here.child("name"))
        errors += _node_id(driver.get("nodeID") or "", here.child("nodeID"))
        if name in seen:
            errors.append(FieldError.duplicate(here.child("name"), name))
        seen.add(name)
        errors += _topology_keys(driver.get("topologyKeys") or [], here.child("topologyKeys"))
        if name in before:  # what a driver said of itself stays, but for how much it can hold
            for field in ("nodeID", "topologyKeys"):
                errors += immutable(driver.get(field), before[name].get(field), here.child(field))
    return errors


def _node_id(text: str, path: Path) -> Errors:
    if not text:
        return [FieldError.required(path)]
    if len(text) > _NODE_ID_LIMIT:
        return [FieldError.invalid(path, text, f"must be {_NODE_ID_LIMIT} characters or less")]
    return []


def _topology_keys(keys: list[str], path: Path) -> Errors:
    errors: Errors = []
    for position, key in enumerate(keys):
        if keys.index(key) < position:
            errors.append(FieldError.duplicate(path.index(position), key))
        errors += qualified_name(key, path.index(position))
    return errors


def csi_storage_capacity(new: Object, old: Object | None) -> Errors:
    errors = by_rule(names.dns1123_subdomain, new.get("storageClassName") or "", Path("storageClassName"))
    errors += label_selector(new.get("nodeTopology"), Path("nodeTopology"))
    for field in ("capacity", "maximumVolumeSize"):
        if new.get(field) is not None:
            errors += non_negative_quantity(quantity(new[field]), Path(field))
    if old is None:
        return errors
    for field in ("nodeTopology", "storageClassName"):
        errors += immutable(new.get(field), old.get(field), Path(field))
    return errors
