"""TaintNodesByCondition: a node that registers is tainted as not ready until its kubelet says otherwise."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, Attributes

_TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition:
    name = "TaintNodesByCondition"

    def admit(self, attributes: Attributes) -> None:
        if attributes.operation != CREATE or not attributes.is_for("", "nodes"):
            return
        assert attributes.object is not None
        spec = attributes.object.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(
            taint.get("key") == _TAINT["key"] and taint.get("effect") == "NoSchedule" for taint in taints
        ):
            spec["taints"] = [*taints, dict(_TAINT)]
