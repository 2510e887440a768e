"""What is counted of our own components' requests."""

from __future__ import annotations

from tiphys.client.request_metrics import NO_ANSWER, RequestMetrics
from tiphys.machinery.metrics import Registry
from tiphys.testing.clock import FakeClock


async def test_requests_by_method_and_server() -> None:
    registry, clock = Registry(), FakeClock()
    metrics = RequestMetrics(registry, clock, "10.0.0.1:6443")
    for code in ("200", "404", "200"):
        began = metrics.now()
        await clock.advance(0.2)
        metrics.answered("GET", code, began, received=2000)
    metrics.answered("POST", NO_ANSWER, metrics.now(), sent=100)
    metrics.retries("GET", 429)
    text = registry.render().decode()
    host = 'host="10.0.0.1:6443"'
    for line in (
        f'rest_client_requests_total{{code="200",{host},method="GET"}} 2',
        f'rest_client_requests_total{{code="404",{host},method="GET"}} 1',
        f'rest_client_requests_total{{code="<error>",{host},method="POST"}} 1',
        f'rest_client_request_retries_total{{code="429",{host},verb="GET"}} 1',
        f'rest_client_request_duration_seconds_bucket{{{host},verb="GET",le="0.25"}} 3',
        f'rest_client_request_duration_seconds_bucket{{{host},verb="GET",le="0.1"}} 0',
        f'rest_client_request_size_bytes_sum{{{host},verb="POST"}} 100',
        f'rest_client_response_size_bytes_sum{{{host},verb="GET"}} 6000',
        f'rest_client_response_size_bytes_count{{{host},verb="POST"}} 0',
    ):
        assert f"\n{line}\n" in text, line
