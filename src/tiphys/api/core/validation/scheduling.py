"""Where a pod may run: affinity, tolerations, taints, spreading, gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.api.resource import Object
from tiphys.api.validation import (
    Errors,
    by_rule,
    label_selector,
    one_of,
    positive,
    qualified_name,
    required_one_of,
)
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import FieldErrorKind

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_BAD_OPERATOR = "not a valid selector operator"
_IN_BOTH = "exists in both matchLabelKeys and labelSelector"


def affinity(value: Object | None, path: Path) -> Errors:
    errors: Errors = []
    for kind, rules in (value or {}).items():
        if rules is None:
            continue
        here = path.child(kind)
        errors += _node_affinity(rules, here) if kind == "nodeAffinity" else _pod_affinity(rules, here)
    return errors


# Nodes


def _node_affinity(rules: Object, path: Path) -> Errors:
    errors: Errors = []
    if (selector := rules.get(_REQUIRED)) is not None:
        errors += node_selector(selector, path.child(_REQUIRED))
    for position, term in enumerate(rules.get(_PREFERRED) or ()):
        here = path.child(_PREFERRED).index(position)
        errors += _weight(term, here)
        # A preference may name what no label can be: it is then never met.
        errors += _node_selector_term(
            term.get("preference") or {}, here.child("preference"), check_values=False
        )
    return errors


def _weight(term: Object, path: Path) -> Errors:
    weight = term.get("weight") or 0
    if 1 <= weight <= 100:
        return []
    return [FieldError.invalid(path.child("weight"), weight, "must be in the range 1-100")]


def node_selector(selector: Object, path: Path) -> Errors:
    here = path.child("nodeSelectorTerms")
    terms = selector.get("nodeSelectorTerms")
    if not terms:
        return [FieldError.required(here, "must have at least one node selector term")]
    errors: Errors = []
    for position, term in enumerate(terms):
        errors += _node_selector_term(term, here.index(position), check_values=True)
    return errors


def _node_selector_term(term: Object, path: Path, *, check_values: bool) -> Errors:
    errors: Errors = []
    for position, requirement in enumerate(term.get("matchExpressions") or ()):
        here = path.child("matchExpressions").index(position)
        errors += _node_requirement(requirement, here, check_values=check_values)
    for position, requirement in enumerate(term.get("matchFields") or ()):
        errors += _node_field_requirement(requirement, path.child("matchFields").index(position))
    return errors


def _node_requirement(requirement: Object, path: Path, *, check_values: bool) -> Errors:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    errors: Errors = []
    here = path.child("values")
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(FieldError.required(here, "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(FieldError.forbidden(here, detail))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            errors.append(FieldError.required(here, detail))
    else:
        errors.append(FieldError.invalid(path.child("operator"), operator, _BAD_OPERATOR))
    errors += qualified_name(requirement.get("key", ""), path.child("key"))
    if check_values:
        for position, value in enumerate(values):
            errors += by_rule(names.label_value, value, here.index(position))
    return errors


def _node_field_requirement(requirement: Object, path: Path) -> Errors:
    operator, values = requirement.get("operator", ""), requirement.get("values") or ()
    errors: Errors = []
    if operator not in ("In", "NotIn"):
        errors.append(FieldError.invalid(path.child("operator"), operator, _BAD_OPERATOR))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        errors.append(FieldError.required(path.child("values"), detail))
    key = requirement.get("key", "")
    if key != "metadata.name":
        return [*errors, FieldError.invalid(path.child("key"), key, "not a valid field selector key")]
    for position, value in enumerate(values):
        errors += by_rule(names.dns1123_subdomain, value, path.child("values").index(position))
    return errors


# Pods


def _pod_affinity(rules: Object, path: Path) -> Errors:
    errors: Errors = []
    for position, term in enumerate(rules.get(_REQUIRED) or ()):
        errors += _pod_affinity_term(term, path.child(_REQUIRED).index(position))
    for position, weighted in enumerate(rules.get(_PREFERRED) or ()):
        here = path.child(_PREFERRED).index(position)
        errors += _weight(weighted, here)
        errors += _pod_affinity_term(weighted.get("podAffinityTerm") or {}, here.child("podAffinityTerm"))
    return errors


def _pod_affinity_term(term: Object, path: Path) -> Errors:
    errors = label_selector(term.get("labelSelector"), path.child("labelSelector"))
    errors += label_selector(term.get("namespaceSelector"), path.child("namespaceSelector"))
    for namespace in term.get("namespaces") or ():
        errors += by_rule(names.dns1123_label, namespace, path.child("namespace"))
    errors += _label_keys(term, path)
    key = term.get("topologyKey") or ""
    if not key:
        errors.append(FieldError.required(path.child("topologyKey"), "can not be empty"))
    return errors + qualified_name(key, path.child("topologyKey"))


def _label_keys(term: Object, path: Path) -> Errors:
    """`matchLabelKeys` and `mismatchLabelKeys`. On create they have already become expressions of the selector."""
    selector = term.get("labelSelector")
    match, mismatch = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    errors: Errors = []
    for field, keys in (("matchLabelKeys", match), ("mismatchLabelKeys", mismatch)):
        if keys and selector is None:
            detail = "must not be specified when labelSelector is not set"
            errors.append(FieldError.forbidden(path.child(field), detail))
            continue
        for position, key in enumerate(keys):
            errors += qualified_name(key, path.child(field).index(position))
    for position, key in enumerate(match):
        if _times_in_selector(key, selector) > 1:
            errors.append(FieldError.invalid(path.index(position), key, _IN_BOTH))
    for position, key in enumerate(match):
        if key in mismatch:
            here = path.child("matchLabelKeys").index(position)
            errors.append(
                FieldError.invalid(here, key, "exists in both matchLabelKeys and mismatchLabelKeys")
            )
    return errors


def _times_in_selector(key: str, selector: Mapping[str, Any] | None) -> int:
    selector = selector or {}
    keys = [
        *(selector.get("matchLabels") or ()),
        *(each.get("key") for each in selector.get("matchExpressions") or ()),
    ]
    return keys.count(key)


# Spreading


def topology_spread_constraints(constraints: list[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, constraint in enumerate(constraints):
        here = path.index(position)
        errors += _topology_spread_constraint(constraint, here)
        pair = _spread_pair(constraint)
        if any(_spread_pair(later) == pair for later in constraints[position + 1 :]):
            place = here.child("{topologyKey, whenUnsatisfiable}")
            errors.append(FieldError.duplicate(place, f"{{{pair[0]}, {pair[1]}}}"))
    return errors


def _spread_pair(constraint: Object) -> tuple[str, str]:
    return constraint.get("topologyKey", ""), constraint.get("whenUnsatisfiable", "")


def _topology_spread_constraint(constraint: Object, path: Path) -> Errors:
    errors = positive(constraint.get("maxSkew") or 0, path.child("maxSkew"))
    if not constraint.get("topologyKey"):
        errors.append(FieldError.required(path.child("topologyKey"), "can not be empty"))
    action = constraint.get("whenUnsatisfiable") or ""
    errors += one_of(action, ("DoNotSchedule", "ScheduleAnyway"), path.child("whenUnsatisfiable"))
    errors += _min_domains(constraint.get("minDomains"), action, path.child("minDomains"))
    for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if constraint.get(field) is not None:
            errors += one_of(constraint[field], ("Honor", "Ignore"), path.child(field))
    errors += _spread_label_keys(constraint, path.child("matchLabelKeys"))
    return errors + label_selector(constraint.get("labelSelector"), path.child("labelSelector"))


def _min_domains(value: int | None, action: str, path: Path) -> Errors:
    if value is None:
        return []
    errors = positive(value, path)
    if action != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        errors.append(FieldError.invalid(path, value, detail))
    return errors


def _spread_label_keys(constraint: Object, path: Path) -> Errors:
    keys, selector = constraint.get("matchLabelKeys") or (), constraint.get("labelSelector")
    errors: Errors = []
    if keys and selector is None:
        errors.append(FieldError.forbidden(path, "must not be specified when labelSelector is not set"))
    for position, key in enumerate(keys):
        errors += qualified_name(key, path.index(position))
        if _times_in_selector(key, selector) > 1:
            errors.append(FieldError.invalid(path.index(position), key, _IN_BOTH))
    return errors


# Taints and tolerations


def tolerations(values: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, toleration in enumerate(values):
        errors += _toleration(toleration, path.index(position))
    return errors


def _toleration(toleration: Object, path: Path) -> Errors:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    effect, value = toleration.get("effect") or "", toleration.get("value") or ""
    errors: Errors = []
    if key:
        errors += qualified_name(key, path.child("key"))
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.append(FieldError.invalid(path.child("operator"), operator, detail))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(FieldError.invalid(path.child("effect"), effect, detail))
    if operator in ("", "Equal"):
        if messages := names.label_value(value):
            errors.append(FieldError.invalid(path.child("operator"), value, ";".join(messages)))
    elif operator == "Exists":
        if value:
            detail = "value must be empty when `operator` is 'Exists'"
            errors.append(FieldError.invalid(path.child("operator"), value, detail))
    else:
        errors.append(FieldError.not_supported(path.child("operator"), operator, ("Equal", "Exists")))
    return errors + (one_of(effect, EFFECTS, path.child("effect")) if effect else [])


def taints(values: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    seen: set[tuple[str, str]] = set()
    for position, taint in enumerate(values):
        here = path.index(position)
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        errors += qualified_name(key, here.child("key"))
        if messages := names.label_value(taint.get("value") or ""):
            errors.append(FieldError.invalid(here.child("value"), taint.get("value"), ";".join(messages)))
        errors += required_one_of(effect, EFFECTS, here.child("effect"))
        if (key, effect) in seen:
            detail = "taints must be unique by key and effect pair"
            errors.append(FieldError(FieldErrorKind.DUPLICATE, here, taint, detail))
        seen.add((key, effect))
    return errors


# Gates


def scheduling_gates(gates: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for position, gate in enumerate(gates):
        name, here = gate.get("name") or "", path.index(position)
        errors += qualified_name(name, here)
        if name in seen:
            errors.append(FieldError.duplicate(here, name))
        seen.add(name)
    return errors


def readiness_gates(gates: Iterable[Object], path: Path) -> Errors:
    errors: Errors = []
    for position, gate in enumerate(gates):
        errors += qualified_name(gate.get("conditionType") or "", path.index(position).child("conditionType"))
    return errors
