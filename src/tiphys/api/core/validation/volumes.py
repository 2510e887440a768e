"""Volumes of pods: each has a name and exactly one source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tiphys.api.core.validation import persistent_volumes, volume_sources
from tiphys.api.core.validation.environment import VOLUME_FIELDS, field_reference, resource_field_reference
from tiphys.api.core.validation.paths import file_mode, local_descending_path, local_non_reserved_path
from tiphys.api.core.validation.volume_sources import ONLY_ONE, SourceCheck, required
from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    claim_template_metadata,
    label_selector,
    quantity,
    required_name,
    required_one_of,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.quantity import ZERO

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_TOKEN_SECONDS_MINIMUM = 10 * 60
_TOKEN_SECONDS_LIMIT = 1 << 32


def volumes(values: Iterable[Object], pod_name: str, path: Path) -> tuple[Mapping[str, Object], Errors]:
    """The volumes that mounts may refer to, by name, and what is wrong. `pod_name` is empty in a template."""
    found: dict[str, Object] = {}
    errors: Errors = []
    claims = _claims_to_be_made(values, pod_name)
    for position, volume in enumerate(values):
        here = path.index(position)
        name = volume.get("name") or ""
        faults = _source(volume, pod_name, here)
        faults += required_name(names.dns1123_label, name, here.child("name"))
        if name in found:
            faults.append(FieldError.duplicate(here.child("name"), name))
        if not faults:
            found[name] = volume
        errors += faults
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in claims:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            place = here.child("persistentVolumeClaim", "claimName")
            errors.append(FieldError.invalid(place, claim, detail))
    return found, errors


def _claims_to_be_made(values: Iterable[Object], pod_name: str) -> set[str]:
    if not pod_name:
        return set()
    return {f"{pod_name}-{each.get('name')}" for each in values if each.get("ephemeral") is not None}


def _source(volume: Object, pod_name: str, path: Path) -> Errors:
    kinds = [kind for kind in volume if kind != "name" and volume[kind] is not None and kind in _SOURCES]
    if not kinds:
        return [FieldError.required(path, "must specify a volume type")]
    if len(kinds) > 1:
        kinds.sort(key=_ORDER.__getitem__)
    first = kinds[0]
    errors = _SOURCES[first](volume[first], path.child(_PLACES.get(first, first)))
    for kind in kinds[1:]:
        errors.append(FieldError.forbidden(path.child(_FORBIDDEN_PLACES.get(kind, kind)), ONLY_ONE))
    if first == "ephemeral":
        errors += _claim_name(volume, pod_name, path)
    if first == "iscsi":
        errors += _iscsi_length(volume, path)
    if first == "image" and pod_name and not volume["image"].get("reference"):
        errors.append(FieldError.required(path.child("image", "reference")))
    return errors


def _claim_name(volume: Object, pod_name: str, path: Path) -> Errors:
    name = volume.get("name")
    if not pod_name or not name:
        return []
    claim = f"{pod_name}-{name}"
    messages = names.dns1123_subdomain(claim)
    return [FieldError.invalid(path.child("name"), name, f'PVC name "{claim}": {each}') for each in messages]


def _iscsi_length(volume: Object, path: Path) -> Errors:
    source, name = volume["iscsi"], volume.get("name") or ""
    if source.get("initiatorName") is None or len(f"{name}:{source.get('targetPortal') or ''}") <= 64:
        return []
    detail = (
        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters "
        "if iscsi.initiatorName is specified."
    )
    return [FieldError.invalid(path.child("name"), name, detail)]


def _empty_dir(source: Object, path: Path) -> Errors:
    if quantity(source.get("sizeLimit")) >= ZERO:
        return []
    detail = "SizeLimit field must be a valid resource quantity"
    return [FieldError.forbidden(path.child("sizeLimit"), detail)]


def _git_repo(source: Object, path: Path) -> Errors:
    errors = required("repository")(source, path)
    return errors + local_descending_path(source.get("directory") or "", path.child("directory"))


def _files(name_field: str) -> SourceCheck:
    """A ConfigMap or a Secret as files."""

    def check(source: Object, path: Path) -> Errors:
        errors = required(name_field)(source, path)
        errors += file_mode(source.get("defaultMode"), path.child("defaultMode"))
        for position, item in enumerate(source.get("items") or ()):
            errors += _key_to_path(item, path.child("items").index(position))
        return errors

    return check


def _key_to_path(item: Object, path: Path) -> Errors:
    errors = required("key", "path")(item, path)
    errors += local_non_reserved_path(item.get("path") or "", path.child("path"))
    return errors + file_mode(item.get("mode"), path.child("mode"))


def _downward_api(source: Object, path: Path) -> Errors:
    errors = file_mode(source.get("defaultMode"), path.child("defaultMode"))
    for item in source.get("items") or ():
        errors += _downward_api_file(item, path)  # without its index: upstream's, kept
    return errors


def _downward_api_file(item: Object, path: Path) -> Errors:
    errors = required("path")(item, path)
    errors += local_non_reserved_path(item.get("path") or "", path.child("path"))
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        errors += field_reference(field, VOLUME_FIELDS, path.child("fieldRef"))
        if resource is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(FieldError.invalid(path, "resource", detail))
    elif resource is not None:
        errors += resource_field_reference(resource, path.child("resourceFieldRef"), in_volume=True)
    else:
        errors.append(FieldError.required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + file_mode(item.get("mode"), path.child("mode"))


# Projected volumes


def _projected(source: Object, path: Path) -> Errors:
    errors = file_mode(source.get("defaultMode"), path.child("defaultMode"))
    taken: set[str] = set()
    for position, projection in enumerate(source.get("sources") or ()):
        here = path.child("sources").index(position)
        kinds = [kind for kind, each in projection.items() if each is not None and kind in _PROJECTIONS]
        for kind in kinds:
            errors += _PROJECTIONS[kind](projection[kind], here.child(kind))
            errors += _conflicts(kind, projection[kind], taken, path)
        if len(kinds) > 1:
            errors.append(FieldError.forbidden(here, "may not specify more than 1 volume type per source"))
    return errors


def _conflicts(kind: str, projection: Object, taken: set[str], path: Path) -> Errors:
    """Two sources must not write the same file."""
    if kind == "clusterTrustBundle":
        files = [projection.get("path") or ""]
    else:
        files = [item["path"] for item in projection.get("items") or () if item.get("path")]
    errors: Errors = []
    for file in files:
        if file in taken:
            shown = projection.get("name") or "" if kind in ("secret", "configMap") else file
            errors.append(FieldError.invalid(path, shown, "conflicting duplicate paths"))
        taken.add(file)
    return errors


def _projected_items(projection: Object, path: Path) -> Errors:
    errors = required("name")(projection, path)
    for position, item in enumerate(projection.get("items") or ()):
        errors += _key_to_path(item, path.child("items").index(position))
    return errors


def _projected_downward_api(projection: Object, path: Path) -> Errors:
    errors: Errors = []
    for item in projection.get("items") or ():
        errors += _downward_api_file(item, path)
    return errors


def _service_account_token(projection: Object, path: Path) -> Errors:
    seconds, here = projection.get("expirationSeconds") or 0, path.child("expirationSeconds")
    errors: Errors = []
    if seconds < _TOKEN_SECONDS_MINIMUM:
        errors.append(FieldError.invalid(here, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > _TOKEN_SECONDS_LIMIT:
        errors.append(
            FieldError.invalid(here, seconds, "may not specify a duration larger than 2^32 seconds")
        )
    # Upstream reports the path at the volume, not at the token.
    if not projection.get("path"):
        return [*errors, FieldError.required(_volume_of(path).child("path"))]
    return errors + local_non_reserved_path(projection["path"], _volume_of(path).child("path"))


def _volume_of(path: Path) -> Path:
    return Path(path.text[: path.text.index(".sources[")])


def _cluster_trust_bundle(projection: Object, path: Path) -> Errors:
    name, signer = projection.get("name"), projection.get("signerName")
    errors: Errors = []
    if name is not None and signer is not None:
        errors.append(FieldError.invalid(path, projection, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            errors.append(FieldError.required(path.child("name"), "must be a valid object name"))
        if projection.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            errors.append(
                FieldError.invalid(path.child("labelSelector"), projection["labelSelector"], detail)
            )
    elif signer is not None:
        if not signer:
            errors.append(FieldError.required(path.child("signerName"), "must be a valid signer name"))
        errors += label_selector(projection.get("labelSelector"), path.child("labelSelector"))
    else:
        errors.append(FieldError.required(path, "either name or signerName must be specified"))
    errors += required("path")(projection, path)
    return errors + local_non_reserved_path(projection.get("path") or "", path.child("path"))


_PROJECTIONS: dict[str, SourceCheck] = {
    "secret": _projected_items,
    "configMap": _projected_items,
    "downwardAPI": _projected_downward_api,
    "serviceAccountToken": _service_account_token,
    "clusterTrustBundle": _cluster_trust_bundle,
    "podCertificate": required("signerName", "keyType"),
}


def _ephemeral(source: Object, path: Path) -> Errors:
    template, here = source.get("volumeClaimTemplate"), path.child("volumeClaimTemplate")
    if template is None:
        return [FieldError.required(here)]
    errors = claim_template_metadata(template.get("metadata"), here.child("metadata"))
    return errors + persistent_volumes.claim_spec(template.get("spec") or {}, here.child("spec"))


def _image(source: Object, path: Path) -> Errors:
    return required_one_of(source.get("pullPolicy"), PULL_POLICIES, path.child("pullPolicy"))


_SOURCES: dict[str, SourceCheck] = {
    "emptyDir": _empty_dir,
    "hostPath": volume_sources.host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": volume_sources.disk("pdName"),
    "awsElasticBlockStore": volume_sources.disk("volumeID"),
    "secret": _files("secretName"),
    "nfs": volume_sources.nfs,
    "iscsi": volume_sources.iscsi,
    "glusterfs": required("endpoints", "path"),
    "flocker": volume_sources.flocker,
    "persistentVolumeClaim": required("claimName"),
    "rbd": required("monitors", "image"),
    "cinder": volume_sources.cinder,
    "cephfs": required("monitors"),
    "quobyte": volume_sources.quobyte,
    "downwardAPI": _downward_api,
    "fc": volume_sources.fibre_channel,
    "flexVolume": volume_sources.flex_volume,
    "configMap": _files("name"),
    "azureFile": required("secretName", "shareName"),
    "vsphereVolume": required("volumePath"),
    "photonPersistentDisk": required("pdID"),
    "portworxVolume": required("volumeID"),
    "azureDisk": volume_sources.azure_disk,
    "storageos": volume_sources.storage_os,
    "projected": _projected,
    "scaleIO": required("gateway", "system", "volumeName"),
    "csi": volume_sources.csi,
    "ephemeral": _ephemeral,
    "image": _image,
}
"""In upstream's order: of several sources the first one counts, the others are one too many."""
_ORDER = {kind: position for position, kind in enumerate(_SOURCES)}
# Places that differ from the field's name: upstream's oddities, kept.
_PLACES = {"gcePersistentDisk": "persistentDisk"}
_FORBIDDEN_PLACES = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
