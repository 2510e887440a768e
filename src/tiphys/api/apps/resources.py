"""The kinds of the apps group."""

from __future__ import annotations

from tiphys.api.apps import advice, columns, defaults, prepare, validation
from tiphys.api.core import selectable
from tiphys.api.core.advice.pods import workload
from tiphys.api.resource import Resource, ScalePaths, Subresource
from tiphys.machinery import names
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
        validate=validation.controller_revision,
        table=columns.CONTROLLER_REVISION,
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
        prepare=prepare.daemon_set,
        validate=validation.daemon_set,
        validate_status=validation.daemon_set_status,
        advise=workload("spec", "template", names_pods=False),
        table=columns.DAEMON_SET,
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
            Subresource("status", resets=("spec", "metadata.labels")),
        ),
        scale=ScalePaths(),
        type="apps/v1.Deployment",
        defaults=defaults.deployment,
        prepare=prepare.deployment,
        validate=validation.deployment,
        validate_status=validation.deployment_status,
        advise=workload("spec", "template", names_pods=True),
        table=columns.DEPLOYMENT,
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
        validate=validation.replica_set,
        validate_status=validation.replica_set_status,
        selectable_fields=selectable.REPLICAS,
        advise=workload("spec", "template", names_pods=True),
        table=columns.REPLICA_SET,
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
        prepare=prepare.stateful_set,
        validate=validation.stateful_set,
        validate_status=validation.stateful_set_status,
        name_errors=names.dns1123_label,
        advise=advice.stateful_set,
        table=columns.STATEFUL_SET,
    ),
)
