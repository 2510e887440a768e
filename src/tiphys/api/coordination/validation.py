"""What is wrong with leases and candidates for them (`pkg/apis/coordination/validation`)."""

from __future__ import annotations

import re

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, dns_subdomain
from tiphys.machinery.errors import FieldError, Path

_SPEC = Path("spec")
_STRATEGIES = ("OldestEmulationVersion",)
_VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?")


def lease(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors: Errors = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        here = _SPEC.child("leaseDurationSeconds")
        errors.append(FieldError.invalid(here, seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        here = _SPEC.child("leaseTransitions")
        errors.append(FieldError.invalid(here, transitions, "must be greater than or equal to 0"))
    if spec.get("strategy") is not None:
        errors += _strategy(spec["strategy"])
    if spec.get("preferredHolder") and not spec.get("strategy"):
        here = _SPEC.child("preferredHolder")
        detail = "may only be specified if `strategy` is defined"
        errors.append(FieldError.invalid(here, spec["preferredHolder"], detail))
    return errors


def _strategy(strategy: str) -> Errors:
    """Kubernetes' own are known by name; others must say whose they are."""
    here = _SPEC.child("strategy")
    domain, slash, name = strategy.partition("/")
    if not slash:
        return [] if strategy in _STRATEGIES else [FieldError.not_supported(here, strategy, _STRATEGIES)]
    return (
        dns_subdomain(domain, here)
        if name
        else [FieldError.invalid(here, strategy, "name part must be non-empty")]
    )


def lease_candidate(new: Object, old: Object | None) -> Errors:
    spec = new.get("spec") or {}
    errors = [] if spec.get("leaseName") else [FieldError.required(_SPEC.child("leaseName"))]
    if not spec.get("binaryVersion"):
        errors.append(FieldError.required(_SPEC.child("binaryVersion")))
    for field in ("binaryVersion", "emulationVersion"):
        text = spec.get(field)
        if text and not _VERSION.fullmatch(text):
            errors.append(FieldError.invalid(_SPEC.child(field), text, f"unable to parse version {text!r}"))
    strategy = spec.get("strategy") or ""
    if not strategy:
        errors.append(FieldError.required(_SPEC.child("strategy")))
    else:
        errors += _strategy(strategy)
        if strategy == "OldestEmulationVersion" and not spec.get("emulationVersion"):
            detail = "must be specified when `strategy` is 'OldestEmulationVersion'"
            errors.append(FieldError.required(_SPEC.child("emulationVersion"), detail))
    if old is not None and (old.get("spec") or {}).get("leaseName") != spec.get("leaseName"):
        here = _SPEC.child("leaseName")
        errors.append(FieldError.invalid(here, spec.get("leaseName") or "", "field is immutable"))
    return errors
