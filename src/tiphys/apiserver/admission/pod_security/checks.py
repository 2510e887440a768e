"""What may be wrong with a pod, one function a rule of the Pod Security Standards.

Each takes a Pod and gives None, or a Violation in upstream's words (`pod-security-admission/policy`). Which rule holds at which level
and since which version is the table in `standards.py`. https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

Object = Mapping[str, Any]
_NOTHING: Object = {}


@frozen
class Violation:
    """`reason` names the rule in a word or two; `detail` says which container broke it with what."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})"


class Pod:
    """A pod, or the template of one, as the rules look at it."""

    __slots__ = ("annotations", "containers", "security", "spec")

    def __init__(self, metadata: Object, spec: Object) -> None:
        self.annotations: Object = metadata.get("annotations") or _NOTHING
        self.spec = spec
        self.security: Object = spec.get("securityContext") or _NOTHING
        self.containers: list[tuple[str, Object, Object]] = [
            (container.get("name", ""), container, container.get("securityContext") or _NOTHING)
            for field in ("initContainers", "containers", "ephemeralContainers")
            for container in spec.get(field) or ()
        ]
        """All of them: name, container, its security context."""

    @property
    def has_own_users(self) -> bool:
        """It runs in a user namespace: its root is nobody outside."""
        return self.spec.get("hostUsers") is False

    @property
    def is_windows(self) -> bool:
        return (self.spec.get("os") or _NOTHING).get("name") == "windows"

    def where(self, is_bad: Callable[[Object], Any]) -> list[str]:
        """The names of the containers with such a security context."""
        return [name for name, _, security in self.containers if is_bad(security)]


Rule = Callable[[Pod], Violation | None]


# Words


def _quoted(items: Iterable[str]) -> str:
    # Upstream puts quotation marks around what it lists, and escapes nothing.
    return ", ".join(f'"{item}"' for item in items)


def _plural(one: str, count: int) -> str:
    return one if count == 1 else f"{one}s"


def _containers(names: Sequence[str]) -> str:
    return f"{_plural('container', len(names))} {_quoted(names)}"


def _setters(pod_is_bad: object, names: Sequence[str]) -> str:
    """Who set something bad: the pod, containers, or both; empty when nobody did."""
    return " and ".join([*(["pod"] if pod_is_bad else []), *([_containers(names)] if names else [])])


# Baseline


_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


def apparmor_profile(pod: Pod) -> Violation | None:
    values: set[str] = set()

    def is_bad(security: Object) -> bool:
        profile = security.get("appArmorProfile")
        if profile is None or profile.get("type") in ("RuntimeDefault", "Localhost"):
            return False
        values.add(profile.get("type", ""))
        return True

    setters = _setters(is_bad(pod.security), pod.where(is_bad))
    annotations = sorted(
        f"{key}={quote(value)}"
        for key, value in pod.annotations.items()
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    bad = [*sorted(values), *annotations]
    if not bad:
        return None
    if annotations:
        setters = " and ".join(filter(None, [setters, _plural("annotation", len(annotations))]))
    reason = _plural("forbidden AppArmor profile", len(bad))
    return Violation(reason, f"{setters} must not set AppArmor profile type to {_quoted(bad)}")


_DEFAULT_CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)


def _added(security: Object, allowed: frozenset[str]) -> list[str]:
    capabilities = security.get("capabilities") or _NOTHING
    return [each for each in capabilities.get("add") or () if each not in allowed]


def _added_detail(pod: Pod, allowed: frozenset[str]) -> str:
    names = pod.where(lambda security: _added(security, allowed))
    if not names:
        return ""
    added = sorted({each for _, _, security in pod.containers for each in _added(security, allowed)})
    return f"{_containers(names)} must not include {_quoted(added)} in securityContext.capabilities.add"


def default_capabilities(pod: Pod) -> Violation | None:
    detail = _added_detail(pod, _DEFAULT_CAPABILITIES)
    return Violation("non-default capabilities", detail) if detail else None


def host_namespaces(pod: Pod) -> Violation | None:
    shared = [field for field in ("hostIPC", "hostNetwork", "hostPID") if pod.spec.get(field)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def host_path_volumes(pod: Pod) -> Violation | None:
    names = [
        each.get("name", "") for each in pod.spec.get("volumes") or () if each.get("hostPath") is not None
    ]
    if not names:
        return None
    return Violation("hostPath volumes", f"{_plural('volume', len(names))} {_quoted(names)}")


def host_ports(pod: Pod) -> Violation | None:
    used = {
        name: ports
        for name, container, _ in pod.containers
        if (ports := [str(each["hostPort"]) for each in container.get("ports") or () if each.get("hostPort")])
    }
    if not used:
        return None
    numbers = sorted({port for ports in used.values() for port in ports})
    verb = "uses" if len(used) == 1 else "use"
    detail = f"{_containers(list(used))} {verb} {_plural('hostPort', len(numbers))} {', '.join(numbers)}"
    return Violation("hostPort", detail)


def _hosts(container: Object) -> set[str]:
    """The hosts that its probes and hooks name."""
    lifecycle = container.get("lifecycle") or _NOTHING
    handlers = [
        *(container.get(probe) for probe in ("livenessProbe", "readinessProbe", "startupProbe")),
        *(lifecycle.get(hook) for hook in ("postStart", "preStop")),
    ]
    return {
        action["host"]
        for handler in handlers
        for action in ((handler or _NOTHING).get("httpGet"), (handler or _NOTHING).get("tcpSocket"))
        if action and action.get("host")
    }


def probe_and_lifecycle_hosts(pod: Pod) -> Violation | None:
    named = {name: hosts for name, container, _ in pod.containers if (hosts := _hosts(container))}
    if not named:
        return None
    every = sorted({host for hosts in named.values() for host in hosts})
    verb = "uses" if len(named) == 1 else "use"
    what = _plural("probe or lifecycle host", len(every))
    return Violation(
        "probe or lifecycle host", f"{_containers(sorted(named))} {verb} {what} {_quoted(every)}"
    )


def privileged(pod: Pod) -> Violation | None:
    names = pod.where(lambda security: security.get("privileged"))
    if not names:
        return None
    return Violation("privileged", f"{_containers(names)} must not set securityContext.privileged=true")


def proc_mount(pod: Pod) -> Violation | None:
    def kind(security: Object) -> str:
        found = security.get("procMount")
        return found if found not in (None, "Default") else ""

    names = pod.where(kind)
    if not names:
        return None
    kinds = sorted({found for _, _, security in pod.containers if (found := kind(security))})
    return Violation(
        "procMount", f"{_containers(names)} must not set securityContext.procMount to {_quoted(kinds)}"
    )


_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t"})


def _selinux(types: frozenset[str], pod: Pod) -> Violation | None:
    bad_types: set[str] = set()
    also: set[str] = set()

    def is_bad(security: Object) -> bool:
        options = security.get("seLinuxOptions") or _NOTHING
        type_, fields = options.get("type", ""), {each for each in ("user", "role") if options.get(each)}
        if type_ not in types:
            bad_types.add(type_)
        also.update(fields)
        return type_ not in types or bool(fields)

    setters = _setters(is_bad(pod.security), pod.where(is_bad))
    if not setters:
        return None
    what = [f"{_plural('type', len(bad_types))} {_quoted(sorted(bad_types))}"] if bad_types else []
    what += [f"{field} may not be set" for field in ("user", "role") if field in also]
    return Violation(
        "seLinuxOptions", f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(what)}"
    )


selinux_1_0: Rule = partial(_selinux, _SELINUX_TYPES)
selinux_1_31: Rule = partial(_selinux, _SELINUX_TYPES | {"container_engine_t"})


_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"


def seccomp_annotations(pod: Pod) -> Violation | None:
    keys = {_SECCOMP_POD, *(f"{_SECCOMP_CONTAINER}{name}" for name, _, _ in pod.containers)}
    bad = [
        f"{key}={quote(value)}"
        for key in sorted(keys & pod.annotations.keys())
        if (value := pod.annotations[key]) not in ("runtime/default", "docker/default")
        and not value.startswith("localhost/")
    ]
    if not bad:
        return None
    return Violation("seccompProfile", f"forbidden {_plural('annotation', len(bad))} {', '.join(bad)}")


def _has_bad_seccomp(security: Object) -> bool:
    profile = security.get("seccompProfile")
    return profile is not None and profile.get("type") not in ("RuntimeDefault", "Localhost")


def seccomp_profile(pod: Pod) -> Violation | None:
    setters = _setters(_has_bad_seccomp(pod.security), pod.where(_has_bad_seccomp))
    if not setters:
        return None
    contexts = [pod.security, *(security for _, _, security in pod.containers)]
    types = sorted({each["seccompProfile"].get("type", "") for each in contexts if _has_bad_seccomp(each)})
    detail = f"{setters} must not set securityContext.seccompProfile.type to {_quoted(types)}"
    return Violation("seccompProfile", detail)


_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    }
)
_SYSCTLS_1_27 = _SYSCTLS | {"net.ipv4.ip_local_reserved_ports"}
_SYSCTLS_1_29 = _SYSCTLS_1_27 | {
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
_SYSCTLS_1_32 = _SYSCTLS_1_29 | {"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}


def _sysctls(safe: frozenset[str], pod: Pod) -> Violation | None:
    names = [each.get("name", "") for each in pod.security.get("sysctls") or ()]
    bad = [name for name in names if name not in safe]
    return Violation("forbidden sysctls", ", ".join(bad)) if bad else None


sysctls_1_0: Rule = partial(_sysctls, _SYSCTLS)
sysctls_1_27: Rule = partial(_sysctls, _SYSCTLS_1_27)
sysctls_1_29: Rule = partial(_sysctls, _SYSCTLS_1_29)
sysctls_1_32: Rule = partial(_sysctls, _SYSCTLS_1_32)


def _is_host_process(security: Object) -> Any:
    return (security.get("windowsOptions") or _NOTHING).get("hostProcess")


def windows_host_process(pod: Pod) -> Violation | None:
    setters = _setters(_is_host_process(pod.security), pod.where(_is_host_process))
    if not setters:
        return None
    return Violation("hostProcess", f"{setters} must not set securityContext.windowsOptions.hostProcess=true")


# Restricted


def privilege_escalation(pod: Pod) -> Violation | None:
    names = pod.where(lambda security: security.get("allowPrivilegeEscalation") is not False)
    if not names:
        return None
    detail = f"{_containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


_NET_BIND_SERVICE = frozenset({"NET_BIND_SERVICE"})


def drops_all_capabilities(pod: Pod) -> Violation | None:
    missing = pod.where(lambda each: "ALL" not in ((each.get("capabilities") or _NOTHING).get("drop") or ()))
    details = (
        [f'{_containers(missing)} must set securityContext.capabilities.drop=["ALL"]'] if missing else []
    )
    added = _added_detail(pod, _NET_BIND_SERVICE)
    if added:
        details.append(added)
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


_VOLUMES = frozenset(
    [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ]
)
_OTHER_VOLUMES = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
]


def volume_types(pod: Pod) -> Violation | None:
    bad = {
        each.get("name", ""): next((kind for kind in _OTHER_VOLUMES if each.get(kind) is not None), "unknown")
        for each in pod.spec.get("volumes") or ()
        if not any(each.get(kind) is not None for kind in _VOLUMES)
    }
    if not bad:
        return None
    kinds = sorted(set(bad.values()))
    verb = "uses" if len(bad) == 1 else "use"
    what = _plural("restricted volume type", len(kinds))
    detail = f"{_plural('volume', len(bad))} {_quoted(bad)} {verb} {what} {_quoted(kinds)}"
    return Violation("restricted volume types", detail)


def run_as_non_root(pod: Pod) -> Violation | None:
    reason, of_pod = "runAsNonRoot != true", pod.security.get("runAsNonRoot")
    setters = _setters(of_pod is False, pod.where(lambda security: security.get("runAsNonRoot") is False))
    if setters:
        return Violation(reason, f"{setters} must not set securityContext.runAsNonRoot=false")
    silent = [] if of_pod else pod.where(lambda security: security.get("runAsNonRoot") is None)
    if not silent:
        return None
    return Violation(reason, f"pod or {_containers(silent)} must set securityContext.runAsNonRoot=true")


def run_as_user(pod: Pod) -> Violation | None:
    setters = _setters(pod.security.get("runAsUser") == 0, pod.where(lambda each: each.get("runAsUser") == 0))
    return Violation("runAsUser=0", f"{setters} must not set runAsUser=0") if setters else None


def has_seccomp_profile(pod: Pod) -> Violation | None:
    bad = seccomp_profile(pod)
    if bad is not None or pod.security.get("seccompProfile") is not None:
        return bad
    silent = pod.where(lambda security: security.get("seccompProfile") is None)
    if not silent:
        return None
    wanted = 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", f"pod or {_containers(silent)} {wanted}")


# Relaxations


def unless_windows(rule: Rule) -> Rule:
    """What only Linux knows is not asked of a pod that says it is for Windows."""
    return lambda pod: None if pod.is_windows else rule(pod)


def unless_own_users(rule: Rule) -> Rule:
    """Who may be root in a user namespace of the pod's own is nobody outside (KEP-127)."""
    return lambda pod: None if pod.has_own_users else rule(pod)
