"""What PersistentVolumes are made of and this node can mount without a driver: local disks and NFS."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

from tiphys.kubelet.volumes.mounting import mounts_below
from tiphys.kubelet.volumes.request import Prepared, VolumeFailure, VolumeRequest

NOTHING_THERE = 2
"""How blkid ends when it knows nothing of what a device holds."""
NEW_MOUNTER = "MountVolume.NewMounter initialization failed"


async def prepare_local(request: VolumeRequest) -> Prepared:
    """A directory of the node, mounted for the pod; or (by a container's volumeDevices) a block device."""
    path = Path(request.source.get("path") or "")
    if not path.exists():
        raise VolumeFailure(f'path "{path}" does not exist', stage=NEW_MOUNTER)
    if path.is_block_device():
        is_new = await _mount_device(request, path)
    else:
        is_new = _mount(request, "bind", str(path), ["bind"])
    if is_new and not request.read_only:
        # It may hold millions of files.
        await asyncio.to_thread(request.ownership.apply, request.directory)
    return Prepared(request.directory)


async def prepare_local_device(request: VolumeRequest) -> Prepared:
    path = Path(request.source.get("path") or "")
    if not (path.exists() and stat.S_ISBLK(path.stat().st_mode)):
        raise VolumeFailure(
            f'path "{path}" is not a block device',
            stage="MapVolume.SetUpDevice failed",
            reason="FailedMapVolume",
        )
    return Prepared(path)


def _mount(request: VolumeRequest, kind: str, source: str, options: list[str]) -> bool:
    request.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    if request.read_only:
        options.append("ro")
    return request.services.mounter.mount(kind, source, request.directory, [*options, *request.mount_options])


async def _mount_device(request: VolumeRequest, device: Path) -> bool:
    """Its file system, which is made when there is nothing on it at all."""
    directory, kind = request.directory, request.source.get("fsType") or "ext4"
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    if mounts_below(directory, only_itself=True):
        return False
    code, _ = await request.services.run(["blkid", "-p", str(device)])
    if code == NOTHING_THERE and not request.read_only:
        await _run(
            request, device, [f"mkfs.{kind}", *(["-F", "-m0"] if kind.startswith("ext") else []), str(device)]
        )
    options = ",".join([*(["ro"] if request.read_only else []), *request.mount_options]) or "defaults"
    await _run(request, device, ["mount", "-t", kind, "-o", options, str(device), str(directory)])
    return True


async def _run(request: VolumeRequest, device: Path, command: list[str]) -> None:
    code, said = await request.services.run(command)
    if code != 0:
        raise VolumeFailure(
            f"local: failed to mount device {device} at {request.directory} "
            f"(fstype: {request.source.get('fsType') or 'ext4'}), error {' '.join(command)}: exit status {code}: {said}",
            stage="MountVolume.MountDevice failed",
        )


async def prepare_nfs(request: VolumeRequest) -> Prepared:
    """By mount(8) and its helper mount.nfs, which know the protocol's versions and talk to rpcbind."""
    directory = request.directory
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    if mounts_below(directory, only_itself=True):
        return Prepared(directory)
    options = [
        *(["ro"] if request.read_only or request.source.get("readOnly") else []),
        *request.mount_options,
    ]
    export = f"{_bracketed(request.source.get('server', ''))}:{request.source.get('path', '')}"
    arguments = ["-t", "nfs", *(["-o", ",".join(options)] if options else []), export, str(directory)]
    code, said = await request.services.run(["mount", *arguments])
    if code != 0:
        directory.rmdir()
        raise VolumeFailure(
            f"mount failed: exit status {code}\nMounting command: mount\n"
            f"Mounting arguments: {' '.join(arguments)}\nOutput: {said}\n"
        )
    return Prepared(directory)


def _bracketed(server: str) -> str:
    return f"[{server}]" if ":" in server and not server.startswith("[") else server
