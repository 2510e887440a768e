"""Fields of resource slices that field selectors may name."""

from __future__ import annotations

from tiphys.api.core.selectable import field_of
from tiphys.api.resource import FieldGetter

RESOURCE_SLICE: dict[str, FieldGetter] = {
    "spec.nodeName": field_of("spec", "nodeName"),
    "spec.driver": field_of("spec", "driver"),
}
