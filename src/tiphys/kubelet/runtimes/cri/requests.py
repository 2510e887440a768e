"""From the kubelet's dataclasses to CRI messages. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tiphys.kubelet.runtimes.cri.wire import cri
from tiphys.kubelet.runtimes.interface import ContainerConfig, Mount, RegistryAuth, Resources, SandboxConfig
from tiphys.kubelet.runtimes.security import (
    AppArmorProfile,
    ContainerSecurity,
    SandboxSecurity,
    SeccompProfile,
    SELinuxOptions,
)
from tiphys.net.grpc_messages import Message

PROTOCOLS = {"TCP": 0, "UDP": 1, "SCTP": 2}
PROPAGATIONS = {"None": 0, "HostToContainer": 1, "Bidirectional": 2}
PROFILE_TYPES = {"RuntimeDefault": 0, "Unconfined": 1, "Localhost": 2}
POD, CONTAINER, NODE, TARGET = range(4)
MERGE, STRICT = range(2)


def sandbox_config(config: SandboxConfig) -> Message:
    """A PodSandboxConfig, the same for RunPodSandbox and for each of its containers."""
    return cri("PodSandboxConfig")(
        metadata={
            "name": config.name,
            "uid": config.uid,
            "namespace": config.namespace,
            "attempt": config.attempt,
        },
        # With the node's network the pod is in its UTS namespace too: a hostname of its own is refused.
        hostname="" if config.host_network else config.hostname,
        log_directory=config.log_directory,
        dns_config=_dns(config),
        port_mappings=[
            {
                "protocol": PROTOCOLS[mapping.protocol],
                "container_port": mapping.container_port,
                "host_port": mapping.host_port,
                "host_ip": mapping.host_ip,
            }
            for mapping in config.port_mappings
        ],
        labels=config.labels,
        annotations=config.annotations,
        linux={
            "cgroup_parent": config.cgroup_parent,
            "sysctls": config.sysctls,
            "security_context": _sandbox_security(config, config.security),
            "resources": resources(config.resources),
        },
    )


def container_config(config: ContainerConfig, sandbox: SandboxConfig) -> Message:
    return cri("ContainerConfig")(
        metadata={"name": config.name, "attempt": config.attempt},
        image={"image": config.image},
        command=config.command,
        args=config.args,
        working_dir=config.working_directory,
        envs=[{"key": key, "value": value.encode()} for key, value in config.env],
        mounts=[_mount(mount) for mount in config.mounts],
        devices=[
            {
                "container_path": device.container_path,
                "host_path": device.host_path,
                "permissions": device.permissions,
            }
            for device in config.devices
        ],
        labels=config.labels,
        annotations=config.annotations,
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux={
            "resources": resources(config.resources),
            "security_context": _container_security(
                config.security, namespaces(sandbox, config.target_container_id)
            ),
        },
    )


def namespaces(sandbox: SandboxConfig, target_container_id: str = "") -> dict[str, Any]:
    """Which namespaces a container shares; CRI wants to be told again for each container."""
    pid = NODE if sandbox.host_pid else POD if sandbox.share_process_namespace else CONTAINER
    if target_container_id and pid == CONTAINER:
        pid = TARGET
    return {
        "network": NODE if sandbox.host_network else POD,
        "pid": pid,
        "ipc": NODE if sandbox.host_ipc else POD,
        "target_id": target_container_id if pid == TARGET else "",
    }


def resources(wanted: Resources) -> Message:
    return cri("LinuxContainerResources")(
        cpu_period=wanted.cpu_period_microseconds,
        cpu_quota=wanted.cpu_quota_microseconds,
        cpu_shares=wanted.cpu_shares,
        memory_limit_in_bytes=wanted.memory_limit_bytes,
        memory_swap_limit_in_bytes=wanted.memory_swap_limit_bytes,
        oom_score_adj=wanted.oom_score_adj,
        cpuset_cpus=wanted.cpuset_cpus,
        cpuset_mems=wanted.cpuset_mems,
        hugepage_limits=[
            {"page_size": size, "limit": limit} for size, limit in wanted.hugepage_limits_bytes.items()
        ],
        unified=wanted.unified,
    )


def auth_config(auth: RegistryAuth) -> dict[str, str]:
    return {
        "username": auth.username,
        "password": auth.password,
        "auth": auth.auth,
        "server_address": auth.server_address,
        "identity_token": auth.identity_token,
        "registry_token": auth.registry_token,
    }


def _dns(config: SandboxConfig) -> dict[str, Any] | None:
    if config.dns is None:
        return None
    return {"servers": config.dns.servers, "searches": config.dns.searches, "options": config.dns.options}


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "container_path": mount.container_path,
        "host_path": mount.host_path,
        "readonly": mount.read_only,
        "propagation": PROPAGATIONS[mount.propagation],
    }


def _sandbox_security(config: SandboxConfig, security: SandboxSecurity) -> dict[str, Any]:
    return {
        "namespace_options": namespaces(config),
        "run_as_user": _number(security.run_as_user),
        "run_as_group": _number(security.run_as_group),
        "supplemental_groups": security.supplemental_groups,
        "supplemental_groups_policy": _groups_policy(security),
        "readonly_rootfs": security.read_only_root_filesystem,
        "privileged": security.privileged,
        "seccomp": _seccomp(security.seccomp),
        "selinux_options": _selinux(security.selinux),
    }


def _groups_policy(security: SandboxSecurity | ContainerSecurity) -> int:
    return STRICT if security.is_strict_about_groups else MERGE


def _container_security(security: ContainerSecurity, namespace_options: dict[str, Any]) -> dict[str, Any]:
    return {
        "capabilities": {
            "add_capabilities": security.add_capabilities,
            "drop_capabilities": security.drop_capabilities,
        },
        "privileged": security.privileged,
        "namespace_options": namespace_options,
        "run_as_user": _number(security.run_as_user),
        "run_as_group": _number(security.run_as_group),
        "run_as_username": security.run_as_username,
        "readonly_rootfs": security.read_only_root_filesystem,
        "supplemental_groups": security.supplemental_groups,
        "supplemental_groups_policy": _groups_policy(security),
        "no_new_privs": security.no_new_privileges,
        "masked_paths": security.masked_paths,
        "readonly_paths": security.readonly_paths,
        "seccomp": _seccomp(security.seccomp),
        "apparmor": _apparmor(security.apparmor),
        "selinux_options": _selinux(security.selinux),
    }


def _number(value: int | None) -> dict[str, int] | None:
    return None if value is None else {"value": value}


def _seccomp(profile: SeccompProfile) -> dict[str, Any]:
    return {"profile_type": PROFILE_TYPES[profile.type], "localhost_ref": profile.localhost_path}


def _apparmor(profile: AppArmorProfile | None) -> dict[str, Any] | None:
    if profile is None:
        return None
    return {"profile_type": PROFILE_TYPES[profile.type], "localhost_ref": profile.name}


def _selinux(options: SELinuxOptions | None) -> dict[str, str] | None:
    return None if options is None else asdict(options)
