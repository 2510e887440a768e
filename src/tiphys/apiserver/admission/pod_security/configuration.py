"""A PodSecurityConfiguration: what holds where a namespace's labels say nothing, and who is not asked.

https://kubernetes.io/docs/tasks/configure-pod-container/enforce-standards-admission-controller/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from tiphys.apiserver.admission.configuration import Configuration, expect, refuse, refuse_unknown
from tiphys.apiserver.admission.pod_security.policy import (
    MODES,
    BadValue,
    LevelVersion,
    Policy,
    parse_level,
    parse_version,
)
from tiphys.machinery.fields import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.names import dns1123_label, dns1123_subdomain

_GROUP = "pod-security.admission.config.k8s.io"
_VERSIONS = (f"{_GROUP}/v1", f"{_GROUP}/v1beta1", f"{_GROUP}/v1alpha1")
_Parsed = TypeVar("_Parsed", str, int)
_EXEMPTIONS = ("usernames", "namespaces", "runtimeClasses")


@frozen
class PodSecurityConfiguration:
    defaults: Policy = field(default_factory=Policy)
    usernames: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    runtime_classes: frozenset[str] = frozenset()


def read_configuration(configuration: Configuration | None) -> PodSecurityConfiguration:
    """Raises BadConfiguration."""
    if configuration is None:
        return PodSecurityConfiguration()
    expect(configuration, "PodSecurityConfiguration", _VERSIONS, ("defaults", "exemptions"))
    defaults, exemptions = configuration.get("defaults") or {}, configuration.get("exemptions") or {}
    refuse_unknown(defaults, [f"{mode}{end}" for mode in MODES for end in ("", "-version")], "defaults.")
    refuse_unknown(exemptions, _EXEMPTIONS, "exemptions.")
    errors: list[FieldError] = []
    policy = Policy(*(_mode(defaults, mode, errors) for mode in MODES))
    usernames, namespaces, runtime_classes = (_exempt(exemptions, kind, errors) for kind in _EXEMPTIONS)
    refuse(errors)
    return PodSecurityConfiguration(policy, usernames, namespaces, runtime_classes)


def _mode(defaults: Mapping[str, Any], mode: str, errors: list[FieldError]) -> LevelVersion:
    level = _parsed(parse_level, defaults, mode, "privileged", errors)
    version = _parsed(parse_version, defaults, f"{mode}-version", "latest", errors)
    if level is None or version is None:
        return LevelVersion()
    return LevelVersion(level, version)


def _parsed(
    parse: Callable[[str], _Parsed],
    defaults: Mapping[str, Any],
    field: str,
    usual: str,
    errors: list[FieldError],
) -> _Parsed | None:
    text = str(defaults.get(field) or usual)
    try:
        return parse(text)
    except BadValue as error:
        errors.append(FieldError.invalid(Path("defaults", field), text, str(error)))
        return None


def _exempt(exemptions: Mapping[str, Any], kind: str, errors: list[FieldError]) -> frozenset[str]:
    found: set[str] = set()
    for position, name in enumerate(map(str, exemptions.get(kind) or ())):
        path = Path("exemptions", kind).index(position)
        problems = _name_problems(kind, name)
        if kind == "usernames" and not name:
            errors.append(FieldError.required(path, ""))
        elif problems:
            errors.append(FieldError.invalid(path, name, ", ".join(problems)))
        elif name in found:
            errors.append(FieldError.duplicate(path, name))
        found.add(name)
    return frozenset(found)


def _name_problems(kind: str, name: str) -> list[str]:
    if kind == "usernames":
        return []
    return dns1123_label(name) if kind == "namespaces" else dns1123_subdomain(name)
