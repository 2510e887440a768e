"""Puts image archives into a node's containerd, twice over.

Once for CRI, so that the image is there at once, as if it had been pulled. And once into a namespace of our own, from which the
node's registry mirror (registry_mirror.py) serves it: there nothing that the kubelet or containerd does to CRI's images reaches
it, so an image that was imported can be pulled again, offline, even after it was collected as unused. The blobs lie on the disk
once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from tiphys.kubelet.images.archive import Archive, ArchivedImage, Blob, open_archive
from tiphys.kubelet.images.names import normalized, parse
from tiphys.kubelet.images.oci import INDEXES
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.cri.content import ContentStore, ImageRecord
from tiphys.kubelet.runtimes.interface import RuntimeFailure, Unavailable
from tiphys.machinery.frozen import frozen

CRI_NAMESPACE = "k8s.io"
MIRROR_NAMESPACE = "tiphys-mirror"
CRI_LABELS = {"io.cri-containerd.image": "managed"}
"""Says that CRI need not adopt the record: it is as CRI itself would have made it."""
SEEN_TIMEOUT_SECONDS = 10.0
SEEN_DELAY_SECONDS = 0.005


@frozen
class ImportedImage:
    name: str
    digest: str


def garbage_labels(blob: Blob) -> dict[str, str]:
    """What tells containerd's garbage collector which blobs this one leads to."""
    if not blob.references:
        return {}
    if blob.descriptor.media_type in INDEXES:
        return {
            f"containerd.io/gc.ref.content.m.{index}": child.digest
            for index, child in enumerate(blob.references)
        }
    config, *layers = blob.references
    labels = {f"containerd.io/gc.ref.content.l.{index}": layer.digest for index, layer in enumerate(layers)}
    return {"containerd.io/gc.ref.content.config": config.digest, **labels}


class ImageLoader:
    """Imports, lists and removes images of one containerd. Opens its own connection; close() it."""

    def __init__(self, socket_path: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._channel = wire.open_channel(socket_path)
        self._mirror = ContentStore(self._channel, MIRROR_NAMESPACE)
        self._cri = ContentStore(self._channel, CRI_NAMESPACE)
        self._cri_images = wire.Service(self._channel, "runtime.v1.ImageService")
        self._now = now

    async def close(self) -> None:
        await self._channel.close()

    async def import_archive(self, path: Path, *, name: str | None = None) -> list[ImportedImage]:
        """Imports every image of the archive and returns once CRI knows them. Raises ArchiveError, or the runtime's errors."""
        with open_archive(path, name=name) as archive:
            for store in (self._mirror, self._cri):
                await self._store(archive, store)
        imported = [
            ImportedImage(name, image.target.digest) for image in archive.images for name in image.names
        ]
        for image in imported:
            await self._wait_until_seen(image)
        return imported

    async def _store(self, archive: Archive, store: ContentStore) -> None:
        async with store.lease(self._now()) as lease:
            for blob in archive.blobs:
                with blob.open() as file:
                    await store.write(blob.descriptor, file, garbage_labels(blob), lease=lease)
            for image in archive.images:
                for record in _records(image, store.namespace):
                    await store.put_record(record)

    async def _wait_until_seen(self, image: ImportedImage) -> None:
        """CRI learns of records by events: until it has, an ImageStatus would still give the image that the name meant before."""
        digest_name = _digest_name(image.name, image.digest)
        deadline = asyncio.get_running_loop().time() + SEEN_TIMEOUT_SECONDS
        while True:
            statuses = [
                (await self._cri_images.call("ImageStatus", image={"image": name})).image.id
                for name in (image.name, digest_name)
            ]
            if statuses[0] and statuses[0] == statuses[1]:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"containerd does not show {image.name}, which was just imported")
            await asyncio.sleep(SEEN_DELAY_SECONDS)

    async def images(self) -> list[ImportedImage]:
        """What was imported and not removed, by name."""
        records = sorted(await self._mirror.records(), key=lambda record: record.name)
        return [ImportedImage(record.name, record.target.digest) for record in records]

    async def is_on_node(self, name: str) -> bool:
        """Whether a pod could use it without a pull."""
        answer = await self._cri_images.call("ImageStatus", image={"image": normalized(name)})
        return bool(answer.HasField("image"))

    async def remove(self, name: str) -> bool:
        """Forgets an image, in the mirror and on the node; containers that run from it go on. False when it was not there."""
        whole = normalized(name)
        was_imported = await self._mirror.delete_record(whole)
        status = await self._cri_images.call("ImageStatus", image={"image": whole})
        if not status.HasField("image"):
            return was_imported
        try:
            await self._cri_images.call("RemoveImage", image={"image": whole})
        except RuntimeFailure as error:
            raise RuntimeFailure(f"cannot remove {whole}: {error.message}") from None
        return True


def _digest_name(name: str, digest: str) -> str:
    return f"{parse(name).repository}@{digest}"


def _records(image: ArchivedImage, namespace: str) -> list[ImageRecord]:
    """One record a name; for CRI also by digest, which is what a Pod's imageID shows."""
    if namespace == MIRROR_NAMESPACE:
        return [ImageRecord(name, image.target) for name in image.names]
    names = [wanted for name in image.names for wanted in (_digest_name(name, image.target.digest), name)]
    return [ImageRecord(name, image.target, CRI_LABELS) for name in dict.fromkeys(names)]
