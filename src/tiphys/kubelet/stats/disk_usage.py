"""What lies on a disk: of whole filesystems (cheap), and of directories with all that is in them (slow: measured in a thread, and kept).

Nothing is measured unless somebody asks; what was measured is good for a minute, as upstream's (volumeStatsAggPeriod).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tiphys.kubelet.files import Files
from tiphys.kubelet.runtimes import interface
from tiphys.kubelet.runtimes.interface import Runtime, RuntimeFailure
from tiphys.kubelet.spec import Object
from tiphys.kubelet.stats.measured import MeasuredPod
from tiphys.kubelet.stats.usage import FilesystemUsage, NodeDisks, PodDisks, VolumeUsage
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

KEPT_SECONDS = 60.0
FORGOTTEN_SECONDS = 600.0
_BLOCK_BYTES = 512
_UNMEASURED_KINDS = ("hostPath",)
"""Kinds whose content is none of the pod's."""
_MEMORY = "Memory"


def filesystem(path: str | Path, now: datetime) -> FilesystemUsage:
    """The filesystem that a path lies on, and what is used of it. Raises OSError."""
    stat = os.statvfs(path)
    size = stat.f_frsize
    return FilesystemUsage(
        now,
        capacity_bytes=stat.f_blocks * size,
        available_bytes=stat.f_bavail * size,
        inodes=stat.f_files,
        inodes_free=stat.f_ffree,
        used_bytes=(stat.f_blocks - stat.f_bfree) * size,
        inodes_used=stat.f_files - stat.f_ffree,
    )


def tree(path: str | Path) -> tuple[int, int]:
    """(bytes, inodes) of a directory or file with all that is below on the same filesystem; what vanishes meanwhile does not count."""
    try:
        top = os.lstat(path)
    except OSError:
        return 0, 0
    used, inodes = top.st_blocks * _BLOCK_BYTES, {top.st_ino}
    waiting = [os.fspath(path)] if os.path.isdir(path) and not os.path.islink(path) else []
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    if found.st_dev != top.st_dev or found.st_ino in inodes:
                        continue
                    inodes.add(found.st_ino)
                    used += found.st_blocks * _BLOCK_BYTES
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            continue
    return used, len(inodes)


def _measured(path: str | Path, now: datetime) -> FilesystemUsage | None:
    try:
        whole = filesystem(path, now)
    except OSError:
        return None
    used, inodes = tree(path)
    return replace(whole, used_bytes=used, inodes_used=inodes)


@frozen
class _Kept:
    at_seconds: float
    disks: PodDisks
    containers: frozenset[str]


class DiskMeter:
    """Of one node. `claimed`: where the volumes of a pod that it has by claim are mounted, by name."""

    def __init__(
        self,
        files: Files,
        runtime: Runtime,
        clock: Clock,
        claimed: Callable[[Object], Mapping[str, Path]] = lambda pod: {},
    ) -> None:
        self._files = files
        self._claimed = claimed
        self._runtime = runtime
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    async def node(self) -> NodeDisks:
        now = self._clock.now()
        own = filesystem(self._files.directory, now)
        try:
            images = await self._runtime.image_fs_info()
        except RuntimeFailure:
            images = []
        if not images:
            return NodeDisks(own)
        found = _of_runtime(images[0])
        return NodeDisks(own, found, found)

    async def pods(
        self, pods: Iterable[MeasuredPod], *, max_age_seconds: float = KEPT_SECONDS
    ) -> dict[str, PodDisks]:
        """By uid; what was measured within `max_age_seconds`, of the same containers, is not measured again."""
        pods = list(pods)
        self._forget()
        stale = [pod for pod in pods if not self._is_fresh(pod, max_age_seconds)]
        if stale:
            try:
                layers = await self._runtime.writable_layers()
            except RuntimeFailure:
                layers = {}
            for pod in stale:
                disks = await asyncio.to_thread(self._measure, pod, layers, self._clock.now())
                ids = frozenset(status.id for status in pod.containers)
                self._kept[pod.uid] = _Kept(self._clock.monotonic(), disks, ids)
        return {pod.uid: self._kept[pod.uid].disks for pod in pods}

    def _forget(self) -> None:
        """What nobody has asked about for long is of pods that are gone; a question need not be about all pods."""
        oldest = self._clock.monotonic() - FORGOTTEN_SECONDS
        self._kept = {uid: kept for uid, kept in self._kept.items() if kept.at_seconds > oldest}

    def _is_fresh(self, pod: MeasuredPod, max_age_seconds: float) -> bool:
        kept = self._kept.get(pod.uid)
        if kept is None or self._clock.monotonic() - kept.at_seconds >= max_age_seconds:
            return False
        return kept.containers == {status.id for status in pod.containers}

    def _measure(
        self, pod: MeasuredPod, layers: Mapping[str, interface.FilesystemUsage], now: datetime
    ) -> PodDisks:
        """In a thread."""
        roots = {
            status.name: _of_runtime(layers[status.id]) for status in pod.containers if status.id in layers
        }
        logs = {}
        for status in pod.containers:
            directory = os.path.dirname(status.log_path)
            usage = _measured(directory, now) if directory else None
            if usage is not None:
                logs[status.name] = usage
        volumes = tuple(self._volumes(pod.pod, now))
        disks = PodDisks(roots, logs, volumes)
        return replace(disks, ephemeral=self._ephemeral(pod.pod, disks, now))

    def _volumes(self, pod: Object, now: datetime) -> Iterable[VolumeUsage]:
        claimed = self._claimed(pod)
        for volume in pod["spec"].get("volumes") or ():
            kind = next((field for field in volume if field != "name"), "emptyDir")
            if kind in _UNMEASURED_KINDS:
                continue
            if volume["name"] in claimed:
                # Of all who have the claim: a filesystem is asked, and not walked through.
                usage = _of_filesystem(claimed[volume["name"]], now)
            else:
                usage = _measured(self._files.volume(meta.uid(pod), kind, volume["name"]), now)
            if usage is not None:
                claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
                if kind == "ephemeral":
                    claim = f"{meta.name(pod)}-{volume['name']}"
                yield VolumeUsage(volume["name"], kind, usage, _is_ephemeral(volume, kind), claim)

    def _ephemeral(self, pod: Object, disks: PodDisks, now: datetime) -> FilesystemUsage | None:
        try:
            whole = filesystem(self._files.directory, now)
        except OSError:
            return None
        hosts = _measured(self._files.hosts(meta.uid(pod)), now)
        parts = [
            *disks.root_filesystems.values(),
            *disks.logs.values(),
            *(volume.usage for volume in disks.volumes if volume.is_ephemeral),
            *([hosts] if hosts is not None else []),
        ]
        return replace(
            whole,
            used_bytes=sum(part.used_bytes or 0 for part in parts),
            inodes_used=sum(part.inodes_used or 0 for part in parts),
        )


def _of_filesystem(path: Path, now: datetime) -> FilesystemUsage | None:
    try:
        return filesystem(path, now)
    except OSError:
        return None


def _is_ephemeral(volume: Object, kind: str) -> bool:
    if kind == "emptyDir":
        return (volume.get(kind) or {}).get("medium") != _MEMORY
    return kind in ("configMap", "gitRepo")


def _of_runtime(usage: interface.FilesystemUsage) -> FilesystemUsage:
    """What the runtime says is used, on the filesystem where it is."""
    try:
        whole = filesystem(usage.mountpoint, usage.time)
    except OSError:
        whole = FilesystemUsage(usage.time, 0, 0, 0, 0)
    return replace(whole, used_bytes=usage.used_bytes, inodes_used=usage.inodes_used)
