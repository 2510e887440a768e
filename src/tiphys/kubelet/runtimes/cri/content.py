"""containerd's blobs and image records in one of its namespaces.

A namespace is a view: a blob that two of them name lies on the disk once, and stays for as long as either has a record that leads to
it. What no record and no lease leads to is collected as garbage, soon.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from datetime import datetime, timedelta
from typing import IO, Any

from tiphys.kubelet.images.oci import Descriptor
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.interface import NotFound
from tiphys.machinery.frozen import frozen
from tiphys.net.grpc import Code, GRPCError, Metadata
from tiphys.net.grpc_channel import Channel, Stream
from tiphys.net.grpc_messages import Message

CONTENT = "containerd.services.content.v1.Content"
CHUNK_BYTES = 1 << 20
STAT, WRITE, COMMIT = range(3)
LEASE_LIFETIME = timedelta(hours=1)


@frozen
class ImageRecord:
    name: str
    target: Descriptor
    labels: Mapping[str, str] = field(default_factory=dict)


class ContentStore:
    """Content, image records and leases of one containerd namespace. The channel is its owner's to close."""

    def __init__(self, channel: Channel, namespace: str) -> None:
        self.namespace = namespace
        self._channel = channel
        self._metadata: Metadata = (("containerd-namespace", namespace),)
        self._content = wire.Service(channel, CONTENT, self._metadata)
        self._images = wire.Service(channel, "containerd.services.images.v1.Images", self._metadata)
        self._leases = wire.Service(channel, "containerd.services.leases.v1.Leases", self._metadata)

    @asynccontextmanager
    async def lease(self, now: datetime) -> AsyncIterator[str]:
        """Keeps what is written under it from the garbage collector; yields its id. Should we die, it expires by itself."""
        lease_id = f"tiphys-{uuid.uuid4().hex}"
        expiry = (now + LEASE_LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
        await self._leases.call("Create", id=lease_id, labels={"containerd.io/gc.expire": expiry})
        try:
            yield lease_id
        finally:
            await self._leases.call("Delete", id=lease_id)

    async def write(
        self, descriptor: Descriptor, file: IO[bytes], labels: Mapping[str, str], *, lease: str
    ) -> None:
        """Stores a blob, verified against its digest, unless it is here already; the labels are set in any case."""
        metadata = (*self._metadata, ("containerd-lease", lease))
        content = wire.Service(self._channel, CONTENT, metadata)
        reference = f"{lease}-{descriptor.digest}"
        try:
            await self._send(content, reference, descriptor, file, labels)
        except GRPCError as error:
            if error.code != Code.ALREADY_EXISTS:
                raise wire.failure(error) from None
            await self.add_labels(descriptor.digest, labels)

    async def _send(
        self,
        content: wire.Service,
        reference: str,
        descriptor: Descriptor,
        file: IO[bytes],
        labels: Mapping[str, str],
    ) -> None:
        expected = {"ref": reference, "total": descriptor.size_bytes, "expected": descriptor.digest}
        async with content.duplex("Write") as call:

            async def ask(*, end: bool = False, **fields: Any) -> Message:
                request = content.request("Write", **expected, **fields)
                call.write(request.SerializeToString(), end=end)
                return content.answer("Write", await _answer(call))

            # What another namespace has already is not sent again: the offset is then its end.
            offset = (await ask(action=STAT)).offset
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                offset = (await ask(action=WRITE, offset=offset, data=chunk)).offset
            await ask(action=COMMIT, offset=offset, labels=labels, end=True)
            while await call.read() is not None:
                pass

    async def add_labels(self, digest: str, labels: Mapping[str, str]) -> None:
        """To those of a blob that is here."""
        if not labels:
            return
        info = (await self._content.call("Info", digest=digest)).info
        merged = {**info.labels, **labels}
        if merged != dict(info.labels):
            await self._content.call("Update", info={"digest": digest, "labels": merged})

    async def size_bytes(self, digest: str) -> int | None:
        """None: not here."""
        try:
            return int((await self._content.call("Info", digest=digest)).info.size)
        except NotFound:
            return None

    async def read(self, digest: str, offset: int = 0, size_bytes: int = 0) -> AsyncIterator[bytes]:
        """A blob's bytes from an offset on (size 0: to its end). NotFound before the first chunk."""
        async for answer in self._content.stream("Read", digest=digest, offset=offset, size=size_bytes):
            yield answer.data

    async def records(self) -> list[ImageRecord]:
        return [_record(image) for image in (await self._images.call("List")).images]

    async def record(self, name: str) -> ImageRecord | None:
        try:
            return _record((await self._images.call("Get", name=name)).image)
        except NotFound:
            return None

    async def put_record(self, record: ImageRecord) -> None:
        """Makes the name stand for this target from now on."""
        image: dict[str, Any] = {
            "name": record.name,
            "labels": record.labels,
            "target": {
                "media_type": record.target.media_type,
                "digest": record.target.digest,
                "size": record.target.size_bytes,
            },
        }
        try:
            await self._images.call("Update", image=image)
        except NotFound:
            await self._images.call("Create", image=image)

    async def delete_record(self, name: str) -> bool:
        """False when there was none."""
        try:
            await self._images.call("Delete", name=name, sync=True)
        except NotFound:
            return False
        return True


async def _answer(call: Stream) -> bytes:
    """The next answer; a stream that ends instead has failed."""
    answer = await call.read()
    if answer is None:
        raise GRPCError(Code.INTERNAL, "the stream ended before its answer")
    return answer


def _record(image: Message) -> ImageRecord:
    target = Descriptor(image.target.media_type, image.target.digest, image.target.size)
    return ImageRecord(image.name, target, dict(image.labels))
