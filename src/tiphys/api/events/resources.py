"""The kinds of the events.k8s.io group."""

from __future__ import annotations

from tiphys.api.core import selectable
from tiphys.api.events import columns, conversion, defaults, validation
from tiphys.api.resource import Resource
from tiphys.machinery.gvk import GroupVersionKind

RESOURCES = (
    Resource(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        namespaced=True,
        short_names=("ev",),
        type="events/v1.Event",
        stored=GroupVersionKind("", "v1", "Event"),
        conversion=conversion.EVENT,
        defaults=defaults.event,
        validate=validation.event,
        selectable_fields=conversion.selectable_fields(selectable.EVENT),
        table=columns.EVENT,
        create_on_update=True,
        generation_on=(),
    ),
)
