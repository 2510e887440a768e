"""A storage version always shows its parts."""

from __future__ import annotations

from tiphys.api.defaults import part
from tiphys.api.resource import Object


def storage_version(obj: Object) -> None:
    part(obj, "spec")
    part(obj, "status")
