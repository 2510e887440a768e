"""From a pod and one of its containers to what the runtime is asked to create. Pure, once files and objects have been gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tiphys.kubelet import labels, spec
from tiphys.kubelet.dns import ClusterDNS, uts_name
from tiphys.kubelet.expansion import expand
from tiphys.kubelet.files import log_path
from tiphys.kubelet.resources import Enforcement, container_resources
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    Device,
    DNSConfig,
    Image,
    Mount,
    PortMapping,
    SandboxConfig,
)
from tiphys.kubelet.security import MASKED_PATHS, SeccompProfiles, container_security, sandbox_security
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen


@frozen
class Gathered:
    """What had to be looked up for a container."""

    image: str
    attempt: int
    environment: Mapping[str, str]
    mounts: Sequence[Mount]
    enforced: Enforcement
    seccomp: SeccompProfiles
    masked_paths: Sequence[str] = MASKED_PATHS
    image_facts: Image | None = None
    target_container_id: str = ""
    devices: Sequence[Device] = ()


@frozen
class Names:
    """Whom the pod asks for names, and the cluster that gives it its own."""

    cluster: ClusterDNS
    dns: DNSConfig | None


def sandbox_config(pod: Object, attempt: int, log_directory: str, cgroup: str, names: Names) -> SandboxConfig:
    """Raises NameTooLong."""
    of_spec = pod["spec"]
    grace = of_spec.get("terminationGracePeriodSeconds")
    return SandboxConfig(
        name=meta.name(pod),
        namespace=meta.namespace(pod),
        uid=meta.uid(pod),
        attempt=attempt,
        hostname="" if spec.uses_host_network(pod) else uts_name(pod, names.cluster),
        log_directory=log_directory,
        cgroup_parent=cgroup,
        dns=names.dns,
        port_mappings=() if spec.uses_host_network(pod) else tuple(_port_mappings(pod)),
        labels=labels.of_pod(pod),
        annotations={
            **meta.annotations(pod),
            **({labels.GRACE_PERIOD: str(grace)} if grace is not None else {}),
        },
        host_network=spec.uses_host_network(pod),
        host_pid=bool(of_spec.get("hostPID")),
        host_ipc=bool(of_spec.get("hostIPC")),
        share_process_namespace=bool(of_spec.get("shareProcessNamespace")),
        sysctls={
            sysctl["name"]: sysctl["value"]
            for sysctl in (of_spec.get("securityContext") or {}).get("sysctls") or ()
        },
        security=sandbox_security(pod),
    )


def _port_mappings(pod: Object) -> list[PortMapping]:
    return [
        PortMapping(
            port["containerPort"], port["hostPort"], port.get("protocol") or "TCP", port.get("hostIP") or ""
        )
        for container in [*spec.containers(pod), *spec.sidecars(pod)]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def container_config(pod: Object, container: Object, gathered: Gathered) -> ContainerConfig:
    values = gathered.environment
    return ContainerConfig(
        name=container["name"],
        image=gathered.image,
        attempt=gathered.attempt,
        command=tuple(expand(word, values) for word in container.get("command") or ()),
        args=tuple(expand(word, values) for word in container.get("args") or ()),
        working_directory=container.get("workingDir") or "",
        env=tuple(gathered.environment.items()),
        mounts=tuple(gathered.mounts),
        devices=tuple(gathered.devices),
        labels=labels.of_container(pod, container),
        annotations=labels.of_life(pod, container, gathered.attempt),
        log_path=log_path(container["name"], gathered.attempt),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        resources=container_resources(pod, container, gathered.enforced),
        security=container_security(
            pod, container, gathered.image_facts, gathered.seccomp, gathered.masked_paths
        ),
        target_container_id=gathered.target_container_id,
    )
