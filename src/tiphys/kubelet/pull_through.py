"""The part of the node's registry mirror that has what real registries have: asked once, kept, and given to whoever may have it.

What a tag stands for is asked anew each time, so that a rebuilt image is found at once; blobs are fetched once, however many want one
at the same time, go on by themselves when whoever asked first is gone, are resumed when they break, and dropped unless they are
what their digest says. Who shows credentials has them passed on. What was had with credentials is given to nobody before
the registry has said, now and of his own credentials, that he may have it. While the registry cannot be reached, what anybody could
have is still given.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tiphys.kubelet.images.oci import digest_of
from tiphys.kubelet.images.registry_cache import Held, RegistryCache
from tiphys.kubelet.images.upstream_registry import REDIRECTS, Answer, Unreachable, UpstreamRegistry
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.net.client import HTTPClientError
from tiphys.net.http import Response

log = logging.getLogger(__name__)

MANIFEST_LIMIT_BYTES = 4 << 20
CHUNK_BYTES = 1 << 20
ATTEMPTS = 4
RETRY_SECONDS = 0.5


class Broken(Exception):
    """A download that will not be whole."""


@frozen
class Asked:
    """One request: of registry and path "docker.io/library/busybox", and the Authorization header that came with it."""

    repository: str
    authorization: str = ""


@dataclass(slots=True)
class Download:
    """A blob on its way; it may be read while it grows."""

    path: Path
    size_bytes: int
    sum: Any
    """What hashlib makes of it so far."""
    written: int = 0
    problem: str = ""
    is_whole: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Raises Broken when it breaks, so that nobody takes a part for the whole."""
        with self.path.open("rb") as file:
            file.seek(start)
            while start < end:
                # The last byte is held back until the whole is known to be what it should.
                ready = min(self.written, end if self.is_whole else min(end, self.size_bytes - 1)) - start
                if ready > 0:
                    piece = file.read(min(ready, CHUNK_BYTES))
                    start += len(piece)
                    yield piece
                elif self.problem:
                    raise Broken(self.problem)
                else:
                    await self._changed.wait()


@frozen
class Blob:
    """What the mirror answers a request for a blob with: a file that is here, or one that comes."""

    size_bytes: int
    file: Path | None = None
    download: Download | None = None

    def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        if self.download is not None:
            return self.download.read(start, end)
        assert self.file is not None
        return _pieces(self.file, start, end)


async def _pieces(path: Path, start: int, end: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (piece := file.read(min(end - start, CHUNK_BYTES))):
            start += len(piece)
            yield piece


class PullThrough:
    """`manifest` and `blob` answer None when the client had better ask the registry itself."""

    def __init__(self, cache: RegistryCache, upstream: UpstreamRegistry, clock: Clock) -> None:
        self._cache = cache
        self._upstream = upstream
        self._clock = clock
        self._downloads: dict[str, Download] = {}
        self._beginning: dict[str, asyncio.Future[Blob | Response | None]] = {}
        """Blobs that the registry was just asked for: whoever else wants one waits for its answer."""
        self._tasks: set[asyncio.Task[None]] = set()
        cache.begin()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upstream.close()

    # Manifests

    async def manifest(self, asked: Asked, reference: str) -> Response | None:
        """By tag or digest; with the manifest in it for HEAD, too."""
        is_digest = ":" in reference
        known = reference if is_digest else self._cache.tag(asked.repository, reference)
        held = self._cache.find(asked.repository, known) if known else None
        if is_digest and held is not None and held.is_public:
            return self._kept_manifest(known, held)
        try:
            async with self._upstream.ask(
                "HEAD", asked.repository, f"manifests/{reference}", authorization=asked.authorization
            ) as answer:
                if answer.status != 200:
                    return self._refusal(asked, reference, answer)
                digest = answer.headers.get("docker-content-digest", "")
                is_public = answer.is_public
            held = self._cache.find(asked.repository, digest) if digest else None
            if held is None:
                return await self._fetch_manifest(asked, reference)
        except Unreachable as error:
            log.info("%s: %s", asked.repository, error)
            return self._kept_manifest(known, held) if held is not None and held.is_public else None
        if not is_digest:
            self._cache.set_tag(asked.repository, reference, digest)
        if is_public and not held.is_public:
            self._cache.note(asked.repository, digest, Held(held.media_type, is_public=True))
        return self._kept_manifest(digest, held)

    async def _fetch_manifest(self, asked: Asked, reference: str) -> Response | None:
        async with self._upstream.ask(
            "GET", asked.repository, f"manifests/{reference}", authorization=asked.authorization
        ) as answer:
            if answer.status != 200:
                return self._refusal(asked, reference, answer)
            data = await _whole(answer)
            held = Held(answer.headers.get("content-type", ""), answer.is_public)
            named = answer.headers.get("docker-content-digest", "") if ":" not in reference else reference
        digest = named or digest_of(data)
        if not _is(data, digest):
            log.warning("%s:%s: what came is not %s", asked.repository, reference, digest)
            return None
        partial = self._cache.partial(digest)
        partial.write_bytes(data)
        self._cache.keep(asked.repository, digest, held, partial)
        if ":" not in reference:
            self._cache.set_tag(asked.repository, reference, digest)
        return self._kept_manifest(digest, held)

    def _kept_manifest(self, digest: str, held: Held) -> Response:
        headers = [("content-type", held.media_type), ("docker-content-digest", digest)]
        return Response(200, headers, self._cache.path(digest).read_bytes())

    def _refusal(self, asked: Asked, reference: str, answer: Answer) -> Response | None:
        """Who shows no credentials is asked for them, as the registry does. All else the client shall hear from the registry."""
        if answer.status == 404 and ":" not in reference:
            self._cache.forget_tag(asked.repository, reference)
        challenge = answer.headers.get("www-authenticate", "")
        if answer.status == 401 and challenge and not asked.authorization:
            return Response(
                401, [("www-authenticate", challenge), ("content-type", "application/json")], b"{}"
            )
        return None

    # Blobs

    async def blob(self, asked: Asked, digest: str) -> Blob | Response | None:
        while digest in self._beginning:
            await asyncio.wait([self._beginning[digest]])
        held = self._cache.find(asked.repository, digest)
        if held is not None and held.is_public:
            return self._kept_blob(digest)
        try:
            if held is None and digest not in self._downloads:
                return await self._begin(asked, digest)
            # Where a redirect leads to may give nothing but the blob itself.
            async with self._upstream.ask(
                "HEAD", asked.repository, f"blobs/{digest}", authorization=asked.authorization, follow=False
            ) as answer:
                if answer.status not in (200, *REDIRECTS):
                    return self._refusal(asked, digest, answer)
                self._cache.note(asked.repository, digest, Held("", answer.is_public))
        except Unreachable as error:
            log.info("%s: %s", asked.repository, error)
            return None
        download = self._downloads.get(digest)
        if download is not None:
            return Blob(download.size_bytes, download=download)
        return self._kept_blob(digest)

    def _kept_blob(self, digest: str) -> Blob:
        path = self._cache.path(digest)
        return Blob(path.stat().st_size, file=path)

    async def _begin(self, asked: Asked, digest: str) -> Blob | Response | None:
        """Asks for it, and goes on by itself once it comes."""
        begun: asyncio.Future[Blob | Response | None] = asyncio.get_running_loop().create_future()
        self._beginning[digest] = begun
        begun.add_done_callback(lambda _: self._beginning.pop(digest, None))
        task = asyncio.create_task(self._download(asked, digest, begun), name=f"blob {digest}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(begun)

    async def _download(
        self, asked: Asked, digest: str, begun: asyncio.Future[Blob | Response | None]
    ) -> None:
        download: Download | None = None
        try:
            async with self._ask_for_blob(asked, digest, 0) as answer:
                download = self._open(asked, digest, answer, begun)
                if download is None:
                    return
                await _receive(answer, download)
                is_public = answer.is_public
            await self._resume(asked, digest, download)
            self._finish(asked, digest, download, is_public=is_public)
        except (Unreachable, Broken, OSError) as error:
            log.warning("%s@%s: %s", asked.repository, digest, error)
            if download is not None:
                download.problem = str(error)
        finally:
            if not begun.done():
                begun.set_result(None)
            if download is not None:
                download.problem = "" if download.is_whole else download.problem or "cancelled"
                self._downloads.pop(digest, None)
                if download.problem:
                    download.path.unlink(missing_ok=True)
                download.tell()

    def _ask_for_blob(self, asked: Asked, digest: str, start: int) -> AbstractAsyncContextManager[Answer]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        target, authorization = f"blobs/{digest}", asked.authorization
        return self._upstream.ask(
            "GET", asked.repository, target, authorization=authorization, headers=headers
        )

    async def _resume(self, asked: Asked, digest: str, download: Download) -> None:
        """Until it is all here. Raises Broken."""
        for attempt in range(ATTEMPTS):
            if download.written == download.size_bytes:
                return
            await self._clock.sleep(RETRY_SECONDS * 2**attempt)
            try:
                async with self._ask_for_blob(asked, digest, download.written) as answer:
                    await _receive(answer, download)
            except Unreachable as error:
                log.info("%s@%s: %s", asked.repository, digest, error)
        if download.written != download.size_bytes:
            raise Broken("the registry cuts it off again and again")

    def _open(
        self,
        asked: Asked,
        digest: str,
        answer: Answer,
        begun: asyncio.Future[Blob | Response | None],
    ) -> Download | None:
        """None: there is nothing to download, and `begun` says so."""
        length = answer.headers.get("content-length", "")
        if answer.status != 200 or not length.isdecimal():
            begun.set_result(self._refusal(asked, digest, answer))
            return None
        download = self._downloads[digest] = Download(
            self._cache.partial(digest), int(length), hashlib.new(digest.partition(":")[0])
        )
        download.path.write_bytes(b"")
        begun.set_result(Blob(download.size_bytes, download=download))
        return download

    def _finish(self, asked: Asked, digest: str, download: Download, *, is_public: bool) -> None:
        if download.sum.hexdigest() != digest.partition(":")[2]:
            raise Broken("what came is not what its digest says")
        # Whoever reads it has it open: it may move.
        self._cache.keep(asked.repository, digest, Held("", is_public), download.path)
        download.path = self._cache.path(digest)
        download.is_whole = True


async def _receive(answer: Answer, download: Download) -> None:
    """Writes on where it stopped, as far as it comes. Raises Broken when going on is of no use."""
    skip = 0 if answer.status == 206 else download.written
    if answer.status not in (200, 206):
        raise Broken(f"the registry answers {answer.status}")
    try:
        with download.path.open("ab") as file:
            async for piece in answer.response:
                fresh = piece[skip:]
                skip = max(skip - len(piece), 0)
                file.write(fresh)
                file.flush()
                download.sum.update(fresh)
                download.written += len(fresh)
                if download.written > download.size_bytes:
                    raise Broken("there is more of it than the registry said")
                download.tell()
    except HTTPClientError as error:
        log.info("a blob broke off after %d bytes: %s", download.written, error)


async def _whole(answer: Answer) -> bytes:
    data = b""
    try:
        async for piece in answer.response:
            data += piece
            if len(data) > MANIFEST_LIMIT_BYTES:
                raise Unreachable("the manifest is too large")
    except HTTPClientError as error:
        raise Unreachable(str(error)) from None
    return data


def _is(data: bytes, digest: str) -> bool:
    algorithm, _, value = digest.partition(":")
    return algorithm in ("sha256", "sha512") and hashlib.new(algorithm, data).hexdigest() == value
