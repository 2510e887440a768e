"""The kinds of the events.k8s.io group."""

from __future__ import annotations

from tiphys.api.resource import Resource

RESOURCES = (
    Resource(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        namespaced=True,
        short_names=("ev",),
        type="events/v1.Event",
        generation_on=(),
    ),
)
