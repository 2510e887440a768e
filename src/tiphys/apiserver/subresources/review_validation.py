"""What the SubjectAccessReview family must be like: a subject, one question, nothing in the metadata."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_SPEC = Path("spec")


def access_problems(review: Object) -> list[FieldError]:
    spec = review.get("spec") or {}
    return [*_question(spec), *_subject(spec), *_selectors(spec), *_metadata(review, "must be empty")]


def self_access_problems(review: Object) -> list[FieldError]:
    spec = review.get("spec") or {}
    return [*_question(spec), *_selectors(spec), *_metadata(review, "must be empty")]


def local_access_problems(review: Object) -> list[FieldError]:
    spec = review.get("spec") or {}
    found = [*_question(spec), *_subject(spec), *_selectors(spec)]
    found += _metadata(review, "must be empty except for namespace", "namespace")
    resource = spec.get("resourceAttributes")
    namespace = review["metadata"].get("namespace", "")
    if resource is not None and (resource.get("namespace") or "") != namespace:
        path = _SPEC.child("resourceAttributes", "namespace")
        found.append(
            FieldError.invalid(path, resource.get("namespace") or "", "must match metadata.namespace")
        )
    if spec.get("nonResourceAttributes") is not None:
        path = _SPEC.child("nonResourceAttributes")
        found.append(
            FieldError.invalid(path, spec["nonResourceAttributes"], "disallowed on this kind of request")
        )
    return found


def _question(spec: Object) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        return [FieldError.invalid(_SPEC.child("nonResourceAttributes"), path, detail)]
    if resource is None and path is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [FieldError.invalid(_SPEC.child("resourceAttributes"), None, detail)]
    return []


def _subject(spec: Object) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [FieldError.invalid(_SPEC.child("user"), "", "at least one of user or group must be specified")]


def _metadata(review: Object, rule: str, *allowed: str) -> list[FieldError]:
    given = {
        name: value
        for name, value in review["metadata"].items()
        if value and name != "managedFields" and name not in allowed
    }
    return [FieldError.invalid(Path("metadata"), given, rule)] if given else []


def _selectors(spec: Object) -> list[FieldError]:
    resource = spec.get("resourceAttributes") or {}
    found: list[FieldError] = []
    for name in ("fieldSelector", "labelSelector"):
        selector = resource.get(name)
        if selector is None:
            continue
        path = _SPEC.child("resourceAttributes", name)
        raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or []
        if raw and requirements:
            detail = "may not specified at the same time as requirements"
            found.append(FieldError.invalid(path.child("rawSelector"), raw, detail))
        if not raw and not requirements:
            detail = f"when {path} is specified, requirements or rawSelector is required"
            found.append(FieldError.required(path.child("requirements"), detail))
        for position, requirement in enumerate(requirements):
            place = path.child("requirements").index(position)
            found += _requirement(requirement, place, of_labels=name == "labelSelector")
    return found


def _requirement(requirement: Object, path: Path, *, of_labels: bool) -> list[FieldError]:
    """An operator that is not known may be a newer client's: it narrows nothing."""
    found: list[FieldError] = []
    values: list[Any] = requirement.get("values") or []
    operator, key = requirement.get("operator"), requirement.get("key") or ""
    if operator in ("In", "NotIn") and not values:
        detail = "must be specified when `operator` is 'In' or 'NotIn'"
        found.append(FieldError.required(path.child("values"), detail))
    elif operator in ("Exists", "DoesNotExist") and values:
        detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        found.append(FieldError.forbidden(path.child("values"), detail))
    if of_labels:
        found += [FieldError.invalid(path.child("key"), key, text) for text in names.qualified_name(key)]
        found += [
            FieldError.invalid(path.child("values").index(position), value, text)
            for position, value in enumerate(values)
            for text in names.label_value(value)
        ]
    elif not key:
        found.insert(0, FieldError.required(path.child("key"), "must be specified"))
    return found
