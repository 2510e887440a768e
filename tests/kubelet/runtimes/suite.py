"""What every Runtime promises, as tests. A runtime joins by subclassing RuntimeConformance with a fixture `subject`.

class TestMine(RuntimeConformance):
    @pytest.fixture
    async def subject(self): yield Subject(runtime, image="busybox", sandbox_config=make_config, ...)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerEvent,
    ContainerStatus,
    ImageNotFound,
    NotFound,
    Runtime,
    RuntimeFailure,
    SandboxConfig,
)

PATIENCE_SECONDS = 60.0


@dataclass
class Subject:
    runtime: Runtime
    image: str
    """On the node from the start, and what image_status() and pull_image() know it by."""
    sandbox_config: Callable[..., SandboxConfig]
    """A new pod each time; takes SandboxConfig's fields."""
    sleep: tuple[str, ...]
    """A command that runs until it is stopped, and then ends with 0 at TERM, from when it says so on."""
    exit_with: Callable[[int], tuple[str, ...]] | None
    """A command that ends at once with that code; None: the runtime cannot run commands."""
    log: Callable[[SandboxConfig], Path] | None = None
    """Where `sleep` writes "ready" once TERM ends it well; None: from the start it does."""

    @asynccontextmanager
    async def sandbox(self, **fields: object) -> AsyncIterator[tuple[str, SandboxConfig]]:
        config = self.sandbox_config(**fields)
        sandbox_id = await self.runtime.run_sandbox(config)
        try:
            yield sandbox_id, config
        finally:
            await self.runtime.stop_sandbox(sandbox_id)
            await self.runtime.remove_sandbox(sandbox_id)

    @asynccontextmanager
    async def running(self, **fields: object) -> AsyncIterator[str]:
        """A running container in a sandbox of its own."""
        async with self.sandbox() as (sandbox_id, config):
            container_id = await self.create(sandbox_id, config, **fields)
            await self.runtime.start_container(container_id)
            yield container_id

    async def create(self, sandbox_id: str, config: SandboxConfig, **fields: object) -> str:
        defaults: dict[str, object] = {
            "name": "main",
            "image": self.image,
            "command": self.sleep,
            "log_path": "main/0.log",
        }
        wanted = ContainerConfig(**{**defaults, **fields})  # type: ignore[arg-type]
        return await self.runtime.create_container(sandbox_id, wanted, config)

    async def obeys(self, config: SandboxConfig) -> None:
        """Returns once a container of `sleep` in this sandbox would end with 0."""
        if self.log is None:
            return
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "ready" not in self.log(config).read_text():
                await asyncio.sleep(0.005)

    async def exited(self, container_id: str) -> ContainerStatus:
        """Its status, once it has exited."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (status := await self.runtime.container_status(container_id)).state != "Exited":
                await asyncio.sleep(0.005)
        return status


async def next_event(
    events: AsyncIterator[ContainerEvent], kind: str, container_id: str = ""
) -> ContainerEvent:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in events:
            if event.kind == kind and event.container_id in ("", container_id):
                return event
    raise AssertionError(f"the events ended without {kind}")


class RuntimeConformance:
    # The runtime itself

    async def test_says_what_it_is_and_that_it_is_ready(self, subject: Subject) -> None:
        version = await subject.runtime.version()
        assert version.name
        assert version.version
        assert {c.type: c.status for c in (await subject.runtime.status()).conditions} == {
            "RuntimeReady": True,
            "NetworkReady": True,
        }

    # Sandboxes

    async def test_a_sandbox_has_an_address_and_keeps_what_it_was_told(self, subject: Subject) -> None:
        before = datetime.now(UTC)
        async with subject.sandbox(labels={"app": "web"}, annotations={"a": "b"}, attempt=2) as (
            sandbox_id,
            config,
        ):
            status = await subject.runtime.sandbox_status(sandbox_id)
            assert (status.name, status.namespace, status.uid) == (config.name, config.namespace, config.uid)
            assert (status.state, status.attempt, status.host_network) == ("Ready", 2, False)
            assert (status.labels, status.annotations) == ({"app": "web"}, {"a": "b"})
            assert len(status.ips) == 1
            assert before <= status.created_at <= datetime.now(UTC)
            [listed] = [s for s in await subject.runtime.list_sandboxes() if s.id == sandbox_id]
            assert (listed.uid, listed.state, listed.labels) == (config.uid, "Ready", {"app": "web"})

    async def test_two_sandboxes_have_two_addresses(self, subject: Subject) -> None:
        async with subject.sandbox() as (one, _), subject.sandbox() as (two, _):
            statuses = [await subject.runtime.sandbox_status(sandbox_id) for sandbox_id in (one, two)]
            assert len({status.ips for status in statuses}) == 2

    async def test_with_the_nodes_network_a_sandbox_has_no_address(self, subject: Subject) -> None:
        async with subject.sandbox(host_network=True) as (sandbox_id, _):
            status = await subject.runtime.sandbox_status(sandbox_id)
            assert (status.ips, status.host_network) == ((), True)

    async def test_stopping_a_sandbox_ends_its_containers(self, subject: Subject) -> None:
        async with subject.sandbox() as (sandbox_id, config):
            container_id = await subject.create(sandbox_id, config)
            await subject.runtime.start_container(container_id)
            await subject.runtime.stop_sandbox(sandbox_id)
            assert (await subject.runtime.sandbox_status(sandbox_id)).state == "NotReady"
            assert (await subject.exited(container_id)).exit_code != 0

    async def test_removing_a_sandbox_removes_its_containers(self, subject: Subject) -> None:
        async with subject.sandbox() as (sandbox_id, config):
            container_id = await subject.create(sandbox_id, config)
            await subject.runtime.stop_sandbox(sandbox_id)
            await subject.runtime.remove_sandbox(sandbox_id)
            with pytest.raises(NotFound):
                await subject.runtime.sandbox_status(sandbox_id)
            with pytest.raises(NotFound):
                await subject.runtime.container_status(container_id)
            assert sandbox_id not in [s.id for s in await subject.runtime.list_sandboxes()]

    async def test_stopping_and_removing_again_is_harmless(self, subject: Subject) -> None:
        async with subject.sandbox() as (sandbox_id, config):
            container_id = await subject.create(sandbox_id, config)
            await subject.runtime.start_container(container_id)
            for _ in range(2):
                await subject.runtime.stop_container(container_id, 10)
            for _ in range(2):
                await subject.runtime.remove_container(container_id)
            await subject.runtime.stop_container(container_id, 10)
            for _ in range(2):
                await subject.runtime.stop_sandbox(sandbox_id)
            for _ in range(2):
                await subject.runtime.remove_sandbox(sandbox_id)
            await subject.runtime.stop_sandbox(sandbox_id)

    async def test_what_does_not_exist_is_not_found(self, subject: Subject) -> None:
        with pytest.raises(NotFound):
            await subject.runtime.sandbox_status("none")
        with pytest.raises(NotFound):
            await subject.runtime.container_status("none")
        with pytest.raises(NotFound):
            await subject.runtime.start_container("none")
        with pytest.raises(NotFound):
            await subject.runtime.exec_sync("none", ["true"], 1)
        with pytest.raises(NotFound):
            await subject.runtime.open_in_sandbox("none", 80)

    # Containers

    async def test_a_containers_life(self, subject: Subject) -> None:
        runtime = subject.runtime
        async with subject.sandbox() as (sandbox_id, config):
            container_id = await subject.create(
                sandbox_id, config, labels={"l": "1"}, annotations={"a": "2"}, attempt=3
            )
            created = await runtime.container_status(container_id)
            assert (created.state, created.started_at, created.finished_at) == ("Created", None, None)
            assert (created.name, created.attempt, created.reason) == ("main", 3, "")
            assert (created.labels, created.annotations) == ({"l": "1"}, {"a": "2"})
            assert created.log_path == f"{config.log_directory}/main/0.log"

            await runtime.start_container(container_id)
            started = await runtime.container_status(container_id)
            assert (started.state, started.finished_at, started.reason) == ("Running", None, "")
            assert started.started_at is not None
            assert created.created_at <= started.started_at <= datetime.now(UTC)

            await subject.obeys(config)
            await runtime.stop_container(container_id, 10)
            stopped = await subject.exited(container_id)
            assert (stopped.exit_code, stopped.reason) == (0, "Completed")
            assert stopped.finished_at is not None
            assert started.started_at <= stopped.finished_at <= datetime.now(UTC)

            await runtime.remove_container(container_id)
            with pytest.raises(NotFound):
                await runtime.container_status(container_id)

    async def test_containers_are_listed_of_all_sandboxes_or_of_one(self, subject: Subject) -> None:
        async with subject.sandbox() as (one, config_one), subject.sandbox() as (two, config_two):
            first = await subject.create(one, config_one, labels={"l": "1"})
            second = await subject.create(two, config_two)
            [listed] = await subject.runtime.list_containers(one)
            assert (listed.id, listed.sandbox_id, listed.name, listed.state) == (
                first,
                one,
                "main",
                "Created",
            )
            assert listed.labels == {"l": "1"}
            assert {first, second} <= {c.id for c in await subject.runtime.list_containers()}

    async def test_a_running_container_can_be_removed(self, subject: Subject) -> None:
        async with subject.running() as container_id:
            await subject.runtime.remove_container(container_id)
            with pytest.raises(NotFound):
                await subject.runtime.container_status(container_id)

    async def test_a_status_names_the_image_as_the_image_names_itself(self, subject: Subject) -> None:
        image = await subject.runtime.image_status(subject.image)
        assert image is not None
        async with subject.running() as container_id:
            status = await subject.runtime.container_status(container_id)
            assert status.image in (*image.repo_tags, image.id)
            assert status.image_ref in (*image.repo_digests, image.id)

    async def test_a_container_of_a_missing_image_is_refused(self, subject: Subject) -> None:
        async with subject.sandbox() as (sandbox_id, config):
            with pytest.raises(ImageNotFound):
                await subject.create(sandbox_id, config, image="docker.io/library/not-here:1")
            assert await subject.runtime.list_containers(sandbox_id) == []

    @pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "Error")])
    async def test_an_exit_code_arrives(self, subject: Subject, code: int, reason: str) -> None:
        if subject.exit_with is None:
            return
        async with subject.running(command=subject.exit_with(code)) as container_id:
            status = await subject.exited(container_id)
            assert (status.exit_code, status.reason) == (code, reason)

    async def test_many_pods_start_side_by_side(self, subject: Subject) -> None:
        async def start_and_end() -> str:
            async with subject.running() as container_id:
                return (await subject.runtime.container_status(container_id)).state

        assert await asyncio.gather(*(start_and_end() for _ in range(6))) == ["Running"] * 6

    # Images

    async def test_an_image_is_known_by_name_and_by_id(self, subject: Subject) -> None:
        image = await subject.runtime.image_status(subject.image)
        assert image is not None
        assert image.size_bytes > 0
        assert image.repo_tags
        assert image.repo_digests
        assert await subject.runtime.image_status(image.id) == image
        assert image in await subject.runtime.list_images()

    async def test_pulling_gives_the_images_id(self, subject: Subject) -> None:
        image = await subject.runtime.image_status(subject.image)
        assert image is not None
        assert await subject.runtime.pull_image(subject.image) == image.id

    async def test_an_unknown_image_has_no_status_and_can_be_removed(self, subject: Subject) -> None:
        assert await subject.runtime.image_status("docker.io/library/not-here:1") is None
        await subject.runtime.remove_image("docker.io/library/not-here:1")

    async def test_image_file_system(self, subject: Subject) -> None:
        [usage] = await subject.runtime.image_fs_info()
        assert usage.mountpoint
        assert usage.used_bytes >= 0

    async def test_writable_layers_are_those_of_containers_that_there_are(self, subject: Subject) -> None:
        async with subject.running() as container_id:
            layer = (await subject.runtime.writable_layers())[container_id]
            assert layer.mountpoint
            assert layer.used_bytes >= 0
        assert container_id not in await subject.runtime.writable_layers()

    # Events

    async def test_events_tell_of_start_exit_and_removal(self, subject: Subject) -> None:
        events = subject.runtime.events()
        await next_event(events, "relist")
        async with subject.sandbox() as (sandbox_id, config):
            container_id = await subject.create(sandbox_id, config)
            await subject.runtime.start_container(container_id)
            await next_event(events, "started", container_id)
            await subject.obeys(config)
            await subject.runtime.stop_container(container_id, 10)
            event = await next_event(events, "exited", container_id)
            assert event.exit_code == 0
            # Who looks when the event comes, sees it.
            assert (await subject.runtime.container_status(container_id)).state == "Exited"
            await subject.runtime.remove_container(container_id)
            await next_event(events, "deleted", container_id)
        await events.aclose()  # type: ignore[attr-defined]

    async def test_events_begin_with_a_relist_for_each_listener(self, subject: Subject) -> None:
        for _ in range(2):
            events = subject.runtime.events()
            async with asyncio.timeout(PATIENCE_SECONDS):
                first = await anext(events)
            assert (first.kind, first.container_id) == ("relist", "")
            await events.aclose()  # type: ignore[attr-defined]

    # Commands

    async def test_a_commands_exit_code_is_no_error(self, subject: Subject) -> None:
        if subject.exit_with is None:
            return
        async with subject.running() as container_id:
            result = await subject.runtime.exec_sync(container_id, subject.exit_with(7), PATIENCE_SECONDS)
            assert result.exit_code == 7

    async def test_nothing_can_be_executed_in_what_does_not_run(self, subject: Subject) -> None:
        async with subject.sandbox() as (sandbox_id, config):
            container_id = await subject.create(sandbox_id, config)
            with pytest.raises(RuntimeFailure):
                await subject.runtime.exec(
                    container_id, ["true"], stdin=False, stdout=True, stderr=True, tty=False
                )
