"""The seam between the kubelet and what runs containers.

The words are Kubernetes' own (a Pod's fields, the Container Runtime Interface's nouns) and the values plain dataclasses:
no wire format shows through. Two implementations stand behind it, containerd and a simulated one, and the conformance suite
in tests/kubelet/runtimes/suite.py holds for both.

A runtime keeps no opinion: it does what it is told, once, and reports what it sees. Retries, back-off and order are the kubelet's.
All times are aware UTC datetimes; None means "not yet".
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Literal, Protocol

from tiphys.kubelet.runtimes.image_views import ImageViews
from tiphys.kubelet.runtimes.security import ContainerSecurity, SandboxSecurity
from tiphys.machinery.frozen import frozen

ContainerState = Literal["Created", "Running", "Exited", "Unknown"]
SandboxState = Literal["Ready", "NotReady"]
EventKind = Literal["started", "exited", "oom", "deleted", "relist"]
TransportProtocol = Literal["TCP", "UDP", "SCTP"]
MountPropagation = Literal["None", "HostToContainer", "Bidirectional"]


class RuntimeFailure(RuntimeError):
    """The runtime refused or failed; `message` is its own wording, fit for an event. `code`: gRPC's, as Go spells it."""

    def __init__(self, message: str, code: str = "Unknown") -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def described(self) -> str:
        """As upstream shows it where it does not unpack it."""
        return f"rpc error: code = {self.code} desc = {self.message}"


class NotFound(RuntimeFailure):
    """No such sandbox or container (any more)."""


class ImageNotFound(RuntimeFailure):
    """The image is not on this node, or (when pulling) in no registry that answered."""


class Unavailable(RuntimeFailure):
    """The runtime does not answer: it is down, starting or restarting. The call may be tried again."""


class DeadlineExceeded(RuntimeFailure):
    """The command or call did not end in the time it was given."""


@frozen
class Version:
    name: str
    version: str
    api_version: str


@frozen
class RuntimeCondition:
    """`RuntimeReady` or `NetworkReady`, as the node's Ready condition wants to know."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@frozen
class RuntimeHandler:
    """What a RuntimeClass may name; "" is the default one."""

    name: str
    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


@frozen
class RuntimeStatus:
    conditions: Sequence[RuntimeCondition]
    handlers: Sequence[RuntimeHandler] = ()
    """Empty: the runtime does not tell (containerd before 2.0)."""
    supplemental_groups_policy: bool | None = None
    """Whether groups of the image can be left out; None: the runtime does not tell, and cannot."""


@frozen
class DNSConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@frozen
class PortMapping:
    container_port: int
    host_port: int
    protocol: TransportProtocol = "TCP"
    host_ip: str = ""


@frozen
class Resources:
    """What the kernel enforces. Zero or empty: not set."""

    cpu_period_microseconds: int = 0
    cpu_quota_microseconds: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    memory_swap_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits_bytes: Mapping[str, int] = field(default_factory=dict)
    """By page size, as the kernel spells it: {"2MB": 4194304}."""
    unified: Mapping[str, str] = field(default_factory=dict)
    """cgroup v2 files, for what has no field of its own."""


@frozen
class SandboxConfig:
    """A pod without its containers. The runtime makes nothing that is the kubelet's: log_directory exists already."""

    name: str
    namespace: str
    uid: str
    attempt: int = 0
    hostname: str = ""
    log_directory: str = ""
    cgroup_parent: str = ""
    """Path below each cgroup hierarchy's root, "/tiphys/node-1/kubepods/burstable/pod<uid>"; the kubelet makes and removes it."""
    dns: DNSConfig | None = None
    """None: the node's own resolv.conf."""
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    security: SandboxSecurity = SandboxSecurity()
    resources: Resources = Resources()
    """Sum over the containers; informs the runtime, the kubelet enforces."""
    runtime_handler: str = ""


@frozen
class Mount:
    container_path: str
    host_path: str
    read_only: bool = False
    propagation: MountPropagation = "None"


@frozen
class Device:
    container_path: str
    host_path: str
    permissions: str = "rwm"


@frozen
class ContainerConfig:
    """One container to be. Its namespaces follow from the sandbox's config."""

    name: str
    image: str
    """An image that is here: its id, or a name that image_status() finds."""
    attempt: int = 0
    command: tuple[str, ...] = ()
    """Empty: the image's own entrypoint."""
    args: tuple[str, ...] = ()
    working_directory: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    """Relative to the sandbox's log_directory: "web/0.log"."""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = Resources()
    security: ContainerSecurity = ContainerSecurity()
    target_container_id: str = ""
    """Ephemeral containers: share this container's process namespace."""


@frozen
class Sandbox:
    """A sandbox as list_sandboxes() sees it."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    state: SandboxState
    created_at: datetime
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    runtime_handler: str = ""


@frozen
class SandboxStatus(Sandbox):
    ips: tuple[str, ...] = ()
    """The first is the pod's IP; empty with the node's network."""
    host_network: bool = False


@frozen
class Container:
    """A container as list_containers() sees it."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: datetime
    image: str
    """As the container's config named it."""
    image_ref: str
    """The image's repository digest if it has one, else its id."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@frozen
class ContainerUser:
    """Whom a container's first process began as."""

    uid: int
    gid: int
    supplemental_groups: tuple[int, ...] = ()


@frozen
class ContainerStatus:
    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    exit_code: int
    reason: str
    """"Completed", "Error", "OOMKilled", "ContainerCannotRun", "StartError", "Unknown"; empty while it has not exited."""
    message: str
    image: str
    """A name of the image, the first tag if it has one."""
    image_ref: str
    """The image's repository digest if it has one, else its id: `imageID` in a Pod's status."""
    log_path: str
    """Absolute path on the node."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    user: ContainerUser | None = None
    """None: the runtime does not tell (containerd before 2.0)."""


@frozen
class ContainerEvent:
    """Something happened: a reason to look, not the truth itself. The id may be a sandbox's, too.

    `relist` (empty id) comes first and after every gap in the stream: what happened meanwhile is found by listing.
    """

    container_id: str
    kind: EventKind
    time: datetime
    exit_code: int | None = None


@frozen
class Image:
    id: str
    """"sha256:…" of its config."""
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size_bytes: int
    user: int | None = None
    """Numeric user it wants to run as; None when it names one (`username`) or none."""
    username: str = ""
    pinned: bool = False


@frozen
class RegistryAuth:
    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    """base64 of "username:password", as in a .dockerconfigjson."""
    server_address: str = ""
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


@frozen
class FilesystemUsage:
    mountpoint: str
    used_bytes: int
    inodes_used: int
    time: datetime


@frozen
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


class ExecSession(Protocol):
    """One process with streams, started by exec() or joined by attach(). Whoever has it must close() it.

    With a tty, stderr is part of stdout and the iterator of stderr ends at once; so does that of a stream not asked for.
    """

    @property
    def stdout(self) -> AsyncIterator[bytes]: ...

    @property
    def stderr(self) -> AsyncIterator[bytes]: ...

    async def write_stdin(self, data: bytes) -> None:
        """Waits while the process does not read; silently drops what it will never read (it ended, or closed its stdin)."""

    async def close_stdin(self) -> None:
        """The process reads end-of-file. Harmless when repeated."""

    async def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """The exit code, once the process has ended (128+n for signal n). After attach(): 0 when the streams end."""

    async def close(self) -> None:
        """Ends the session: an exec'd process that still runs is killed, an attached one is left alone. Harmless when repeated."""


class Runtime(Protocol):
    """Every call may raise Unavailable; those that name something, NotFound; all, RuntimeFailure with the runtime's words."""

    async def version(self) -> Version: ...

    async def status(self) -> RuntimeStatus: ...

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Makes and starts a sandbox, network included; its id. Nothing is left behind when it fails."""

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kills what still runs in it and gives its addresses back. Harmless when repeated or gone."""

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Removes it with all its containers. Harmless when gone."""

    async def list_sandboxes(self) -> list[Sandbox]: ...

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        """Its id. ImageNotFound when the image is not on the node."""

    async def start_container(self, container_id: str) -> None:
        """RuntimeFailure when its command cannot be run; the container is then Exited with reason StartError."""

    async def stop_container(self, container_id: str, timeout_seconds: float) -> None:
        """TERM (or the image's stop signal), and KILL after the timeout; returns once it has exited. Harmless when gone."""

    async def remove_container(self, container_id: str) -> None:
        """Kills it if need be. Its log stays: that is the kubelet's. Harmless when gone."""

    async def list_containers(self, sandbox_id: str | None = None) -> list[Container]: ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def reopen_log(self, container_id: str) -> None:
        """After the log file was renamed: write on to a new one. RuntimeFailure when it does not run."""

    async def exec_sync(
        self, container_id: str, command: Sequence[str], timeout_seconds: float
    ) -> ExecResult:
        """DeadlineExceeded after the timeout (0: none). The command's own failure is an exit code, not an error."""

    async def exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecSession: ...

    async def attach(
        self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> ExecSession:
        """Joins the container's own streams, from now on. NotFound unless it runs."""

    async def open_in_sandbox(self, sandbox_id: str, port: int) -> socket.socket:
        """A non-blocking TCP socket connected to localhost:port as seen from inside the pod. ConnectionError when nobody listens."""

    async def list_images(self) -> list[Image]: ...

    async def image_status(self, image: str) -> Image | None:
        """By name or id; None when it is not on the node."""

    async def pull_image(self, image: str, auth: RegistryAuth | None = None) -> str:
        """Its id. ImageNotFound when no registry has it."""

    async def remove_image(self, image: str) -> None:
        """With all its names. Harmless when gone."""

    async def image_fs_info(self) -> list[FilesystemUsage]: ...

    @property
    def image_views(self) -> ImageViews:
        """For image volumes."""

    async def writable_layers(self) -> dict[str, FilesystemUsage]:
        """What containers have written to their root filesystems, by container id. Slow: seldom to be asked for."""

    async def remove_leftovers(self) -> bool:
        """Gives back what the runtime has forgotten when it was killed. False: look again in some seconds."""

    def events(self) -> AsyncIterator[ContainerEvent]:
        """For ever, from now on, through restarts of the runtime; close the iterator to end it."""

    async def close(self) -> None: ...
