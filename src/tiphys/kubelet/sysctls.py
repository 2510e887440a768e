"""Which sysctls a pod may set: those that it has of its own and that harm nobody else, and what the node's administrator allows besides. Pure."""

from __future__ import annotations

from collections.abc import Sequence

SAFE = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
)
"""The newest needs Linux 4.15."""
_NAMESPACES = (
    ("kernel.sem", "ipc"),
    ("kernel.shm", "ipc"),
    ("kernel.msg", "ipc"),
    ("fs.mqueue.", "ipc"),
    ("net.", "net"),
)


def namespace_of(sysctl: str) -> str:
    """ "ipc" or "net": what a pod must have of its own to have the sysctl; empty when the whole node shares it."""
    for beginning, namespace in _NAMESPACES:
        if sysctl == beginning or (beginning != "kernel.sem" and sysctl.startswith(beginning)):
            return namespace
    return ""


def dotted(sysctl: str) -> str:
    """The name in its usual spelling, "net/ipv4/conf/eth0.1/x" → "net.ipv4.conf.eth0/1.x": the first separator decides."""
    first = next((character for character in sysctl if character in "./"), ".")
    return sysctl if first == "." else sysctl.translate(str.maketrans("./", "/."))


def sysctl_problem(sysctl: str, allowed: Sequence[str], *, host_network: bool, host_ipc: bool) -> str:
    """Why a pod may not set it; empty when it may. `allowed`: the administrator's names and patterns, "net.core.*"."""
    name = dotted(sysctl)
    if name not in SAFE and not any(_covers(dotted(pattern), name) for pattern in allowed):
        return f'"{name}" not allowlisted'
    namespace = namespace_of(name)
    if (namespace == "net" and host_network) or (namespace == "ipc" and host_ipc):
        return f'"{name}" not allowed with host {namespace} enabled'
    return ""


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def pattern_problem(pattern: str) -> str:
    """Why an administrator cannot allow it; empty when he can."""
    name = dotted(pattern)
    if namespace_of(name.removesuffix("*")):
        return ""
    what = "sysctls" if name.endswith("*") else "sysctl"
    return f'the {what} "{name}" are not known to be namespaced'
