"""All volumes of a pod: prepared together, removed together. A new kind is a module with `prepare` and a line in KINDS."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tiphys.kubelet.files import Files
from tiphys.kubelet.security import pod_context
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes import config_map, downward_api, empty_dir, host_path, projected, secret
from tiphys.kubelet.volumes.mounting import Mounter
from tiphys.kubelet.volumes.request import Prepared, Services, VolumeFailure, VolumeRequest
from tiphys.kubelet.volumes.writer import set_group
from tiphys.machinery import meta

KINDS: dict[str, Callable[[VolumeRequest], Awaitable[Prepared]]] = {
    "emptyDir": empty_dir.prepare,
    "hostPath": host_path.prepare,
    "configMap": config_map.prepare,
    "secret": secret.prepare,
    "downwardAPI": downward_api.prepare,
    "projected": projected.prepare,
}
_OTHERS_PATHS = ("hostPath",)
"""Kinds that lie where they are: neither made nor given to anybody by us."""
_READ_ONLY = ("configMap", "secret", "downwardAPI", "projected")


@dataclass(frozen=True, slots=True)
class Volume:
    name: str
    kind: str
    path: Path
    refresh_after_seconds: float | None


class VolumeProblem(Exception):
    """Which volume cannot be had, and why: the whole FailedMount message."""


async def prepare_volumes(pod: Object, files: Files, services: Services) -> list[Volume]:
    """Makes them, or brings them up to date. Raises VolumeProblem with the first that failed."""
    volumes = pod["spec"].get("volumes") or ()
    return list(await asyncio.gather(*(_prepare(pod, volume, files, services) for volume in volumes)))


async def _prepare(pod: Object, volume: Object, files: Files, services: Services) -> Volume:
    name = volume["name"]
    kind = next((field for field in volume if field != "name"), "emptyDir")
    try:
        if kind not in KINDS:
            raise VolumeFailure(f"volumes of kind {kind} are not supported on this node")
        directory = files.volume(meta.uid(pod), kind, name)
        if kind not in _OTHERS_PATHS:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o777)
        source = volume.get(kind) or {}
        prepared = await KINDS[kind](VolumeRequest(pod, name, source, directory, services))
        group = pod_context(pod).get("fsGroup")
        if group is not None and kind not in _OTHERS_PATHS:
            set_group(prepared.path, group, read_only=kind in _READ_ONLY)
    except (VolumeFailure, OSError) as error:
        raise VolumeProblem(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error
    return Volume(name, kind, prepared.path, prepared.refresh_after_seconds)


def volume_path(pod: Object, volume: Object, files: Files) -> Path:
    """Where a prepared volume lies."""
    kind = next((field for field in volume if field != "name"), "emptyDir")
    if kind == "hostPath":
        return Path(volume["hostPath"]["path"])
    return files.volume(meta.uid(pod), kind, volume["name"])


def remove_volumes(uid: str, files: Files, mounter: Mounter) -> None:
    """With what is in them. Raises OSError."""
    volumes = files.pod(uid) / "volumes"
    for directory in volumes.glob("*/*"):
        mounter.unmount(directory)
    if volumes.exists():
        shutil.rmtree(volumes)
