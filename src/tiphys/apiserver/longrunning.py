"""Requests that go on for as long as the client likes: no time-out, and but for watches no seat."""

from __future__ import annotations

from tiphys.apiserver.requests import RequestInfo

_VERBS = frozenset({"watch", "proxy"})
_SUBRESOURCES = frozenset({"attach", "exec", "log", "portforward", "proxy"})


def is_long_running(info: RequestInfo) -> bool:
    """Watches, and what streams from or to a pod, a service or a node."""
    return info.is_resource and (info.verb in _VERBS or info.subresource in _SUBRESOURCES)
