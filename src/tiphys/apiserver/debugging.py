"""What people and monitoring look at: /metrics, /statusz, /flagz, and the tables of fairness.

/configz and profiles are not served: upstream's API server has no /configz, and profiles are its Go runtime's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tiphys.apiserver.call import Call
from tiphys.apiserver.fairness import dumps
from tiphys.apiserver.fairness.controller import Fairness
from tiphys.apiserver.flags import shown
from tiphys.apiserver.responses import json_response, plain_error, text_response
from tiphys.apiserver.version import GIT_VERSION, VERSION
from tiphys.machinery import errors
from tiphys.machinery.meta import format_time
from tiphys.machinery.metrics import CONTENT_TYPE
from tiphys.net.http import Response

COMPONENT = "kube-apiserver"
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees "
    "and is for debugging purposes only."
)
_PATHS = ("/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version")
_VERSIONS = ("v1beta1", "v1alpha1")
_CLAUSE = re.compile(r"application/json((?:;[^,;]+)*)")


def serve_metrics(call: Call) -> Response:
    return Response(200, [("content-type", CONTENT_TYPE)], call.server.metrics.render())


def serve_slis(call: Call) -> Response:
    """How the health checks went, for component SLIs."""
    return Response(200, [("content-type", CONTENT_TYPE)], call.server.slis.render())


# Fairness


def serve_fairness(call: Call, name: str) -> Response:
    fairness = call.server.gate
    if not isinstance(fairness, Fairness) or name not in _DUMPS:
        return plain_error("404 page not found", 404)
    return text_response(_DUMPS[name](call, fairness))


def _dump_requests(call: Call, fairness: Fairness) -> str:
    details = bool(call.request.query.get("includeRequestDetails", ("",))[0])
    return dumps.requests(fairness, call.server.clock, details=details)


_DUMPS: dict[str, Callable[[Call, Fairness], str]] = {
    "dump_priority_levels": lambda call, fairness: dumps.priority_levels(fairness),
    "dump_queues": lambda call, fairness: dumps.queues(fairness),
    "dump_requests": _dump_requests,
}


# z-pages


def _structured(call: Call, kind: str) -> str:
    """The version of the structured form that is asked for; "" for text. Raises 406 for a JSON that is neither."""
    accept = call.request.headers.get("accept", "")
    for clause in _CLAUSE.findall(accept):
        parts = dict(part.strip().partition("=")[::2] for part in clause.split(";")[1:])
        if parts.get("g") == "config.k8s.io" and parts.get("as") == kind and parts.get("v") in _VERSIONS:
            return str(parts["v"])
    if accept and not any(kind in accept for kind in ("*/*", "text/plain", "text/*")):
        raise errors.not_acceptable(("text/plain", "application/json"))
    return ""


def _object(kind: str, version: str, fields: dict[str, Any]) -> Response:
    return json_response(
        {
            "kind": kind,
            "apiVersion": f"config.k8s.io/{version}",
            "metadata": {"name": COMPONENT},
            **fields,
        }
    )


def serve_status(call: Call) -> Response:
    server = call.server
    version = _structured(call, "Statusz")
    now = server.clock.now()
    up = int((now - server.began_at).total_seconds())
    binary, emulated = GIT_VERSION.removeprefix("v"), f"{VERSION['major']}.{VERSION['minor']}"
    if version:
        fields = {
            "startTime": format_time(server.began_at),
            "uptimeSeconds": up,
            "goVersion": VERSION["goVersion"],
            "binaryVersion": binary,
            "emulationVersion": emulated,
            "paths": list(_PATHS),
        }
        return _object("Statusz", version, fields)
    hours, rest = divmod(up, 3600)
    lines = [
        "",
        f"{COMPONENT} statusz",
        _WARNING,
        "",
        f"Started: {server.began_at:%a %b %e %H:%M:%S UTC %Y}",
        f"Up: {hours} hr {rest // 60:02d} min {rest % 60:02d} sec",
        f"Go version: {VERSION['goVersion']}",
        f"Binary version: {binary}",
        f"Emulation version: {emulated}",
        f"Paths: {' '.join(_PATHS)}",
        "",
    ]
    return text_response("\n".join(lines))


def serve_flags(call: Call) -> Response:
    version = _structured(call, "Flagz")
    flags = shown(call.server.settings)
    if version:
        return _object("Flagz", version, {"flags": flags})
    lines = [f"{name}={value}" for name, value in sorted(flags.items())]
    return text_response("\n".join(["", f"{COMPONENT} flags", _WARNING, "", *lines, ""]))
