"""What people and monitoring look at: /metrics, /statusz, /flagz, and the tables of fairness.

/configz and profiles are not served: upstream's API server has no /configz, and profiles are its Go runtime's.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.apiserver.call import Call
from tiphys.apiserver.fairness import dumps
from tiphys.apiserver.fairness.controller import Fairness
from tiphys.apiserver.flags import shown
from tiphys.apiserver.responses import json_response, plain_error, text_response
from tiphys.apiserver.version import GIT_VERSION, VERSION
from tiphys.machinery import errors, zpages
from tiphys.machinery.metrics import CONTENT_TYPE
from tiphys.machinery.zpages import Facts
from tiphys.net.http import Response

COMPONENT = "kube-apiserver"
_PATHS = ("/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz", "/version")


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


def serve_status(call: Call) -> Response:
    server, version = call.server, _version(call, "Statusz")
    facts = Facts(
        server.began_at,
        VERSION["goVersion"],
        GIT_VERSION.removeprefix("v"),
        f"{VERSION['major']}.{VERSION['minor']}",
        _PATHS,
    )
    return _answer(zpages.statusz(COMPONENT, facts, server.clock.now(), version))


def serve_flags(call: Call) -> Response:
    return _answer(zpages.flagz(COMPONENT, shown(call.server.settings), _version(call, "Flagz")))


def _version(call: Call, kind: str) -> str:
    """Raises 406 for a form that there is not."""
    version = zpages.wanted_version(call.request.headers.get("accept", ""), kind)
    if version is None:
        raise errors.not_acceptable(zpages.MEDIA_TYPES)
    return version


def _answer(page: zpages.Page) -> Response:
    return text_response(page) if isinstance(page, str) else json_response(page)
