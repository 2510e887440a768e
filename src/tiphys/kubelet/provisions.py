"""What a real pod gets on its node besides containers: directories, cgroup, volumes, environment, secrets for pulling."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.api.resource import Resource
from tiphys.client.cache import Cache
from tiphys.client.resources import CONFIGMAPS, SECRETS
from tiphys.kubelet import env, env_files, spec
from tiphys.kubelet.container_config import Gathered, Names, container_config, sandbox_config
from tiphys.kubelet.container_mounts import BadMount, devices, mounts_path, with_groups
from tiphys.kubelet.devices.keeper import DeviceKeeper, with_devices
from tiphys.kubelet.dns import ClusterDNS, NameTooLong, PodDNS, hosts_file, parse_resolver, pod_dns
from tiphys.kubelet.downward import Surroundings
from tiphys.kubelet.files import Files, uid_of_logs
from tiphys.kubelet.host import Unprovided
from tiphys.kubelet.images.keyring import Credential, Credentials, lookup
from tiphys.kubelet.node_volumes import NodeVolumes
from tiphys.kubelet.pod_cgroups import PodCgroups
from tiphys.kubelet.references import NotSynced, References
from tiphys.kubelet.resources import Enforcement, container_resources, pod_resources
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerStatus,
    Mount,
    Resources,
    Runtime,
    RuntimeFailure,
    SandboxConfig,
    SandboxStatus,
)
from tiphys.kubelet.security import MASKED_PATHS, SeccompProfiles, root_problem, user_namespace_problem
from tiphys.kubelet.spec import Object
from tiphys.kubelet.subpath import BadSubPath
from tiphys.kubelet.termination import termination_message
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity

if TYPE_CHECKING:
    from tiphys.kubelet.managers.setup import ResourceManagers

log = logging.getLogger(__name__)

_RESOURCES: dict[env.Kind, Resource] = {"configmap": CONFIGMAPS, "secret": SECRETS}
RESOLVER, HOSTS = Path("/etc/resolv.conf"), Path("/etc/hosts")
CONFIG_ERROR = "CreateContainerConfigError"

Providers = Callable[[Object, str], Awaitable[tuple[Credential, ...]]]
"""(pod, image) → what it may be pulled with."""


@frozen
class NodeDetails:
    """What stays as it is as long as the node runs."""

    name: str
    ips: tuple[str, ...]
    allocatable: dict[str, Quantity] = field(default_factory=dict)
    enforced: Enforcement = field(default_factory=Enforcement)
    masked_paths: Sequence[str] = MASKED_PATHS
    seccomp_default: bool = False
    """Whether containers that name no profile get the runtime's."""
    dns: ClusterDNS = field(default_factory=ClusterDNS)


class NodeProvisions:
    """`Provisions` on a disk, with cgroups and mounts."""

    def __init__(
        self,
        details: NodeDetails,
        files: Files,
        references: References,
        *,
        runtime: Runtime,
        services: Cache,
        cgroups: PodCgroups,
        volumes: NodeVolumes,
        devices: DeviceKeeper,
        providers: Providers | None = None,
        managers: ResourceManagers | None = None,
    ) -> None:
        """`providers`: of credentials, beside what pods and the node itself have."""
        self._details = details
        self._files = files
        self._references = references
        self._runtime = runtime
        self._services = services
        self._cgroups = cgroups
        self._volumes = volumes
        self._devices = devices
        self._providers = providers
        self._managers = managers

    # Sandboxes

    async def sandbox_config(self, pod: Object, attempt: int) -> SandboxConfig:
        problem = user_namespace_problem(pod)
        if problem:
            raise Unprovided("FailedCreatePodSandBox", problem)
        logs = self._files.pod_logs(pod)
        try:
            logs.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._files.pod(meta.uid(pod)).mkdir(parents=True, exist_ok=True, mode=0o750)
            cgroup = self._cgroups.make(pod)
        except OSError as error:
            raise Unprovided("FailedCreatePodContainer", str(error)) from error
        details = self._details
        names = Names(details.dns, self._dns(pod).config)
        try:
            config = sandbox_config(pod, attempt, str(logs), cgroup, names)
        except NameTooLong as error:
            raise Unprovided("FailedCreatePodSandBox", str(error)) from error
        return replace(config, resources=pod_resources(pod, details.enforced))

    def warnings(self, pod: Object) -> list[tuple[str, str]]:
        return [("DNSConfigForming", message) for message in self._dns(pod).warnings]

    def _dns(self, pod: Object) -> PodDNS:
        return pod_dns(pod, self._details.dns, parse_resolver(_text_of(RESOLVER)))

    def container_resources(self, pod: Object, container: Object) -> Resources:
        return self._pinned(pod, container, container_resources(pod, container, self._details.enforced))

    def _pinned(self, pod: Object, container: Object, resources: Resources) -> Resources:
        return resources if self._managers is None else self._managers.applied(pod, container, resources)

    async def resize_pod(self, pod: Object, before: Object | None = None) -> None:
        try:
            self._cgroups.make(pod, before)
        except OSError as error:
            raise Unprovided("FailedResizePod", str(error)) from error

    # Volumes

    async def prepare_volumes(self, pod: Object) -> float | None:
        return await self._volumes.prepare(pod, self._around(pod, ()))

    def volume_plugins(self, pod: Object) -> tuple[Sequence[str], Sequence[str]]:
        return self._volumes.plugins(pod)

    async def _find(self, pod: Object, kind: env.Kind, name: str) -> Object | None:
        return await self._references.get(meta.uid(pod), _RESOURCES[kind], meta.namespace(pod), name)

    def _around(self, pod: Object, pod_ips: tuple[str, ...]) -> Surroundings:
        details = self._details
        ips = details.ips if spec.uses_host_network(pod) else pod_ips
        return Surroundings(details.name, details.ips, ips, details.allocatable)

    # Containers

    async def container_config(
        self, pod: Object, container: Object, attempt: int, image: str, sandbox: SandboxStatus
    ) -> ContainerConfig:
        facts = await self._runtime.image_status(image)
        problem = root_problem(pod, container, facts)
        if problem:
            raise Unprovided(CONFIG_ERROR, problem)
        environment = await self._environment(pod, container, sandbox)
        try:
            volumes = await self._volumes.for_container(pod, container)
            mounts = self._volumes.maker.mounts(pod, container, volumes, environment)
            mounts += self._own_mounts(pod, container, attempt, sandbox)
            of_devices = devices(container, volumes)
        except (BadSubPath, BadMount, OSError) as error:
            raise Unprovided(CONFIG_ERROR, str(error)) from error
        except RuntimeFailure as error:
            raise Unprovided("CreateContainerError", error.message) from error
        gathered = Gathered(
            image,
            attempt,
            environment,
            mounts,
            self._details.enforced,
            SeccompProfiles(str(self._files.seccomp), is_default=self._details.seccomp_default),
            self._details.masked_paths,
            facts,
            target_container_id=await self._target(container, sandbox),
            devices=of_devices,
        )
        config = with_groups(container_config(pod, container, gathered), volumes)
        config = replace(config, resources=self._pinned(pod, container, config.resources))
        return with_devices(config, await self._devices.prepare(pod, container))

    async def _environment(self, pod: Object, container: Object, sandbox: SandboxStatus) -> dict[str, str]:
        try:
            objects = {need: await self._find(pod, *need) for need in set(env.needs(container))}
        except NotSynced as error:
            raise Unprovided(CONFIG_ERROR, str(error)) from error
        services = env.service_variables(pod, self._services)
        around = self._around(pod, sandbox.ips)
        files = {need: self._read_file(pod, *need) for need in set(env.file_needs(container))}
        try:
            return env.environment(env.EnvironmentInput(pod, container, objects, files, services, around))
        except env.BadEnvironment as error:
            raise Unprovided(CONFIG_ERROR, str(error)) from error

    def _read_file(self, pod: Object, volume: str, path: str) -> str | None:
        made = self._volumes.of(pod).get(volume)
        try:
            return env_files.read(made.path, path) if made is not None else None
        except env_files.BadEnvFile as error:
            log.info("pod %s: cannot read %s of volume %s: %s", spec.described(pod), path, volume, error)
            return None

    def _own_mounts(
        self, pod: Object, container: Object, attempt: int, sandbox: SandboxStatus
    ) -> list[Mount]:
        """What every container gets from us: /etc/hosts, and a file for its last words."""
        found = []
        if not mounts_path(container, "/etc/hosts"):
            found.append(Mount("/etc/hosts", str(self._write_hosts(pod, sandbox))))
        message_path = container.get("terminationMessagePath")
        if message_path:
            file = self._files.termination_message(meta.uid(pod), container["name"], attempt)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            # Whoever the container runs as may leave a message.
            file.chmod(0o666)
            found.append(Mount(message_path, str(file)))
        return found

    def _write_hosts(self, pod: Object, sandbox: SandboxStatus) -> Path:
        path = self._files.hosts(meta.uid(pod))
        nodes_own = _text_of(HOSTS) if spec.uses_host_network(pod) else ""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hosts_file(pod, sandbox.ips, self._details.dns, nodes_own))
        path.chmod(0o644)
        return path

    async def _target(self, container: Object, sandbox: SandboxStatus) -> str:
        """Whose processes an ephemeral container shall see."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        for entry in await self._runtime.list_containers(sandbox.id):
            if entry.name == name and entry.state == "Running":
                return entry.id
        raise Unprovided(CONFIG_ERROR, f"unable to find target container {name}")

    # Images

    async def credentials(self, pod: Object, image: str) -> Credentials:
        secrets, missing = [], []
        for reference in pod["spec"].get("imagePullSecrets") or ():
            name = reference.get("name", "")
            try:
                secret = await self._find(pod, "secret", name) if name else None
            except NotSynced:
                secret = None
            if secret is not None:
                secrets.append(secret)
            elif name:
                missing.append(name)
        try:
            of_node = self._files.registry_config.read_bytes()
        except OSError:
            of_node = b""
        return replace(lookup(secrets, image, of_node), missing=tuple(missing))

    async def provided_credentials(self, pod: Object, image: str) -> tuple[Credential, ...]:
        return await self._providers(pod, image) if self._providers is not None else ()

    # The end

    async def clean_up(self, pod: Object, *, logs: bool) -> None:
        uid = meta.uid(pod)
        try:
            await self._volumes.remove(uid)
            if logs:
                shutil.rmtree(self._files.pod(uid), ignore_errors=True)
                for directory in self._files.logs.glob(f"*_{uid}"):
                    shutil.rmtree(directory, ignore_errors=True)
        except (OSError, RuntimeFailure) as error:
            raise Unprovided("FailedKillPod", str(error)) from error
        if not self._cgroups.remove(uid):
            raise Unprovided(
                "FailedKillPod", "processes were left in the control group of the pod: killed them"
            )

    def last_words(self, status: ContainerStatus) -> str:
        return termination_message(status)

    def forget_life(self, status: ContainerStatus) -> None:
        if status.log_path:
            path = Path(status.log_path)
            for file in path.parent.glob(f"{path.name}*"):
                file.unlink(missing_ok=True)

    def forget(self, uid: str) -> None:
        self._references.forget(uid)
        self._volumes.forget(uid)

    def leftovers(self) -> set[str]:
        found = self._cgroups.uids()
        for directory in (self._files.pods, self._files.logs):
            if directory.exists():
                found |= {uid_of_logs(path.name) for path in directory.iterdir()}
        return found


def _text_of(file: Path) -> str:
    """Of a file of the node that may be missing."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
