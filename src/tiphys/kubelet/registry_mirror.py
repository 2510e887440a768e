"""A small read-only registry inside the node: what was imported can be pulled, without any network.

containerd asks it first, for every registry (its hosts.toml names it as the mirror of all), and goes on to the real one when the
answer is 404. So `image: busybox` with policy Always works offline, and finds a rebuilt image at once. It speaks the pulling half of
the OCI distribution specification (v1.1) over what images/load.py put into containerd; `?ns=` says which registry is meant. What was
not imported is had from that registry and kept (pull_through.py).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable

from tiphys.kubelet.images.load import MIRROR_NAMESPACE
from tiphys.kubelet.images.names import DEFAULT_REGISTRY, InvalidName, parse
from tiphys.kubelet.images.oci import INDEX, MANIFEST
from tiphys.kubelet.pull_through import Asked, Blob, PullThrough
from tiphys.kubelet.runtimes.cri.content import ContentStore
from tiphys.kubelet.runtimes.interface import NotFound
from tiphys.net.grpc_channel import Channel
from tiphys.net.http import Request, Response

log = logging.getLogger(__name__)

_ROUTE = re.compile(r"/v2/(?P<path>.+)/(?P<what>manifests|blobs|tags)/(?P<reference>[^/]+)")
_DIGEST = re.compile(r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
MANIFEST_LIMIT_BYTES = 4 << 20


class RegistryMirror:
    """`handle` is the server's handler. Started and ended with the node. `through` is its owner's to close; None: only what was imported.

    `own_name`: by what containerd knows the mirror itself, which is no registry to ask.
    """

    def __init__(self, channel: Channel, through: PullThrough | None = None, *, own_name: str = "") -> None:
        self._store = ContentStore(channel, MIRROR_NAMESPACE)
        self._through = through
        self._own_name = own_name

    async def handle(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return failure(405, "UNSUPPORTED", "this registry is read-only")
        if request.path.rstrip("/") == "/v2":
            return Response(200, [("content-type", "application/json")], b"{}")
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            return failure(404, "NAME_UNKNOWN", "no such page")
        reference = route["reference"]
        if (route["what"] == "blobs" or ":" in reference) and not _DIGEST.fullmatch(reference):
            return failure(400, "DIGEST_INVALID", f"{reference} is not a digest")
        repository = f"{_registry(request)}/{route['path']}"
        try:
            parse(repository)
            if route["what"] == "tags":
                return await self._tags(repository, route["path"])
            if route["what"] == "manifests":
                found = await self._manifest(repository, reference)
            else:
                found = await self._blob(request, reference)
            if found.status == 404:
                return await self._passed_through(request, repository, route["what"], reference) or found
            return found
        except (InvalidName, NotFound) as error:
            return failure(404, "NAME_UNKNOWN", str(error))

    async def _passed_through(
        self, request: Request, repository: str, what: str, reference: str
    ) -> Response | None:
        """From the registry itself, for who names one."""
        registry = (request.query.get("ns") or [""])[0]
        if self._through is None or registry in ("", self._own_name):
            return None
        asked = Asked(repository, request.headers.get("authorization", ""))
        try:
            if what == "manifests":
                return await self._through.manifest(asked, reference)
            blob = await self._through.blob(asked, reference)
        except OSError as error:
            log.warning("%s: the disk: %s", repository, error)
            return None
        return (
            blob_response(request, reference, blob.size_bytes, blob.read) if isinstance(blob, Blob) else blob
        )

    async def _manifest(self, repository: str, reference: str) -> Response:
        """By tag, or by a digest that anything imported under this repository's name leads to."""
        if ":" in reference:
            digest, media_type = reference, ""
        else:
            record = await self._store.record(str(parse(f"{repository}:{reference}")))
            if record is None:
                return failure(404, "MANIFEST_UNKNOWN", f"{repository}:{reference} was not imported")
            digest, media_type = record.target.digest, record.target.media_type
        size_bytes = await self._store.size_bytes(digest)
        if size_bytes is None or size_bytes > MANIFEST_LIMIT_BYTES:
            return failure(404, "MANIFEST_UNKNOWN", f"{digest} was not imported")
        data = b"".join([chunk async for chunk in self._store.read(digest)])
        media_type = media_type or _media_type(data)
        if not media_type:
            return failure(404, "MANIFEST_UNKNOWN", f"{digest} is not a manifest")
        return Response(200, [("content-type", media_type), ("docker-content-digest", digest)], data)

    async def _blob(self, request: Request, digest: str) -> Response:
        size_bytes = await self._store.size_bytes(digest)
        if size_bytes is None:
            return failure(404, "BLOB_UNKNOWN", f"{digest} was not imported")
        return blob_response(
            request, digest, size_bytes, lambda start, end: self._store.read(digest, start, end - start)
        )

    async def _tags(self, repository: str, path: str) -> Response:
        names = [parse(record.name) for record in await self._store.records()]
        tags = sorted(name.tag for name in names if name.repository == repository)
        if not tags:
            return failure(404, "NAME_UNKNOWN", f"nothing was imported as {repository}")
        body = json.dumps({"name": path, "tags": tags}).encode()
        return Response(200, [("content-type", "application/json")], body)


def blob_response(
    request: Request, digest: str, size_bytes: int, read: Callable[[int, int], AsyncIterator[bytes]]
) -> Response:
    """All of a blob, or the part that is asked for. `read(start, end)` gives its bytes."""
    headers = [
        ("content-type", "application/octet-stream"),
        ("docker-content-digest", digest),
        ("accept-ranges", "bytes"),
    ]
    wanted = byte_range(request.headers.get("range", ""), size_bytes)
    if wanted is None:
        return Response(416, [*headers, ("content-range", f"bytes */{size_bytes}")])
    start, end = wanted
    headers.append(("content-length", str(end - start)))
    status = 200
    if "range" in request.headers and (start, end) != (0, size_bytes):
        status = 206
        headers.append(("content-range", f"bytes {start}-{end - 1}/{size_bytes}"))
    is_empty = request.method == "HEAD" or start == end
    body = nothing() if is_empty else read(start, end)
    return Response(status, headers, body)


def _registry(request: Request) -> str:
    """Which registry a request is meant for: containerd tells its mirrors by `ns`; nobody else asks, save a curious person."""
    return (request.query.get("ns") or [DEFAULT_REGISTRY])[0]


def _media_type(manifest: bytes) -> str:
    """What a manifest calls itself or, as OCI allows it not to say, what its form shows. Empty: it is none."""
    try:
        document = json.loads(manifest)
    except ValueError:
        return ""
    if not isinstance(document, dict):
        return ""
    form = INDEX if "manifests" in document else MANIFEST if "layers" in document else ""
    return str(document.get("mediaType", form)) if form else ""


def byte_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """First byte and the one after the last, of one simple range; all of it for none or another form (RFC 9110 §14.2 allows that).

    None: it begins after the end (416).
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return 0, size_bytes
    start, end = int(match[1]), int(match[2]) + 1 if match[2] else size_bytes
    if start >= size_bytes:
        return None
    return (start, min(end, size_bytes)) if end > start else (0, size_bytes)


def failure(status: int, code: str, message: str) -> Response:
    """An error in the specification's form."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Response(status, [("content-type", "application/json")], body)


async def nothing() -> AsyncIterator[bytes]:
    """A body without bytes, whose length the headers tell."""
    return
    yield b""
