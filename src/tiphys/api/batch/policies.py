"""When pods of a job may fail without counting, or decide all, and when a part of them is enough."""

from __future__ import annotations

from tiphys.api.batch import index_format
from tiphys.api.resource import Object
from tiphys.api.validation import Errors, non_negative, qualified_name
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import OMITTED

_RULES_LIMIT = 20
_VALUES_LIMIT = 255
_INDEXES_BYTES_LIMIT = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_STATUSES = ("False", "True", "Unknown")
_OPERATORS = ("In", "NotIn")


def pod_failure_policy(spec: Object, path: Path) -> Errors:
    """`spec` is the job's: rules refer to its containers and to its back-off."""
    rules, here = spec["podFailurePolicy"].get("rules") or [], path.child("rules")
    errors: Errors = []
    if len(rules) > _RULES_LIMIT:
        errors.append(FieldError.too_many(here, len(rules), _RULES_LIMIT))
    pod = (spec.get("template") or {}).get("spec") or {}
    known = {
        each.get("name")
        for field in ("containers", "initContainers")
        for each in pod.get(field) or ()
        if each.get("name")
    }
    for position, rule in enumerate(rules):
        place = here.index(position)
        errors += _action(rule.get("action") or "", spec, place.child("action"))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            errors += _exit_codes(codes, known, place.child("onExitCodes"))
        errors += _conditions(conditions, place.child("onPodConditions"))
        if codes is not None and conditions:
            detail = "specifying both OnExitCodes and OnPodConditions is not supported"
            errors.append(FieldError.invalid(place, OMITTED, detail))
        if codes is None and not conditions:
            detail = "specifying one of OnExitCodes and OnPodConditions is required"
            errors.append(FieldError.invalid(place, OMITTED, detail))
    return errors


def _listed(values: tuple[str, ...]) -> str:
    """As Go's %q writes a list."""
    return "[" + " ".join(f'"{value}"' for value in values) + "]"


def _chosen(value: str, allowed: tuple[str, ...], path: Path) -> Errors:
    if not value:
        return [FieldError.required(path, f"valid values: {_listed(allowed)}")]
    return [] if value in allowed else [FieldError.not_supported(path, value, allowed)]


def _action(action: str, spec: Object, path: Path) -> Errors:
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        return [FieldError.invalid(path, action, "requires the backoffLimitPerIndex to be set")]
    return _chosen(action, _ACTIONS, path)


def _exit_codes(requirement: Object, containers: set[str], path: Path) -> Errors:
    operator, values = requirement.get("operator") or "", requirement.get("values") or []
    errors = _chosen(operator, _OPERATORS, path.child("operator"))
    container = requirement.get("containerName")
    if container is not None and container not in containers:
        detail = "must be one of the container or initContainer names in the pod template"
        errors.append(FieldError.invalid(path.child("containerName"), container, detail))
    here = path.child("values")
    if not values:
        errors.append(FieldError.invalid(here, values, "at least one value is required"))
    elif len(values) > _VALUES_LIMIT:
        errors.append(FieldError.too_many(here, len(values), _VALUES_LIMIT))
    seen: set[int] = set()
    for position, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.append(
                FieldError.invalid(here.index(position), value, "must not be 0 for the In operator")
            )
        if value in seen:
            errors.append(FieldError.duplicate(here.index(position), value))
        seen.add(value)
    if values != sorted(values):
        errors.append(FieldError.invalid(here, values, "must be ordered"))
    return errors


def _conditions(patterns: list[Object], path: Path) -> Errors:
    errors: Errors = []
    if len(patterns) > _RULES_LIMIT:
        errors.append(FieldError.too_many(path, len(patterns), _RULES_LIMIT))
    for position, pattern in enumerate(patterns):
        here = path.index(position)
        errors += qualified_name(pattern.get("type") or "", here.child("type"))
        errors += _chosen(pattern.get("status") or "", _STATUSES, here.child("status"))
    return errors


def success_policy(policy: Object, completions: int, path: Path) -> Errors:
    rules, here = policy.get("rules") or [], path.child("rules")
    if not rules:
        return [FieldError.required(here, "at least one rules must be specified")]
    errors: Errors = []
    if len(rules) > _RULES_LIMIT:
        errors.append(FieldError.too_many(here, len(rules), _RULES_LIMIT))
    for position, rule in enumerate(rules):
        errors += _success_rule(rule, completions, here.index(position))
    return errors


def _success_rule(rule: Object, completions: int, path: Path) -> Errors:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        detail = "at least one of succeededCount or succeededIndexes must be specified"
        return [FieldError.required(path, detail)]
    errors, total = _succeeded_indexes(indexes, completions, path.child("succeededIndexes"))
    if count is None:
        return errors
    here = path.child("succeededCount")
    errors += non_negative(count, here)
    bounds = [(completions, "the number of specified completions")]
    if indexes is not None:
        bounds.append((total, "the number of indexes in the specified succeededIndexes field"))
    for bound, what in bounds:
        if count > bound:
            errors.append(FieldError.invalid(here, count, f"must be less than or equal to {bound} ({what})"))
    return errors


def _succeeded_indexes(text: str | None, completions: int, path: Path) -> tuple[Errors, int]:
    """And how many they are."""
    if text is None:
        return [], 0
    errors: Errors = []
    if len(text.encode()) > _INDEXES_BYTES_LIMIT:
        errors.append(FieldError.too_long(path, _INDEXES_BYTES_LIMIT))
    try:
        return errors, index_format.count(index_format.runs(text, completions))
    except ValueError as error:
        return [*errors, FieldError.invalid(path, text, f"error parsing succeededIndexes: {error}")], 0
