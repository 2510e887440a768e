"""Persistent volumes and claims."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from tiphys.api.core.validation import volume_sources
from tiphys.api.core.validation.resources import amount
from tiphys.api.core.validation.scheduling import node_selector
from tiphys.api.core.validation.volume_sources import ONLY_ONE, SourceCheck, required
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    by_rule,
    difference,
    dns_subdomain,
    immutable,
    label_selector,
    one_of,
    positive_quantity,
    quantity,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of
from tiphys.machinery.quantity import ZERO, Quantity

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_SPEC = Path("spec")
_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_VOLUME_MODES = ("Block", "Filesystem")
_RESIZE_STATES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)
_SOURCES: dict[str, SourceCheck] = {
    "hostPath": volume_sources.host_path,
    "gcePersistentDisk": volume_sources.disk("pdName"),
    "awsElasticBlockStore": volume_sources.disk("volumeID"),
    "glusterfs": volume_sources.persistent_glusterfs,
    "flocker": volume_sources.flocker,
    "nfs": volume_sources.nfs,
    "rbd": required("monitors", "image"),
    "quobyte": volume_sources.quobyte,
    "cephfs": required("monitors"),
    "iscsi": volume_sources.iscsi,
    "cinder": volume_sources.persistent_cinder,
    "fc": volume_sources.fibre_channel,
    "flexVolume": volume_sources.flex_volume,
    "azureFile": volume_sources.persistent_azure_file,
    "vsphereVolume": required("volumePath"),
    "photonPersistentDisk": required("pdID"),
    "portworxVolume": required("volumeID"),
    "azureDisk": volume_sources.azure_disk,
    "scaleIO": required("gateway", "system", "volumeName"),
    "local": volume_sources.local,
    "storageos": volume_sources.persistent_storage_os,
    "csi": volume_sources.persistent_csi,
}
"""In upstream's order: of several sources the first one counts."""


def persistent_volume(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = _volume_spec(spec)
    if old is not None:
        errors += _volume_update(spec, old.get("spec") or {})
    return errors


def _volume_spec(spec: Object) -> Errors:
    errors = _access_modes(spec.get("accessModes") or (), "", _SPEC)
    errors += _capacity(spec.get("capacity") or {})
    if policy := spec.get("persistentVolumeReclaimPolicy"):
        errors += one_of(policy, _RECLAIM_POLICIES, _SPEC.child("persistentVolumeReclaimPolicy"))
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        errors += _volume_node_affinity(affinity)
    errors += _volume_source(spec)
    if spec.get("local") is not None and affinity is None:
        errors.append(FieldError.required(_SPEC.child("nodeAffinity"), "Local volume requires node affinity"))
    host_path = (spec.get("hostPath") or {}).get("path")
    if host_path and posixpath.normpath(host_path) in ("/", "//") and policy == "Recycle":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(FieldError.forbidden(_SPEC.child("persistentVolumeReclaimPolicy"), detail))
    if spec.get("storageClassName"):
        errors += dns_subdomain(spec["storageClassName"], _SPEC.child("storageClassName"))
    if spec.get("volumeMode") is not None:
        errors += one_of(spec["volumeMode"], _VOLUME_MODES, _SPEC.child("volumeMode"))
    return errors + _attributes_class(spec)


def _attributes_class(spec: Object) -> Errors:
    name, here = spec.get("volumeAttributesClassName"), _SPEC.child("volumeAttributesClassName")
    if name is None:
        return []
    errors = (
        dns_subdomain(name, here) if name else [FieldError.required(here, "an empty string is disallowed")]
    )
    if spec.get("csi") is None:
        detail = "has to be specified when using volumeAttributesClassName"
        errors.append(FieldError.required(_SPEC.child("csi"), detail))
    return errors


def _access_modes(modes: Sequence[str], missing: str, path: Path) -> Errors:
    here = path.child("accessModes")
    errors: Errors = [] if modes else [FieldError.required(here, missing)]
    for mode in modes:
        errors += one_of(mode, _ACCESS_MODES, here)
    if "ReadWriteOncePod" in modes and any(mode in _ACCESS_MODES[:3] for mode in modes):
        errors.append(FieldError.forbidden(here, "may not use ReadWriteOncePod with other access modes"))
    return errors


def _capacity(capacity: Object) -> Errors:
    here = _SPEC.child("capacity")
    errors: Errors = [] if capacity else [FieldError.required(here)]
    if list(capacity) != ["storage"]:
        errors.append(FieldError.not_supported(here, capacity, ("storage",)))
    for name, text in capacity.items():
        value = quantity(text)
        errors += _basic(value, here.key(name))
        errors += positive_quantity(value, here.key(name))
    return errors


def _basic(value: Quantity, path: Path) -> Errors:
    if value >= ZERO:
        return []
    return [FieldError.invalid(path, value.value, "must be a valid resource quantity")]


def _volume_node_affinity(affinity: Object) -> Errors:
    here = _SPEC.child("nodeAffinity", "required")
    if affinity.get("required") is None:
        return [FieldError.required(here, "must specify required node constraints")]
    return node_selector(affinity["required"], here)


def _volume_source(spec: Object) -> Errors:
    kinds = [kind for kind in _SOURCES if spec.get(kind) is not None]
    if not kinds:
        return [FieldError.required(_SPEC, "must specify a volume type")]
    first = kinds[0]
    place = "persistentDisk" if first == "gcePersistentDisk" else first
    errors = _SOURCES[first](spec[first], _SPEC.child(place))
    for kind in kinds[1:]:
        place = "cephFS" if kind == "cephfs" else kind
        errors.append(FieldError.forbidden(_SPEC.child(place), ONLY_ONE))
    return errors


def _volume_update(new: Object, old: Object) -> Errors:
    before = {kind: old[kind] for kind in _SOURCES if old.get(kind) is not None}
    after = {kind: new[kind] for kind in _SOURCES if new.get(kind) is not None}
    # A volume that cannot grow yet may be told how.
    if "csi" in before and "csi" in after and before["csi"].get("controllerExpandSecretRef") is None:
        after["csi"] = {
            key: value for key, value in after["csi"].items() if key != "controllerExpandSecretRef"
        }
    errors: Errors = []
    if before != after:
        detail = f"spec.persistentvolumesource is immutable after creation\n{difference(before, after)}"
        errors.append(FieldError.forbidden(_SPEC.child("persistentvolumesource"), detail))
    errors += immutable(new.get("volumeMode"), old.get("volumeMode"), Path("volumeMode"))
    if old.get("nodeAffinity") is not None:
        detail = "field is immutable, except for updating from beta label to GA"
        errors += immutable(new.get("nodeAffinity"), old["nodeAffinity"], Path("nodeAffinity"), detail)
    if old.get("volumeAttributesClassName") is not None and new.get("volumeAttributesClassName") is None:
        detail = "update from non-nil value to nil is forbidden"
        errors.append(FieldError.forbidden(_SPEC.child("volumeAttributesClassName"), detail))
    return errors


# Claims


def persistent_volume_claim(new: Object, old: Object | None) -> Errors:
    errors = claim_spec(new.get("spec") or {}, _SPEC)
    if old is not None:
        errors += _claim_update(new, old)
    return errors


def claim_spec(spec: Object, path: Path) -> Errors:
    """The spec of a claim, or of a template that claims are made from."""
    errors = _access_modes(spec.get("accessModes") or (), "at least 1 access mode is required", path)
    errors += label_selector(spec.get("selector"), path.child("selector"))
    errors += _storage_request(spec, path.child("resources").key("storage"))
    for field in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(field):
            errors += dns_subdomain(spec[field], path.child(field))
    if spec.get("volumeMode") is not None:
        errors += one_of(spec["volumeMode"], _VOLUME_MODES, path.child("volumeMode"))
    return errors + _data_sources(spec, path)


def _storage_request(spec: Object, path: Path) -> Errors:
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        return [FieldError.required(path)]
    return positive_quantity(quantity(requests["storage"]), path)


def _data_sources(spec: Object, path: Path) -> Errors:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    errors: Errors = []
    for field, value in (("dataSource", source), ("dataSourceRef", reference)):
        if value is not None:
            errors += _data_source(value, path.child(field))
    if source is None or reference is None:
        return errors
    if reference.get("namespace"):
        detail = "may not be specified when dataSourceRef.namespace is specified"
        errors.append(FieldError.invalid(path, str(path.child("dataSource")), detail))
    elif any((source.get(key) or "") != (reference.get(key) or "") for key in ("apiGroup", "kind", "name")):
        errors.append(FieldError.invalid(path, str(path.child("dataSource")), "must match dataSourceRef"))
    return errors


def _data_source(source: Object, path: Path) -> Errors:
    errors = required("name", "kind")(source, path)
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        errors.append(FieldError.invalid(path, source.get("kind") or "", detail))
    if group:
        errors += dns_subdomain(group, path.child("apiGroup"))
    if source.get("namespace"):
        errors += by_rule(names.dns1123_label, source["namespace"], path.child("namespace"))
    return errors


def _claim_update(new: Object, old: Object) -> Errors:
    before, after = old.get("spec") or {}, new.get("spec") or {}
    errors: Errors = []
    old_class = annotations_of(old).get(CLASS_ANNOTATION, "")
    new_class = annotations_of(new).get(CLASS_ANNOTATION, "")
    moved = bool(old_class) and before.get("storageClassName") is None
    if not (moved and after.get("storageClassName") == old_class and new_class in ("", old_class)):
        errors += immutable(new_class, old_class, Path("metadata", "annotations", CLASS_ANNOTATION))
    if _fixed(after, before, new, old_class) != _fixed(before, before, new, old_class):
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName "
            f"for bound claims\n{difference(before, after)}"
        )
        errors.append(FieldError.forbidden(_SPEC, detail))
    errors += _shrunk(after, before, old)
    errors += immutable(after.get("volumeMode"), before.get("volumeMode"), Path("volumeMode"))
    return errors + _attributes_class_update(after, before)


def _fixed(spec: Object, before: Object, claim: Object, old_class: str) -> Object:
    """What of a claim's spec must not change now; the rest is put back to what it was."""
    fixed = dict(spec)
    if not before.get("volumeName"):
        fixed.pop("volumeName", None)
    given = spec.get("storageClassName")
    if before.get("storageClassName") is None and (not old_class or given == old_class):
        fixed.pop("storageClassName", None)  # may be set once
    if (claim.get("status") or {}).get("phase") == "Bound":
        resources = dict(spec.get("resources") or {})
        requests = dict(resources.get("requests") or {})
        requests.pop("storage", None)
        fixed["resources"] = {**resources, "requests": requests}
        fixed.pop("volumeAttributesClassName", None)
    return fixed


def _shrunk(new: Object, old: Object, claim: Object) -> Errors:
    """A request that could not be met may be lowered again, but not to what is there already."""
    requested = quantity(((new.get("resources") or {}).get("requests") or {}).get("storage"))
    before = quantity(((old.get("resources") or {}).get("requests") or {}).get("storage"))
    actual = quantity(((claim.get("status") or {}).get("capacity") or {}).get("storage"))
    if requested >= before or requested > actual:
        return []
    here = _SPEC.child("resources", "requests", "storage")
    return [FieldError.forbidden(here, "field can not be less than status.capacity")]


def _attributes_class_update(new: Object, old: Object) -> Errors:
    here = _SPEC.child("volumeAttributesClassName")
    if old.get("volumeAttributesClassName") is None:
        return []
    if new.get("volumeAttributesClassName") is None:
        return [FieldError.forbidden(here, "update from non-nil value to nil is forbidden")]
    if not new["volumeAttributesClassName"]:
        return [FieldError.forbidden(here, "update from non-nil value to an empty string is forbidden")]
    return []


def claim_status(new: Object, old: Object | None) -> Errors:
    status = new.get("status") or {}
    errors: Errors = []
    if not (new.get("spec") or {}).get("accessModes"):
        errors.append(FieldError.required(Path("Spec", "accessModes")))
    for name, text in (status.get("capacity") or {}).items():
        errors += _basic(quantity(text), Path("status", "capacity").key(name))
    here = Path("status", "allocatedResourceStatus")
    for name, state in (status.get("allocatedResourceStatuses") or {}).items():
        errors += _claim_resource(name, here)
        if state not in _RESIZE_STATES:
            errors.append(FieldError.not_supported(here, name, _RESIZE_STATES))
    here = Path("status", "allocatedResources")
    for name, text in (status.get("allocatedResources") or {}).items():
        errors += _claim_resource(name, here) or amount("storage", quantity(text), here.key(name))
    return errors


def _claim_resource(name: str, path: Path) -> Errors:
    errors = by_rule(names.qualified_name, name, path)
    native = "/" not in name or "kubernetes.io/" in name
    if not errors and native and name != "storage":
        errors.append(FieldError.not_supported(path, name, ("storage",)))
    return errors
