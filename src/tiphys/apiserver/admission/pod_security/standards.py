"""The Pod Security Standards: which rule holds at which level, since which version.

A later version of a rule takes the earlier one's place. A rule of `restricted` may be a stricter form of one of `baseline`, which is
then not asked again. What a pod is told comes in the order of this table, which is upstream's: baseline first, by their names.
"""

from __future__ import annotations

from functools import cache

from tiphys.apiserver.admission.pod_security import checks
from tiphys.apiserver.admission.pod_security.checks import Pod, Rule, Violation
from tiphys.apiserver.admission.pod_security.policy import (
    BASELINE,
    LATEST,
    PRIVILEGED,
    RESTRICTED,
    LevelVersion,
)
from tiphys.machinery.frozen import frozen


@frozen
class Check:
    """`versions`: from which v1.x on which form of it holds, oldest first. `instead_of`: the check of baseline that it replaces."""

    name: str
    level: str
    versions: tuple[tuple[int, Rule], ...]
    instead_of: str = ""

    def at(self, minor: int) -> Rule | None:
        return next((rule for since, rule in reversed(self.versions) if since <= minor), None)


CHECKS = (
    Check("appArmorProfile", BASELINE, ((0, checks.apparmor_profile),)),
    Check("capabilities_baseline", BASELINE, ((0, checks.default_capabilities),)),
    Check("hostNamespaces", BASELINE, ((0, checks.host_namespaces),)),
    Check("hostPathVolumes", BASELINE, ((0, checks.host_path_volumes),)),
    Check("hostPorts", BASELINE, ((0, checks.host_ports),)),
    Check("hostProbesAndHostLifecycle", BASELINE, ((34, checks.probe_and_lifecycle_hosts),)),
    Check("privileged", BASELINE, ((0, checks.privileged),)),
    Check("procMount", BASELINE, ((0, checks.proc_mount), (35, checks.unless_own_users(checks.proc_mount)))),
    Check("seLinuxOptions", BASELINE, ((0, checks.selinux_1_0), (31, checks.selinux_1_31))),
    Check(
        "seccompProfile_baseline", BASELINE, ((0, checks.seccomp_annotations), (19, checks.seccomp_profile))
    ),
    Check(
        "sysctls",
        BASELINE,
        (
            (0, checks.sysctls_1_0),
            (27, checks.sysctls_1_27),
            (29, checks.sysctls_1_29),
            (32, checks.sysctls_1_32),
        ),
    ),
    Check("windowsHostProcess", BASELINE, ((0, checks.windows_host_process),)),
    Check(
        "allowPrivilegeEscalation",
        RESTRICTED,
        ((8, checks.privilege_escalation), (25, checks.unless_windows(checks.privilege_escalation))),
    ),
    Check(
        "capabilities_restricted",
        RESTRICTED,
        ((22, checks.drops_all_capabilities), (25, checks.unless_windows(checks.drops_all_capabilities))),
        instead_of="capabilities_baseline",
    ),
    Check("procMount_restricted", RESTRICTED, ((35, checks.proc_mount),), instead_of="procMount"),
    Check("restrictedVolumes", RESTRICTED, ((0, checks.volume_types),), instead_of="hostPathVolumes"),
    Check(
        "runAsNonRoot",
        RESTRICTED,
        ((0, checks.run_as_non_root), (35, checks.unless_own_users(checks.run_as_non_root))),
    ),
    Check(
        "runAsUser",
        RESTRICTED,
        ((23, checks.run_as_user), (35, checks.unless_own_users(checks.run_as_user))),
    ),
    Check(
        "seccompProfile_restricted",
        RESTRICTED,
        ((19, checks.has_seccomp_profile), (25, checks.unless_windows(checks.has_seccomp_profile))),
        instead_of="seccompProfile_baseline",
    ),
)
NEWEST = max(since for check in CHECKS for since, _ in check.versions)
"""The last version that changed anything: later ones, and `latest`, are the same."""


def violations(policy: LevelVersion, pod: Pod) -> list[Violation]:
    """What a pod breaks of a level as it was in a version."""
    if policy.level == PRIVILEGED:
        return []
    minor = NEWEST if policy.version == LATEST else min(policy.version, NEWEST)
    return [found for rule in _rules(policy.level, minor) if (found := rule(pod)) is not None]


@cache
def _rules(level: str, minor: int) -> tuple[Rule, ...]:
    current = [(check, rule) for check in CHECKS if (rule := check.at(minor)) is not None]
    if level == BASELINE:
        return tuple(rule for check, rule in current if check.level == BASELINE)
    replaced = {check.instead_of for check, _ in current}
    return tuple(rule for check, rule in current if check.name not in replaced)


def details(found: list[Violation]) -> str:
    return ", ".join(map(str, found))


def reasons(found: list[Violation]) -> str:
    return ", ".join(each.reason for each in found)
