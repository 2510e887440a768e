"""Priority: turns spec.priorityClassName of a new pod into spec.priority and spec.preemptionPolicy."""

from __future__ import annotations

from typing import Any

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Objects
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource

_PODS = GroupResource("", "pods")
_DEFAULT = {"value": 0, "preemptionPolicy": "PreemptLowerPriority"}


class Priority:
    name = "Priority"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        if attributes.operation not in (CREATE, UPDATE):
            return False
        if kind == "admit":
            return attributes.is_for("", "pods")
        return attributes.is_for("scheduling.k8s.io", "priorityclasses")

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation == UPDATE:
            _inherit(attributes)
        else:
            self._resolve(attributes)

    def validate(self, attributes: Attributes) -> None:
        """One class at most is the default."""
        assert attributes.object is not None
        if not attributes.object.get("globalDefault"):
            return
        default = default_class(attributes.objects)
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.operation == CREATE or name != attributes.object["metadata"]["name"]:
            raise attributes.forbidden(
                f"PriorityClass {name} is already marked as default. Only one default can exist"
            )

    def _resolve(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        spec = attributes.object["spec"]
        chosen = self._class(attributes, spec)
        value = chosen.get("value", 0)
        if spec.get("priority") is not None and spec["priority"] != value:
            cause = (
                f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
                f"priority admission controller computed {value} from the given PriorityClass name"
            )
            raise errors.forbidden(_PODS, attributes.name, cause)
        policy = chosen.get("preemptionPolicy", "PreemptLowerPriority")
        if spec.get("preemptionPolicy") not in (None, policy):
            cause = (
                f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise errors.forbidden(_PODS, attributes.name, cause)
        spec["priority"] = value
        spec["preemptionPolicy"] = policy

    def _class(self, attributes: Attributes, spec: dict[str, Any]) -> dict[str, Any]:
        name = spec.get("priorityClassName")
        if not name:
            found = default_class(attributes.objects)
            if found is None:
                return _DEFAULT
            spec["priorityClassName"] = found["metadata"]["name"]
            return found
        record = attributes.objects.cache("scheduling.k8s.io", "priorityclasses").get("", name)
        if record is None:
            raise errors.forbidden(_PODS, attributes.name, f"no PriorityClass with name {name} was found")
        return record.object


def _inherit(attributes: Attributes) -> None:
    """Who does not say what cannot be changed leaves it as it is."""
    assert attributes.object is not None
    assert attributes.old is not None
    spec, before = attributes.object["spec"], attributes.old["spec"]
    for field in ("priority", "preemptionPolicy"):
        if spec.get(field) is None and before.get(field) is not None:
            spec[field] = before[field]


def default_class(objects: Objects) -> dict[str, Any] | None:
    """The class with globalDefault; of several the one with the lowest value, as upstream chooses."""
    records, _ = objects.cache("scheduling.k8s.io", "priorityclasses").page()
    defaults = [record.object for record in records if record.object.get("globalDefault")]
    return min(defaults, key=lambda item: int(item.get("value", 0)), default=None)
