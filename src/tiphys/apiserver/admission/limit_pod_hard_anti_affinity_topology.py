"""LimitPodHardAntiAffinityTopology: no pod keeps others away from more than its node: a whole zone, say."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes

_HOSTNAME = "kubernetes.io/hostname"


class LimitPodHardAntiAffinityTopology:
    name = "LimitPodHardAntiAffinityTopology"

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in (CREATE, UPDATE) or not attributes.is_for("", "pods"):
            return
        assert attributes.object is not None
        affinity = (attributes.object["spec"].get("affinity") or {}).get("podAntiAffinity") or {}
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            key = term.get("topologyKey", "")
            if key != _HOSTNAME:
                raise attributes.forbidden(
                    f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} "
                    f"but only key {_HOSTNAME} is allowed"
                )
