"""Pull policies, credentials, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiphys.kubelet.provisions import registry_auths
from tiphys.kubelet.pulling import ImagePuller, PullFailure, Wanted
from tiphys.kubelet.runtimes.interface import RegistryAuth, RuntimeFailure
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime, made_up_image
from tiphys.testing.clock import FakeClock

BUSYBOX = made_up_image("docker.io/library/busybox:latest")
Event = tuple[str, str, str]


class Registry(SimulatedRuntime):
    """Lets in whom it knows; each pull takes a second."""

    def __init__(self, clock: FakeClock, password: str = "") -> None:
        super().__init__(clock)
        self._password = password
        self.pulls = 0

    async def pull_image(self, image: str, auth: RegistryAuth | None = None) -> str:
        self.pulls += 1
        await self._clock.sleep(1)
        if self._password and (auth is None or auth.password != self._password):
            raise RuntimeFailure("401 Unauthorized")
        return await super().pull_image(image, auth)


class Pulling:
    def __init__(self, password: str = "") -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, password)
        self.puller = ImagePuller(self.registry, self.clock)
        self.events: list[Event] = []

    async def ensure(self, wanted: Wanted) -> str:
        task = asyncio.create_task(
            self.puller.ensure(
                wanted, lambda type, reason, message: self.events.append((type, reason, message))
            )
        )
        await self.clock.advance(10)
        return await task


@pytest.mark.parametrize(("policy", "pulls"), [("Always", 1), ("IfNotPresent", 0), ("Never", 0)])
async def test_an_image_that_is_here(policy: str, pulls: int) -> None:
    pulling = Pulling()
    await SimulatedRuntime.pull_image(pulling.registry, "busybox")
    assert await pulling.ensure(Wanted("busybox", policy)) == BUSYBOX.id
    assert pulling.registry.pulls == pulls
    if not pulls:
        message = 'Container image "busybox" already present on machine and can be accessed by the pod'
        assert pulling.events == [("Normal", "Pulled", message)]


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent"])
async def test_an_image_that_is_not_here(policy: str) -> None:
    pulling = Pulling()
    assert await pulling.ensure(Wanted("busybox", policy)) == BUSYBOX.id
    assert pulling.events == [
        ("Normal", "Pulling", 'Pulling image "busybox"'),
        (
            "Normal",
            "Pulled",
            'Successfully pulled image "busybox" in 1s (1s including waiting). Image size: 1048576 bytes.',
        ),
    ]


async def test_never_means_never() -> None:
    pulling = Pulling()
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted("busybox", "Never"))
    message = 'Container image "busybox" is not present with pull policy of Never'
    assert (caught.value.reason, caught.value.message) == ("ErrImageNeverPull", message)
    assert pulling.events == [
        ("Warning", "ErrImageNeverPull", message),
        ("Warning", "Failed", "Error: ErrImageNeverPull"),
    ]


@pytest.mark.parametrize("image", ["Busybox", "busybox:", "a b", "busybox@sha256:short", ""])
async def test_what_is_no_name(image: str) -> None:
    pulling = Pulling()
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted(image, "Always"))
    assert caught.value.reason == "InvalidImageName"
    assert caught.value.message.startswith(
        f'Failed to apply default image tag "{image}": couldn\'t parse image name'
    )
    assert pulling.registry.pulls == 0


async def test_pods_that_want_the_same_image_wait_for_one_pull() -> None:
    pulling = Pulling()
    wanted = Wanted("busybox", "Always")
    tasks = [asyncio.create_task(pulling.puller.ensure(wanted, lambda *event: None)) for _ in range(5)]
    await pulling.clock.advance(2)
    assert [task.result() for task in tasks] == [BUSYBOX.id] * 5
    assert pulling.registry.pulls == 1


async def test_credentials_are_tried_in_turn() -> None:
    pulling = Pulling(password="right")
    credentials = (RegistryAuth("me", "wrong"), RegistryAuth("me", "right"))
    assert await pulling.ensure(Wanted("busybox", "Always", credentials)) == BUSYBOX.id
    assert pulling.registry.pulls == 2


async def test_a_refusal_is_told() -> None:
    pulling = Pulling(password="right")
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted("busybox", "Always"))
    assert (caught.value.reason, caught.value.message) == ("ErrImagePull", "401 Unauthorized")
    assert ("Warning", "Failed", 'Failed to pull image "busybox": 401 Unauthorized') in pulling.events
    assert ("Warning", "Failed", "Error: ErrImagePull") in pulling.events


# Pull secrets


def docker_config(auths: dict[str, Any]) -> dict[str, Any]:
    import base64
    import json

    data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return {"kind": "Secret", "data": {".dockerconfigjson": data}}


@pytest.mark.parametrize(
    ("server", "image", "is_meant"),
    [
        ("https://index.docker.io/v1/", "busybox", True),
        ("registry.example.com", "registry.example.com/a/b:1", True),
        ("registry.example.com", "busybox", False),
        ("http://localhost:5000/v2/", "localhost:5000/x", True),
    ],
)
def test_secrets_for_a_registry(server: str, image: str, is_meant: bool) -> None:
    secret = docker_config({server: {"username": "me", "password": "pw"}})
    assert registry_auths(secret, image) == ([RegistryAuth("me", "pw")] if is_meant else [])


def test_a_secret_with_both_in_one() -> None:
    secret = docker_config({"index.docker.io": {"auth": "bWU6cDp3"}})
    assert registry_auths(secret, "busybox") == [RegistryAuth("me", "p:w")]


def test_a_secret_that_is_none() -> None:
    assert registry_auths({"kind": "Secret", "data": {".dockerconfigjson": "eHg="}}, "busybox") == []
    assert registry_auths({"kind": "Secret", "data": {}}, "busybox") == []
