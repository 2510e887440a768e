"""ExtendedResourceToleration: who asks for an extended resource may go to nodes that are kept for those who do.

Such nodes have a taint by the name of the resource. https://github.com/kubernetes/kubernetes/issues/55080
"""

from __future__ import annotations

from typing import Any

from tiphys.api.core.validation.resources import is_extended
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes


class ExtendedResourceToleration:
    name = "ExtendedResourceToleration"

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation not in (CREATE, UPDATE) or not attributes.is_for("", "pods"):
            return
        assert attributes.object is not None
        spec = attributes.object["spec"]
        asked = {
            name
            for field in ("containers", "initContainers")
            for container in spec.get(field) or ()
            for name in (container.get("resources") or {}).get("requests") or ()
            if is_extended(name)
        }
        for name in sorted(asked):
            spec["tolerations"] = _with(spec.get("tolerations") or [], name)


def _with(tolerations: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """One that differs in how long it tolerates gives way, in its place."""
    added = {"key": key, "operator": "Exists", "effect": "NoSchedule"}
    changed = [added if _matches(each, added) else each for each in tolerations]
    return changed if added in changed else [*changed, added]


def _matches(toleration: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        toleration.get(field, "") == other.get(field, "") for field in ("key", "operator", "effect", "value")
    )
