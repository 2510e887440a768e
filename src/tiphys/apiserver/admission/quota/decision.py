"""Whether a write fits into the quotas of its namespace, and what it uses of each. Pure.

The rules, their order and their words are upstream's (`apiserver/pkg/admission/plugin/resourcequota/controller.go`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from tiphys.api.core.quotas.amounts import Amounts, added, increase, listed, of, read
from tiphys.api.core.quotas.evaluators import Evaluator, Wanted
from tiphys.api.core.quotas.scopes import Requirement, requirements, shown
from tiphys.api.resource import Object
from tiphys.apiserver.admission.quota.limits import Limited
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import ZERO


class Refused(Exception):
    """Why not. `forbidden` False: upstream answers 500 there."""

    def __init__(self, cause: str, *, forbidden: bool = True) -> None:
        super().__init__(cause)
        self.cause = cause
        self.forbidden = forbidden


@frozen
class Quota:
    """One ResourceQuota as it is enforced: by its status, which the controller derives from its spec."""

    obj: Object
    hard: Amounts
    used: Amounts

    @property
    def name(self) -> str:
        name: str = self.obj["metadata"]["name"]
        return name

    @classmethod
    def of(cls, obj: Object) -> Quota:
        status = obj.get("status") or {}
        return cls(obj, read(status.get("hard")), read(status.get("used")))

    def charged(self, more: Amounts) -> Quota:
        return Quota(self.obj, self.hard, added(self.used, more))


def charges(
    quotas: Sequence[Quota],
    wanted: Wanted,
    evaluator: Evaluator,
    limited: Sequence[Limited],
    now: datetime,
) -> Mapping[str, Amounts]:
    """What the write uses more of each quota, by the quota's name; empty when of none. Raises Refused."""
    chosen = [quota for quota in quotas if _concerns(quota, wanted.new, evaluator)]
    for quota in chosen:
        _check_complete(quota, wanted.new, evaluator)
    usage = evaluator.usage(wanted.new, now)
    negative = sorted(name for name, amount in usage.items() if amount < ZERO)
    if negative:
        raise Refused(f"quota usage is negative for resource(s): {','.join(negative)}")
    more = usage if wanted.old is None else increase(usage, evaluator.usage(wanted.old, now))
    deltas = {
        quota.name: _nonzero(usage if _is_new_to(quota, wanted, evaluator) else more) for quota in chosen
    }
    deltas = {name: delta for name, delta in deltas.items() if delta}
    if not (deltas if chosen else _nonzero(more)):
        return {}
    if limited:
        _check_covered(quotas, chosen, wanted.new, evaluator, limited, usage)
    found: dict[str, Amounts] = {}
    for quota in chosen:
        if quota.name in deltas:
            asked = of(deltas[quota.name], quota.hard)
            if wanted.subresource != "status":
                _check_room(quota, asked)
            found[quota.name] = asked
    return found


def _concerns(quota: Quota, obj: Object, evaluator: Evaluator) -> bool:
    return any(map(evaluator.counts, quota.hard)) and evaluator.is_in_scope(quota.obj, obj)


def _check_complete(quota: Quota, obj: Object, evaluator: Evaluator) -> None:
    """The object must say what is counted, and the quota how much is used already."""
    names = evaluator.counted(quota.hard)
    missing = evaluator.missing(names, obj)
    if missing:
        raise Refused(f"failed quota: {quota.name}: {missing}")
    if any(name not in quota.used for name in names):
        raise Refused(f"status unknown for quota: {quota.name}, resources: {','.join(names)}")


def _is_new_to(quota: Quota, wanted: Wanted, evaluator: Evaluator) -> bool:
    """An update may bring an object into the scope of a quota that has not counted it so far."""
    return wanted.old is not None and not evaluator.is_in_scope(quota.obj, wanted.old)


def _check_room(quota: Quota, asked: Amounts) -> None:
    over = [name for name, amount in asked.items() if quota.used.get(name, ZERO) + amount > quota.hard[name]]
    if over:
        raise Refused(
            f"exceeded quota: {quota.name}, requested: {listed(of(asked, over))}, "
            f"used: {listed(of(quota.used, over))}, limited: {listed(of(quota.hard, over))}"
        )


def _check_covered(
    quotas: Iterable[Quota],
    chosen: Iterable[Quota],
    obj: Object,
    evaluator: Evaluator,
    limited: Sequence[Limited],
    usage: Amounts,
) -> None:
    """What is limited by default may be used only where some quota is about it."""
    covered = {name for quota in chosen for name in evaluator.counted(quota.hard)}
    demanded = {
        name
        for each in limited
        if each.resource == evaluator.resource
        for name, amount in usage.items()
        if amount > ZERO and any(part in name for part in each.match_contains)
    }
    if demanded - covered:
        raise Refused(f"insufficient quota to consume: {','.join(sorted(demanded - covered))}")
    if not evaluator.knows_scopes:
        return
    known = {
        required.get("scopeName")
        for quota in quotas
        for required in requirements(quota.obj)
        if evaluator.has_scope(required, obj)
    }
    bare: list[Requirement] = [
        required
        for each in limited
        for required in each.match_scopes
        if evaluator.has_scope(required, obj) and required.get("scopeName") not in known
    ]
    if bare:
        raise Refused(f"insufficient quota to match these scopes: {shown(bare)}", forbidden=False)


def _nonzero(amounts: Amounts) -> Amounts:
    return {name: amount for name, amount in amounts.items() if amount}
