"""Which volumes of a pod its containers use. Pure, and light: simulated nodes ask it, too."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.kubelet import spec
from tiphys.kubelet.spec import Object

IMAGE = "image"
"""Made for each container that mounts it (image_volumes.py)."""


def used_volumes(pod: Object) -> tuple[set[str], set[str]]:
    """The names of those that containers mount, and of those that they want as devices."""
    mounted: set[str] = set()
    devices: set[str] = set()
    for container in spec.all_containers(pod):
        mounted |= {mount["name"] for mount in container.get("volumeMounts") or ()}
        devices |= {device["name"] for device in container.get("volumeDevices") or ()}
    return mounted, devices


def image_volumes(pod: Object, container: Object) -> Iterator[Object]:
    """Those of images that the container mounts."""
    mounted = {mount["name"] for mount in container.get("volumeMounts") or ()}
    for volume in pod["spec"].get("volumes") or ():
        if volume.get(IMAGE) and volume["name"] in mounted:
            yield volume
