"""What components tell of themselves at /statusz and /flagz (KEP-4827, KEP-4828): as text for people, or as an object for who asks so. Pure.

version = wanted_version(accept, "Statusz")      # None: 406
statusz(component, facts, now, version)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tiphys.machinery.frozen import frozen
from tiphys.machinery.meta import format_time

MEDIA_TYPES = ("text/plain", "application/json")
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees "
    "and is for debugging purposes only."
)
_VERSIONS = ("v1beta1", "v1alpha1")
_CLAUSE = re.compile(r"application/json((?:;[^,;]+)*)")

Page = str | dict[str, Any]


@frozen
class Facts:
    """Of a component's process. `paths`: other pages of it."""

    began_at: datetime
    go_version: str
    binary_version: str
    emulation_version: str
    paths: tuple[str, ...]


def wanted_version(accept: str, kind: str) -> str | None:
    """The version of the structured form that is asked for; "" for text; None for a form that there is not."""
    for clause in _CLAUSE.findall(accept):
        parts = dict(part.strip().partition("=")[::2] for part in clause.split(";")[1:])
        if parts.get("g") == "config.k8s.io" and parts.get("as") == kind and parts.get("v") in _VERSIONS:
            return str(parts["v"])
    if accept and not any(kind in accept for kind in ("*/*", "text/plain", "text/*")):
        return None
    return ""


def statusz(component: str, facts: Facts, now: datetime, version: str) -> Page:
    up = int((now - facts.began_at).total_seconds())
    if version:
        fields = {
            "startTime": format_time(facts.began_at),
            "uptimeSeconds": up,
            "goVersion": facts.go_version,
            "binaryVersion": facts.binary_version,
            "emulationVersion": facts.emulation_version,
            "paths": list(facts.paths),
        }
        return _object(component, "Statusz", version, fields)
    hours, rest = divmod(up, 3600)
    lines = (
        "",
        f"{component} statusz",
        _WARNING,
        "",
        f"Started: {facts.began_at:%a %b %e %H:%M:%S UTC %Y}",
        f"Up: {hours} hr {rest // 60:02d} min {rest % 60:02d} sec",
        f"Go version: {facts.go_version}",
        f"Binary version: {facts.binary_version}",
        f"Emulation version: {facts.emulation_version}",
        f"Paths: {' '.join(facts.paths)}",
        "",
    )
    return "\n".join(lines)


def flagz(component: str, flags: Mapping[str, str], version: str) -> Page:
    if version:
        return _object(component, "Flagz", version, {"flags": dict(flags)})
    lines = [f"{name}={value}" for name, value in sorted(flags.items())]
    return "\n".join(["", f"{component} flags", _WARNING, "", *lines, ""])


def _object(component: str, kind: str, version: str, fields: dict[str, Any]) -> dict[str, Any]:
    head = {"kind": kind, "apiVersion": f"config.k8s.io/{version}", "metadata": {"name": component}}
    return {**head, **fields}
