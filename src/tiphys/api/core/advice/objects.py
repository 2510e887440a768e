"""What services, volumes and nodes may say but better would not: warnings of upstream's strategies."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from tiphys.api.core.advice.pods import DEPRECATED_NODE_LABELS, SHOWN, claim_spec, node_selector_term
from tiphys.api.resource import Object
from tiphys.machinery.fields import Path
from tiphys.machinery.quoting import quote

_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_RECYCLE = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to "
    "use dynamic provisioning."
)
_VOLUMES = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}


def service(new: Object, old: Object | None) -> list[str]:
    return list(_service(new))


def _service(new: Object) -> Iterator[str]:
    spec, kind = new.get("spec") or {}, (new.get("spec") or {}).get("type")
    external = spec.get("externalIPs") or ()
    if _HINTS in (new["metadata"].get("annotations") or {}):
        yield f"annotation {_HINTS} is deprecated, please use {_MODE} instead"
    is_headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    if not is_headless and kind != "ExternalName":
        for index, address in enumerate(spec.get("clusterIPs") or ()):
            yield from _address(address, Path("spec", "clusterIPs").index(index))
    if is_headless:
        if spec.get("loadBalancerIP"):
            yield "spec.loadBalancerIP is ignored for headless services"
        if external:
            yield "spec.externalIPs is ignored for headless services"
        if spec.get("sessionAffinity") != "None":
            yield "spec.SessionAffinity is ignored for headless services"
    for index, address in enumerate(external):
        yield from _address(address, Path("spec", "externalIPs").index(index))
    if external and not is_headless and kind != "ExternalName":
        yield "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
    if spec.get("loadBalancerIP"):
        yield from _address(spec["loadBalancerIP"], Path("spec", "loadBalancerIP"))
    if external and kind == "ExternalName":
        yield 'spec.externalIPs is ignored when spec.type is "ExternalName"'
    if kind != "ExternalName" and spec.get("externalName"):
        yield 'spec.externalName is ignored when spec.type is not "ExternalName"'
    if spec.get("trafficDistribution") == "PreferClose":
        yield 'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'


def _address(text: str, path: Path) -> Iterator[str]:
    """Of an address in a form that others may read differently."""
    plain = text
    if ":" not in text:
        plain = ".".join(part.lstrip("0") or "0" for part in text.split("."))
    try:
        address = ip_address(plain)
    except ValueError:
        return
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None or plain != text:
        yield (
            f"{path}: non-standard IP address {quote(text)} will be considered invalid in a future Kubernetes release: "
            f"use {quote(str(mapped or address))}"
        )
    elif str(address) != text:
        yield f"{path}: IPv6 address {quote(text)} should be in RFC 5952 canonical format ({quote(str(address))})"


def _storage_class(obj: Object) -> Iterator[str]:
    if _STORAGE_CLASS in (obj["metadata"].get("annotations") or {}):
        where = Path("metadata", "annotations").key(_STORAGE_CLASS)
        yield f'{where}: deprecated since v1.8; use "storageClassName" attribute instead'


def persistent_volume(new: Object, old: Object | None) -> list[str]:
    spec = new.get("spec") or {}
    found = list(_storage_class(new))
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(_RECYCLE)
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    at = Path("spec", "nodeAffinity", "required", "nodeSelectorTerms")
    for index, term in enumerate(terms):
        found += node_selector_term(term, at.index(index))
    found += [
        f"spec.{SHOWN.get(kind, kind)}: {text}"
        for kind, text in _VOLUMES.items()
        if spec.get(kind) is not None
    ]
    return found


def persistent_volume_claim(new: Object, old: Object | None) -> list[str]:
    return [*_storage_class(new), *claim_spec(new.get("spec") or {}, Path("spec"))]


def node(new: Object, old: Object | None) -> list[str]:
    spec = new.get("spec") or {}
    found = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    return found


def service_account(new: Object, old: Object | None) -> list[str]:
    """Of an annotation that was not there before."""
    before = (old["metadata"].get("annotations") or {}) if old is not None else {}
    if _MOUNTABLE in before or _MOUNTABLE not in (new["metadata"].get("annotations") or {}):
        return []
    where = Path("metadata", "annotations").key(_MOUNTABLE)
    return [f"{where}: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"]


def runtime_class(new: Object, old: Object | None) -> list[str]:
    selector = (new.get("scheduling") or {}).get("nodeSelector") or {}
    return [
        f"scheduling.nodeSelector: {DEPRECATED_NODE_LABELS[key]}"
        for key in selector
        if key in DEPRECATED_NODE_LABELS
    ]
