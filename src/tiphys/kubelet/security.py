"""A container's security context, the pod's merged into it, as the runtime wants it. Pure; defaults are upstream's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import Image
from tiphys.kubelet.runtimes.security import (
    AppArmorProfile,
    ContainerSecurity,
    SandboxSecurity,
    SeccompProfile,
    SELinuxOptions,
)
from tiphys.kubelet.spec import Object
from tiphys.machinery.frozen import frozen

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
LARGEST_ID = 2**31 - 1


@frozen
class SeccompProfiles:
    """`directory`: where the node's own lie. `is_default`: who names none gets the runtime's."""

    directory: str = ""
    is_default: bool = False


def pod_context(pod: Object) -> Mapping[str, Any]:
    return pod["spec"].get("securityContext") or {}


def container_security(
    pod: Object,
    container: Object,
    image: Image | None,
    seccomp: SeccompProfiles,
    masked_paths: Sequence[str] = MASKED_PATHS,
) -> ContainerSecurity:
    """`image`: whom it runs as when nobody says otherwise."""
    of_pod, own = pod_context(pod), container.get("securityContext") or {}
    user, username = own.get("runAsUser", of_pod.get("runAsUser")), ""
    if user is None and image is not None:
        user, username = (None, image.username) if image.username else (image.user or 0, "")
    capabilities = own.get("capabilities") or {}
    is_privileged = bool(own.get("privileged"))
    is_masked = not is_privileged and own.get("procMount", "Default") == "Default"
    return ContainerSecurity(
        privileged=is_privileged,
        run_as_user=user,
        run_as_username=username,
        run_as_group=own.get("runAsGroup", of_pod.get("runAsGroup")),
        supplemental_groups=supplemental_groups(pod),
        is_strict_about_groups=of_pod.get("supplementalGroupsPolicy") == "Strict",
        read_only_root_filesystem=bool(own.get("readOnlyRootFilesystem")),
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        masked_paths=tuple(masked_paths) if is_masked else (),
        readonly_paths=READONLY_PATHS if is_masked else (),
        seccomp=_seccomp(own.get("seccompProfile") or of_pod.get("seccompProfile"), seccomp),
        apparmor=_apparmor(own.get("appArmorProfile") or of_pod.get("appArmorProfile")),
        selinux=_selinux(own.get("seLinuxOptions") or of_pod.get("seLinuxOptions")),
    )


def supplemental_groups(pod: Object) -> tuple[int, ...]:
    """The one that owns the pod's volumes, and those asked for."""
    of_pod = pod_context(pod)
    of_volumes = [of_pod["fsGroup"]] if of_pod.get("fsGroup") is not None else []
    return tuple(dict.fromkeys([*of_volumes, *(of_pod.get("supplementalGroups") or ())]))


def sandbox_security(pod: Object) -> SandboxSecurity:
    of_pod = pod_context(pod)
    return SandboxSecurity(
        run_as_user=of_pod.get("runAsUser"),
        # containerd refuses a group without a user; of the pause process nobody sees either.
        run_as_group=of_pod.get("runAsGroup") if of_pod.get("runAsUser") is not None else None,
        supplemental_groups=supplemental_groups(pod),
        is_strict_about_groups=of_pod.get("supplementalGroupsPolicy") == "Strict",
        privileged=any(
            (container.get("securityContext") or {}).get("privileged")
            for container in spec.all_containers(pod)
        ),
        selinux=_selinux(of_pod.get("seLinuxOptions")),
    )


def user_namespace_problem(pod: Object, handler: str = "") -> str:
    """Why a pod cannot have users of its own; empty when it asks for none."""
    if pod["spec"].get("hostUsers") is not False:
        return ""
    return f'can\'t set `spec.hostUsers: false`, RuntimeClass handler "{handler}" does not support user namespaces'


def _selinux(options: Mapping[str, Any] | None) -> SELinuxOptions | None:
    return SELinuxOptions(**options) if options else None


def _apparmor(profile: Mapping[str, Any] | None) -> AppArmorProfile | None:
    return AppArmorProfile(profile["type"], profile.get("localhostProfile", "")) if profile else None


def _seccomp(profile: Mapping[str, Any] | None, profiles: SeccompProfiles) -> SeccompProfile:
    match (profile or {}).get("type"):
        case "RuntimeDefault":
            return SeccompProfile("RuntimeDefault")
        case "Localhost":
            path = f"{profiles.directory}/{(profile or {}).get('localhostProfile', '')}"
            return SeccompProfile("Localhost", path)
        case None if profiles.is_default:
            return SeccompProfile("RuntimeDefault")
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
    if not 0 <= image.user <= LARGEST_ID:
        return (
            f"container has runAsNonRoot and image has an invalid user id ({image.user}). "
            f"(Must be 1-({LARGEST_ID})): must be between 0 and {LARGEST_ID}, inclusive {where}"
        )
    return ""
