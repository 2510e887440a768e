"""Defaults of roles and bindings (`pkg/apis/rbac/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, items, part
from tiphys.api.resource import Object

GROUP = "rbac.authorization.k8s.io"


def role(obj: Object) -> None:
    items(obj, "rules")


def binding(obj: Object) -> None:
    fill(part(obj, "roleRef"), apiGroup=GROUP)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):  # a ServiceAccount is of the core group
            fill(subject, apiGroup=GROUP)
