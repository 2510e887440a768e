"""What a container finds in its file system beside its image: volumes, whole or in part, and as devices."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tiphys.kubelet.files import Files
from tiphys.kubelet.runtimes.interface import ContainerConfig, Device, Mount, MountPropagation
from tiphys.kubelet.spec import Object
from tiphys.kubelet.subpath import open_sub_path, wanted_path
from tiphys.kubelet.volumes.mounting import Mounter, can_be_deeply_read_only
from tiphys.kubelet.volumes.pod_volumes import Volume
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

_PROPAGATIONS: Mapping[str, MountPropagation] = {
    "HostToContainer": "HostToContainer",
    "Bidirectional": "Bidirectional",
}


class BadMount(Exception):
    """A volumeMount that cannot be; the message is fit for the container's status."""


@frozen
class MountMaker:
    files: Files
    mounter: Mounter

    def mounts(
        self,
        pod: Object,
        container: Object,
        volumes: Mapping[str, Volume],
        environment: Mapping[str, str],
    ) -> list[Mount]:
        """Of all volumeMounts. Blocks for some system calls. Raises BadSubPath, BadMount, OSError."""
        found = []
        for index, wanted in enumerate(container.get("volumeMounts") or ()):
            volume = volumes.get(wanted["name"])
            if volume is None:
                raise BadMount(f"volume {quote(wanted['name'])} is not mounted")
            below = wanted_path(wanted, environment)
            is_deep = is_deeply_read_only(wanted)
            propagation = _PROPAGATIONS.get(wanted.get("mountPropagation") or "", "None")
            path = volume.path
            if below or is_deep:
                file = _open(volume.path, below, wanted["name"], container["name"])
                target = self.files.subpath(meta.uid(pod), wanted["name"], container["name"], index)
                try:
                    path = self.mounter.bind(
                        file, target, is_deeply_read_only=is_deep, is_shared=propagation != "None"
                    )
                finally:
                    os.close(file)
            found.append(
                Mount(
                    container_path=_absolute(wanted["mountPath"]),
                    host_path=str(path),
                    read_only=bool(wanted.get("readOnly")) or volume.read_only,
                    propagation=propagation,
                )
            )
        return found


def _open(volume: Path, below: str, name: str, container: str) -> int:
    return (
        open_sub_path(volume, below, name, container) if below else os.open(volume, os.O_PATH | os.O_CLOEXEC)
    )


def devices(container: Object, volumes: Mapping[str, Volume]) -> tuple[Device, ...]:
    """Of all volumeDevices. Raises BadMount."""
    found = []
    for wanted in container.get("volumeDevices") or ():
        volume = volumes.get(wanted["name"])
        if volume is None:
            raise BadMount(f"volume {quote(wanted['name'])} is not mounted")
        permissions = "r" if volume.read_only else "mrw"
        found.append(Device(wanted["devicePath"], str(volume.path), permissions))
    return tuple(found)


def with_groups(config: ContainerConfig, volumes: Mapping[str, Volume]) -> ContainerConfig:
    """In the groups, too, that PersistentVolumes of the pod ask for."""
    has = config.security.supplemental_groups
    more = sorted({volume.group for volume in volumes.values() if volume.group is not None} - set(has))
    if not more:
        return config
    return replace(config, security=replace(config.security, supplemental_groups=(*has, *more)))


def is_deeply_read_only(wanted: Mapping[str, str]) -> bool:
    """recursiveReadOnly (KEP-3857); done by the node's kernel, whatever the runtime can do. Raises BadMount."""
    mode, name = wanted.get("recursiveReadOnly") or "Disabled", quote(wanted["name"])
    if mode == "Disabled":
        return False
    asked = f"volume {name} requested recursive read-only mode, but it is not"
    if not wanted.get("readOnly"):
        raise BadMount(f"{asked} read-only")
    propagation = wanted.get("mountPropagation") or "None"
    if propagation != "None":
        raise BadMount(f"{asked} compatible with propagation {quote(propagation)}")
    if can_be_deeply_read_only():
        return True
    if mode == "Enabled":
        raise BadMount(f"{asked} supported by the runtime")
    return False


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def mounts_path(container: Object, path: str) -> bool:
    """Whether the container has a volume of its own there."""
    return any(wanted["mountPath"].rstrip("/") == path for wanted in container.get("volumeMounts") or ())
