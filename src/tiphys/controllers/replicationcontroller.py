"""ReplicationController: what a ReplicaSet does, with a selector that is a plain map of labels.

Upstream runs it through the ReplicaSet's code too (`pkg/controller/replication`).
"""

from __future__ import annotations

from tiphys.client.resources import REPLICATIONCONTROLLERS
from tiphys.client.transport import Object
from tiphys.controllers.pods import spec_of
from tiphys.controllers.replicaset import Replicas
from tiphys.machinery.selectors import NOTHING, LabelSelector, label_selector_from_set


def _selector(controller: Object) -> LabelSelector:
    labels = spec_of(controller).get("selector")
    return label_selector_from_set(labels) if labels else NOTHING


CONTROLLER = Replicas(REPLICATIONCONTROLLERS, _selector, tells_terminating=False).controller(
    "replicationcontroller-controller", "replication-controller"
)
