"""A runtime without containers: sandboxes and containers are notes in memory, commands are not run.

For tests of control planes, and for thousands of nodes in one process. Needs no root, no image, no disk. A container starts after
`start_delay_seconds` and runs until it is stopped, unless `behaviours` say something else, or its command is one of the few that the
simulation understands: `exit N` and `sleep SECONDS`, alone or behind `sh -c`. Its log holds what behaviours say. Addresses of pods are made up, in 127.0.0.0/8, so that none of them leads anywhere.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from pathlib import Path

from tiphys.kubelet.images.names import normalized, parse
from tiphys.kubelet.log_lines import format_line
from tiphys.kubelet.runtimes.behaviour import Behaviour, Behaviours
from tiphys.kubelet.runtimes.image_views import NoImageViews
from tiphys.kubelet.runtimes.interface import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerStatus,
    ContainerUser,
    EventKind,
    ExecResult,
    ExecSession,
    FilesystemUsage,
    Image,
    ImageNotFound,
    NotFound,
    RegistryAuth,
    Resources,
    RuntimeCondition,
    RuntimeFailure,
    RuntimeHandler,
    RuntimeStatus,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
    Version,
)
from tiphys.kubelet.runtimes.security import ContainerSecurity
from tiphys.machinery.clock import Clock, Timer

IMAGE_BYTES = 1 << 20
LAYER_BYTES = 1 << 12
KILLED, STOPPED = 137, 0
_EXIT = re.compile(r"exit (\d+)")
_SLEEP = re.compile(r"sleep (\d+(?:\.\d+)?)(?:; *exit (\d+))?")


@dataclass(slots=True)
class _Sandbox:
    status: SandboxStatus
    config: SandboxConfig
    containers: dict[str, _Container] = field(default_factory=dict)


@dataclass(slots=True)
class _Container:
    sandbox: _Sandbox
    config: ContainerConfig
    status: ContainerStatus
    timer: Timer | None = None


class SimulatedRuntime:
    """One node's. `number` keeps the addresses of several nodes apart."""

    def __init__(
        self,
        clock: Clock,
        *,
        number: int = 0,
        start_delay_seconds: float = 0.0,
        behaviours: Behaviours | None = None,
    ) -> None:
        self._clock = clock
        self._number = number
        self._behaviours = behaviours or Behaviours()
        self._start_delay = start_delay_seconds
        self._sandboxes: dict[str, _Sandbox] = {}
        self._containers: dict[str, _Container] = {}
        self._images: dict[str, Image] = {}
        self.image_views = NoImageViews()
        self._listeners: set[asyncio.Queue[ContainerEvent]] = set()
        self._ids = count(1)
        self._addresses = count(2)

    async def remove_leftovers(self) -> bool:
        return True

    async def close(self) -> None:
        for container in self._containers.values():
            _cancel(container)

    async def version(self) -> Version:
        # What tools make of a node's containerRuntimeVersion is what they would of a real node's.
        return Version("containerd", "1.6.20", "v1")

    async def status(self) -> RuntimeStatus:
        return RuntimeStatus(
            [RuntimeCondition("RuntimeReady", status=True), RuntimeCondition("NetworkReady", status=True)],
            [RuntimeHandler("")],
            supplemental_groups_policy=True,
        )

    # Sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> str:
        if self._start_delay:
            await self._clock.sleep(self._start_delay)
        id = self._new_id("sandbox")
        status = SandboxStatus(
            id=id,
            name=config.name,
            namespace=config.namespace,
            uid=config.uid,
            attempt=config.attempt,
            state="Ready",
            created_at=self._clock.now(),
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=config.runtime_handler,
            ips=() if config.host_network else (self._new_address(),),
            host_network=config.host_network,
        )
        self._sandboxes[id] = _Sandbox(status, config)
        self._tell(id, "started")
        return id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        sandbox = self._sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.status.state == "NotReady":
            return
        for container in sandbox.containers.values():
            self._end(container, KILLED)
        sandbox.status = replace(sandbox.status, state="NotReady", ips=())
        self._tell(sandbox_id, "exited", KILLED)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        sandbox = self._sandboxes.pop(sandbox_id, None)
        if sandbox is None:
            return
        for id in list(sandbox.containers):
            await self.remove_container(id)
        self._tell(sandbox_id, "deleted")

    async def list_sandboxes(self) -> list[Sandbox]:
        return [sandbox.status for sandbox in self._sandboxes.values()]

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        return self._sandbox(sandbox_id).status

    async def open_in_sandbox(self, sandbox_id: str, port: int) -> socket.socket:
        self._sandbox(sandbox_id)
        raise ConnectionRefusedError(f"nothing listens at port {port} of a simulated pod")

    # Containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        found = self._sandbox(sandbox_id)
        image = await self.image_status(config.image)
        if image is None:
            raise ImageNotFound(f'failed to resolve image "{config.image}": not found')
        id = self._new_id("container")
        status = ContainerStatus(
            id=id,
            name=config.name,
            attempt=config.attempt,
            state="Created",
            created_at=self._clock.now(),
            started_at=None,
            finished_at=None,
            exit_code=0,
            reason="",
            message="",
            image=image.repo_tags[0],
            image_ref=image.repo_digests[0],
            log_path=f"{sandbox.log_directory}/{config.log_path}" if config.log_path else "",
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            user=_user(config.security),
        )
        self._containers[id] = found.containers[id] = _Container(found, config, status)
        return id

    async def start_container(self, container_id: str) -> None:
        container = self._container(container_id)
        if container.status.state != "Created":
            raise RuntimeFailure(f"container is in CONTAINER_{container.status.state.upper()} state")
        behaviour = self._behaviour(container)
        if behaviour.start_seconds:
            await self._clock.sleep(behaviour.start_seconds)
        container.status = replace(container.status, state="Running", started_at=self._clock.now())
        self._tell(container_id, "started")
        for line in behaviour.logs or ():
            self.append_log(container_id, line)
        ends = behaviour.ends or scripted_end((*container.config.command, *container.config.args))
        if ends is not None:
            seconds, exit_code = ends
            container.timer = self._clock.call_later(
                seconds, lambda: self._end(container, exit_code, behaviour.reason or "")
            )

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        container = self._containers.get(container_id)
        if container is not None:
            self._end(container, STOPPED)

    async def remove_container(self, container_id: str) -> None:
        container = self._containers.pop(container_id, None)
        if container is None:
            return
        self._end(container, KILLED)
        container.sandbox.containers.pop(container_id, None)
        self._tell(container_id, "deleted")

    async def list_containers(self, sandbox_id: str | None = None) -> list[Container]:
        if sandbox_id is None:
            return [_listed(container) for container in self._containers.values()]
        sandbox = self._sandboxes.get(sandbox_id)
        return [_listed(container) for container in sandbox.containers.values()] if sandbox else []

    async def container_status(self, container_id: str) -> ContainerStatus:
        return self._container(container_id).status

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        self._container(container_id)

    async def reopen_log(self, container_id: str) -> None:
        self._running(container_id)

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float
    ) -> ExecResult:
        return self._answer(self._running(container_id), command)

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecSession:
        return _Session(self._answer(self._running(container_id), command), stdout=stdout)

    async def attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecSession:
        container = self._containers.get(container_id)
        if container is None or container.status.state != "Running":
            raise NotFound(f'container "{container_id}" is not running')
        return _Session(ExecResult(b"", b"", 0), stdout=stdout)

    # Images: every name is an image once it was pulled

    async def list_images(self) -> list[Image]:
        return list({image.id: image for image in self._images.values()}.values())

    async def image_status(self, image: str) -> Image | None:
        if image in self._images:
            return self._images[image]
        return self._images.get(_whole_name(image))

    async def pull_image(self, image: str, auth: RegistryAuth | None = None) -> str:
        name = _whole_name(image)
        behaviour = self._behaviours.of_image(name)
        if behaviour.pull_seconds:
            await self._clock.sleep(behaviour.pull_seconds)
        if behaviour.pull_error:
            raise RuntimeFailure(f'failed to pull and unpack image "{name}": {behaviour.pull_error}')
        found = self._images.get(name) or made_up_image(name)
        self._images[name] = self._images[found.id] = found
        return found.id

    async def remove_image(self, image: str) -> None:
        found = await self.image_status(image)
        if found is not None:
            self._images = {name: known for name, known in self._images.items() if known != found}

    async def image_fs_info(self) -> list[FilesystemUsage]:
        used = len({image.id for image in self._images.values()}) * IMAGE_BYTES
        return [FilesystemUsage("/", used, 0, self._clock.now())]

    async def writable_layers(self) -> dict[str, FilesystemUsage]:
        now = self._clock.now()
        return {id: FilesystemUsage("/", LAYER_BYTES, 1, now) for id in self._containers}

    # What tests do to it

    def running_containers(self, namespace: str, pod: str, container: str = "") -> list[str]:
        """The ids of a pod's running containers, or of the one with that name."""
        return [
            id
            for id, found in self._containers.items()
            if found.status.state == "Running"
            and (found.sandbox.config.namespace, found.sandbox.config.name) == (namespace, pod)
            and container in ("", found.config.name)
        ]

    def end_container(self, container_id: str, exit_code: int, reason: str = "") -> None:
        """It exits by itself, now, if it runs."""
        self._end(self._container(container_id), exit_code, reason)

    def append_log(self, container_id: str, line: str) -> None:
        """Writes to the container's log, if its sandbox has a place for logs."""
        path = self._container(container_id).status.log_path
        if path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as file:
                file.write(format_line(self._clock.now(), line))

    def behaviour_of(self, container_id: str) -> Behaviour:
        """What its rules say of a container now."""
        return self._behaviour(self._container(container_id))

    def _behaviour(self, container: _Container) -> Behaviour:
        pod, config = container.sandbox.config, container.config
        return self._behaviours.of_container(
            (pod.namespace, pod.name), config.name, container.status.image, config.attempt
        )

    def _answer(self, container: _Container, command: Sequence[str]) -> ExecResult:
        """What behaviours say; `echo` echoes; scripted ends end; everything else succeeds silently."""
        told = self._behaviour(container).answer(" ".join(command))
        if told is not None:
            return ExecResult(told[0].encode(), b"", told[1])
        if command and command[0] == "echo":
            return ExecResult((" ".join(command[1:]) + "\n").encode(), b"", 0)
        ends = scripted_end(command)
        return ExecResult(b"", b"", ends[1] if ends else 0)

    # Events

    async def events(self) -> AsyncIterator[ContainerEvent]:
        queue: asyncio.Queue[ContainerEvent] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            yield ContainerEvent("", "relist", self._clock.now())
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    def _tell(self, id: str, kind: EventKind, exit_code: int | None = None) -> None:
        event = ContainerEvent(id, kind, self._clock.now(), exit_code)
        for queue in self._listeners:
            queue.put_nowait(event)

    def _end(self, container: _Container, exit_code: int, reason: str = "") -> None:
        """It exits now, if it runs."""
        _cancel(container)
        if container.status.state != "Running":
            return
        container.status = replace(
            container.status,
            state="Exited",
            finished_at=self._clock.now(),
            exit_code=exit_code,
            reason=reason or ("Completed" if exit_code == 0 else "Error"),
        )
        self._tell(container.status.id, "exited", exit_code)

    def _sandbox(self, id: str) -> _Sandbox:
        if id not in self._sandboxes:
            raise NotFound(f'an error occurred when try to find sandbox "{id}": not found')
        return self._sandboxes[id]

    def _container(self, id: str) -> _Container:
        if id not in self._containers:
            raise NotFound(f'an error occurred when try to find container "{id}": not found')
        return self._containers[id]

    def _running(self, id: str) -> _Container:
        container = self._container(id)
        if container.status.state != "Running":
            raise RuntimeFailure(f"container is in CONTAINER_{container.status.state.upper()} state")
        return container

    def _new_id(self, kind: str) -> str:
        return sha256(f"{kind} {self._number} {next(self._ids)}".encode()).hexdigest()

    def _new_address(self) -> str:
        """16,000 nodes with 252 addresses each; 127.0 and 127.90 are somebody's."""
        number, last = self._number % 16_000, next(self._addresses) % 252 + 2
        return f"127.{100 + number // 256}.{number % 256}.{last}"


class _Session:
    """An ExecSession whose process has ended already."""

    def __init__(self, result: ExecResult, *, stdout: bool) -> None:
        self._exit_code = result.exit_code
        self.stdout = _once(result.stdout if stdout else b"")
        self.stderr = _once(b"")

    async def write_stdin(self, data: bytes) -> None:
        pass

    async def close_stdin(self) -> None:
        pass

    async def resize(self, columns: int, rows: int) -> None:
        pass

    async def wait(self) -> int:
        return self._exit_code

    async def close(self) -> None:
        pass


async def _once(data: bytes) -> AsyncIterator[bytes]:
    if data:
        yield data


def scripted_end(command: Sequence[str]) -> tuple[float, int] | None:
    """(seconds, exit code) of a command that the simulation understands; None: it runs until it is stopped."""
    words = list(command)
    if words[:2] in (["sh", "-c"], ["/bin/sh", "-c"]) and len(words) == 3:
        text = words[2]
    else:
        text = shlex.join(words)
    match = _EXIT.fullmatch(text)
    if match:
        return 0.0, int(match[1])
    match = _SLEEP.fullmatch(text)
    if match:
        return float(match[1]), int(match[2] or 0)
    return {"true": (0.0, 0), "false": (0.0, 1)}.get(text)


def made_up_image(name: str) -> Image:
    digest = sha256(name.encode()).hexdigest()
    whole = parse(name)
    return Image(
        id=f"sha256:{digest}",
        repo_tags=(name,) if whole.tag else (f"{whole.repository}:latest",),
        repo_digests=(f"{whole.repository}@sha256:{digest}",),
        size_bytes=IMAGE_BYTES,
    )


def _whole_name(image: str) -> str:
    try:
        return normalized(image)
    except ValueError:
        return image


def _user(security: ContainerSecurity) -> ContainerUser:
    group = security.run_as_group or 0
    return ContainerUser(security.run_as_user or 0, group, (group, *security.supplemental_groups))


def _cancel(container: _Container) -> None:
    if container.timer is not None:
        container.timer.cancel()
        container.timer = None


def _listed(container: _Container) -> Container:
    status = container.status
    return Container(
        id=status.id,
        sandbox_id=container.sandbox.status.id,
        name=status.name,
        attempt=status.attempt,
        state=status.state,
        created_at=status.created_at,
        image=container.config.image,
        image_ref=status.image_ref,
        labels=status.labels,
        annotations=status.annotations,
    )
