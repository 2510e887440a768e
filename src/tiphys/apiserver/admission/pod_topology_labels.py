"""PodTopologyLabels: a pod that is bound gets the labels of its node that say where it is (KEP-4742)."""

from __future__ import annotations

from tiphys.apiserver.admission.attributes import CREATE, Attributes

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels:
    name = "PodTopologyLabels"

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return attributes.operation == CREATE and attributes.kind.kind == "Binding"

    def admit(self, attributes: Attributes) -> None:
        binding = attributes.object
        if binding is None:
            return
        record = attributes.objects.cache("", "nodes").get("", (binding.get("target") or {}).get("name", ""))
        if record is None:
            return
        labels = {name: record.labels[name] for name in LABELS if name in record.labels}
        if labels:
            metadata = binding.get("metadata") or {}
            binding["metadata"] = {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}
