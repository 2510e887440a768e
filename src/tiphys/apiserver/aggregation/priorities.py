"""In which order groups and versions stand in discovery: kubectl takes the first that has a resource of the name it is given.

The numbers are upstream's (kube-apiserver `aggregator.go`); they are what the APIServices of the server's own groups say. An
APIService of another server, or one that was edited, says its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tiphys.machinery.gvk import GroupVersion
from tiphys.machinery.versions import preference


class Priority(NamedTuple):
    """`groupPriorityMinimum` and `versionPriority` of an APIService; higher comes first."""

    group: int
    version: int


CUSTOM_RESOURCES = Priority(1000, 100)
FIRST_GROUP = "apiregistration.k8s.io"
"""Has no APIService, and stands before all that have."""
_FIRST = Priority(20001, 1)

_GROUPS: tuple[tuple[str, int, dict[str, int]], ...] = (
    ("", 18000, {"v1": 1}),
    ("apps", 17800, {"v1": 15}),
    ("events.k8s.io", 17750, {"v1": 15}),
    ("authentication.k8s.io", 17700, {"v1": 15}),
    ("authorization.k8s.io", 17600, {"v1": 15}),
    ("autoscaling", 17500, {"v2": 30, "v1": 15}),
    ("batch", 17400, {"v1": 15}),
    ("certificates.k8s.io", 17300, {"v1": 15, "v1beta1": 9, "v1alpha1": 1}),
    ("networking.k8s.io", 17200, {"v1": 15, "v1beta1": 9}),
    ("policy", 17100, {"v1": 15}),
    ("rbac.authorization.k8s.io", 17000, {"v1": 15}),
    ("storage.k8s.io", 16800, {"v1": 15, "v1beta1": 9}),
    ("admissionregistration.k8s.io", 16700, {"v1": 15, "v1beta1": 12, "v1alpha1": 9}),
    ("apiextensions.k8s.io", 16700, {"v1": 15}),
    ("scheduling.k8s.io", 16600, {"v1": 15, "v1alpha2": 9}),
    ("coordination.k8s.io", 16500, {"v1": 15, "v1beta1": 13, "v1alpha2": 12}),
    ("node.k8s.io", 16300, {"v1": 15}),
    ("discovery.k8s.io", 16200, {"v1": 15}),
    ("resource.k8s.io", 16200, {"v1": 20, "v1beta2": 15, "v1beta1": 9, "v1alpha3": 1}),
    ("flowcontrol.apiserver.k8s.io", 16100, {"v1": 21}),
    ("internal.apiserver.k8s.io", 16000, {"v1alpha1": 9}),
    ("storagemigration.k8s.io", 15800, {"v1beta1": 9}),
)
OFTEN_REPLACED: Mapping[GroupVersion, Priority] = {
    GroupVersion("metrics.k8s.io", "v1beta1"): Priority(100, 100)
}
"""Served here as long as nobody else does: whoever installs a server for it has his way, and when he takes it away again it is ours."""
BUILT_IN: Mapping[GroupVersion, Priority] = {
    GroupVersion(group, version): Priority(group_priority, version_priority)
    for group, group_priority, versions in _GROUPS
    for version, version_priority in versions.items()
}


def of_local(version: GroupVersion) -> Priority:
    """The priority of a group version that this server serves."""
    if version.group == FIRST_GROUP:
        return _FIRST
    return BUILT_IN.get(version) or OFTEN_REPLACED.get(version, CUSTOM_RESOURCES)


def ordered(priorities: Mapping[GroupVersion, Priority], *, by_service: bool = False) -> dict[str, list[str]]:
    """Groups, each with its versions, the preferred ones first.

    A group has the highest of its versions' priorities. Of equal ones the aggregated document goes by the group's name, the
    old list by the name of the APIService (`by_service`).
    """
    groups: dict[str, list[GroupVersion]] = {}
    for version in priorities:
        groups.setdefault(version.group, []).append(version)

    def place(item: tuple[str, list[GroupVersion]]) -> tuple[int, str]:
        group, versions = item
        highest = max(priorities[version].group for version in versions)
        if not by_service:
            return -highest, group
        names = (service_name(version) for version in versions if priorities[version].group == highest)
        return -highest, min(names)

    return {
        group: [
            version.version
            for version in sorted(
                versions, key=lambda one: (-priorities[one].version, preference(one.version))
            )
        ]
        for group, versions in sorted(groups.items(), key=place)
    }


def service_name(version: GroupVersion) -> str:
    """ "v1.apps", and "v1." of the core group: what the APIService of a group version is called."""
    return f"{version.version}.{version.group}"
