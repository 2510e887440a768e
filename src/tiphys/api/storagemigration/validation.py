"""What is wrong with a storage version migration: it says once which resource it is about."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, immutable
from tiphys.machinery.errors import FieldError, Path


def storage_version_migration(new: Object, old: Object | None) -> Errors:
    spec, here = new.get("spec") or {}, Path("spec", "resource")
    resource = spec.get("resource") or {}
    errors: Errors = []
    if not resource.get("resource"):
        errors.append(FieldError.required(here.child("resource"), "resource is required"))
    if old is None:
        return errors
    return errors + immutable(resource, (old.get("spec") or {}).get("resource"), here)
