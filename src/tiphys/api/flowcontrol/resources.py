"""The kinds of the flowcontrol.apiserver.k8s.io group."""

from __future__ import annotations

from tiphys.api.flowcontrol import columns, defaults, validation
from tiphys.api.resource import STATUS_ONLY, Resource

RESOURCES = (
    Resource(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="FlowSchema",
        plural="flowschemas",
        namespaced=False,
        subresources=(STATUS_ONLY,),
        type="flowcontrol/v1.FlowSchema",
        defaults=defaults.flow_schema,
        validate=validation.flow_schema,
        table=columns.FLOW_SCHEMA,
    ),
    Resource(
        group="flowcontrol.apiserver.k8s.io",
        version="v1",
        kind="PriorityLevelConfiguration",
        plural="prioritylevelconfigurations",
        namespaced=False,
        subresources=(STATUS_ONLY,),
        type="flowcontrol/v1.PriorityLevelConfiguration",
        defaults=defaults.priority_level_configuration,
        validate=validation.priority_level_configuration,
        table=columns.PRIORITY_LEVEL_CONFIGURATION,
    ),
)
