"""Defaults of API priority and fairness (`pkg/apis/flowcontrol/v1/defaults.go`)."""

from __future__ import annotations

from tiphys.api.defaults import fill, part
from tiphys.api.resource import Object

MATCHING_PRECEDENCE = 1000
NOMINAL_CONCURRENCY_SHARES = 30
QUEUES, HAND_SIZE, QUEUE_LENGTH_LIMIT = 64, 8, 50


def flow_schema(obj: Object) -> None:
    spec = part(obj, "spec")
    part(spec, "priorityLevelConfiguration")
    if not spec.get("matchingPrecedence"):  # zero counts as unset: a plain integer in Go
        spec["matchingPrecedence"] = MATCHING_PRECEDENCE
    part(obj, "status")


def priority_level_configuration(obj: Object) -> None:
    spec = part(obj, "spec")
    exempt, limited = spec.get("exempt"), spec.get("limited")
    if exempt is not None:
        fill(exempt, nominalConcurrencyShares=0, lendablePercent=0)
    if limited is not None:
        fill(limited, nominalConcurrencyShares=NOMINAL_CONCURRENCY_SHARES, lendablePercent=0)
        queuing = part(limited, "limitResponse").get("queuing")
        if queuing is not None:
            _queuing(queuing)
    part(obj, "status")


def _queuing(queuing: Object) -> None:
    sizes = {"queues": QUEUES, "handSize": HAND_SIZE, "queueLengthLimit": QUEUE_LENGTH_LIMIT}
    for field, size in sizes.items():
        if not queuing.get(field):
            queuing[field] = size
