"""How the values of a KubeletConfiguration are read from its file and written for /configz; a setting is a field that knows both. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field
from typing import Any

from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import BINARY_SI, Quantity, from_value
from tiphys.machinery.quantity import parse as parse_quantity
from tiphys.machinery.quoting import format_duration, format_value, parse_duration, quote


class Wrong(ValueError):
    """What a value must be."""


def integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Wrong("a whole number")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def seconds(value: Any) -> float:
    try:
        return parse_duration(value)
    except (TypeError, ValueError, AttributeError):
        raise Wrong('a duration such as "1m30s"') from None


def words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise Wrong("a list of strings")
    return tuple(value)


def word(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong("a string")
    return value


def texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise Wrong("a map of strings")
    return value


def headers(value: Any) -> Mapping[str, Sequence[str]]:
    if not isinstance(value, dict):
        raise Wrong("a map of lists of strings")
    return {name: words(values) for name, values in value.items()}


def quantities(value: Any) -> Mapping[str, Quantity]:
    try:
        return {name: parse_quantity(amount) for name, amount in texts(value).items()}
    except Wrong:
        raise
    except ValueError:
        raise Wrong("a map of quantities") from None


@frozen
class MemoryReservation:
    """What the system keeps of one NUMA node."""

    node: int
    limits: Mapping[str, Quantity]


def reservations(value: Any) -> tuple[MemoryReservation, ...]:
    if not isinstance(value, list) or not all(
        isinstance(each, dict) and set(each) <= {"numaNode", "limits"} for each in value
    ):
        raise Wrong("a list of NUMA nodes and limits")
    return tuple(
        MemoryReservation(integer(each.get("numaNode", 0)), quantities(each.get("limits") or {}))
        for each in value
    )


def size(value: Any) -> int:
    try:
        return parse_quantity(value).value
    except (TypeError, ValueError, AttributeError):
        raise Wrong('a quantity such as "10Mi"') from None


def setting(
    name: str,
    default: Any,
    read: Callable[[Any], Any],
    *,
    zero_is_unset: bool = False,
    is_shown_empty: bool = True,
) -> Any:
    """`zero_is_unset`: upstream cannot tell zero from a field that is missing, and takes the default."""
    metadata = {
        "name": name,
        "read": read,
        "zero_is_unset": zero_is_unset,
        "is_shown_empty": is_shown_empty,
    }
    return field(default=default, metadata=metadata)


def mapping(
    name: str,
    read: Callable[[Any], Any],
    default: Mapping[str, str] | None = None,
    *,
    is_shown_empty: bool = True,
) -> Any:
    metadata = {"name": name, "read": read, "is_shown_empty": is_shown_empty}
    return field(default_factory=lambda: default or {}, metadata=metadata)


AUTHENTICATION: Mapping[str, Any] = {
    "anonymous": {"enabled": False},
    "webhook": {"cacheTTL": "2m0s", "enabled": True},
    "x509": {},
}
AUTHORIZATION: Mapping[str, Any] = {
    "mode": "Webhook",
    "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
}
CRASH_LOOP_BACK_OFF: Mapping[str, Any] = {"maxContainerRestartPeriod": "5m0s"}
_CHOSEN: Mapping[str, Callable[[Any], Any]] = {
    "authentication.anonymous.enabled": boolean,
    "authentication.webhook.cacheTTL": seconds,
    "authorization.webhook.cacheAuthorizedTTL": seconds,
    "authorization.webhook.cacheUnauthorizedTTL": seconds,
    "crashLoopBackOff.maxContainerRestartPeriod": seconds,
}
"""What can be another than above."""


def authentication_settings(value: Any) -> Mapping[str, Any]:
    return _checked(value, AUTHENTICATION, "authentication")


def authorization_settings(value: Any) -> Mapping[str, Any]:
    return _checked(value, AUTHORIZATION, "authorization")


def crash_loop_settings(value: Any) -> Mapping[str, Any]:
    return _checked(value, CRASH_LOOP_BACK_OFF, "crashLoopBackOff")


def _checked(value: Any, whole: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Wrong("an object")
    for name, part in value.items():
        where = f"{path}.{name}"
        if name not in whole:
            raise Wrong(f"without {quote(where)}")
        if part is None:
            continue
        if isinstance(whole[name], dict):
            _checked(part, whole[name], where)
        elif where in _CHOSEN:
            try:
                _CHOSEN[where](part)
            except Wrong as wrong:
                raise Wrong(f"an object whose {where} is {wrong}") from None
        elif part != whole[name]:
            raise Wrong(f"an object whose {where} is {format_value(whole[name])}")
    return value


def written(value: Any, row: Field[Any]) -> Any:
    if row.metadata["read"] is seconds:
        return format_duration(value)
    if row.metadata["read"] is size:
        return str(from_value(value, BINARY_SI))
    if row.metadata["read"] is quantities:
        return {name: str(amount) for name, amount in value.items()}
    if row.metadata["read"] is reservations:
        return [
            {"numaNode": each.node, "limits": {name: str(amount) for name, amount in each.limits.items()}}
            for each in value
        ]
    return list(value) if isinstance(value, tuple) else value


def merged(whole: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: part for name, part in said.items() if part is not None}
    return {
        name: merged(part, parts.get(name) or {}) if isinstance(part, dict) else parts.get(name, part)
        for name, part in whole.items()
    }
