"""On which nodes a DaemonSet runs its pod, and the pod that goes there.

A node is fit when the template's selector, affinity and node name fit it, and the pod, with the tolerations that every daemon gets,
stands its taints. A taint NoSchedule keeps new pods away only; those that are there stay. The scheduler places the pod: its affinity
names the node by `metadata.name`. The rules are upstream's `pkg/controller/daemon` (`NodeShouldRunDaemonPod`, `util/daemonset_util.go`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.api.core.taints import toleration_of
from tiphys.client.transport import Object
from tiphys.controllers.pods import pod_from_template, spec_of
from tiphys.controllers.revisions import POD_HASH
from tiphys.machinery import meta
from tiphys.machinery.fields import Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import NodeSelectorTerm

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
"""On DaemonSets: counts the changes of the template."""
POD_GENERATION = "pod-template-generation"
"""On pods: the count with which they were made."""
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_HOLDS = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
]
_ON_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@frozen
class Fitness:
    """What is to be on a node: `may_start` a new pod, `may_stay` one that is there."""

    may_start: bool
    may_stay: bool


_FIT, _UNFIT, _FULL = Fitness(True, True), Fitness(False, False), Fitness(False, True)


class Requirements:
    """A template's wishes about nodes, read once for all nodes."""

    def __init__(self, daemonset: Object) -> None:
        spec = (spec_of(daemonset).get("template") or {}).get("spec") or {}
        self._node_name = spec.get("nodeName") or ""
        self._labels = (spec.get("nodeSelector") or {}).items()
        self._terms = [NodeSelectorTerm(_labels_of(term), Path()) for term in _required_terms(spec)]
        if any(not term.get("matchExpressions") for term in _required_terms(spec)):
            self._terms = []  # the fields of a term are replaced by the node's name: such a one fits every node
        self._tolerations = tolerations_of(spec)

    def of(self, node: Object) -> Fitness:
        if self._node_name and self._node_name != meta.name(node):
            return _UNFIT
        labels = meta.labels(node)
        if self._labels and not self._labels <= labels.items():
            return _UNFIT
        if self._terms and not any(term.matches(labels, meta.name(node)) for term in self._terms):
            return _UNFIT
        effects = {taint.get("effect") for taint in self._untolerated(node)}
        if "NoExecute" in effects:
            return _UNFIT
        return _FULL if "NoSchedule" in effects else _FIT

    def _untolerated(self, node: Object) -> Iterable[Mapping[str, Any]]:
        for taint in spec_of(node).get("taints") or ():
            if toleration_of(self._tolerations, taint) is None:
                yield taint


def _labels_of(term: Mapping[str, Any]) -> dict[str, Any]:
    return {"matchExpressions": term.get("matchExpressions") or []}


def _required_terms(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return list((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())


def tolerations_of(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The template's, and those that every daemon gets: it is there for the node, also when that is not well."""
    tolerations = [dict(toleration) for toleration in spec.get("tolerations") or ()]
    held = [*_HOLDS, _ON_HOST_NETWORK] if spec.get("hostNetwork") else _HOLDS
    for key, effect in held:
        ours = {"key": key, "operator": "Exists", "effect": effect}
        same = [number for number, each in enumerate(tolerations) if each.items() >= ours.items()]
        if same:
            tolerations[same[0]] = ours
        else:
            tolerations.append(ours)
    return tolerations


def new_pod(daemonset: Object, revision_hash: str, node: str) -> Object:
    """The pod for a node, named by the server."""
    pod = pod_from_template(spec_of(daemonset)["template"], daemonset)
    spec = pod["spec"]
    labels = {**pod["metadata"].get("labels", {}), POD_HASH: revision_hash}
    generation = meta.annotations(daemonset).get(TEMPLATE_GENERATION)
    if generation:
        labels[POD_GENERATION] = generation
    return {
        **pod,
        "metadata": {**pod["metadata"], "labels": labels},
        "spec": {**spec, "affinity": _to_node(spec, node), "tolerations": tolerations_of(spec)},
    }


def _to_node(spec: Mapping[str, Any], node: str) -> dict[str, Any]:
    """The template's affinity, on this node only."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = [{**term, "matchFields": [field]} for term in _required_terms(spec)]
    affinity = spec.get("affinity") or {}
    required = {"nodeSelectorTerms": terms or [{"matchFields": [field]}]}
    return {**affinity, "nodeAffinity": {**(affinity.get("nodeAffinity") or {}), _REQUIRED: required}}


def node_of(pod: Object) -> str:
    """The node where it is, or for which it was made; "": none that we know."""
    spec = spec_of(pod)
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    for term in _required_terms(spec):
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("operator") == "In":
                values: Sequence[str] = field.get("values") or ()
                return values[0] if len(values) == 1 else ""
    return ""


def is_updated(daemonset: Object, pod: Object, revision_hash: str) -> bool:
    """It was made from the present template."""
    labels = meta.labels(pod)
    generation = meta.annotations(daemonset).get(TEMPLATE_GENERATION)
    if generation and labels.get(POD_GENERATION) == generation:
        return True
    return bool(revision_hash) and labels.get(POD_HASH) == revision_hash
