"""The kinds of the apps group."""

from __future__ import annotations

from tiphys.api.apps import defaults
from tiphys.api.resource import Resource, ScalePaths, Subresource
from tiphys.machinery.gvk import GroupVersionKind

RESOURCES = (
    Resource(
        group="apps",
        version="v1",
        kind="ControllerRevision",
        plural="controllerrevisions",
        namespaced=True,
        type="apps/v1.ControllerRevision",
        defaults=defaults.controller_revision,
        generation_on=(),
    ),
    Resource(
        group="apps",
        version="v1",
        kind="DaemonSet",
        plural="daemonsets",
        namespaced=True,
        short_names=("ds",),
        categories=("all",),
        subresources=(Subresource("status"),),
        type="apps/v1.DaemonSet",
        defaults=defaults.daemon_set,
    ),
    Resource(
        group="apps",
        version="v1",
        kind="Deployment",
        plural="deployments",
        namespaced=True,
        short_names=("deploy",),
        categories=("all",),
        subresources=(
            Subresource("scale", kind=GroupVersionKind("autoscaling", "v1", "Scale")),
            Subresource("status"),
        ),
        scale=ScalePaths(),
        type="apps/v1.Deployment",
        defaults=defaults.deployment,
    ),
    Resource(
        group="apps",
        version="v1",
        kind="ReplicaSet",
        plural="replicasets",
        namespaced=True,
        short_names=("rs",),
        categories=("all",),
        subresources=(
            Subresource("scale", kind=GroupVersionKind("autoscaling", "v1", "Scale")),
            Subresource("status"),
        ),
        scale=ScalePaths(),
        type="apps/v1.ReplicaSet",
        defaults=defaults.replica_set,
    ),
    Resource(
        group="apps",
        version="v1",
        kind="StatefulSet",
        plural="statefulsets",
        namespaced=True,
        short_names=("sts",),
        categories=("all",),
        subresources=(
            Subresource("scale", kind=GroupVersionKind("autoscaling", "v1", "Scale")),
            Subresource("status"),
        ),
        scale=ScalePaths(),
        type="apps/v1.StatefulSet",
        defaults=defaults.stateful_set,
    ),
)
