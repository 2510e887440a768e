"""Pull policies, credentials, and what is told of it."""

from __future__ import annotations

import asyncio

import pytest

from tiphys.kubelet.images.keyring import AccountSource, Credential, Credentials, Source
from tiphys.kubelet.images.pull_records import PullRecords
from tiphys.kubelet.metrics import PullMetrics
from tiphys.kubelet.pulling import (
    UNLIMITED,
    ImagePuller,
    Provide,
    PullFailure,
    PullLimits,
    Wanted,
    aggregate,
    nothing_more,
    pull_failure,
)
from tiphys.kubelet.runtimes.interface import Image, ImageNotFound, RegistryAuth, RuntimeFailure
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime, made_up_image
from tiphys.machinery.metrics import Registry as MetricsRegistry
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


def keys(*passwords: str, secret: str = "s") -> Credentials:
    source = Source(f"uid-of-{secret}", "default", secret)
    return Credentials(tuple(Credential(RegistryAuth("me", password), source) for password in passwords))


class Pulling:
    def __init__(
        self, password: str = "", limits: PullLimits | None = None, records: PullRecords | None = None
    ) -> None:
        self.clock = FakeClock()
        self.registry = Registry(self.clock, password)
        self.counted = MetricsRegistry()
        self.puller = ImagePuller(
            self.registry, self.clock, limits=limits, records=records, metrics=PullMetrics(self.counted)
        )
        self.events: list[Event] = []

    def begin(self, wanted: Wanted, provide: Provide = nothing_more) -> asyncio.Task[str]:
        ensured = self.puller.ensure(wanted, lambda *event: self.events.append(event), provide)
        return asyncio.create_task(ensured)

    async def ensure(self, wanted: Wanted, provide: Provide = nothing_more) -> str:
        task = self.begin(wanted, provide)
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


async def test_who_joins_a_pull_has_waited_for_no_more_than_its_rest() -> None:
    pulling = Pulling()
    first = pulling.begin(Wanted("busybox", "Always"))
    await pulling.clock.advance(0.75)
    second = pulling.begin(Wanted("busybox", "Always"))
    await pulling.clock.advance(1)
    assert first.result() == second.result()
    [_, told] = [message for _, reason, message in pulling.events if reason == "Pulled"]
    assert "in 250ms (250ms including waiting)" in told


async def test_credentials_are_tried_in_turn() -> None:
    pulling = Pulling(password="right")
    assert await pulling.ensure(Wanted("busybox", "Always", keys("wrong", "right"))) == BUSYBOX.id
    assert pulling.registry.pulls == 2


async def test_a_refusal_is_told() -> None:
    pulling = Pulling(password="right")
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted("busybox", "Always"))
    assert (caught.value.reason, caught.value.message) == ("ErrImagePull", "401 Unauthorized")
    assert ("Warning", "Failed", 'Failed to pull image "busybox": 401 Unauthorized') in pulling.events
    assert ("Warning", "Failed", "Error: ErrImagePull") in pulling.events


async def test_refusals_of_several_credentials_are_told_as_one() -> None:
    pulling = Pulling(password="right")
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted("busybox", "Always", keys("wrong", "old")))
    assert caught.value.message == "401 Unauthorized"
    assert aggregate(["a", "b", "a"]) == "[a, b]"


async def test_a_registry_without_the_image_is_told_with_its_code() -> None:
    class Empty(SimulatedRuntime):
        async def pull_image(self, image: str, auth: RegistryAuth | None = None) -> str:
            raise ImageNotFound(f"{image}: not found")

    clock, events = FakeClock(), list[Event]()
    puller = ImagePuller(Empty(clock), clock)
    with pytest.raises(PullFailure) as caught:
        await puller.ensure(Wanted("busybox", "Always"), lambda *event: events.append(event))
    text = "rpc error: code = NotFound desc = busybox: not found"
    assert (caught.value.reason, caught.value.message) == ("ErrImagePull", text)
    assert ("Warning", "Failed", f'Failed to pull image "busybox": {text}') in events


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("RegistryUnavailable: connection refused", "RegistryUnavailable",
         "image pull failed for x because the registry is unavailable: connection refused"),
        ("SignatureValidationFailed: no key", "SignatureValidationFailed",
         "image pull failed for x because the signature validation failed: no key"),
        ("anything else", "ErrImagePull", "anything else"),
    ],
)  # fmt: skip
def test_what_the_runtime_says_of_a_failed_pull(text: str, reason: str, message: str) -> None:
    failure = pull_failure("x", text)
    assert (failure.reason, failure.message) == (reason, message)


async def test_a_runtime_that_cannot_say_what_it_has() -> None:
    class Confused(SimulatedRuntime):
        async def image_status(self, image: str) -> Image | None:
            raise RuntimeFailure("disk error")

    clock, events = FakeClock(), list[Event]()
    puller = ImagePuller(Confused(clock), clock)
    with pytest.raises(PullFailure) as caught:
        await puller.ensure(Wanted("busybox", "IfNotPresent"), lambda *event: events.append(event))
    message = 'Failed to inspect image "": disk error'
    assert (caught.value.reason, caught.value.message) == ("ImageInspectError", message)
    assert events == [
        ("Warning", "InspectFailed", message),
        ("Warning", "Failed", "Error: ImageInspectError"),
    ]


# How many at a time


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        (PullLimits(), ["1s", "2s", "3s"]),
        (PullLimits(serialize_image_pulls=False, max_parallel_image_pulls=2), ["1s", "1s", "2s"]),
        (UNLIMITED, ["1s", "1s", "1s"]),
    ],
)
async def test_how_many_pulls_go_on_side_by_side(limits: PullLimits, seconds: list[str]) -> None:
    pulling = Pulling(limits=limits)
    tasks = [pulling.begin(Wanted(image, "Always")) for image in ("a", "b", "c")]
    await pulling.clock.advance(10)
    assert all(task.done() for task in tasks)
    told = [message for _, _, message in pulling.events if message.startswith("Successfully")]
    assert told == [
        f'Successfully pulled image "{image}" in 1s ({waited} including waiting). Image size: 1048576 bytes.'
        for image, waited in zip("abc", seconds, strict=True)
    ]


async def test_more_pulls_in_a_second_than_may_be_wait_for_their_time() -> None:
    limits = PullLimits(serialize_image_pulls=False, registry_pull_qps=0.5, registry_burst=2)
    pulling = Pulling(limits=limits)
    tasks = [pulling.begin(Wanted(image, "Always")) for image in ("a", "b", "c", "d", "d")]
    waited = []
    for _ in range(10):
        waited.append(sum(task.done() for task in tasks))
        await pulling.clock.advance(1)
    # Two at once, one after two seconds more, one after four; each takes a second, and the fifth is the fourth.
    assert waited == [0, 2, 2, 3, 3, 5, 5, 5, 5, 5]
    assert pulling.registry.pulls == 4


# Who may use what is here (KEP-2535)


async def test_an_image_pulled_with_a_secret_is_for_those_who_have_it() -> None:
    pulling = Pulling(password="right")
    await pulling.ensure(Wanted("busybox", "IfNotPresent", keys("right")))
    assert pulling.registry.pulls == 1
    await pulling.ensure(Wanted("busybox", "IfNotPresent", keys("right", secret="another with the same")))
    assert pulling.registry.pulls == 1
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted("busybox", "IfNotPresent"))
    assert (caught.value.reason, pulling.registry.pulls) == ("ErrImagePull", 2)
    with pytest.raises(PullFailure) as caught:
        await pulling.ensure(Wanted("busybox", "Never"))
    assert caught.value.reason == "ErrImageNeverPull"
    assert await pulling.ensure(Wanted("busybox", "Never", keys("right"))) == BUSYBOX.id


async def test_an_image_pulled_without_credentials_is_for_all() -> None:
    pulling = Pulling()
    await pulling.ensure(Wanted("busybox", "IfNotPresent"))
    await pulling.ensure(Wanted("busybox", "IfNotPresent", keys("any")))
    assert pulling.registry.pulls == 1


async def test_an_image_that_was_here_before_is_for_all() -> None:
    pulling = Pulling(password="right")
    await SimulatedRuntime.pull_image(pulling.registry, "busybox")
    await pulling.ensure(Wanted("busybox", "IfNotPresent"))
    assert pulling.registry.pulls == 0


class Plugins:
    """Has a credential for a service account, or for the whole node; counts how often it is asked."""

    def __init__(self, password: str, source: AccountSource | None = None) -> None:
        self._credential = Credential(RegistryAuth("me", password), source)
        self.asked = 0

    async def provide(self) -> tuple[Credential, ...]:
        self.asked += 1
        return (self._credential,)


async def test_plugins_are_asked_when_somebody_must_pull() -> None:
    pulling, plugins = Pulling(password="right"), Plugins("right")
    with pytest.raises(PullFailure):
        await pulling.ensure(Wanted("busybox", "Never"), plugins.provide)
    assert plugins.asked == 0
    for policy, asked in (("IfNotPresent", 1), ("IfNotPresent", 1), ("Always", 2), ("Never", 2)):
        await pulling.ensure(Wanted("busybox", policy, keys("wrong")), plugins.provide)
        assert plugins.asked == asked, policy


async def test_an_image_pulled_with_an_accounts_token_is_for_that_account() -> None:
    pulling = Pulling(password="right")
    mine = AccountSource("uid-1", "default", "mine")
    await pulling.ensure(Wanted("busybox", "IfNotPresent"), Plugins("right", mine).provide)
    await pulling.ensure(Wanted("busybox", "IfNotPresent"), Plugins("another by now", mine).provide)
    assert pulling.registry.pulls == 1
    await pulling.ensure(Wanted("busybox", "Never"), Plugins("right", mine).provide)
    others = (AccountSource("uid-2", "default", "mine"), AccountSource("uid-3", "default", "other"))
    for other in others:
        with pytest.raises(PullFailure):
            await pulling.ensure(Wanted("busybox", "IfNotPresent"), Plugins("wrong", other).provide)
    with pytest.raises(PullFailure):
        await pulling.ensure(Wanted("busybox", "IfNotPresent", keys("wrong")))
    await pulling.ensure(Wanted("busybox", "IfNotPresent", keys("right")))
    pulls = pulling.registry.pulls
    # Both are remembered.
    await pulling.ensure(Wanted("busybox", "IfNotPresent"), Plugins("another by now", mine).provide)
    await pulling.ensure(Wanted("busybox", "IfNotPresent", keys("right")))
    assert pulling.registry.pulls == pulls


# What is counted


async def test_what_was_to_do_for_images_is_counted() -> None:
    pulling = Pulling()
    await pulling.ensure(Wanted("busybox", "IfNotPresent"))
    await pulling.ensure(Wanted("busybox", "IfNotPresent"))
    await pulling.ensure(Wanted("busybox", "Always"))
    for image, policy in (("none", "Never"), ("UPPER", "Always")):
        with pytest.raises(PullFailure):
            await pulling.ensure(Wanted(image, policy))
    page = pulling.counted.render().decode()
    name = "kubelet_image_manager_ensure_image_requests_total"
    for labels in (
        'present_locally="false",pull_policy="ifnotpresent",pull_required="true"',
        'present_locally="true",pull_policy="ifnotpresent",pull_required="false"',
        'present_locally="unknown",pull_policy="always",pull_required="true"',
        'present_locally="false",pull_policy="never",pull_required="unknown"',
        'present_locally="unknown",pull_policy="always",pull_required="unknown"',
    ):
        assert f"{name}{{{labels}}} 1" in page
    assert 'kubelet_image_pull_duration_seconds_count{image_size_in_bytes="0-10MB"} 2' in page
