"""What kinds of storage may say of nodes but better would not."""

from __future__ import annotations

from tiphys.api.core.advice.pods import DEPRECATED_NODE_LABELS
from tiphys.api.resource import Object
from tiphys.machinery.fields import Path


def storage_class(new: Object, old: Object | None) -> list[str]:
    return [
        f"{Path('allowedTopologies').index(index).child('matchLabelExpressions').index(place).child('key')}: "
        f"{DEPRECATED_NODE_LABELS[expression['key']]}"
        for index, topology in enumerate(new.get("allowedTopologies") or ())
        for place, expression in enumerate(topology.get("matchLabelExpressions") or ())
        if expression.get("key") in DEPRECATED_NODE_LABELS
    ]


def csi_storage_capacity(new: Object, old: Object | None) -> list[str]:
    topology, path = new.get("nodeTopology") or {}, Path("nodeTopology")
    found = []
    for index, expression in enumerate(topology.get("matchExpressions") or ()):
        key = expression.get("key", "")
        if key in DEPRECATED_NODE_LABELS:
            where = path.child("matchExpressions").index(index).child("key")
            found.append(f"{where}: {key} is {DEPRECATED_NODE_LABELS[key]}")
    for key in topology.get("matchLabels") or ():
        if key in DEPRECATED_NODE_LABELS:
            found.append(f"{path.child('matchLabels', key)}: {DEPRECATED_NODE_LABELS[key]}")
    return found
