"""Pods that have more on the node's disk than they may: an emptyDir over its sizeLimit, containers over their ephemeral-storage. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core.pod_resources import pod_limits
from tiphys.kubelet import spec
from tiphys.kubelet.eviction.victims import HARD_GRACE_SECONDS, REASON
from tiphys.kubelet.seen import Sentence
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.usage import FilesystemUsage, PodDisks
from tiphys.machinery.quantity import Quantity, parse
from tiphys.machinery.quoting import quote

STORAGE = "ephemeral-storage"


def has_limits(pod: Object) -> bool:
    """Otherwise its disks need not be measured."""
    return any(True for _ in _limited_volumes(pod)) or STORAGE in pod_limits(pod["spec"])


def violation(pod: Object, disks: PodDisks, *, has_image_disk: bool) -> Sentence | None:
    """Why the pod must go; None while it keeps to its limits."""
    told = next(_violations(pod, disks, has_image_disk=has_image_disk), None)
    return Sentence(REASON, told, HARD_GRACE_SECONDS) if told is not None else None


def _violations(pod: Object, disks: PodDisks, *, has_image_disk: bool) -> Iterator[str]:
    used = {volume.name: volume.usage.used_bytes or 0 for volume in disks.volumes}
    for name, limit in _limited_volumes(pod):
        if used.get(name, 0) > limit.value:
            yield f"Usage of EmptyDir volume {quote(name)} exceeds the limit {quote(str(limit))}. "
    whole = pod_limits(pod["spec"]).get(STORAGE)
    if whole is not None and _used(disks.ephemeral) > whole.value:
        yield f"Pod ephemeral local storage usage exceeds the total limit of containers {whole}. "
    for container in spec.containers(pod):
        text = ((container.get("resources") or {}).get("limits") or {}).get(STORAGE)
        own, name = parse(text or "0"), container["name"]
        use = _used(disks.logs.get(name)) + (0 if has_image_disk else _used(disks.root_filesystems.get(name)))
        if own and use > own.value:
            yield f"Container {name} exceeded its local ephemeral storage limit {quote(str(own))}. "


def _limited_volumes(pod: Object) -> Iterator[tuple[str, Quantity]]:
    for volume in pod["spec"].get("volumes") or ():
        limit = parse((volume.get("emptyDir") or {}).get("sizeLimit") or "0")
        if limit.nanos > 0:
            yield volume["name"], limit


def _used(usage: FilesystemUsage | None) -> int:
    return (usage.used_bytes or 0) if usage else 0


def signal(why: Sentence) -> str:
    """What the eviction counts as."""
    if why.message.startswith("Usage of EmptyDir"):
        return "emptydirfs.limit"
    return "ephemeralpodfs.limit" if why.message.startswith("Pod ") else "ephemeralcontainerfs.limit"
