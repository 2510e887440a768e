"""Which other objects a pod names, and so lets its node read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]
Reference = tuple[str, str]
"""(plural, name), in the pod's own namespace."""
MIRROR = "kubernetes.io/config.mirror"


def references(pod: Object) -> frozenset[Reference]:
    """What a pod needs of its namespace. A mirror pod (made by the node itself) opens nothing."""
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return frozenset()
    return frozenset(all_references(pod))


def all_references(pod: Object) -> Iterator[Reference]:
    """What any pod names."""
    spec = pod.get("spec") or {}
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", spec["serviceAccountName"]
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name", "")
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            yield from _of_environment(container)
    for volume in spec.get("volumes") or ():
        yield from _of_volume(pod["metadata"]["name"], volume)
    yield from _claims(pod)


def _of_environment(container: Object) -> Iterator[Reference]:
    for source in container.get("envFrom") or ():
        yield from _named(source, "configMapRef", "configmaps")
        yield from _named(source, "secretRef", "secrets")
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield from _named(source, "configMapKeyRef", "configmaps")
        yield from _named(source, "secretKeyRef", "secrets")


def _named(source: Object, field: str, plural: str) -> Iterator[Reference]:
    if source.get(field):
        yield plural, source[field].get("name", "")


def _of_volume(pod: str, volume: Object) -> Iterator[Reference]:
    yield from _named(volume, "configMap", "configmaps")
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", volume["persistentVolumeClaim"].get("claimName", "")
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", f"{pod}-{volume['name']}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield from _named(source, "configMap", "configmaps")
        yield from _named(source, "secret", "secrets")
    for source in volume.values():
        if isinstance(source, dict):
            # The kinds of volumes call it by one of these.
            yield from _named(source, "secretRef", "secrets")
            yield from _named(source, "nodePublishSecretRef", "secrets")
            if source.get("secretName"):
                yield "secrets", source["secretName"]


def _claims(pod: Object) -> Iterator[Reference]:
    for claim in pod["spec"].get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            yield "resourceclaims", claim["resourceClaimName"]
    for status in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        if status.get("resourceClaimName"):
            yield "resourceclaims", status["resourceClaimName"]
