"""Static pods on a simulated node: they run, show in the API, and follow what they were made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from node_world import NODE, NodeWorld

from tiphys.client.resources import PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH
from tiphys.kubelet.static_pods.manifest import Origin, read_pod
from tiphys.kubelet.static_pods.sources import Update
from tiphys.machinery import meta
from tiphys.machinery.errors import internal_error

Object = dict[str, Any]
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  priorityClassName: system-node-critical
  containers: [{name: main, image: "%s", imagePullPolicy: IfNotPresent}]
"""


def made(image: str = "busybox:1", name: str = "web", uid: str = "") -> Object:
    origin = Origin("file", "/manifests/web.yaml", NODE)
    text = (MANIFEST % image).replace("{name: web}", f"{{name: {name}, uid: '{uid}'}}")
    return read_pod(text.encode(), origin, datetime(2026, 1, 1, tzinfo=UTC))


class Manifests:
    """A source whose pods a test sets."""

    kind = "file"

    def __init__(self) -> None:
        self.pods: list[Object] = []
        self._update: Update | None = None

    def look(self) -> Sequence[Object]:
        return self.pods

    async def follow(self, update: Update) -> None:
        self._update = update
        try:
            await asyncio.Event().wait()
        finally:
            self._update = None

    def set(self, *pods: Object) -> None:
        self.pods = list(pods)
        if self._update is not None:
            self._update(self.pods)


class StaticWorld(NodeWorld):
    def __init__(self) -> None:
        self.manifests = Manifests()
        super().__init__(self.manifests)

    async def running(self) -> list[str]:
        """Images of the containers that run."""
        listed = await self.runtime.list_containers()
        images = [
            await self.runtime.image_status(container.image)
            for container in listed
            if container.state == "Running"
        ]
        return [image.repo_tags[0].removeprefix("docker.io/library/") for image in images if image]

    def mirrors(self) -> list[Object]:
        return [pod for pod in self.pods() if "kubernetes.io/config.mirror" in meta.annotations(pod)]


@pytest.fixture
async def world() -> AsyncIterator[StaticWorld]:
    world = StaticWorld()
    yield world
    await world.stop()


async def test_a_pod_runs_and_the_api_shows_it(world: StaticWorld) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    [mirror] = world.mirrors()
    pod = made()
    assert (meta.name(mirror), mirror["status"]["phase"]) == (f"web-{NODE}", "Running")
    assert meta.uid(mirror) != meta.uid(pod)
    annotations = meta.annotations(mirror)
    assert (
        annotations["kubernetes.io/config.mirror"]
        == annotations["kubernetes.io/config.hash"]
        == meta.uid(pod)
    )
    [owner] = mirror["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Node", NODE, meta.uid(world.node()))
    assert owner["controller"] is True
    assert "priority" not in mirror["spec"]
    assert mirror["status"]["containerStatuses"][0]["ready"]
    found = world.kubelet.find_pod("default", f"web-{NODE}")
    assert found is not None
    assert meta.uid(found) == meta.uid(pod)
    assert [meta.uid(each) for each in world.kubelet.pods] == [meta.uid(pod)]
    [event] = [reason for reason, _ in world.events() if reason == "Started"]
    assert event


async def test_a_deleted_mirror_comes_back_with_its_status_and_nothing_else_happens(
    world: StaticWorld,
) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    [before] = world.mirrors()
    await world.client.delete(PODS, meta.name(before), "default")
    await world.settle(5)
    [after] = world.mirrors()
    assert meta.uid(after) != meta.uid(before)
    assert after["status"]["phase"] == "Running"
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    assert await world.running() == ["busybox:1"]


async def test_a_changed_manifest_is_another_pod_and_begins_when_the_first_is_gone(
    world: StaticWorld,
) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    world.manifests.set(made("busybox:2"))
    await world.settle()
    assert await world.running() != ["busybox:1", "busybox:2"]
    await world.settle(60)
    assert await world.running() == ["busybox:2"]
    [mirror] = world.mirrors()
    assert meta.annotations(mirror)["kubernetes.io/config.mirror"] == meta.uid(made("busybox:2"))
    assert mirror["status"]["containerStatuses"][0]["image"] == "docker.io/library/busybox:2"


async def test_a_removed_manifest_takes_the_pod_and_its_mirror_along(world: StaticWorld) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    world.manifests.set()
    await world.settle(60)
    assert await world.running() == []
    assert world.mirrors() == []
    assert world.kubelet.find_pod("default", f"web-{NODE}") is None


async def test_it_runs_without_the_api_server(world: StaticWorld) -> None:
    world.api.refuse(lambda method, path: True, internal_error("away"))
    world.manifests.set(made())
    world.create(name="of-the-api")
    await world.start()
    await world.settle(5)
    assert await world.running() == ["busybox:1"]
    world.api.accept_all()
    await world.settle(60)
    assert sorted(await world.running()) == ["busybox:1", "busybox:latest"]
    [mirror] = world.mirrors()
    assert mirror["status"]["phase"] == "Running"


async def test_a_kubelet_that_comes_back_finds_it_running(world: StaticWorld) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    world.create(name="of-the-api")
    await world.settle(5)
    before = {container.id for container in await world.runtime.list_containers()}
    await world.stop()
    world.api.refuse(lambda method, path: True, internal_error("away"))
    await world.start()
    await world.settle(5)
    # Nobody has said yet that the other pod is gone.
    assert {container.id for container in await world.runtime.list_containers()} == before
    world.api.accept_all()
    await world.settle(60)
    assert {container.id for container in await world.runtime.list_containers()} == before
    [mirror] = world.mirrors()
    assert mirror["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_manifest_that_changed_while_nobody_looked(world: StaticWorld) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    await world.stop()
    world.manifests.set(made("busybox:2"))
    await world.start()
    await world.settle(60)
    assert await world.running() == ["busybox:2"]
    [mirror] = world.mirrors()
    assert meta.annotations(mirror)["kubernetes.io/config.mirror"] == meta.uid(made("busybox:2"))


async def test_a_mirror_without_a_manifest_is_deleted(world: StaticWorld) -> None:
    annotations = {"kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "file"}
    world.create(name=f"old-{NODE}", annotations=annotations)
    await world.start()
    await world.settle(5)
    assert world.pods() == []


async def test_a_manifest_with_a_uid_of_its_own_changes_the_pod_that_runs(world: StaticWorld) -> None:
    world.manifests.set(made(uid="my-own"))
    await world.start()
    await world.settle(5)
    world.manifests.set(made("busybox:2", uid="my-own"))
    await world.settle(60)
    assert await world.running() == ["busybox:2"]
    assert world.mirrors()[0]["status"]["containerStatuses"][0]["restartCount"] == 1


async def test_of_two_manifests_with_one_uid_the_first_counts(world: StaticWorld) -> None:
    world.manifests.set(made(uid="one"), made("busybox:2", name="other", uid="one"))
    await world.start()
    await world.settle(5)
    assert await world.running() == ["busybox:1"]


async def test_a_manifest_that_goes_while_the_api_is_away_leaves_no_mirror(world: StaticWorld) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    world.api.refuse(lambda method, path: True, internal_error("away"))
    world.manifests.set()
    await world.settle(60)
    assert await world.running() == []
    world.api.accept_all()
    await world.settle(60)
    assert world.mirrors() == []


async def test_who_changes_a_mirror_changes_no_pod(world: StaticWorld) -> None:
    world.manifests.set(made())
    await world.start()
    await world.settle(5)
    [mirror] = world.mirrors()
    patch = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "main", "image": "busybox:9"}]},
    }
    await world.client.patch(PODS, meta.name(mirror), patch, "default", content_type=STRATEGIC_MERGE_PATCH)
    await world.settle(60)
    assert await world.running() == ["busybox:1"]
    assert world.mirrors()[0]["status"]["containerStatuses"][0]["restartCount"] == 0
