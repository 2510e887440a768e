"""A registry in memory, for the tests of what asks registries: with passwords or tokens, and with faults."""

from __future__ import annotations

import base64
import json
from typing import Any

from tiphys.kubelet.images.oci import INDEX, MANIFEST, digest_of
from tiphys.net.http import Request, Response

BASIC = "Basic " + base64.b64encode(b"me:pw").decode()


class MemoryRegistry:
    """`handle` is a server's handler. `auth`: "", "basic" or "bearer", which lets anybody have a token for `public/...` only."""

    def __init__(self, auth: str = "") -> None:
        self.auth = auth
        self.url = ""
        self.asked: list[str] = []
        self.cut_after_bytes: list[int] = []
        """For each next GET of a blob: how much of it comes."""
        self.spoil = False
        """Give other blobs than those that are asked for."""
        self.redirects = False
        self._manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}

    def put(self, path: str, tag: str, *layers: bytes) -> str:
        """An image of these layers; its digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        for blob in (config, *layers):
            self._blobs[digest_of(blob)] = blob
        entries = [
            {"mediaType": "l", "digest": digest_of(blob), "size": len(blob)} for blob in (config, *layers)
        ]
        document = {"schemaVersion": 2, "config": entries[0], "layers": entries[1:]}
        return self._put(path, tag, MANIFEST, document)

    def put_index(self, path: str, tag: str, *digests: str) -> str:
        manifests = [{"mediaType": MANIFEST, "digest": digest, "size": 1} for digest in digests]
        return self._put(path, tag, INDEX, {"schemaVersion": 2, "manifests": manifests})

    def _put(self, path: str, tag: str, media_type: str, document: Any) -> str:
        data = json.dumps(document).encode()
        for reference in (tag, digest_of(data)):
            self._manifests[path, reference] = (media_type, data)
        return digest_of(data)

    async def handle(self, request: Request) -> Response:
        if request.path == "/token":
            return self._token(request)
        _, _, *parts, what, reference = request.path.split("/")
        path = "/".join(parts)
        self.asked.append(f"{request.method} {what} {path}:{reference[:19]}")
        shown = request.headers.get("authorization", "")
        if request.path.startswith("/cdn/"):
            assert not shown, "credentials went along to another place"
        elif not self._lets_in(path, shown):
            return Response(401, [("www-authenticate", self._challenge(path))], b"{}")
        if what == "manifests":
            return self._manifest(path, reference)
        return self._blob(request, reference)

    def _lets_in(self, path: str, shown: str) -> bool:
        if self.auth == "basic":
            return shown == BASIC
        return not self.auth or shown == f"Bearer {path}"

    def _challenge(self, path: str) -> str:
        if self.auth == "basic":
            return 'Basic realm="test"'
        return f'Bearer realm="{self.url}/token",service="test",scope="repository:{path}:pull"'

    def _token(self, request: Request) -> Response:
        [scope] = request.query["scope"]
        path = scope.split(":")[1]
        if path.startswith("public/") or request.headers.get("authorization") == BASIC:
            return Response(200, [], json.dumps({"token": path}).encode())
        return Response(401, [], b"{}")

    def _manifest(self, path: str, reference: str) -> Response:
        found = self._manifests.get((path, reference))
        if found is None:
            return Response(404, [], b"{}")
        headers = [("content-type", found[0]), ("docker-content-digest", digest_of(found[1]))]
        return Response(200, headers, found[1])

    def _blob(self, request: Request, digest: str) -> Response:
        data = self._blobs.get(digest)
        if data is None:
            return Response(404, [], b"{}")
        if self.redirects and not request.path.startswith("/cdn/"):
            # Another name of the same server is another host.
            url = self.url.replace("127.0.0.1", "localhost")
            return Response(307, [("location", f"{url}/cdn/x/blobs/{digest}")], b"")
        if self.spoil:
            data = b"x" * len(data)
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        status = 206 if start else 200
        if request.method == "GET" and self.cut_after_bytes:
            end = start + self.cut_after_bytes.pop(0)
            headers = [("content-length", str(len(data) - start))]
            return Response(status, headers, _broken(data[start:end]))
        return Response(status, [], data[start:])


async def _broken(data: bytes) -> Any:
    yield data
    raise ConnectionError("cut")
