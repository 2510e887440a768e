"""RuntimeClass: a pod gets the overhead and the scheduling of the class that it names (KEP-585, KEP-688)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, Attributes


class RuntimeClass:
    name = "RuntimeClass"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return attributes.operation == CREATE and attributes.is_for("", "pods")

    def admit(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        spec = attributes.object["spec"]
        chosen = self._class(attributes, spec)
        if chosen is None:
            return
        fixed = (chosen.get("overhead") or {}).get("podFixed")
        if fixed:
            if spec.get("overhead") and spec["overhead"] != fixed:
                raise attributes.forbidden(
                    "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                )
            spec["overhead"] = dict(fixed)
        _schedule(attributes, spec, chosen.get("scheduling") or {})

    def validate(self, attributes: Attributes) -> None:
        assert attributes.object is not None
        spec = attributes.object["spec"]
        if not spec.get("overhead"):
            return
        chosen = self._class(attributes, spec)
        if chosen is None or not (chosen.get("overhead") or {}).get("podFixed"):
            raise attributes.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )

    def _class(self, attributes: Attributes, spec: Object) -> Object | None:
        name = spec.get("runtimeClassName")
        if not name:
            return None
        record = attributes.objects.cache("node.k8s.io", "runtimeclasses").get("", name)
        if record is None:
            raise attributes.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
        return record.object


def _schedule(attributes: Attributes, spec: Object, scheduling: Object) -> None:
    selector = spec.get("nodeSelector") or {}
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.get(key, value) != value:
            raise attributes.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
        selector = {**selector, key: value}
    if selector:
        spec["nodeSelector"] = selector
    tolerations = spec.get("tolerations") or []
    missing = [each for each in scheduling.get("tolerations") or () if each not in tolerations]
    if missing:
        spec["tolerations"] = [*tolerations, *missing]
