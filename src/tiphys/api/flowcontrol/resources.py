"""The kinds of the flowcontrol.apiserver.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="FlowSchema",
        plural="flowschemas",
        namespaced=False,
        subresources=(Subresource("status"),),
        type="flowcontrol/v1.FlowSchema",
    ),
    Resource(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="PriorityLevelConfiguration",
        plural="prioritylevelconfigurations",
        namespaced=False,
        subresources=(Subresource("status"),),
        type="flowcontrol/v1.PriorityLevelConfiguration",
    ),
)
