"""What is counted of our own components' requests: rest_client_*, by method and server.

There is no rest_client_rate_limiter_duration_seconds: nothing here holds requests back.
"""

from __future__ import annotations

from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Buckets, Registry, Value

IN_PROCESS = "in-process"
"""The server's name where no connection leads to it."""
NO_ANSWER = "<error>"
_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_BYTES = (64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
_VERB = ("verb", "host")


class _Method:
    """The series of one method."""

    __slots__ = ("answers", "received", "sent", "took")

    def __init__(self, took: Buckets, sent: Buckets, received: Buckets) -> None:
        self.took = took
        self.sent = sent
        self.received = received
        self.answers: dict[str, Value] = {}


class RequestMetrics:
    """Of requests to one server; those that share a registry share the families."""

    def __init__(self, registry: Registry, clock: Clock, host: str = IN_PROCESS) -> None:
        self.now = clock.monotonic
        self._host = host
        self._methods: dict[str, _Method] = {}
        self._total = registry.counter(
            "rest_client_requests_total",
            "Requests of our own components, by status code, method and server.",
            ("code", "method", "host"),
        )
        self._retries = registry.counter(
            "rest_client_request_retries_total",
            "Requests that were sent again, by the status code before.",
            ("code", *_VERB),
        )
        self._took = registry.histogram(
            "rest_client_request_duration_seconds", "How long answers took to come.", _SECONDS, _VERB
        )
        self._sent = registry.histogram(
            "rest_client_request_size_bytes", "Bytes of requests' bodies.", _BYTES, _VERB
        )
        self._received = registry.histogram(
            "rest_client_response_size_bytes", "Bytes of answers' bodies.", _BYTES, _VERB
        )

    def answered(
        self, method: str, code: str, began: float, sent: int = 0, received: int | None = None
    ) -> None:
        """`began` is by `now`; `sent` and `received` are bytes, None for a stream's."""
        known = self._methods.get(method) or self._find(method)
        answers = known.answers.get(code)
        if answers is None:
            answers = known.answers[code] = self._total.labels(code, method, self._host)
        answers.value += 1
        known.took.observe(self.now() - began)
        if sent:
            known.sent.observe(sent)
        if received is not None:
            known.received.observe(received)

    def retries(self, method: str, code: int) -> None:
        self._retries.inc(str(code), method, self._host)

    def _find(self, method: str) -> _Method:
        labels = (method, self._host)
        found = self._methods[method] = _Method(
            self._took.labels(*labels), self._sent.labels(*labels), self._received.labels(*labels)
        )
        return found
