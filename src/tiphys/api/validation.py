"""Checks that the kinds of several groups share: names, label selectors, numbers, percentages, immutability.

Wording and kinds of error are upstream's (apimachinery `api/validation`, `apis/meta/v1/validation`), since tools compare
them. Every check answers with a list of FieldError; the list is empty when all is well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tiphys.api.resource import Object
from tiphys.machinery import addresses, names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import metadata
from tiphys.machinery.quantity import ZERO, Quantity, parse

IMMUTABLE = "field is immutable"
NEGATIVE = "must be greater than or equal to 0"
NOT_POSITIVE = "must be greater than zero"
NOT_AN_INTEGER = "must be an integer"
NO_MATCH = "`selector` does not match template `labels`"
ANNOTATIONS_LIMIT_BYTES = 256 * 1024

Errors = list[FieldError]
MessageRule = Callable[[str], list[str]]


def by_rule(rule: MessageRule, value: str, path: Path) -> Errors:
    """The messages of a name rule, at a place."""
    return [FieldError.invalid(path, value, message) for message in rule(value)]


def dns_label(value: str, path: Path) -> Errors:
    return by_rule(names.dns1123_label, value, path)


def dns_subdomain(value: str, path: Path) -> Errors:
    return by_rule(names.dns1123_subdomain, value, path)


def qualified_name(value: str, path: Path) -> Errors:
    return by_rule(names.qualified_name, value, path)


def ip_address(value: str, path: Path) -> Errors:
    return by_rule(addresses.ip, value, path)


def cidr(value: str, path: Path) -> Errors:
    return by_rule(addresses.cidr, value, path)


_HTTP_PATH = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+"


def domain_prefixed_path(value: str, path: Path) -> Errors:
    """`example.com/controller`: who is responsible for an object."""
    if not value:
        return [FieldError.required(path)]
    domain, _, rest = value.partition("/")
    if not domain or not rest:
        return [FieldError.invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    errors = dns_subdomain(domain, path)
    if not re.fullmatch(_HTTP_PATH, rest):
        errors.append(FieldError.invalid(path, rest, names.regex_message("Invalid path", _HTTP_PATH)))
    return errors


def required_name(rule: MessageRule, value: str | None, path: Path) -> Errors:
    """A name that must be there, and be good."""
    return by_rule(rule, value, path) if value else [FieldError.required(path)]


def one_of(value: str | None, allowed: Iterable[str], path: Path) -> Errors:
    """A value of an enumeration; `allowed` is listed in the message in the order given."""
    choices = tuple(allowed)
    return [] if value in choices else [FieldError.not_supported(path, value or "", choices)]


def required_one_of(value: str | None, allowed: Iterable[str], path: Path) -> Errors:
    return one_of(value, allowed, path) if value else [FieldError.required(path)]


def non_negative(value: int | None, path: Path) -> Errors:
    return [FieldError.invalid(path, value, NEGATIVE)] if value is not None and value < 0 else []


def positive(value: int, path: Path) -> Errors:
    return [FieldError.invalid(path, value, NOT_POSITIVE)] if value <= 0 else []


def in_range(value: int, low: int, high: int, path: Path) -> Errors:
    return [FieldError.invalid(path, value, message) for message in names.in_range(value, low, high)]


def port_number(value: int, path: Path) -> Errors:
    return in_range(value, 1, 65535, path)


def port_number_or_name(value: int | str | None, path: Path) -> Errors:
    if isinstance(value, str):
        return by_rule(names.port_name, value, path)
    return port_number(value or 0, path)


# Labels and annotations


def label_map(values: Mapping[str, str] | None, path: Path) -> Errors:
    errors: Errors = []
    for key, value in (values or {}).items():
        errors += by_rule(names.qualified_name, key, path)
        errors += by_rule(names.label_value, value, path)
    return errors


def annotation_map(values: Mapping[str, str] | None, path: Path) -> Errors:
    errors: Errors = []
    size = 0
    for key, value in (values or {}).items():
        # Upper case is allowed in the domain of an annotation's key, for history's sake.
        errors += [FieldError.invalid(path, key, message) for message in names.qualified_name(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_LIMIT_BYTES:
        errors.append(FieldError.too_long(path, ANNOTATIONS_LIMIT_BYTES))
    return errors


def label_selector(selector: Mapping[str, Any] | None, path: Path) -> Errors:
    """A `metav1.LabelSelector`, with the place of every fault in it."""
    if selector is None:
        return []
    errors = label_map(selector.get("matchLabels"), path.child("matchLabels"))
    for position, expression in enumerate(selector.get("matchExpressions") or ()):
        errors += _label_expression(expression, path.child("matchExpressions").index(position))
    return errors


def _label_expression(expression: Mapping[str, Any], path: Path) -> Errors:
    operator, values = expression.get("operator", ""), expression.get("values") or ()
    errors: Errors = []
    if operator in ("In", "NotIn"):
        if not values:
            errors.append(
                FieldError.required(
                    path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"
                )
            )
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(FieldError.forbidden(path.child("values"), detail))
    else:
        errors.append(FieldError.invalid(path.child("operator"), operator, "not a valid selector operator"))
    errors += by_rule(names.qualified_name, expression.get("key", ""), path.child("key"))
    for position, value in enumerate(values):
        errors += by_rule(names.label_value, value, path.child("values").index(position))
    return errors


def is_empty_selector(selector: Mapping[str, Any]) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def template_labels(template: Object | None) -> Mapping[str, str]:
    return metadata(template or {}).get("labels") or {}


# Quantities


def quantity(text: Any) -> Quantity:
    """A quantity that the schema has let pass; an empty one is zero, as in Go."""
    return parse(text) if text not in (None, "") else ZERO


def non_negative_quantity(value: Quantity, path: Path) -> Errors:
    return [FieldError.invalid(path, str(value), NEGATIVE)] if value < ZERO else []


def positive_quantity(value: Quantity, path: Path) -> Errors:
    return [FieldError.invalid(path, str(value), NOT_POSITIVE)] if value <= ZERO else []


# Numbers or percentages


def int_or_percent(value: int | str, path: Path) -> Errors:
    """`5` or `"5%"`, not negative."""
    return by_rule(names.percent, value, path) if isinstance(value, str) else non_negative(value, path)


def percentage(value: int | str | None) -> int | None:
    """The number before the %, or None when it is no percentage."""
    return int(value[:-1]) if isinstance(value, str) and not names.percent(value) else None


def int_or_percent_value(value: int | str | None) -> int:
    """The number itself, of a percentage too: good for asking whether it is 0."""
    number = percentage(value)
    if number is not None:
        return number
    return value if isinstance(value, int) else 0


def at_most_100_percent(value: int | str | None, path: Path) -> Errors:
    number = percentage(value)
    return (
        [FieldError.invalid(path, value, "must not be greater than 100%")] if number and number > 100 else []
    )


# Updates


def immutable(new: Any, old: Any, path: Path, detail: str = IMMUTABLE) -> Errors:
    return [] if new == old else [FieldError.invalid(path, new, detail)]


def not_decremented(new: int | None, old: int | None, path: Path) -> Errors:
    """A counter that only grows."""
    decremented = old is not None and (new is None or new < old)
    return [FieldError.invalid(path, new or 0, "cannot be decremented")] if decremented else []


def _show(value: Any) -> str:
    from tiphys.machinery.quoting import go_json

    return go_json(value)


def difference(old: Any, new: Any) -> str:
    """What changed, a line for each field: `- path: before`, `+ path: after`.

    Upstream prints a diff of Go structs here; people read it, no tool does, so ours is shorter.
    """
    return "\n".join(_differences(old, new, ""))


def _differences(old: Any, new: Any, path: str) -> list[str]:
    if old == new:
        return []
    lines: list[str] = []
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            lines += _differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return lines
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for position, (before, after) in enumerate(zip(old, new, strict=True)):
            lines += _differences(before, after, f"{path}[{position}]")
        return lines
    if old is not None:
        lines.append(f"- {path}: {_show(old)}")
    if new is not None:
        lines.append(f"+ {path}: {_show(new)}")
    return lines


# Metadata of templates

_TEMPLATE_METADATA = frozenset({"labels", "annotations"})


def claim_template_metadata(values: Mapping[str, Any] | None, path: Path) -> Errors:
    """Metadata of an object that is made later: only labels and annotations are taken over."""
    values = values or {}
    errors = annotation_map(values.get("annotations"), path.child("annotations"))
    errors += label_map(values.get("labels"), path.child("labels"))
    for field, value in values.items():
        if field not in _TEMPLATE_METADATA and value:
            errors.append(FieldError.forbidden(path.child(field), "cannot be set"))
    return errors
