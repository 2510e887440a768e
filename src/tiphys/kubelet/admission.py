"""What a node refuses to run, whatever the scheduler thought: upstream's admission of pods by the kubelet. Pure.

Asked once, before anything of a pod is made. A pod that is refused is Failed for good; its owner may make another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field

from tiphys.kubelet import spec
from tiphys.kubelet.spec import Object
from tiphys.kubelet.sysctls import sysctl_problem
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

OS_LABEL = "kubernetes.io/os"
OS = "linux"


@frozen
class Rejection:
    """Words of the event; the status says them too."""

    reason: str
    message: str


@frozen
class Abilities:
    """What a node can do for pods."""

    has_apparmor: bool = False
    supplemental_groups_policy: bool = False
    unsafe_sysctls: tuple[str, ...] = ()
    """That the administrator allows all the same."""
    labels: Mapping[str, str] = field(default_factory=lambda: {OS_LABEL: OS})


class Refused(Exception):
    """Why a container does not get what only one can have; `reason` is the pod's."""

    def __init__(self, message: str, reason: str = "UnexpectedAdmissionError") -> None:
        super().__init__(message)
        self.reason = reason

    @classmethod
    def unexpectedly(cls, problem: object) -> Refused:
        return cls(f"Allocate failed due to {problem}, which is unexpected")


Rule = Callable[[Object, Abilities], Rejection | None]
Admit = Callable[[Object], Awaitable[Rejection | None]]
"""All rules of one node."""


def rejection(pod: Object, abilities: Abilities) -> Rejection | None:
    """The first rule that speaks against the pod; None when it may run."""
    return next((found for rule in RULES if (found := rule(pod, abilities)) is not None), None)


def _sysctls(pod: Object, abilities: Abilities) -> Rejection | None:
    of_spec = pod["spec"]
    for sysctl in (of_spec.get("securityContext") or {}).get("sysctls") or ():
        problem = sysctl_problem(
            sysctl["name"],
            abilities.unsafe_sysctls,
            host_network=bool(of_spec.get("hostNetwork")),
            host_ipc=bool(of_spec.get("hostIPC")),
        )
        if problem:
            return Rejection("SysctlForbidden", f"forbidden sysctl: {problem}")
    return None


def _apparmor(pod: Object, abilities: Abilities) -> Rejection | None:
    if abilities.has_apparmor or not any(_wants_apparmor(pod, each) for each in spec.all_containers(pod)):
        return None
    return Rejection("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")


def _wants_apparmor(pod: Object, container: Object) -> bool:
    own, of_pod = container.get("securityContext") or {}, pod["spec"].get("securityContext") or {}
    profile = own.get("appArmorProfile") or of_pod.get("appArmorProfile")
    return profile is not None and profile.get("type") != "Unconfined"


def _operating_system(pod: Object, abilities: Abilities) -> Rejection | None:
    wanted = meta.labels(pod).get(OS_LABEL)
    if wanted is not None and wanted != abilities.labels.get(OS_LABEL):
        message = f"Failed to admit pod as the `{OS_LABEL}` label doesn't match node label"
        return Rejection("PodOSSelectorNodeLabelDoesNotMatch", message)
    if (pod["spec"].get("os") or {}).get("name", OS) != OS:
        return Rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


def _supplemental_groups(pod: Object, abilities: Abilities) -> Rejection | None:
    policy = (pod["spec"].get("securityContext") or {}).get("supplementalGroupsPolicy")
    if policy != "Strict" or abilities.supplemental_groups_policy:
        return None
    message = "SupplementalGroupsPolicy=Strict is not supported in this node"
    return Rejection("SupplementalGroupsPolicyNotSupported", message)


RULES: tuple[Rule, ...] = (_sysctls, _apparmor, _operating_system, _supplemental_groups)
"""In upstream's order."""
