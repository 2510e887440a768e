"""What the status of a definition shall say: which names it may use, and whether it is served. Pure.

Upstream has a controller for each condition (apiextensions `controller/status`, `establish`, `nonstructuralschema`, `apiapproval`);
here one look decides them all, so that a definition is usable one write after it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from tiphys.api.apiextensions.deletion import CLEANUP, TERMINATING
from tiphys.api.apiextensions.validation import APPROVED, is_protected, not_approved
from tiphys.api.resource import Object
from tiphys.machinery import meta
from tiphys.machinery.errors import Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

ESTABLISHED, NAMES_ACCEPTED, NON_STRUCTURAL, APPROVAL = (
    "Established",
    "NamesAccepted",
    "NonStructuralSchema",
    "KubernetesAPIApprovalPolicyConformant",
)
Condition = tuple[str, str, str]
"""(status, reason, message)"""


@frozen
class Taken:
    """Names of a group that are in use by other definitions."""

    resources: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


def taken_by(accepted: Iterable[Object]) -> Taken:
    """`accepted`: status.acceptedNames of the other definitions of a group."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for names in accepted:
        resources |= {
            names.get("plural") or "",
            names.get("singular") or "",
            *(names.get("shortNames") or ()),
        }
        kinds |= {names.get("kind") or "", names.get("listKind") or ""}
    return Taken(frozenset(resources - {""}), frozenset(kinds - {""}))


def plan(definition: Object, taken: Taken, now: datetime) -> Object:
    """The status as it shall be: equal to the present one when nothing has to change."""
    spec, status = definition["spec"], dict(definition.get("status") or {})
    conditions: Sequence[Object] = status.get("conditions") or []
    before = conditions
    wanted, accepted = spec["names"], status.get("acceptedNames") or {}
    names_settled = _same(wanted, accepted) and meta.find_condition(conditions, NAMES_ACCEPTED) is not None
    if not names_settled:
        accepted, verdict = accept_names(wanted, accepted, taken)
        status["acceptedNames"] = accepted
        conditions = _set(conditions, NAMES_ACCEPTED, verdict, now)
        if not meta.is_condition_true(conditions, ESTABLISHED):
            conditions = _set(
                conditions, ESTABLISHED, ("False", "NotAccepted", "not all names are accepted"), now
            )
    if meta.is_condition_true(conditions, NAMES_ACCEPTED) and not meta.is_condition_true(
        conditions, ESTABLISHED
    ):
        message = "the initial names have been accepted"
        conditions = _set(conditions, ESTABLISHED, ("True", "InitialNamesAccepted", message), now)
    conditions = _non_structural(conditions, spec, now)
    approval = _approval(definition)
    if approval is not None:
        conditions = _set(conditions, APPROVAL, approval, now)
    if conditions != before:
        status["conditions"] = list(conditions)
    return status


def _same(wanted: Object, accepted: Object) -> bool:
    fields = ("plural", "singular", "kind", "listKind", "shortNames", "categories")
    return all((wanted.get(field) or None) == (accepted.get(field) or None) for field in fields)


def accept_names(wanted: Object, accepted: Object, taken: Taken) -> tuple[Object, Condition]:
    """As many of the wanted names as are free. What was accepted before stays where a new name is not to be had."""
    names: dict[str, Any] = dict(accepted)
    verdict: Condition = ("True", "NoConflicts", "no conflicts found")
    for field, reason, used in (
        ("plural", "PluralConflict", taken.resources),
        ("singular", "SingularConflict", taken.resources),
        ("shortNames", "ShortNamesConflict", taken.resources),
        ("kind", "KindConflict", taken.kinds),
        ("listKind", "ListKindConflict", taken.kinds),
    ):
        given, own = _listed(wanted.get(field)), _listed(accepted.get(field))
        if field == "shortNames":
            own += [accepted.get("plural") or "", accepted.get("singular") or ""]
        problems = [f"{quote(name)} is already in use" for name in given if name not in own and name in used]
        if problems:
            text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            verdict = ("False", reason, text)
        elif given:
            names[field] = wanted[field]
        else:
            names.pop(field, None)
    if wanted.get("categories"):
        names["categories"] = wanted["categories"]
    else:
        names.pop("categories", None)
    return {"plural": "", "kind": "", **names}, verdict


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value else list(value or ())


def _set(conditions: Sequence[Object], type: str, condition: Condition, now: datetime) -> Sequence[Object]:
    status, reason, message = condition
    return meta.set_condition(conditions, type, status, now, reason=reason, message=message)


def _non_structural(conditions: Sequence[Object], spec: Object, now: datetime) -> Sequence[Object]:
    """Only an old definition that prunes nothing can be without a structural schema: others are refused when they are made."""
    if not spec.get("preserveUnknownFields"):
        if meta.find_condition(conditions, NON_STRUCTURAL) is None:
            return conditions
        return meta.remove_condition(conditions, NON_STRUCTURAL)
    from tiphys.machinery.structural import non_structural_reasons

    reasons: list[str] = []
    for position, version in enumerate(spec["versions"]):
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        where = Path("spec", "versions").index(position).child("schema", "openAPIV3Schema")
        try:
            reasons += map(str, non_structural_reasons(schema, where))
        except ValueError as error:
            reasons.append(str(error))
    reasons.append("spec.preserveUnknownFields: Invalid value: true: must be false")
    text = reasons[0] if len(reasons) == 1 else f"[{', '.join(reasons)}]"
    return _set(conditions, NON_STRUCTURAL, ("True", "Violations", text), now)


def _approval(definition: Object) -> Condition | None:
    """Whether a kind in a group of Kubernetes' own was approved there; None: not such a group."""
    if not is_protected(definition["spec"]["group"]):
        return None
    value = meta.annotations(definition).get(APPROVED, "")
    problem = not_approved(value)
    if problem:
        return ("False", "MissingAnnotation" if not value else "InvalidAnnotation", problem)
    if value.startswith("unapproved"):
        return ("False", "UnapprovedAnnotation", f"not approved: {quote(value)}")
    return ("True", "ApprovedAnnotation", f"approved in {value}")


def is_served(definition: Object) -> bool:
    return meta.is_condition_true(meta.conditions(definition), ESTABLISHED)


def waits_for_names(definition: Object) -> bool:
    condition = meta.find_condition(meta.conditions(definition), NAMES_ACCEPTED)
    return condition is not None and condition["status"] != "True"


def is_terminating(definition: Object) -> bool:
    return meta.is_condition_true(meta.conditions(definition), TERMINATING)


def awaits_cleanup(definition: Object) -> bool:
    return meta.is_deleting(definition) and CLEANUP in meta.finalizers(definition)


def with_terminating(definition: Object, condition: Condition, now: datetime) -> Object:
    """The definition with that condition."""
    status = definition.get("status") or {}
    conditions = _set(status.get("conditions") or [], TERMINATING, condition, now)
    return {**definition, "status": {**status, "conditions": list(conditions)}}
