"""Views of images by containerd's snapshotter: its CRI (1.6) does not mount images into containers.

An image's layers are snapshots that stand on one another, named by chain ids (a digest over the digests of all layers so far). CRI
unpacks what it pulls, and what was imported only when a container is first made of it; a view may come before that.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from tiphys.kubelet.images.oci import INDEXES, Descriptor, architecture
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.cri.content import ContentStore
from tiphys.kubelet.runtimes.image_views import FilesystemMount
from tiphys.kubelet.runtimes.interface import ImageNotFound, NotFound, RuntimeFailure
from tiphys.net.grpc import Metadata
from tiphys.net.grpc_channel import Channel
from tiphys.net.grpc_messages import Message

SNAPSHOTTER = "overlayfs"
ROOT_LABEL = "containerd.io/gc.root"
"""Keeps what nobody refers to from the garbage collector."""
SNAPSHOT_LABEL = f"containerd.io/gc.ref.snapshot.{SNAPSHOTTER}"
"""On an image's config: keeps its unpacked layers."""


class SnapshotViews:
    """`ImageViews` of one containerd namespace. The channel is its owner's to close."""

    def __init__(self, channel: Channel, namespace: str, now: Callable[[], datetime]) -> None:
        self._channel = channel
        self._metadata: Metadata = (("containerd-namespace", namespace),)
        self._store = ContentStore(channel, namespace)
        self._snapshots = wire.Service(channel, "containerd.services.snapshots.v1.Snapshots", self._metadata)
        self._now = now

    async def view(self, image_id: str, key: str) -> FilesystemMount | None:
        try:
            return _mount(await self._snapshots.call("Mounts", snapshotter=SNAPSHOTTER, key=key))
        except NotFound:
            pass
        config = await self._json(image_id)
        chain = chain_ids(config["rootfs"]["diff_ids"])
        if not chain:
            return None
        async with self._store.lease(self._now()) as lease:
            await self._unpack(image_id, chain, lease)
            labels = {ROOT_LABEL: self._now().strftime("%Y-%m-%dT%H:%M:%SZ")}
            answer = await self._snapshots.call(
                "View", snapshotter=SNAPSHOTTER, key=key, parent=chain[-1], labels=labels
            )
        return _mount(answer)

    async def remove(self, key: str) -> None:
        try:
            await self._snapshots.call("Remove", snapshotter=SNAPSHOTTER, key=key)
        except NotFound:
            pass

    async def _unpack(self, image_id: str, chain: list[str], lease: str) -> None:
        if await self._is_there(chain[-1]):
            return
        layers = await self._layers(image_id)
        leased: Metadata = (*self._metadata, ("containerd-lease", lease))
        snapshots = wire.Service(self._channel, "containerd.services.snapshots.v1.Snapshots", leased)
        diff = wire.Service(self._channel, "containerd.services.diff.v1.Diff", leased)
        for index, (name, layer) in enumerate(zip(chain, layers, strict=True)):
            if await self._is_there(name):
                continue
            key = f"tiphys-unpack-{uuid.uuid4().hex} {name}"
            parent = chain[index - 1] if index else ""
            made = await snapshots.call("Prepare", snapshotter=SNAPSHOTTER, key=key, parent=parent)
            descriptor = {
                "media_type": layer.media_type,
                "digest": layer.digest,
                "size": layer.size_bytes,
            }
            await diff.call("Apply", diff=descriptor, mounts=made.mounts)
            await self._commit(snapshots, name, key)
        await self._store.add_labels(image_id, {SNAPSHOT_LABEL: chain[-1]})

    async def _commit(self, snapshots: wire.Service, name: str, key: str) -> None:
        try:
            await snapshots.call("Commit", snapshotter=SNAPSHOTTER, name=name, key=key)
        except RuntimeFailure:
            # Somebody else was quicker: theirs is as good.
            await self.remove(key)
            if not await self._is_there(name):
                raise

    async def _is_there(self, name: str) -> bool:
        try:
            await self._snapshots.call("Stat", snapshotter=SNAPSHOTTER, key=name)
        except NotFound:
            return False
        return True

    async def _layers(self, image_id: str) -> list[Descriptor]:
        """By the record of the image's id, or (of one that was imported) by whichever name leads to it."""
        named = await self._store.record(image_id)
        for record in [named] if named is not None else await self._store.records():
            manifest = await self._manifest(record.target)
            if manifest is not None and manifest["config"]["digest"] == image_id:
                return [Descriptor.of(layer) for layer in manifest["layers"]]
        raise ImageNotFound(f"no manifest of image {image_id} is here")

    async def _manifest(self, target: Descriptor) -> Any:
        """None when not all of it is here."""
        try:
            manifest = await self._json(target.digest)
            if target.media_type in INDEXES or "manifests" in manifest:
                manifest = await self._json(_of_this_machine(manifest["manifests"])["digest"])
        except NotFound:
            return None
        return manifest

    async def _json(self, digest: str) -> Any:
        data = b"".join([chunk async for chunk in self._store.read(digest)])
        return json.loads(data)


def chain_ids(diff_ids: Iterable[str]) -> list[str]:
    """Of each layer with all below it (OCI image specification, "Layer ChainID")."""
    found: list[str] = []
    for diff_id in diff_ids:
        whole = f"{found[-1]} {diff_id}" if found else ""
        found.append("sha256:" + hashlib.sha256(whole.encode()).hexdigest() if whole else diff_id)
    return found


def _of_this_machine(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    for entry in manifests:
        if (entry.get("platform") or {}).get("architecture", architecture()) == architecture():
            return entry
    return manifests[0]


def _mount(answer: Message) -> FilesystemMount:
    [mount] = answer.mounts
    return FilesystemMount(mount.type, mount.source, tuple(mount.options))
