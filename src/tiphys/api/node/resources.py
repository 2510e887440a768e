"""The kinds of the node.k8s.io group."""

from __future__ import annotations

from tiphys.api.core.advice.objects import runtime_class
from tiphys.api.node import columns, validation
from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="node.k8s.io",
        version="v1",
        kind="RuntimeClass",
        plural="runtimeclasses",
        namespaced=False,
        type="node/v1.RuntimeClass",
        validate=validation.runtime_class,
        advise=runtime_class,
        table=columns.RUNTIME_CLASS,
        unconditional_update=False,
        generation_on=(),
    ),
)
