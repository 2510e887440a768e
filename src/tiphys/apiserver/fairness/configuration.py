"""From the API's objects to what the controller runs on: levels with their seats, schemas in order, and conditions to write.

Mandatory objects count even while nobody has stored them. A schema whose level is not there takes no requests, and its
condition `Dangling` says so. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any

from tiphys.apiserver.fairness.limits import Bounds, bounds
from tiphys.apiserver.fairness.matching import Schema, in_order, schema
from tiphys.apiserver.fairness.objects import CATCH_ALL, EXEMPT, MANDATORY_LEVELS, MANDATORY_SCHEMAS
from tiphys.apiserver.fairness.queueset import Queuing
from tiphys.machinery.frozen import frozen

Object = dict[str, Any]
DANGLING = "Dangling"


@frozen
class LevelConfig:
    """A PriorityLevelConfiguration, with its part of the server's seats."""

    name: str
    uid: str
    bounds: Bounds
    queuing: Queuing

    @property
    def exempt(self) -> bool:
        return self.bounds.exempt


@frozen
class Configuration:
    levels: dict[str, LevelConfig]
    schemas: list[Schema]
    conditions: dict[str, Object] = field(default_factory=dict)
    """By the name of the FlowSchema, where it is not what is stored; without lastTransitionTime."""


def digest(
    levels: Iterable[Object], schemas: Iterable[Object], *, seats: int, lingering: Iterable[Object] = ()
) -> Configuration:
    """`seats`: of the whole server. `lingering`: levels that are gone but still have requests, so that these can end."""
    wanted = {obj["metadata"]["name"]: obj for obj in levels if not _broken(obj)}
    conditions, usable = {}, []
    for obj in schemas:
        there = obj["spec"]["priorityLevelConfiguration"]["name"] in wanted
        condition = _condition(obj, there=there)
        if condition is not None:
            conditions[obj["metadata"]["name"]] = condition
        if there:
            usable.append(schema(obj))
    for obj in MANDATORY_LEVELS:
        wanted.setdefault(obj["metadata"]["name"], obj)
    for obj in lingering:
        wanted.setdefault(obj["metadata"]["name"], obj)
    total = sum(_shares(obj) for obj in wanted.values())
    return Configuration(
        {name: _level(obj, seats, total) for name, obj in wanted.items()}, _completed(usable), conditions
    )


def _completed(usable: list[Schema]) -> list[Schema]:
    """In order, with the mandatory ones that nobody has stored: exempt is the first, catch-all the last."""
    names = {one.name for one in usable}
    exempt, catch_all = (schema(obj) for obj in MANDATORY_SCHEMAS)
    ordered = in_order(usable)
    if EXEMPT not in names:
        ordered.insert(0, exempt)
    if CATCH_ALL not in names:
        ordered.append(catch_all)
    return ordered


def _broken(obj: Object) -> bool:
    """Validation lets none of these through, but older servers may have."""
    name, spec = obj["metadata"]["name"], obj["spec"]
    exempt = spec.get("type") == "Exempt"
    if exempt != (name == EXEMPT) or exempt == (spec.get("limited") is not None):
        return True
    response = (spec.get("limited") or {}).get("limitResponse") or {}
    return not exempt and (response.get("type") == "Queue") != (response.get("queuing") is not None)


def _shares(obj: Object) -> int:
    spec = obj["spec"]
    return (spec.get("limited") or spec.get("exempt") or {}).get("nominalConcurrencyShares") or 0


def _level(obj: Object, seats: int, share_sum: int) -> LevelConfig:
    spec, metadata = obj["spec"], obj["metadata"]
    exempt = spec["type"] == "Exempt"
    limits = spec.get("exempt" if exempt else "limited") or {}
    found = bounds(
        seats,
        _shares(obj),
        share_sum,
        lendable=limits.get("lendablePercent") or 0,
        borrowing=limits.get("borrowingLimitPercent"),
    )
    queuing = (limits.get("limitResponse") or {}).get("queuing")
    return LevelConfig(
        metadata["name"],
        metadata.get("uid", ""),
        Bounds(found.nominal, found.least, found.most, exempt=exempt),
        Queuing(queuing["queues"], queuing["handSize"], queuing["queueLengthLimit"])
        if queuing
        else Queuing(),
    )


def _condition(obj: Object, *, there: bool) -> Object | None:
    """What `Dangling` must say; None when it does."""
    level = obj["spec"]["priorityLevelConfiguration"]["name"]
    of = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}"'
    wanted = {
        "type": DANGLING,
        "status": "False" if there else "True",
        "reason": "Found" if there else "NotFound",
        "message": f"{of} and it exists" if there else f"{of} but there is no such object",
    }
    for known in (obj.get("status") or {}).get("conditions") or ():
        if known.get("type") == DANGLING and all(known.get(name) == value for name, value in wanted.items()):
            return None
    return wanted
