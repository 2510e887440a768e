"""A container's security context, the pod's merged into it, as the runtime wants it. Pure; defaults are upstream's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import (
    ContainerSecurity,
    Image,
    SandboxSecurity,
    SeccompProfile,
)
from tiphys.kubelet.spec import Object

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
SECCOMP_DIRECTORY = "/var/lib/kubelet/seccomp"


def pod_context(pod: Object) -> Mapping[str, Any]:
    return pod["spec"].get("securityContext") or {}


def container_security(pod: Object, container: Object) -> ContainerSecurity:
    of_pod, own = pod_context(pod), container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    is_privileged = bool(own.get("privileged"))
    is_masked = not is_privileged and own.get("procMount", "Default") == "Default"
    return ContainerSecurity(
        privileged=is_privileged,
        run_as_user=own.get("runAsUser", of_pod.get("runAsUser")),
        run_as_group=own.get("runAsGroup", of_pod.get("runAsGroup")),
        supplemental_groups=supplemental_groups(pod),
        read_only_root_filesystem=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        masked_paths=MASKED_PATHS if is_masked else (),
        readonly_paths=READONLY_PATHS if is_masked else (),
        seccomp=_seccomp(own.get("seccompProfile") or of_pod.get("seccompProfile")),
    )


def supplemental_groups(pod: Object) -> tuple[int, ...]:
    """Those asked for, and the one that owns the pod's volumes."""
    of_pod = pod_context(pod)
    groups = [*(of_pod.get("supplementalGroups") or ())]
    if of_pod.get("fsGroup") is not None:
        groups.append(of_pod["fsGroup"])
    return tuple(dict.fromkeys(groups))


def sandbox_security(pod: Object) -> SandboxSecurity:
    of_pod = pod_context(pod)
    return SandboxSecurity(
        run_as_user=of_pod.get("runAsUser"),
        run_as_group=of_pod.get("runAsGroup"),
        supplemental_groups=supplemental_groups(pod),
        privileged=any(
            (container.get("securityContext") or {}).get("privileged")
            for container in spec.all_containers(pod)
        ),
    )


def _seccomp(profile: Mapping[str, Any] | None) -> SeccompProfile:
    match (profile or {}).get("type"):
        case "RuntimeDefault":
            return SeccompProfile("RuntimeDefault")
        case "Localhost":
            path = f"{SECCOMP_DIRECTORY}/{(profile or {}).get('localhostProfile', '')}"
            return SeccompProfile("Localhost", path)
    return SeccompProfile("Unconfined")


def root_problem(pod: Object, container: Object, image: Image | None) -> str:
    """Why a container that must not run as root cannot be started; empty when it can."""
    of_pod, own = pod_context(pod), container.get("securityContext") or {}
    if not own.get("runAsNonRoot", of_pod.get("runAsNonRoot")):
        return ""
    where = f'(pod: "{spec.described(pod)}", container: {container["name"]})'
    user = own.get("runAsUser", of_pod.get("runAsUser"))
    if user is not None:
        return f"container's runAsUser breaks non-root policy {where}" if user == 0 else ""
    if image is None:
        return ""
    if image.username:
        return f"container has runAsNonRoot and image has non-numeric user ({image.username}), cannot verify user is non-root {where}"
    if not image.user:
        return f"container has runAsNonRoot and image will run as root {where}"
    return ""
