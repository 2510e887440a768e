"""A lease always shows its spec."""

from __future__ import annotations

from tiphys.api.defaults import part
from tiphys.api.resource import Object


def lease(obj: Object) -> None:
    part(obj, "spec")
