"""Claims: from persistentVolumeClaim and ephemeral to the bound PersistentVolume, in upstream's words when it cannot be had.

The kubelet may only get claims and volumes, not watch them; the scheduler lets no pod come here before its claims are bound.
"""

from __future__ import annotations

from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.request import Lookups, NoSuchObject, Unprocessed
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

FILESYSTEM, BLOCK = "Filesystem", "Block"


@frozen
class Claim:
    """What a volume of the pod claims."""

    name: str
    read_only: bool = False
    is_ephemeral: bool = False


def claim_of(pod: Object, volume: Object) -> Claim | None:
    if volume.get("persistentVolumeClaim"):
        source = volume["persistentVolumeClaim"]
        return Claim(source.get("claimName", ""), bool(source.get("readOnly")))
    if volume.get("ephemeral"):
        return Claim(f"{meta.name(pod)}-{volume['name']}", is_ephemeral=True)
    return None


async def bound_volume(pod: Object, claim: Claim, lookups: Lookups) -> Object:
    """The PersistentVolume. Raises Unprocessed."""
    namespace = meta.namespace(pod)
    try:
        found = await _bound_claim(claim, lookups)
        if claim.is_ephemeral and not _is_owner(pod, found):
            raise Unprocessed(
                f"PVC {namespace}/{claim.name} was not created for pod {namespace}/{meta.name(pod)} (pod is not owner)"
            )
        return await _volume_of(found, lookups)
    except _NotUsable as error:
        raise Unprocessed(f"error processing PVC {namespace}/{claim.name}: {error}") from error


class _NotUsable(Exception):
    """Of a claim or its volume."""


async def _bound_claim(claim: Claim, lookups: Lookups) -> Object:
    try:
        found = await lookups.fetch("persistentvolumeclaim", claim.name)
    except NoSuchObject as error:
        raise _NotUsable(f"failed to fetch PVC from API server: {error}") from error
    if meta.deletion_time(found) is not None:
        raise _NotUsable("PVC is being deleted")
    if (found.get("status") or {}).get("phase") != "Bound":
        raise _NotUsable("PVC is not bound")
    if not found["spec"].get("volumeName"):
        raise _NotUsable("PVC has empty pvc.Spec.VolumeName")
    return found


async def _volume_of(claim: Object, lookups: Lookups) -> Object:
    name = claim["spec"]["volumeName"]
    try:
        volume = await lookups.fetch("persistentvolume", name)
    except NoSuchObject as error:
        raise _NotUsable(f"failed to fetch PV {name} from API server: {error}") from error
    reference = volume["spec"].get("claimRef")
    if reference is None:
        raise _NotUsable(
            f"found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        )
    if reference.get("uid") != meta.uid(claim):
        raise _NotUsable(
            f"found PV object {name} but its pv.Spec.ClaimRef.UID {reference.get('uid', '')} "
            f"does not point to claim.UID {meta.uid(claim)}"
        )
    return volume


def _is_owner(pod: Object, claim: Object) -> bool:
    owners = meta.metadata(claim).get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == meta.uid(pod) for owner in owners)


def check_mode(pod_volume: str, volume: Object, *, is_mounted: bool, is_device: bool) -> bool:
    """Whether it is a block device. Raises Unprocessed when containers want it as what it is not."""
    mode = volume["spec"].get("volumeMode") or FILESYSTEM
    if is_mounted and mode != FILESYSTEM:
        raise Unprocessed(f"volume {pod_volume} has volumeMode {mode}, but is specified in volumeMounts")
    if is_device and mode != BLOCK:
        raise Unprocessed(f"volume {pod_volume} has volumeMode {mode}, but is specified in volumeDevices")
    return bool(mode == BLOCK)
