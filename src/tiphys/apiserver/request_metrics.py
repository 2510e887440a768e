"""What is counted of every answer. The series of a request are found by one look into a dictionary, then added to."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.apiserver.call import Call
from tiphys.apiserver.inflight import KINDS, Inflights
from tiphys.machinery.metrics import PENDING_LIMIT, STABLE, Buckets, Registry, Value, exponential
from tiphys.net.http import ByteStream, Gradual, Response, Sink

_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
)  # fmt: skip
_SLI_SECONDS = (
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
_OF_RESOURCE = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_VERBS = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}
_CONNECTING = frozenset({"attach", "exec", "portforward", "proxy"})
_HEALTH = ("/healthz", "/livez", "/readyz", "/metrics")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_READING = frozenset({"get", "list", "watch"})
COMPONENT = "apiserver"
KNOWN_LIMIT = 10_000
"""Kinds of requests whose series are remembered; clients choose some of what makes a kind."""


class Series:
    """What is counted of one kind of request. `pending`: how long those took that are not counted yet, and had no excuse."""

    __slots__ = ("limit", "pending", "served", "size", "sli", "took")

    def __init__(self, served: Value, took: Buckets, sli: Buckets | None, size: Buckets | None) -> None:
        self.served = served
        self.took = took
        self.sli = sli
        self.size = size
        self.pending: list[float] = []
        self.limit = PENDING_LIMIT

    def fold(self) -> None:
        pending = self.pending
        self.served.value += len(pending)
        self.took.observe_all(pending)
        if self.sli is not None:
            self.sli.observe_all(pending)
        pending.clear()

    def excused(self, seconds: float, excused_seconds: float) -> None:
        self.served.value += 1
        self.took.observe(seconds)
        if self.sli is not None:
            self.sli.observe(seconds - excused_seconds)


class RequestMetrics:
    def __init__(self, registry: Registry, inflights: Inflights) -> None:
        self._inflights = inflights
        self._known: dict[tuple[object, ...], Series] = {}
        self._served = registry.counter(
            "apiserver_request_total",
            "Requests that were answered, by verb, dry run, kind of object, scope and status code.",
            ("verb", "dry_run", *_OF_RESOURCE[1:], "code"),
            stability=STABLE,
        )
        self._took = registry.histogram(
            "apiserver_request_duration_seconds",
            "Time from the arrival of requests to their answers.",
            _SECONDS,
            ("verb", "dry_run", *_OF_RESOURCE[1:]),
            stability=STABLE,
        )
        self._sli = registry.histogram(
            "apiserver_request_sli_duration_seconds",
            "The same without what the server cannot help (webhooks, waiting in a queue) and without long-running requests.",
            _SLI_SECONDS,
            _OF_RESOURCE,
        )
        self._size = registry.histogram(
            "apiserver_response_sizes",
            "Bytes of the answers to get and list.",
            exponential(1000, 10, 7),
            _OF_RESOURCE,
            stability=STABLE,
        )
        self._long = registry.gauge(
            "apiserver_longrunning_requests",
            "Requests that are open for as long as the client likes.",
            _OF_RESOURCE,
            stability=STABLE,
        )
        self._current = registry.gauge(
            "apiserver_current_inflight_requests",
            "Most requests that ran at once since the last scrape, by whether they read or write.",
            ("request_kind",),
            stability=STABLE,
        )
        self._waiting = registry.gauge(
            "apiserver_current_inqueue_requests",
            "Requests that wait for a seat now, by whether they read or write.",
            ("request_kind",),
        )
        self._ended = registry.counter(
            "apiserver_request_terminations_total",
            "Requests that the server gave up to protect itself.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component", "code"),
        )
        registry.before_scrape(self._collect)

    def _collect(self) -> None:
        for series in self._known.values():
            series.fold()
        for kind, inflight in zip(KINDS, self._inflights, strict=True):
            self._current.set(inflight.take_most(), kind)
            self._waiting.set(inflight.waiting, kind)

    def answered(self, call: Call, status: int, size_bytes: int, seconds: float) -> None:
        """Counts an answer that is complete (or as good as: its body is at hand)."""
        info = call.info
        key: tuple[object, ...] = (
            info.resource, info.verb, status, not info.name, not info.namespace, info.subresource, info.group,
            info.version, call.dry_run, call.request.headers.get("content-type") if info.verb == "patch" else None,
            call.row is None,  # a kind that is served no more
        ) if info.is_resource else (info.path, info.verb, status, call.dry_run)  # fmt: skip
        series = self._known.get(key) or self._find(key, call, status)
        if call.excused_seconds:
            series.excused(seconds, call.excused_seconds)
        else:
            pending = series.pending
            pending.append(seconds)
            if len(pending) >= series.limit:
                series.fold()
        if series.size is not None:
            series.size.observe(size_bytes)

    def _find(self, key: tuple[object, ...], call: Call, status: int) -> Series:
        labels = self._labels(call)
        dry_run = "All" if call.dry_run and call.info.verb not in _READING else ""
        series = Series(
            self._served.labels(labels[0], dry_run, *labels[1:], str(status)),
            self._took.labels(labels[0], dry_run, *labels[1:]),
            None if labels[0] in ("WATCH", "CONNECT") else self._sli.labels(*labels),
            self._size.labels(*labels) if labels[0] in ("GET", "LIST") and call.info.is_resource else None,
        )
        # What nobody serves must not stay here for ever.
        if len(self._known) < KNOWN_LIMIT and (call.row is not None or call.info.path in _HEALTH):
            self._known[key] = series
        else:
            series.limit = 1
        return series

    def _labels(self, call: Call) -> tuple[str, ...]:
        info = call.info
        if not info.is_resource:
            method = call.request.method
            verb = method if method in _METHODS else "other"
            path = info.path if info.path in _HEALTH else ""
            return (verb, "", "", "", path, "", "" if path else COMPONENT)
        if call.row is None:  # an unknown resource: its name is the client's invention
            return (_VERBS.get(info.verb, "other"), "", "", "", "", "", COMPONENT)
        verb = "CONNECT" if info.subresource in _CONNECTING else _VERBS.get(info.verb, "other")
        if verb == "PATCH" and call.request.headers.get("content-type", "").startswith(
            "application/apply-patch"
        ):
            verb = "APPLY"
        return (
            verb,
            info.group,
            info.version,
            info.resource,
            info.subresource,
            _scope(call),
            COMPONENT,
        )

    def refused(self, call: Call, status: int) -> None:
        """Counts what was turned away, or took too long."""
        self._ended.inc(*self._labels(call), str(status))

    def follow(self, call: Call, response: Response) -> None:
        """Has what stays open (a watch, an upgraded connection, a stream of logs) counted until it ends, and as answered then."""
        gauge = self._long.labels(*self._labels(call))
        clock = call.server.clock
        status, size_bytes = response.status, size_of(response.body)

        def ended() -> None:
            gauge.value -= 1
            self.answered(call, status, size_bytes, clock.monotonic() - call.received_at)

        if response.start is not None:
            self._follow_pushed(response, gauge, ended)
        elif response.upgrade is not None:
            upgrade = response.upgrade

            async def upgraded(stream: ByteStream) -> None:
                gauge.value += 1
                try:
                    await upgrade(stream)
                finally:
                    ended()

            response.upgrade = upgraded
        else:
            gauge.value += 1
            response.on_sent = ended

    @staticmethod
    def _follow_pushed(response: Response, gauge: Value, ended: Callable[[], None]) -> None:
        start = response.start
        assert start is not None

        def started(sink: Sink) -> None:
            gauge.value += 1
            start(sink)
            inner = sink.on_close

            def closed() -> None:
                ended()
                inner()

            if sink.closed:
                closed()
            else:
                sink.on_close = closed

        response.start = started


def _scope(call: Call) -> str:
    info = call.info
    if not info.is_resource:
        return ""
    if info.name or info.verb == "create":
        return "resource"
    return "namespace" if info.namespace else "cluster"


def size_of(body: object) -> int:
    """Bytes of a body at hand, or of what was made of it so far; of a stream 0."""
    if isinstance(body, bytes):
        return len(body)
    if isinstance(body, Gradual):
        return body.size_bytes
    return sum(map(len, body)) if isinstance(body, (list, tuple)) else 0
