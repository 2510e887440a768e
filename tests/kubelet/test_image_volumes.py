"""Image volumes: had before the containers that mount them, told as the pod's own, and shown once to each pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import EVENTS
from tiphys.kubelet.files import Files
from tiphys.kubelet.image_volumes import ImageVolumes
from tiphys.kubelet.runtimes.behaviour import Behaviour
from tiphys.kubelet.runtimes.image_views import FilesystemMount
from tiphys.kubelet.runtimes.interface import ImageNotFound
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.volumes.mounting import NoMounter
from tiphys.kubelet.volumes.pod_volumes import Volume
from tiphys.testing.clock import FakeClock

MOUNT = {"name": "v", "mountPath": "/v"}
CONTAINER = {"name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "volumeMounts": [MOUNT]}
VOLUME = {"name": "v", "image": {"reference": "content:1", "pullPolicy": "Always"}}
SPEC: dict[str, Any] = {"containers": [CONTAINER], "volumes": [VOLUME]}


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    yield world
    await world.stop()


def fields(world: NodeWorld) -> dict[str, str]:
    """By message: which field of the pod an event is about."""
    return {
        event["message"]: event["involvedObject"].get("fieldPath", "") for event in world.api.objects(EVENTS)
    }


async def test_an_image_is_pulled_for_the_pod(world: NodeWorld) -> None:
    world.create(SPEC)
    await world.settle(1)
    assert world.pod()["status"]["phase"] == "Running"
    told = fields(world)
    assert told['Pulling image "content:1"'] == ""
    assert told['Pulling image "busybox"'] == "spec.containers{main}"
    assert await world.runtime.image_status("content:1") is not None


async def test_an_image_that_cannot_be_had_keeps_its_containers_waiting(world: NodeWorld) -> None:
    world.behaviours.add(Behaviour(image="content:1", pull_error="manifest unknown"))
    other = {"name": "other", "image": "busybox", "imagePullPolicy": "IfNotPresent"}
    world.create({**SPEC, "containers": [CONTAINER, other]})
    await world.settle(1)
    main, beside = world.pod()["status"]["containerStatuses"]
    waiting = main["state"]["waiting"]
    assert waiting["reason"] == "ErrImagePull"
    assert waiting["message"].startswith('error pulling image "content:1": ')
    assert "running" in beside["state"]
    assert fields(world)["Error: ErrImagePull"] == ""
    await world.settle(3)
    waiting = world.pod()["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "ImagePullBackOff"


# On a node


@dataclass
class Views:
    """Of images that are one directory each."""

    made: dict[str, str] = field(default_factory=dict)

    async def view(self, image_id: str, key: str) -> FilesystemMount | None:
        self.made[key] = image_id
        return FilesystemMount("bind", f"/views/{key}", ("ro", "rbind"))

    async def remove(self, key: str) -> None:
        del self.made[key]


@dataclass
class Mounter(NoMounter):
    done: list[tuple[str, Path]] = field(default_factory=list)

    def mount(self, kind: str, source: str, directory: Path, options: Any = ()) -> bool:
        self.done.append((f"{kind} {source} {','.join(options)}", directory))
        return True

    def unmount_below(self, directory: Path) -> None:
        self.done.append(("unmount", directory))


async def test_a_view_is_mounted_and_let_go(tmp_path: Path) -> None:
    runtime, views, mounter = SimulatedRuntime(FakeClock()), Views(), Mounter()
    runtime.image_views = views  # type: ignore[assignment]
    files = Files(tmp_path)
    volumes = ImageVolumes(files, runtime, mounter)
    pod = {"metadata": {"uid": "u1"}, "spec": SPEC}
    with pytest.raises(ImageNotFound, match="image content:1 is not present"):
        await volumes.mount(pod, CONTAINER)
    id = await runtime.pull_image("content:1")
    directory = files.volume("u1", "image", "v")
    assert await volumes.mount(pod, CONTAINER) == {"v": Volume("v", directory, read_only=True)}
    assert views.made == {"tiphys-volume-u1-v": id}
    assert mounter.done == [("bind /views/tiphys-volume-u1-v ro,rbind", directory)]
    # By another kubelet, which knows only what lies on the disk.
    await ImageVolumes(files, runtime, mounter).remove("u1")
    assert mounter.done[-1] == ("unmount", directory)
    assert views.made == {}
