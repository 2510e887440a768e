"""What the node's mirror has from real registries: kept, verified, and given to whoever may have it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from registry_for_tests import BASIC, MemoryRegistry

from tiphys.kubelet.images.oci import digest_of
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.images.upstream_registry import UpstreamRegistry
from tiphys.kubelet.pull_through import Asked, Blob, Broken, PullThrough
from tiphys.machinery.clock import SystemClock
from tiphys.net.http import Response
from tiphys.net.server import Server

LAYER = os.urandom(300_000)
DIGEST = digest_of(LAYER)


class World:
    def __init__(self, directory: Path) -> None:
        self.registry = MemoryRegistry()
        self.server = Server(self.registry.handle)
        self.port = 0
        self.cache = RegistryCache(directory)
        self.clock = SystemClock()
        self.through = PullThrough(self.cache, UpstreamRegistry(self.clock), self.clock)

    async def start(self) -> None:
        self.port = (await self.server.listen(host="127.0.0.1", port=0)).port
        self.registry.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        await self.through.close()
        await self.server.shutdown(grace_seconds=0)

    async def restart(self) -> None:
        """Another mirror over the same files."""
        await self.through.close()
        self.through = PullThrough(self.cache, UpstreamRegistry(self.clock), self.clock)

    def asked(self, path: str = "public/app", authorization: str = "") -> Asked:
        return Asked(f"127.0.0.1:{self.port}/{path}", authorization)

    async def blob(self, digest: str = DIGEST, path: str = "public/app", authorization: str = "") -> bytes:
        blob = await self.through.blob(self.asked(path, authorization), digest)
        assert isinstance(blob, Blob), blob
        return b"".join([piece async for piece in blob.read(0, blob.size_bytes)])

    def count(self, what: str) -> int:
        return sum(entry.startswith(what) for entry in self.registry.asked)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.start()
    yield world
    await world.stop()


async def test_a_tag_is_asked_for_anew_and_its_manifest_once(world: World) -> None:
    for _ in range(3):
        first = world.registry.put("public/app", "1", LAYER)
        answer = await world.through.manifest(world.asked(), "1")
        assert answer is not None
        assert dict(answer.headers)["docker-content-digest"] == first
    assert (world.count("HEAD manifests"), world.count("GET manifests")) == (3, 1)
    second = world.registry.put("public/app", "1", b"rebuilt")
    answer = await world.through.manifest(world.asked(), "1")
    assert answer is not None
    assert dict(answer.headers)["docker-content-digest"] == second != first


async def test_a_blob_is_fetched_once_however_many_want_it(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    found = await asyncio.gather(*(world.blob() for _ in range(10)))
    assert found == [LAYER] * 10
    await world.restart()
    assert await world.blob() == LAYER
    assert world.count("GET blobs") == 1


async def test_what_anybody_could_have_is_given_while_the_registry_is_away(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    assert await world.through.manifest(world.asked(), "1") is not None
    assert await world.blob() == LAYER
    await world.server.shutdown(grace_seconds=0)
    assert await world.through.manifest(world.asked(), "1") is not None
    assert await world.blob() == LAYER
    assert await world.through.manifest(world.asked(), "2") is None


async def test_a_tag_that_is_gone_is_gone(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    assert await world.through.manifest(world.asked(), "1") is not None
    world.registry._manifests.clear()
    assert await world.through.manifest(world.asked(), "1") is None
    await world.server.shutdown(grace_seconds=0)
    assert await world.through.manifest(world.asked(), "1") is None


async def test_who_shows_no_credentials_is_asked_for_them_as_the_registry_does(world: World) -> None:
    world.registry.auth = "basic"
    world.registry.put("team/app", "1", LAYER)
    refused = await world.through.manifest(world.asked("team/app"), "1")
    assert refused is not None
    assert (refused.status, dict(refused.headers)["www-authenticate"]) == (401, 'Basic realm="test"')
    # What is refused after that, the registry shall say itself.
    assert await world.through.manifest(world.asked("team/app", "Basic bm8="), "1") is None
    granted = await world.through.manifest(world.asked("team/app", BASIC), "1")
    assert granted is not None
    assert granted.status == 200


async def test_a_private_image_is_for_those_whom_the_registry_lets_in(world: World) -> None:
    world.registry.auth = "basic"
    digest = world.registry.put("team/app", "1", LAYER)
    for reference in ("1", digest):
        assert (await world.through.manifest(world.asked("team/app", BASIC), reference)) is not None
    assert await world.blob(path="team/app", authorization=BASIC) == LAYER
    gets = world.count("GET")
    for reference in ("1", digest):
        refused = await world.through.manifest(world.asked("team/app"), reference)
        assert refused is not None
        assert refused.status == 401
    refused_blob = await world.through.blob(world.asked("team/app"), DIGEST)
    assert isinstance(refused_blob, Response)
    assert refused_blob.status == 401
    assert await world.through.blob(world.asked("team/app", "Basic bm8="), DIGEST) is None
    # Nor is it to be had by the name of another repository, which does not have it.
    assert await world.blob(path="team/app", authorization=BASIC) == LAYER
    assert world.count("GET") == gets
    await world.server.shutdown(grace_seconds=0)
    assert await world.through.manifest(world.asked("team/app", BASIC), "1") is None
    assert await world.through.blob(world.asked("team/app", BASIC), DIGEST) is None
    for file in world.cache.directory.rglob("*"):
        assert not file.is_file() or BASIC.encode() not in file.read_bytes()


async def test_tokens_for_anybody_make_an_image_public(world: World) -> None:
    world.registry.auth = "bearer"
    world.registry.put("public/app", "1", LAYER)
    world.registry.put("team/app", "1", LAYER)
    answer = await world.through.manifest(world.asked(), "1")
    assert answer is not None
    assert answer.status == 200
    assert await world.blob() == LAYER
    refused = await world.through.manifest(world.asked("team/app"), "1")
    assert refused is not None
    assert refused.status == 401
    assert dict(refused.headers)["www-authenticate"].startswith("Bearer realm=")
    granted = await world.through.manifest(world.asked("team/app", "Bearer team/app"), "1")
    assert granted is not None
    assert granted.status == 200


async def test_redirects_are_followed_without_credentials(world: World) -> None:
    world.registry.auth, world.registry.redirects = "basic", True
    world.registry.put("team/app", "1", LAYER)
    assert await world.blob(path="team/app", authorization=BASIC) == LAYER
    # The second time the registry is only asked whether it would give it.
    assert await world.blob(path="team/app", authorization=BASIC) == LAYER
    assert [entry.split()[0] for entry in world.registry.asked if " x:" in entry] == ["GET"]


async def test_a_download_that_breaks_is_resumed(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    world.registry.cut_after_bytes = [100_000, 50_000]
    assert await world.blob() == LAYER
    assert world.cache.path(DIGEST).read_bytes() == LAYER
    assert world.count("GET blobs") == 3


async def test_a_download_that_stays_broken_is_dropped_and_nobody_takes_it_for_whole(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    world.registry.spoil = True
    with pytest.raises(Broken, match="not what its digest says"):
        await world.blob()
    assert list(world.cache.directory.glob("partial/*")) == []
    assert not world.cache.path(DIGEST).exists()
    world.registry.spoil = False
    assert await world.blob() == LAYER


async def test_a_download_goes_on_when_whoever_asked_is_gone(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    blob = await world.through.blob(world.asked(), DIGEST)
    assert isinstance(blob, Blob)
    reading = blob.read(0, 10)
    async for _ in reading:
        break
    async with asyncio.timeout(60):
        while not world.cache.path(DIGEST).exists():
            await asyncio.sleep(0.01)
    assert await world.blob() == LAYER
    assert world.count("GET blobs") == 1


async def test_a_part_of_a_blob(world: World) -> None:
    world.registry.put("public/app", "1", LAYER)
    blob = await world.through.blob(world.asked(), DIGEST)
    assert isinstance(blob, Blob)
    assert b"".join([piece async for piece in blob.read(1000, 200_000)]) == LAYER[1000:200_000]


# What is kept


async def test_an_image_is_removed_with_what_only_it_needs(world: World) -> None:
    digests = [world.registry.put("public/app", tag, LAYER, tag.encode()) for tag in ("1", "2")]
    index = world.registry.put_index("public/app", "all", digests[0])
    for reference in ("1", "2", "all", digests[0]):
        assert await world.through.manifest(world.asked(), reference) is not None
    for blob in (LAYER, b"1", b"2"):
        await world.blob(digest_of(blob))
    name = f"127.0.0.1:{world.port}/public/app"
    assert list(world.cache.images()) == [
        (f"{name}:1", digests[0]),
        (f"{name}:2", digests[1]),
        (f"{name}:all", index),
    ]
    assert world.cache.remove(f"{name}:1")
    assert not world.cache.remove(f"{name}:1")
    assert not world.cache.path(digest_of(b"1")).exists()
    assert world.cache.path(digest_of(b"2")).exists()
    assert world.cache.remove(f"{name}:2")
    assert world.cache.remove(f"{name}:all")
    assert list(world.cache.images()) == []
    assert list(world.cache.directory.glob("blobs/*/*")) == []


async def test_what_was_not_used_for_longest_goes_when_there_is_too_much(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.start()
    world.cache = RegistryCache(tmp_path, limit_bytes=250_000)
    world.through = PullThrough(world.cache, UpstreamRegistry(world.clock), world.clock)
    blobs = [bytes([number]) * 100_000 for number in range(3)]
    world.registry.put("public/app", "1", *blobs)
    first, second, third = (digest_of(blob) for blob in blobs)
    for age, digest in ((20, first), (10, second)):
        await world.blob(digest)
        os.utime(world.cache.path(digest), (1e9 - age, 1e9 - age))
    assert world.cache.find(world.asked().repository, first) is not None
    await world.blob(third)
    assert [world.cache.path(digest).exists() for digest in (first, second, third)] == [True, False, True]
    await world.stop()
