"""All volumes of a pod: prepared together, removed together. A new kind is a module with `prepare` and a line in a table here."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from tiphys.api.core.volumes import MIGRATED
from tiphys.kubelet.files import Files
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes import (
    config_map,
    downward_api,
    drivers,
    empty_dir,
    host_path,
    persistent,
    projected,
    secret,
)
from tiphys.kubelet.volumes.claims import Claim, bound_volume, check_mode, claim_of
from tiphys.kubelet.volumes.mounting import Mounter, mounts_below
from tiphys.kubelet.volumes.ownership import Ownership
from tiphys.kubelet.volumes.request import (
    Prepared,
    Services,
    Unprocessed,
    VolumeFailure,
    VolumeRequest,
)
from tiphys.kubelet.volumes.used import IMAGE, used_volumes
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors.nodes import NodeSelector

Prepare = Callable[[VolumeRequest], Awaitable[Prepared]]

GROUP_ANNOTATION = "pv.beta.kubernetes.io/gid"
READ_ONLY = ("configMap", "secret", "downwardAPI", "projected")
"""What containers may not write to, however they mount it; and what may change under their eyes."""
OF_PODS: Mapping[str, Prepare] = {
    "emptyDir": empty_dir.prepare,
    "hostPath": host_path.prepare,
    "configMap": config_map.prepare,
    "secret": secret.prepare,
    "downwardAPI": downward_api.prepare,
    "projected": projected.prepare,
    "nfs": persistent.prepare_nfs,
    "csi": drivers.refuse_inline_csi,
    "gitRepo": drivers.refuse_git_repo,
}
OF_CLAIMS: Mapping[str, Prepare] = {
    "hostPath": host_path.prepare,
    "local": persistent.prepare_local,
    "nfs": persistent.prepare_nfs,
    "csi": drivers.refuse_csi,
}
DEVICES: Mapping[str, Prepare] = {
    "local": persistent.prepare_local_device,
    "csi": drivers.refuse_csi,
}

PLUGINS: Mapping[str, str] = {
    "emptyDir": "kubernetes.io/empty-dir",
    "hostPath": "kubernetes.io/host-path",
    "configMap": "kubernetes.io/configmap",
    "secret": "kubernetes.io/secret",
    "downwardAPI": "kubernetes.io/downward-api",
    "projected": "kubernetes.io/projected",
    "nfs": "kubernetes.io/nfs",
    "gitRepo": "kubernetes.io/git-repo",
    "local": "kubernetes.io/local-volume",
}
"""All others are CSI drivers' by now."""


@frozen
class Volume:
    """A volume of a pod that containers may have."""

    name: str
    path: Path
    read_only: bool = False
    refresh_after_seconds: float | None = None
    persistent: str = ""
    """The name of the PersistentVolume, if it is one."""
    group: int | None = None
    """A group that whoever uses it must be in (an annotation of the PersistentVolume)."""
    plugin: str = ""
    """By which of upstream's names metrics tell of it."""


@frozen
class MountProblem:
    """`reason` and `message` of the event about a volume that cannot be had."""

    volume: str
    reason: str
    message: str


@frozen
class Outcome:
    volumes: Mapping[str, Volume]
    problems: tuple[MountProblem, ...] = ()


async def prepare_volumes(
    pod: Object, files: Files, services: Services, known: Container[str] = ()
) -> Outcome:
    """Makes them, or brings them up to date; those that no container mounts are left alone.

    `known`: those that are there already; only those that hold what may change are looked at again.
    """
    mounted, devices = used_volumes(pod)
    wanted = [
        volume
        for volume in pod["spec"].get("volumes") or ()
        if volume["name"] in mounted | devices
        and not volume.get(IMAGE)
        and (volume["name"] not in known or any(volume.get(kind) for kind in READ_ONLY))
    ]
    work = _Work(pod, mounted, devices, files, services)
    results = await asyncio.gather(*(work.prepare(volume) for volume in wanted))
    volumes = {result.name: result for result in results if isinstance(result, Volume)}
    problems = [result for result in results if isinstance(result, MountProblem)]
    unknown = {result[0]: result[1] for result in results if isinstance(result, tuple)}
    if unknown:
        problems.append(_unprocessed(unknown, [name for name in mounted | devices if name not in volumes]))
    return Outcome(volumes, tuple(problems))


def _unprocessed(errors: Mapping[str, str], unmounted: list[str]) -> MountProblem:
    names = " ".join(sorted(errors))
    message = (
        f"Unable to attach or mount volumes: unmounted volumes=[{' '.join(sorted(unmounted))}], "
        f"unattached volumes=[], failed to process volumes=[{names}]: {'; '.join(errors.values())}"
    )
    return MountProblem(names, "FailedMount", message)


@frozen
class _Source:
    """One volume, once it is known what it is."""

    name: str
    kind: str
    content: Mapping[str, Any]
    prepare: Prepare
    read_only: bool = False
    mount_options: tuple[str, ...] = ()
    is_persistent: bool = False
    is_exclusive: bool = False
    """For one pod at a time (ReadWriteOncePod)."""
    group: int | None = None
    nodes: Object | None = None
    """A selector of the nodes that it can be mounted on."""

    @property
    def plugin(self) -> str:
        return PLUGINS.get(self.kind, "kubernetes.io/csi")


@frozen
class _Work:
    pod: Object
    mounted: set[str]
    devices: set[str]
    files: Files
    services: Services

    async def prepare(self, volume: Object) -> Volume | MountProblem | tuple[str, str]:
        """(name, message) when it cannot be said what it is."""
        name = volume["name"]
        try:
            claim = claim_of(self.pod, volume)
            source = _own_source(volume) if claim is None else await self._claimed(name, claim)
        except Unprocessed as error:
            return name, str(error)
        uid = meta.uid(self.pod)
        request = VolumeRequest(
            self.pod,
            source.name,
            source.content,
            self.files.volume(uid, source.kind, source.name),
            self.files.volume_ready(uid, source.kind, source.name),
            Ownership.of(self.pod),
            self.services,
            source.read_only,
            source.mount_options,
        )
        try:
            if source.is_exclusive and self.services.is_used(source.name):
                raise VolumeFailure(
                    "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
                )
            self._check_node(source, is_device=name in self.devices)
            with self.services.timed(source.plugin):
                prepared = await source.prepare(request)
        except (VolumeFailure, OSError) as error:
            stage, reason = _stage(error)
            return MountProblem(name, reason, f'{stage} for volume "{source.name}" : {error}')
        return Volume(
            name,
            prepared.path,
            source.read_only or source.kind in READ_ONLY,
            prepared.refresh_after_seconds,
            source.name if source.is_persistent else "",
            source.group,
            source.plugin,
        )

    def _check_node(self, source: _Source, *, is_device: bool) -> None:
        labels = self.services.node_labels
        if source.nodes is None or labels is None or NodeSelector(source.nodes).matches(labels, ""):
            return
        step, reason = ("Map", "FailedMapVolume") if is_device else ("Mount", "FailedMount")
        raise VolumeFailure(
            "no matching NodeSelectorTerms", stage=f"{step}Volume.NodeAffinity check failed", reason=reason
        )

    async def _claimed(self, name: str, claim: Claim) -> _Source:
        found = await bound_volume(self.pod, claim, self.services.lookups)
        is_block = check_mode(name, found, is_mounted=name in self.mounted, is_device=name in self.devices)
        table = DEVICES if is_block else OF_CLAIMS
        known = {
            **table,
            **{kind: drivers.refuse_migrated(driver) for kind, driver in MIGRATED.items()},
        }
        content = found["spec"]
        kind = next((field for field in known if content.get(field)), None)
        if kind is None:
            raise _no_plugin(meta.name(found))
        return _Source(
            meta.name(found),
            kind,
            content[kind],
            known[kind],
            claim.read_only,
            tuple(content.get("mountOptions") or ()),
            is_persistent=True,
            is_exclusive=content.get("accessModes") == ["ReadWriteOncePod"],
            nodes=(content.get("nodeAffinity") or {}).get("required"),
            group=_number(meta.annotations(found).get(GROUP_ANNOTATION, "")),
        )


def own_plugin(volume: Object) -> str:
    """ "" for one by claim."""
    return next((plugin for kind, plugin in PLUGINS.items() if volume.get(kind) is not None), "")


def _own_source(volume: Object) -> _Source:
    name = volume["name"]
    kind = next((field for field in volume if field != "name" and volume[field] is not None), "emptyDir")
    if kind in MIGRATED:
        return _Source(name, kind, volume[kind], drivers.refuse_migrated(MIGRATED[kind]))
    if kind not in OF_PODS:
        raise _no_plugin(name)
    return _Source(name, kind, volume.get(kind) or {}, OF_PODS[kind])


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _no_plugin(name: str) -> Unprocessed:
    return Unprocessed(
        f'failed to get Plugin from volumeSpec for volume "{name}" err=no volume plugin matched'
    )


def _stage(error: Exception) -> tuple[str, str]:
    failure = error if isinstance(error, VolumeFailure) else VolumeFailure(str(error))
    return failure.stage, failure.reason


def remove_volumes(uid: str, files: Files, mounter: Mounter) -> None:
    """With what is in them, but nothing of what is only mounted there. Blocks. Raises OSError."""
    directories = list(_directories(uid, files))
    for directory in directories:
        mounter.unmount_below(directory)
    for directory in directories:
        if mounts := mounts_below(directory):
            raise OSError(f"cannot remove {directory}: {mounts[0]} is still mounted")
        if directory.exists():
            shutil.rmtree(directory)


def _directories(uid: str, files: Files) -> Iterator[Path]:
    yield files.subpaths(uid)
    yield files.volumes(uid)
    yield files.plugins(uid)
