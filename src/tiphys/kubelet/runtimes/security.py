"""A security context as a runtime is told of it: a pod's, and a container's with the pod's already merged into it."""

from __future__ import annotations

from typing import Literal

from tiphys.machinery.frozen import frozen

SeccompType = Literal["RuntimeDefault", "Unconfined", "Localhost"]


@frozen
class SeccompProfile:
    type: SeccompType = "Unconfined"
    localhost_path: str = ""
    """Absolute path on the node, for `Localhost` only."""


@frozen
class AppArmorProfile:
    type: SeccompType
    name: str = ""
    """Of a profile that is loaded on the node, for `Localhost` only."""


@frozen
class SELinuxOptions:
    """Without effect on a node without SELinux."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@frozen
class SandboxSecurity:
    """The pod's part of a security context that its sandbox needs."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    is_strict_about_groups: bool = False
    """Groups that the image gives the user are left out."""
    read_only_root_filesystem: bool = False
    privileged: bool = False
    """True when any of its containers is."""
    seccomp: SeccompProfile = SeccompProfile(type="RuntimeDefault")
    selinux: SELinuxOptions | None = None


@frozen
class ContainerSecurity:
    """A container's security context, the pod's already merged into it."""

    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: tuple[int, ...] = ()
    is_strict_about_groups: bool = False
    """Groups that the image gives the user are left out."""
    read_only_root_filesystem: bool = False
    no_new_privileges: bool = False
    """The opposite of allowPrivilegeEscalation."""
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SeccompProfile = SeccompProfile()
    apparmor: AppArmorProfile | None = None
    """None: the runtime's default where the node has AppArmor."""
    selinux: SELinuxOptions | None = None
