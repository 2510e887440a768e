"""Probes and lifecycle hooks: ways to ask a container how it is, or to tell it something."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, non_negative, one_of, port_number, port_number_or_name
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path

_COUNTERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_OF_PROBES = ("exec", "httpGet", "tcpSocket", "grpc")
_OF_HOOKS = ("exec", "httpGet", "tcpSocket", "sleep")


def container_probes(container: Object, grace_seconds: int | None, path: Path) -> Errors:
    """Everything that a long-running container may have."""
    errors: Errors = []
    if (lifecycle := container.get("lifecycle")) is not None:
        errors += _lifecycle(lifecycle, grace_seconds, path.child("lifecycle"))
    if (liveness := container.get("livenessProbe")) is not None:
        errors += _probe(liveness, path.child("livenessProbe"))
        errors += _succeeds_at_once(liveness, path.child("livenessProbe"))
    if (readiness := container.get("readinessProbe")) is not None:
        here = path.child("readinessProbe")
        errors += _probe(readiness, here)
        if (seconds := readiness.get("terminationGracePeriodSeconds")) is not None:
            place = here.child("terminationGracePeriodSeconds")
            errors.append(FieldError.invalid(place, seconds, "must not be set for readinessProbes"))
    if (startup := container.get("startupProbe")) is not None:
        errors += _probe(startup, path.child("startupProbe"))
        errors += _succeeds_at_once(startup, path.child("startupProbe"))
    return errors


def _succeeds_at_once(probe: Object, path: Path) -> Errors:
    threshold = probe.get("successThreshold", 0)
    if threshold == 1:
        return []
    return [FieldError.invalid(path.child("successThreshold"), threshold, "must be 1")]


def _probe(probe: Object, path: Path) -> Errors:
    errors = _handler(probe, _OF_PROBES, None, path)
    for field in _COUNTERS:
        if field in probe:
            errors += non_negative(probe[field], path.child(field))
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        place = path.child("terminationGracePeriodSeconds")
        errors.append(FieldError.invalid(place, seconds, "must be greater than 0"))
    return errors


def _lifecycle(lifecycle: Object, grace_seconds: int | None, path: Path) -> Errors:
    errors: Errors = []
    for hook in ("postStart", "preStop"):
        if (handler := lifecycle.get(hook)) is not None:
            errors += _handler(handler, _OF_HOOKS, grace_seconds, path.child(hook))
    if (signal := lifecycle.get("stopSignal")) is not None and not signal:
        errors.append(FieldError.required(path.child("stopSignal")))
    return errors


def _handler(handler: Object, kinds: tuple[str, ...], grace_seconds: int | None, path: Path) -> Errors:
    """Exactly one kind of action; the first one is checked, each further one is one too many."""
    found = [kind for kind in kinds if handler.get(kind) is not None]
    if not found:
        return [FieldError.required(path, "must specify a handler type")]
    errors = _action(found[0], handler[found[0]], grace_seconds, path.child(found[0]))
    for kind in found[1:]:
        errors.append(FieldError.forbidden(path.child(kind), "may not specify more than 1 handler type"))
    return errors


def _action(kind: str, action: Object, grace_seconds: int | None, path: Path) -> Errors:
    match kind:
        case "exec":
            return [] if action.get("command") else [FieldError.required(path.child("command"))]
        case "httpGet":
            return _http_get(action, path)
        case "tcpSocket":
            return port_number_or_name(action.get("port"), path.child("port"))
        case "grpc":
            return port_number(action.get("port") or 0, path.child("port"))
    return _sleep(action.get("seconds") or 0, grace_seconds, path)


def _http_get(action: Object, path: Path) -> Errors:
    errors: Errors = []
    if not action.get("path"):
        errors.append(FieldError.required(path.child("path")))
    errors += port_number_or_name(action.get("port"), path.child("port"))
    errors += one_of(action.get("scheme"), ("HTTP", "HTTPS"), path.child("scheme"))
    for header in action.get("httpHeaders") or ():
        errors += by_rule(names.http_header_name, header.get("name", ""), path.child("httpHeaders"))
    return errors


def _sleep(seconds: int, grace_seconds: Any, path: Path) -> Errors:
    if grace_seconds is None or 0 <= seconds <= grace_seconds:
        return []
    detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
    return [FieldError.invalid(path, seconds, detail)]
