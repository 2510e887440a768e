"""Every rule of the Pod Security Standards, in every form that a version gave it."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.apiserver.admission.pod_security.checks import Pod
from tiphys.apiserver.admission.pod_security.policy import (
    BASELINE,
    LATEST,
    LEVELS,
    PRIVILEGED,
    RESTRICTED,
    LevelVersion,
    Policy,
    policy_of,
)
from tiphys.apiserver.admission.pod_security.standards import CHECKS, NEWEST, details, violations

GOOD = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def container(name: str = "c", **security: Any) -> dict[str, Any]:
    return {"name": name, "image": "i", "securityContext": {**GOOD, **security}}


def pod(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any) -> Pod:
    return Pod({"annotations": annotations or {}}, {"containers": list(containers) or [container()], **spec})


def broken(level: str, version: int, subject: Pod) -> str:
    return details(violations(LevelVersion(level, version), subject))


WINDOWS = {"name": "windows"}
BARE = {"name": "c"}
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
CASES: list[tuple[str, int, Pod, str]] = [
    (
        BASELINE,
        LATEST,
        pod(
            container("a", appArmorProfile={"type": "Unconfined"}),
            container("b", appArmorProfile={"type": "Localhost"}),
            annotations={f"{APPARMOR}a": "unconfined", f"{APPARMOR}b": "localhost/x", f"{APPARMOR}c": ""},
            securityContext={"appArmorProfile": {"type": "Foo"}},
        ),
        'forbidden AppArmor profiles (pod and container "a" and annotation must not set AppArmor profile type to '
        f'"Foo", "Unconfined", "{APPARMOR}a="unconfined"")',
    ),
    (
        BASELINE,
        LATEST,
        pod(
            container("a", capabilities={"add": ["SYS_ADMIN", "KILL"]}),
            container("b", capabilities={"add": ["NET_RAW"]}),
        ),
        'non-default capabilities (containers "a", "b" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)',
    ),
    (
        BASELINE,
        0,
        pod(hostPID=True, hostNetwork=True, hostIPC=True),
        "host namespaces (hostIPC, hostNetwork, hostPID)",
    ),
    (BASELINE, 0, pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), 'hostPath volumes (volume "v")'),
    (
        BASELINE,
        0,
        pod(
            {
                "name": "c",
                "ports": [{"hostPort": 9090}, {"hostPort": 80}, {"containerPort": 1, "hostPort": 0}],
            }
        ),
        'hostPort (container "c" uses hostPorts 80, 9090)',
    ),
    (
        BASELINE,
        34,
        pod(
            {"name": "b", "livenessProbe": {"httpGet": {"host": "x"}}},
            {"name": "a", "lifecycle": {"preStop": {"tcpSocket": {"host": "y"}}, "postStart": {"exec": {}}}},
        ),
        'probe or lifecycle host (containers "a", "b" use probe or lifecycle hosts "x", "y")',
    ),
    (BASELINE, 33, pod({"name": "b", "livenessProbe": {"httpGet": {"host": "x"}}}), ""),
    (
        BASELINE,
        0,
        pod(container(privileged=True), initContainers=[container("i", privileged=True)]),
        'privileged (containers "i", "c" must not set securityContext.privileged=true)',
    ),
    (
        BASELINE,
        34,
        pod(container(procMount="Unmasked"), hostUsers=False),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (BASELINE, 35, pod(container(procMount="Unmasked"), hostUsers=False), ""),
    (
        BASELINE,
        35,
        pod(container(procMount="Unmasked")),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        RESTRICTED,
        LATEST,
        pod(container(procMount="Unmasked"), hostUsers=False),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        BASELINE,
        30,
        pod(
            container("a", seLinuxOptions={"type": "container_engine_t", "user": "u"}),
            securityContext={"seLinuxOptions": {"type": "foo", "role": "r"}},
        ),
        'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: '
        'types "container_engine_t", "foo"; user may not be set; role may not be set)',
    ),
    (BASELINE, 31, pod(container(seLinuxOptions={"type": "container_engine_t"})), ""),
    (
        BASELINE,
        18,
        pod(annotations={SECCOMP: "unconfined"}),
        f'seccompProfile (forbidden annotation {SECCOMP}="unconfined")',
    ),
    (
        BASELINE,
        19,
        pod(
            container(seccompProfile={"type": "Unconfined"}),
            annotations={SECCOMP: "unconfined"},
            securityContext={"seccompProfile": {"type": "Odd"}},
        ),
        'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Odd", "Unconfined")',
    ),
    *(
        (BASELINE, version, pod(securityContext={"sysctls": [{"name": name}]}), found)
        for since, name in (
            (0, "kernel.shm_rmid_forced"),
            (27, "net.ipv4.ip_local_reserved_ports"),
            (29, "net.ipv4.tcp_keepalive_time"),
            (32, "net.ipv4.tcp_rmem"),
        )
        for version, found in ((since, ""), (since - 1, f"forbidden sysctls ({name})"))
        if version >= 0
    ),
    (
        BASELINE,
        0,
        pod(
            container(windowsOptions={"hostProcess": True}),
            securityContext={"windowsOptions": {"hostProcess": True}},
        ),
        'hostProcess (pod and container "c" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
    (RESTRICTED, 7, pod(container(allowPrivilegeEscalation=None)), ""),
    (
        RESTRICTED,
        8,
        pod(container(allowPrivilegeEscalation=None)),
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    (
        RESTRICTED,
        22,
        pod(container(capabilities={"add": ["NET_RAW", "NET_BIND_SERVICE"]})),
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; '
        'container "c" must not include "NET_RAW" in securityContext.capabilities.add)',
    ),
    (
        RESTRICTED,
        21,
        pod(container(capabilities={"add": ["NET_RAW"]})),
        'non-default capabilities (container "c" must not include "NET_RAW" in securityContext.capabilities.add)',
    ),
    (
        RESTRICTED,
        LATEST,
        pod(
            volumes=[
                {"name": "h", "hostPath": {}},
                {"name": "n", "nfs": {}},
                {"name": "i", "image": {}},
                {"name": "new", "teleport": {}},
                {"name": "e", "emptyDir": {}},
            ]
        ),
        'restricted volume types (volumes "h", "n", "new" use restricted volume types "hostPath", "nfs", "unknown")',
    ),
    (
        RESTRICTED,
        0,
        pod(container(runAsNonRoot=False), securityContext={"runAsNonRoot": False}),
        'runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false)',
    ),
    (
        RESTRICTED,
        0,
        pod(container(runAsNonRoot=None)),
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
    ),
    (RESTRICTED, 0, pod(container(runAsNonRoot=None), securityContext={"runAsNonRoot": True}), ""),
    (RESTRICTED, 22, pod(container(runAsUser=0)), ""),
    (RESTRICTED, 23, pod(container(runAsUser=0)), 'runAsUser=0 (container "c" must not set runAsUser=0)'),
    (
        RESTRICTED,
        34,
        pod(container(runAsUser=0), hostUsers=False),
        'runAsUser=0 (container "c" must not set runAsUser=0)',
    ),
    (RESTRICTED, 35, pod(container(runAsUser=0, runAsNonRoot=None), hostUsers=False), ""),
    (RESTRICTED, 18, pod(container(seccompProfile=None)), ""),
    (
        RESTRICTED,
        19,
        pod(container("a", seccompProfile=None), container("b"), container("d", seccompProfile=None)),
        'seccompProfile (pod or containers "a", "d" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    ),
    (
        RESTRICTED,
        19,
        pod(container(seccompProfile=None), securityContext={"seccompProfile": {"type": "Localhost"}}),
        "",
    ),
    (RESTRICTED, 25, pod(BARE, os=WINDOWS, securityContext={"runAsNonRoot": True}), ""),
    (
        RESTRICTED,
        24,
        pod(BARE, os=WINDOWS, securityContext={"runAsNonRoot": True}),
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    ),
]


@pytest.mark.parametrize(("level", "version", "subject", "expected"), CASES)
def test_a_rule_in_a_version(level: str, version: int, subject: Pod, expected: str) -> None:
    assert broken(level, version, subject) == expected


def test_ephemeral_containers_are_containers_too() -> None:
    subject = pod(ephemeralContainers=[container("e", privileged=True)])
    assert broken(BASELINE, LATEST, subject) == (
        'privileged (container "e" must not set securityContext.privileged=true)'
    )


def test_the_order_is_upstreams_and_nothing_is_said_twice() -> None:
    """As a bare pod with a host path reads in v1.36."""
    subject = pod(BARE, hostNetwork=True, volumes=[{"name": "h", "hostPath": {}}])
    assert broken(RESTRICTED, LATEST, subject) == (
        "host namespaces (hostNetwork), "
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'restricted volume types (volume "h" uses restricted volume type "hostPath"), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


def test_good_pods_are_good_everywhere_and_privileged_asks_nothing() -> None:
    for version in (LATEST, *range(NEWEST + 3)):
        for level in LEVELS:
            assert broken(level, version, pod()) == ""
        assert broken(PRIVILEGED, version, pod(container(privileged=True))) == ""


def test_the_table_of_checks() -> None:
    for level in (BASELINE, RESTRICTED):
        names = [check.name for check in CHECKS if check.level == level]
        assert names == sorted(names), "upstream sorts what it says by these names"
    baseline = {check.name for check in CHECKS if check.level == BASELINE}
    for check in CHECKS:
        assert not check.instead_of or (check.instead_of in baseline and check.level == RESTRICTED)
        since = [minor for minor, _ in check.versions]
        assert since == sorted(set(since))


def test_labels() -> None:
    prefix = "pod-security.kubernetes.io/"
    defaults = Policy(warn=LevelVersion(BASELINE, 30))
    assert policy_of({"a": "b"}, defaults) == (defaults, [])
    found, errors = policy_of(
        {f"{prefix}enforce": "restricted", f"{prefix}enforce-version": "v1.30"}, defaults
    )
    assert not errors
    assert (str(found.enforce), str(found.audit), str(found.warn)) == (
        "restricted:v1.30",
        "privileged:latest",
        "baseline:v1.30",
    )
    bad = {f"{prefix}{mode}": "x" for mode in ("enforce", "audit", "warn")} | {
        f"{prefix}warn-version": "v1.01"
    }
    found, errors = policy_of(bad, Policy())
    assert (found.enforce.level, found.audit.level, found.warn.level) == (RESTRICTED, PRIVILEGED, PRIVILEGED)
    assert [str(error) for error in errors] == [
        *(
            f'metadata.labels[{prefix}{mode}]: Invalid value: "x": must be one of privileged, baseline, restricted'
            for mode in ("enforce", "audit", "warn")
        ),
        f'metadata.labels[{prefix}warn-version]: Invalid value: "v1.01": must be "latest" or "v1.x"',
    ]
