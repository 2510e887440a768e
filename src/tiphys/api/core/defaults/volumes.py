"""Defaults of volumes, wherever they are declared: in pods, in persistent volumes, in claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api.core.images import default_pull_policy
from tiphys.api.resource import Object

FILE_MODE = 0o644
TOKEN_SECONDS = 3600


def pod_volume(volume: Object) -> None:
    """A volume of a pod. One that names no source is an emptyDir."""
    if len(volume) < 2:
        volume["emptyDir"] = {}
        return
    for source, found in volume.items():
        fill = _POD_SOURCES.get(source)
        if fill is not None and found is not None:
            fill(found)


def field_reference(holder: Object) -> None:
    """`fieldRef` of a file or an environment variable refers to v1 unless it says otherwise."""
    reference = holder.get("fieldRef")
    if reference is not None and not reference.get("apiVersion"):
        reference["apiVersion"] = "v1"


def claim_spec(spec: Object) -> None:
    """The spec of a claim, or of a claim template in a pod or a StatefulSet."""
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("resources", {})


def persistent_volume(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    spec.setdefault("volumeMode", "Filesystem")
    for source, fill in _PERSISTENT_SOURCES.items():
        found = spec.get(source)
        if found is not None:
            fill(found)
    _phase(obj, "Pending")


def persistent_volume_claim(obj: Object) -> None:
    claim_spec(obj.setdefault("spec", {}))
    _phase(obj, "Pending")


def _phase(obj: Object, first: str) -> None:
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = first


def _missing(**values: Any) -> Callable[[Object], None]:
    """Fills in fields that are missing or empty."""

    def fill(source: Object) -> None:
        for name, value in values.items():
            if source.get(name) in (None, ""):
                source[name] = value

    return fill


def _file_mode(source: Object) -> None:
    if source.get("defaultMode") is None:
        source["defaultMode"] = FILE_MODE


def _downward_api(source: Object) -> None:
    _file_mode(source)
    for item in source.get("items") or ():
        field_reference(item)


def _projected(source: Object) -> None:
    _file_mode(source)
    for projection in source.get("sources") or ():
        token = projection.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = TOKEN_SECONDS
        downward = projection.get("downwardAPI")
        if downward is not None:
            for item in downward.get("items") or ():
                field_reference(item)


def _host_path(source: Object) -> None:
    source.setdefault("type", "")


def _image(source: Object) -> None:
    if not source.get("pullPolicy"):
        source["pullPolicy"] = default_pull_policy(source.get("reference") or "")


def _ephemeral(source: Object) -> None:
    template = source.get("volumeClaimTemplate")
    if template is not None:
        template.setdefault("metadata", {})
        claim_spec(template.setdefault("spec", {}))


_ISCSI = _missing(iscsiInterface="default")
_RBD = _missing(pool="rbd", user="admin", keyring="/etc/ceph/keyring")
_AZURE_DISK = _missing(cachingMode="ReadWrite", fsType="ext4", readOnly=False, kind="Shared")
_SCALE_IO = _missing(storageMode="ThinProvisioned", fsType="xfs")

_POD_SOURCES: dict[str, Callable[[Object], None]] = {
    "projected": _projected,
    "configMap": _file_mode,
    "secret": _file_mode,
    "hostPath": _host_path,
    "downwardAPI": _downward_api,
    "image": _image,
    "ephemeral": _ephemeral,
    "iscsi": _ISCSI,
    "rbd": _RBD,
    "azureDisk": _AZURE_DISK,
    "scaleIO": _SCALE_IO,
}
_PERSISTENT_SOURCES: dict[str, Callable[[Object], None]] = {
    "hostPath": _host_path,
    "iscsi": _ISCSI,
    "rbd": _RBD,
    "azureDisk": _AZURE_DISK,
    "scaleIO": _SCALE_IO,
}
