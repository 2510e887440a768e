"""The Runtime that is containerd: CRI for pods, containers and images, its own services for streams and events."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import socket
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiphys.kubelet.runtimes import network_namespace
from tiphys.kubelet.runtimes.cri import answers, requests, wire
from tiphys.kubelet.runtimes.cri.attachment import Attachment
from tiphys.kubelet.runtimes.cri.events import EventStream
from tiphys.kubelet.runtimes.cri.execution import (
    Execution,
    PipeDirectory,
    Streams,
    end_left_behind,
    process_spec,
)
from tiphys.kubelet.runtimes.cri.lost_networks import (
    Lost,
    LostNetworks,
    give_back,
    present,
    read_network,
)
from tiphys.kubelet.runtimes.cri.snapshots import SnapshotViews
from tiphys.kubelet.runtimes.interface import (
    Container,
    ContainerConfig,
    ContainerEvent,
    ContainerStatus,
    ExecResult,
    ExecSession,
    FilesystemUsage,
    Image,
    ImageNotFound,
    NotFound,
    RegistryAuth,
    Resources,
    RuntimeFailure,
    RuntimeStatus,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
    Version,
)

log = logging.getLogger(__name__)

NAMESPACE = "k8s.io"
"""containerd's namespace for everything that came by CRI."""
PARALLEL_STARTS = 4
"""More at once only adds to each one's time on a small machine."""
PARALLEL_EXECS_PER_SANDBOX = 8
"""A shim with more than sixteen synchronous execs at once stands still for many seconds."""
PARALLEL_SESSION_STARTS_PER_SANDBOX = 6
"""The same holds while sessions begin; once they have begun, any number goes on. A hundred at once stood still for 90 seconds."""
SHIM_HUNG_UP = "ttrpc: closed"
PIPES_DIRECTORY = "/run/tiphys/pipes"


class ContainerdRuntime:
    """One node's containerd. `root` is the node's root directory as this process sees it: "/" or /proc/<its holder>/root."""

    def __init__(
        self, socket_path: str, *, root: str | Path = "/", observe: wire.Observe | None = None
    ) -> None:
        self._root = Path(root)
        self._channel = wire.open_channel(socket_path)
        self._runtime = wire.Service(self._channel, "runtime.v1.RuntimeService", observe=observe)
        self._images = wire.Service(self._channel, "runtime.v1.ImageService", observe=observe)
        metadata = (("containerd-namespace", NAMESPACE),)
        self._tasks = wire.Service(self._channel, "containerd.services.tasks.v1.Tasks", metadata)
        self._events = wire.Service(self._channel, "containerd.services.events.v1.Events", metadata)
        self._pipes = PipeDirectory(self._root / PIPES_DIRECTORY.lstrip("/"), PIPES_DIRECTORY)
        self.image_views = SnapshotViews(self._channel, NAMESPACE, lambda: datetime.now(UTC))
        self._starts = asyncio.Semaphore(PARALLEL_STARTS)
        self._exec_limits: dict[str, asyncio.Semaphore] = {}
        self._session_limits: dict[str, asyncio.Semaphore] = {}
        self._sandbox_of: dict[str, str] = {}
        self._sandboxes_in_making = 0
        self._lost_networks = LostNetworks()

    async def close(self) -> None:
        await self._channel.close()

    async def version(self) -> Version:
        answer = await self._runtime.call("Version")
        return Version(answer.runtime_name, answer.runtime_version, answer.runtime_api_version)

    async def status(self) -> RuntimeStatus:
        return answers.runtime_status(await self._runtime.call("Status"))

    # Sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> str:
        async with self._starts:
            self._sandboxes_in_making += 1
            try:
                answer = await self._runtime.call(
                    "RunPodSandbox",
                    timeout_seconds=2 * wire.REQUEST_TIMEOUT_SECONDS,
                    config=requests.sandbox_config(config),
                    runtime_handler=config.runtime_handler,
                )
            finally:
                self._sandboxes_in_making -= 1
        return str(answer.pod_sandbox_id)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._unless_gone("StopPodSandbox", pod_sandbox_id=sandbox_id)
        await self._end_leaked_shim(sandbox_id)

    async def _end_leaked_shim(self, sandbox_id: str) -> None:
        """containerd that was killed between a shim's start and the sandbox's leaves the shim to itself: CRI knows of no task there."""
        try:
            await self._tasks.call("Delete", container_id=sandbox_id)
        except RuntimeFailure as error:
            if not isinstance(error, NotFound):
                log.info("sandbox %s: %s", sandbox_id, error.message)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._unless_gone("RemovePodSandbox", pod_sandbox_id=sandbox_id)
        self._exec_limits.pop(sandbox_id, None)
        self._session_limits.pop(sandbox_id, None)
        self._sandbox_of = {
            container: sandbox for container, sandbox in self._sandbox_of.items() if sandbox != sandbox_id
        }

    async def list_sandboxes(self) -> list[Sandbox]:
        return [answers.sandbox(item) for item in (await self._runtime.call("ListPodSandbox")).items]

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        answer = await self._runtime.call("PodSandboxStatus", pod_sandbox_id=sandbox_id)
        return answers.sandbox_status(answer.status)

    async def remove_leftovers(self) -> bool:
        """Only from within the node: network plugins work in the namespaces of whoever calls them."""
        if self._root != Path("/"):
            return True
        if self._sandboxes_in_making:
            return False
        network = read_network((await self._runtime.call("Status", verbose=True)).info)
        if network is None:
            return True
        found = present(network)
        owned = await self._owned_networks()
        if owned is None:
            return False
        lost = self._lost_networks.judge(found, owned, asyncio.get_running_loop().time())
        await give_back(network, lost)
        return not self._lost_networks.waits

    async def _owned_networks(self) -> Lost | None:
        """Of all sandboxes, dead ones too. None when one does not tell."""
        ids, namespaces = set(), set()
        for box in await self.list_sandboxes():
            answer = await self._runtime.call("PodSandboxStatus", pod_sandbox_id=box.id, verbose=True)
            runtime_spec = json.loads(answer.info.get("info", "{}")).get("runtimeSpec")
            if runtime_spec is None:
                return None
            ids.add(box.id)
            namespaces |= {
                entry["path"]
                for entry in runtime_spec["linux"]["namespaces"]
                if entry["type"] == "network" and "path" in entry
            }
        return Lost(frozenset(ids), frozenset(namespaces))

    async def open_in_sandbox(self, sandbox_id: str, port: int) -> socket.socket:
        namespace = await self._network_namespace(sandbox_id)
        try:
            return await network_namespace.connect(namespace, "127.0.0.1", port)
        except ConnectionRefusedError:
            return await network_namespace.connect(namespace, "::1", port)

    async def _network_namespace(self, sandbox_id: str) -> Path:
        answer = await self._runtime.call("PodSandboxStatus", pod_sandbox_id=sandbox_id, verbose=True)
        # The pid is of the node's own process namespace, hence the node's own /proc.
        pid = json.loads(answer.info.get("info", "{}")).get("pid", 0)
        if not pid:
            raise NotFound(f'sandbox "{sandbox_id}" is not running')
        return self._root / "proc" / str(pid) / "ns" / "net"

    # Containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        try:
            async with self._starts:
                answer = await self._runtime.call(
                    "CreateContainer",
                    pod_sandbox_id=sandbox_id,
                    config=requests.container_config(config, sandbox),
                    sandbox_config=requests.sandbox_config(sandbox),
                )
        except NotFound as error:
            if "failed to resolve image" in error.message:
                raise ImageNotFound(error.message) from None
            raise
        self._sandbox_of[answer.container_id] = sandbox_id
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        async with self._starts:
            await self._runtime.call("StartContainer", container_id=container_id)

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        grace = math.ceil(timeout_seconds)
        await self._unless_gone(
            "StopContainer",
            timeout_seconds=grace + wire.REQUEST_TIMEOUT_SECONDS,
            container_id=container_id,
            timeout=grace,
        )

    async def remove_container(self, container_id: str) -> None:
        await self._unless_gone("RemoveContainer", container_id=container_id)
        self._sandbox_of.pop(container_id, None)

    async def list_containers(self, sandbox_id: str | None = None) -> list[Container]:
        filter = {"pod_sandbox_id": sandbox_id} if sandbox_id else None
        answer = await self._runtime.call("ListContainers", filter=filter)
        return [answers.container(item) for item in answer.containers]

    async def container_status(self, container_id: str) -> ContainerStatus:
        answer = await self._runtime.call("ContainerStatus", container_id=container_id)
        return answers.container_status(answer.status)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self._runtime.call(
            "UpdateContainerResources", container_id=container_id, linux=requests.resources(resources)
        )

    async def reopen_log(self, container_id: str) -> None:
        await self._runtime.call("ReopenContainerLog", container_id=container_id)

    # Commands and streams

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float
    ) -> ExecResult:
        grace = math.ceil(timeout_seconds)
        async with self._limit(
            self._exec_limits, await self._sandbox(container_id), PARALLEL_EXECS_PER_SANDBOX
        ):
            answer = await self._runtime.call(
                "ExecSync",
                # containerd ends it itself; ours is for a containerd that does not.
                timeout_seconds=grace + wire.REQUEST_TIMEOUT_SECONDS if grace else None,
                container_id=container_id,
                cmd=command,
                timeout=grace,
            )
        return ExecResult(answer.stdout, answer.stderr, answer.exit_code)

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecSession:
        sandbox_id = await self._sandbox(container_id)
        async with self._limit(self._session_limits, sandbox_id, PARALLEL_SESSION_STARTS_PER_SANDBOX):
            starting = asyncio.ensure_future(
                self._start_session(container_id, command, Streams(stdin, stdout, stderr, tty))
            )
            try:
                return await asyncio.shield(starting)
            except asyncio.CancelledError:
                # A shim that is left in the middle of a start does not answer for a while: it is let finish.
                await asyncio.wait([starting])
                if starting.exception() is None:
                    await starting.result().close()
                raise

    async def end_sessions_left_behind(self) -> None:
        """Of a kubelet that died; before the first session of this one."""
        if self._pipes.ours.is_dir():
            left = list(self._pipes.ours.iterdir())
            await asyncio.gather(*(end_left_behind(self._tasks, directory) for directory in left))

    async def _start_session(self, container_id: str, command: Sequence[str], streams: Streams) -> Execution:
        container = await self._running_process(container_id)
        directory = self._pipes.make(uuid.uuid4().hex, container_id)
        execution = Execution(self._tasks, container_id, directory, streams)
        await execution.start(process_spec(container, command, tty=streams.tty))
        return execution

    async def attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecSession:
        streams = Streams(stdin, stdout, stderr and not tty, tty)
        answer = await self._runtime.call(
            "Attach",
            container_id=container_id,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            tty=tty,
        )
        return await Attachment.open(answer.url, self._root / "proc" / "1" / "ns" / "net", streams)

    async def _running_process(self, container_id: str) -> dict[str, Any]:
        answer = await self._runtime.call("ContainerStatus", container_id=container_id, verbose=True)
        status = answers.container_status(answer.status)
        if status.state != "Running":
            raise RuntimeFailure(f"container is in CONTAINER_{status.state.upper()} state")
        process: dict[str, Any] = json.loads(answer.info["info"])["runtimeSpec"]["process"]
        return process

    async def _sandbox(self, container_id: str) -> str:
        sandbox_id = self._sandbox_of.get(container_id)
        if sandbox_id is None:
            answer = await self._runtime.call("ListContainers", filter={"id": container_id})
            if not answer.containers:
                raise NotFound(f'an error occurred when try to find container "{container_id}": not found')
            sandbox_id = self._sandbox_of[container_id] = answer.containers[0].pod_sandbox_id
        return sandbox_id

    def _limit(self, limits: dict[str, asyncio.Semaphore], sandbox_id: str, number: int) -> asyncio.Semaphore:
        """First come, first served; other pods do not wait."""
        return limits.setdefault(sandbox_id, asyncio.Semaphore(number))

    # Images

    async def list_images(self) -> list[Image]:
        return [answers.image(item) for item in (await self._images.call("ListImages")).images]

    async def image_status(self, image: str) -> Image | None:
        answer = await self._images.call("ImageStatus", image={"image": image})
        return answers.image(answer.image) if answer.HasField("image") else None

    async def pull_image(self, image: str, auth: RegistryAuth | None = None) -> str:
        try:
            answer = await self._images.call(
                "PullImage",
                timeout_seconds=None,
                image={"image": image},
                auth=None if auth is None else requests.auth_config(auth),
            )
        except NotFound as error:
            raise ImageNotFound(error.message) from None
        return str(answer.image_ref)

    async def remove_image(self, image: str) -> None:
        try:
            await self._images.call("RemoveImage", image={"image": image})
        except NotFound:
            pass

    async def image_fs_info(self) -> list[FilesystemUsage]:
        answer = await self._images.call("ImageFsInfo")
        return [answers.filesystem(item) for item in answer.image_filesystems]

    async def writable_layers(self) -> dict[str, FilesystemUsage]:
        answer = await self._runtime.call("ListContainerStats")
        return {
            item.attributes.id: answers.filesystem(item.writable_layer)
            for item in answer.stats
            if item.HasField("writable_layer")
        }

    # Events

    def events(self) -> AsyncIterator[ContainerEvent]:
        return EventStream(self._events, NAMESPACE, self._has_exited)()

    async def _has_exited(self, container_or_sandbox_id: str) -> bool:
        try:
            return (await self.container_status(container_or_sandbox_id)).state == "Exited"
        except NotFound:
            pass
        try:
            return (await self.sandbox_status(container_or_sandbox_id)).state == "NotReady"
        except NotFound:
            return True

    async def _unless_gone(self, method: str, **fields: Any) -> None:
        try:
            try:
                await self._runtime.call(method, **fields)
            except RuntimeFailure as error:
                # A shim ended by itself while containerd was speaking to it: now containerd knows.
                if SHIM_HUNG_UP not in error.message:
                    raise
                await self._runtime.call(method, **fields)
        except NotFound:
            pass
