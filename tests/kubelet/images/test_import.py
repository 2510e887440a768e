"""Imports into the real containerd, and pulls of what was imported through the node's own registry."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiphys.cluster.images import BUSYBOX_IMAGE, PAUSE_IMAGE, provide_built_in_images
from tiphys.kubelet.images.archive import ArchiveError, open_archive
from tiphys.kubelet.images.build import ImageSource, Layer, write_archive
from tiphys.kubelet.images.load import CRI_NAMESPACE, ImageLoader
from tiphys.kubelet.registry_mirror import RegistryMirror, failure
from tiphys.kubelet.runtimes import network_namespace
from tiphys.kubelet.runtimes.cri import wire
from tiphys.kubelet.runtimes.cri.content import ContentStore
from tiphys.kubelet.runtimes.cri.runtime import ContainerdRuntime
from tiphys.kubelet.runtimes.interface import ImageNotFound, RegistryAuth, RuntimeFailure
from tiphys.net.http import Handler, Request, Response
from tiphys.net.server import Server

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = pytest.mark.real

MIRROR = ("127.0.0.83", 5000)
OTHER = ("127.0.0.84", 5000)


@pytest.fixture
async def runtime(real_node: RealNode) -> AsyncIterator[ContainerdRuntime]:
    client = real_node.containerd.runtime()
    yield client
    await client.close()


@pytest.fixture
async def loader(real_node: RealNode) -> AsyncIterator[ImageLoader]:
    made = ImageLoader(real_node.containerd.socket)
    yield made
    await made.close()


class MirrorOfNode:
    """The node's mirror, with a note of what it was asked and how it answered."""

    def __init__(self, mirror: RegistryMirror) -> None:
        self._mirror = mirror
        self.asked: list[tuple[str, str, int]] = []

    async def handle(self, request: Request) -> Response:
        response = await self._mirror.handle(request)
        self.asked.append((request.method, request.target, response.status))
        return response


@pytest.fixture
async def mirror(real_node: RealNode) -> AsyncIterator[MirrorOfNode]:
    channel = wire.open_channel(real_node.containerd.socket)
    watched = MirrorOfNode(RegistryMirror(channel))
    server = await listen(real_node, watched.handle, MIRROR)
    yield watched
    await server.shutdown(grace_seconds=1)
    await channel.close()


async def listen(real_node: RealNode, handler: Handler, address: tuple[str, int]) -> Server:
    server = Server(handler)
    await server.listen(sock=network_namespace.listen(real_node.containerd.node.network_namespace, *address))
    return server


def archive(path: Path, content: bytes, *names: str) -> Path:
    layer = Layer(files={"content": (content, 0o644)})
    write_archive(path, [ImageSource(names, (layer,), {"Cmd": ["/content"]})])
    return path


async def test_an_imported_image_is_there_at_once_and_has_a_digest(
    loader: ImageLoader, runtime: ContainerdRuntime, tmp_path: Path
) -> None:
    [imported] = await loader.import_archive(archive(tmp_path / "a.tar", b"one", "import.test/app:1"))
    image = await runtime.image_status("import.test/app:1")
    assert image is not None
    assert image.repo_tags == ("import.test/app:1",)
    assert image.repo_digests == (f"import.test/app@{imported.digest}",)
    assert imported in await loader.images()


async def test_importing_again_is_harmless_and_a_rebuilt_tag_means_the_new_image(
    loader: ImageLoader, runtime: ContainerdRuntime, tmp_path: Path
) -> None:
    ids = []
    for content in (b"one", b"one", b"two", b"one"):
        await loader.import_archive(archive(tmp_path / "a.tar", content, "import.test/again:1"))
        image = await runtime.image_status("import.test/again:1")
        assert image is not None
        ids.append(image.id)
    assert ids[0] == ids[1] == ids[3] != ids[2]


async def test_a_rebuilt_tag_is_pulled_at_once(
    loader: ImageLoader, runtime: ContainerdRuntime, mirror: MirrorOfNode, tmp_path: Path
) -> None:
    pulled = []
    for content in (b"one", b"two"):
        await loader.import_archive(archive(tmp_path / "a.tar", content, "rebuilt:1"))
        pulled.append(await runtime.pull_image("rebuilt:1"))
        image = await runtime.image_status("rebuilt:1")
        assert image is not None
        assert image.id == pulled[-1]
    assert pulled[0] != pulled[1]
    assert ("HEAD", "/v2/library/rebuilt/manifests/1?ns=docker.io", 200) in mirror.asked


async def test_an_image_that_was_collected_is_pulled_again_offline(
    loader: ImageLoader, runtime: ContainerdRuntime, mirror: MirrorOfNode, real_node: RealNode, tmp_path: Path
) -> None:
    await loader.import_archive(archive(tmp_path / "a.tar", b"collected", "quay.io/collected/app:1"))
    image = await runtime.image_status("quay.io/collected/app:1")
    assert image is not None
    await runtime.remove_image("quay.io/collected/app:1")
    assert await runtime.image_status("quay.io/collected/app:1") is None
    # Deleting a record synchronously collects garbage now, not some time.
    channel = wire.open_channel(real_node.containerd.socket)
    store = ContentStore(channel, CRI_NAMESPACE)
    await loader.import_archive(archive(tmp_path / "b.tar", b"victim", "import.test/victim:1"))
    assert await store.delete_record("import.test/victim:1")
    await channel.close()

    assert await runtime.pull_image("quay.io/collected/app:1") == image.id
    # The blobs never left: the mirror's records hold them.
    assert ("HEAD", "/v2/collected/app/manifests/1?ns=quay.io", 200) in mirror.asked


async def test_a_removed_image_is_gone_from_node_and_mirror(
    loader: ImageLoader, runtime: ContainerdRuntime, mirror: MirrorOfNode, tmp_path: Path
) -> None:
    await loader.import_archive(archive(tmp_path / "a.tar", b"removed", "127.0.0.84:5000/removed:1"))
    assert await loader.remove("127.0.0.84:5000/removed:1")
    assert await runtime.image_status("127.0.0.84:5000/removed:1") is None
    assert "127.0.0.84:5000/removed:1" not in [image.name for image in await loader.images()]
    assert not await loader.remove("127.0.0.84:5000/removed:1")
    with pytest.raises(RuntimeFailure):
        await runtime.pull_image("127.0.0.84:5000/removed:1")
    assert ("HEAD", "/v2/removed/manifests/1?ns=127.0.0.84%3A5000", 404) in mirror.asked


def registry_of(path: Path, repository: str, *, password: str = "") -> Handler:
    """A registry somewhere else that has one image, perhaps behind a password."""
    with open_archive(path) as content:
        target = content.images[0].target
        blobs = {
            blob.descriptor.digest: (blob.descriptor.media_type, blob.open().read()) for blob in content.blobs
        }

    def handle(request: Request) -> Response:
        expected = "Basic " + base64.b64encode(f"jason:{password}".encode()).decode()
        if password and request.headers.get("authorization") != expected:
            return Response(401, [("www-authenticate", 'Basic realm="argo"')])
        digest = request.path.rpartition("/")[2].replace("v1", target.digest)
        if request.path == "/v2/" or not request.path.startswith(f"/v2/{repository}/") or digest not in blobs:
            return failure(404, "NAME_UNKNOWN", "unknown")
        media_type, data = blobs[digest]
        return Response(200, [("content-type", media_type), ("docker-content-digest", digest)], data)

    return handle


async def test_what_the_mirror_lacks_comes_from_the_real_registry(
    runtime: ContainerdRuntime, mirror: MirrorOfNode, real_node: RealNode, tmp_path: Path
) -> None:
    path = archive(tmp_path / "a.tar", b"elsewhere", "elsewhere/app:v1")
    server = await listen(real_node, registry_of(path, "elsewhere/app"), OTHER)
    image_id = await runtime.pull_image("127.0.0.84:5000/elsewhere/app:v1")
    assert (await runtime.image_status("127.0.0.84:5000/elsewhere/app:v1")) == await runtime.image_status(
        image_id
    )
    assert mirror.asked[0][2] == 404
    with pytest.raises(ImageNotFound):
        await runtime.pull_image("127.0.0.84:5000/elsewhere/unknown:v1")
    await server.shutdown(grace_seconds=1)


async def test_a_registry_may_ask_for_a_password(
    runtime: ContainerdRuntime, mirror: MirrorOfNode, real_node: RealNode, tmp_path: Path
) -> None:
    path = archive(tmp_path / "a.tar", b"secret", "secret/app:v1")
    server = await listen(real_node, registry_of(path, "secret/app", password="fleece"), OTHER)
    with pytest.raises(RuntimeFailure, match="401 Unauthorized"):
        await runtime.pull_image("127.0.0.84:5000/secret/app:v1")
    with pytest.raises(RuntimeFailure, match="401 Unauthorized"):
        await runtime.pull_image(
            "127.0.0.84:5000/secret/app:v1", RegistryAuth(username="jason", password="wrong")
        )
    assert await runtime.pull_image(
        "127.0.0.84:5000/secret/app:v1", RegistryAuth(username="jason", password="fleece")
    )
    encoded = base64.b64encode(b"jason:fleece").decode()
    assert await runtime.pull_image("127.0.0.84:5000/secret/app:v1", RegistryAuth(auth=encoded))
    await server.shutdown(grace_seconds=1)


async def test_a_damaged_blob_is_refused_and_nothing_is_named(loader: ImageLoader, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", b"damaged", "import.test/damaged:1")
    data = bytearray(path.read_bytes())
    with open_archive(path) as content:
        [layer] = [b for b in content.blobs if b.descriptor.media_type.endswith("gzip")]
        with layer.open() as file:
            start = data.find(file.read())
    data[start + 30] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(RuntimeFailure, match="unexpected commit digest"):
        await loader.import_archive(path)
    assert "import.test/damaged:1" not in [image.name for image in await loader.images()]
    with pytest.raises(ArchiveError):
        await loader.import_archive(tmp_path / "none.tar")


async def test_the_built_in_images_are_imported_once(loader: ImageLoader, real_node: RealNode) -> None:
    names = {image.name for image in await loader.images()}
    assert {PAUSE_IMAGE, BUSYBOX_IMAGE} <= names
    assert await provide_built_in_images(loader, real_node.directory / "images") == []


# The mirror as a registry, for whoever asks it directly


@pytest.fixture
async def registry(real_node: RealNode) -> AsyncIterator[RegistryMirror]:
    channel = wire.open_channel(real_node.containerd.socket)
    yield RegistryMirror(channel)
    await channel.close()


async def body_of(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    assert isinstance(response.body, AsyncIterator)
    return b"".join([chunk async for chunk in response.body])


async def get(
    registry: RegistryMirror, target: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    response = await registry.handle(Request(method, target, headers))
    return response.status, dict(response.headers), await body_of(response)


async def test_the_mirror_speaks_the_distribution_specification(
    registry: RegistryMirror, loader: ImageLoader, tmp_path: Path
) -> None:
    [one, two] = await loader.import_archive(archive(tmp_path / "a.tar", b"spec", "spec:1", "spec:2"))
    assert one.digest == two.digest
    assert (await get(registry, "/v2/"))[0] == 200

    status, headers, data = await get(registry, "/v2/library/spec/manifests/1")
    assert (status, headers["docker-content-digest"]) == (200, one.digest)
    manifest = json.loads(data)
    assert headers["content-type"] == manifest["mediaType"]
    by_digest = await get(registry, f"/v2/library/spec/manifests/{one.digest}?ns=docker.io")
    assert (by_digest[0], by_digest[2]) == (200, data)
    assert (await get(registry, "/v2/library/spec/manifests/1?ns=quay.io"))[0] == 404

    layer = manifest["layers"][0]
    target = f"/v2/library/spec/blobs/{layer['digest']}"
    status, headers, whole = await get(registry, target)
    assert (status, headers["content-length"], len(whole)) == (200, str(layer["size"]), layer["size"])
    status, headers, part = await get(registry, target, range="bytes=2-5")
    assert (status, headers["content-range"], part) == (206, f"bytes 2-5/{len(whole)}", whole[2:6])
    assert (await get(registry, target, range="bytes=3-"))[2] == whole[3:]
    assert (await get(registry, target, range="bytes=99999-"))[0] == 416
    status, headers, nothing = await get(registry, target, method="HEAD")
    assert (status, headers["content-length"], nothing) == (200, str(layer["size"]), b"")

    assert json.loads((await get(registry, "/v2/library/spec/tags/list"))[2]) == {
        "name": "library/spec",
        "tags": ["1", "2"],
    }


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/v2/library/none/manifests/1", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/library/none/manifests/sha256:" + "0" * 64, 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/library/none/blobs/sha256:" + "0" * 64, 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/library/none/blobs/rubbish", 400, "DIGEST_INVALID"),
        ("GET", "/v2/library/none/manifests/sha256:12", 400, "DIGEST_INVALID"),
        ("GET", "/v2/library/none/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/UPPER/manifests/1", 404, "NAME_UNKNOWN"),
        ("GET", "/elsewhere", 404, "NAME_UNKNOWN"),
        ("PUT", "/v2/library/busybox/manifests/1", 405, "UNSUPPORTED"),
    ],
)
async def test_the_mirror_refuses(
    registry: RegistryMirror, method: str, target: str, status: int, code: str
) -> None:
    answer = await get(registry, target, method)
    assert (answer[0], json.loads(answer[2])["errors"][0]["code"]) == (status, code)


async def test_a_layer_is_no_manifest(registry: RegistryMirror, loader: ImageLoader, tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", b"no manifest", "import.test/layer:1")
    await loader.import_archive(path)
    with open_archive(path) as content:
        for blob in content.blobs[:-1]:
            target = f"/v2/layer/manifests/{blob.descriptor.digest}?ns=import.test"
            assert (await get(registry, target))[0] == 404
