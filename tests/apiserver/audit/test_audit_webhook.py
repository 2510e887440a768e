"""Audit events sent elsewhere: in batches, patiently, never in the way of a request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from served import Client, Object, running
from webhook_server import certificate, webhook

from tiphys.apiserver.audit.batches import Batches, Batching
from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.audit.webhook import FLUSH_SECONDS, AuditWebhook
from tiphys.apiserver.settings import ConfigurationError
from tiphys.apiserver.webhooks.client import WebhookError
from tiphys.machinery.metrics import Registry
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
POLICY = '{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata", "resources": [{"group": "", "resources": ["configmaps"]}]}]}'


class Collector:
    """Takes batches, after so many refusals; when it hangs, never."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.refuse = 0
        self.hangs = self.ended = False
        self.batches: list[list[int]] = []
        self.tried: list[float] = []

    async def send(self, body: bytes, timeout_seconds: float) -> None:
        assert timeout_seconds == 30
        self.tried.append(self.clock.monotonic())
        if self.hangs:
            await asyncio.Event().wait()
        if self.refuse:
            self.refuse -= 1
            raise WebhookError("no")
        sent = orjson.loads(body)
        assert (sent["kind"], sent["apiVersion"], sent["metadata"]) == ("EventList", "audit.k8s.io/v1", {})
        self.batches.append([event["n"] for event in sent["items"]])

    async def end(self) -> None:
        self.ended = True


class Backend(Batches):
    def __init__(self, clock: FakeClock, **batching: float) -> None:
        self.collector, self.metrics = Collector(clock), AuditMetrics(Registry())
        told = Batching(**batching)  # type: ignore[arg-type]
        webhook = AuditWebhook(self.collector.send, self.collector.end, clock, self.metrics)
        super().__init__(webhook, told, clock, lambda: self.metrics.errors.inc("buffered"))
        self.count = 0

    def note(self, times: int = 1) -> None:
        for _ in range(times):
            self.write(orjson.dumps({"n": self.count}))
            self.count += 1

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.collector.batches]

    def lost(self, plugin: str) -> int:
        return int(self.metrics.errors.labels(plugin).value)


async def test_a_batch_goes_when_it_is_full_or_has_waited(clock: FakeClock) -> None:
    backend = Backend(clock)
    backend.note(3)
    await clock.advance(29)
    assert backend.sizes == []
    await clock.advance(1)
    assert backend.sizes == [3]
    backend.note(850)
    await clock.advance(0)
    assert backend.sizes == [3, 400, 400]
    await clock.advance(30)
    assert backend.sizes == [3, 400, 400, 50]
    assert [each for batch in backend.collector.batches for each in batch] == list(range(853))
    assert clock.next_due is None, "an idle server does not wake for it"


async def test_no_more_than_so_many_batches_in_a_second(clock: FakeClock) -> None:
    backend = Backend(clock, max_size=1)
    backend.note(40)
    await clock.advance(0)
    assert len(backend.sizes) == 15
    await clock.advance(1.05)
    assert len(backend.sizes) == 25
    await clock.advance(2)
    assert len(backend.sizes) == 40
    unbound = Backend(clock, max_size=1, throttle=False)
    unbound.note(40)
    await clock.advance(0)
    assert len(unbound.sizes) == 40


async def test_what_was_refused_is_sent_again_ever_later_and_then_lost(clock: FakeClock) -> None:
    backend = Backend(clock, max_size=2)
    backend.collector.refuse = 2
    backend.note(2)
    await clock.advance(60)
    assert backend.sizes == [2]
    first, second, third = backend.collector.tried
    assert 10 <= second - first <= 12
    assert 15 <= third - second <= 18
    backend.collector.refuse = 5
    backend.note(2)
    await clock.advance(200)
    assert backend.sizes == [2]
    assert len(backend.collector.tried) == 8
    assert (backend.lost("webhook"), backend.lost("buffered")) == (2, 0)


async def test_what_finds_the_buffer_full_is_lost(clock: FakeClock) -> None:
    backend = Backend(clock, buffer_size=5, max_size=10)
    backend.note(8)
    await clock.advance(30)
    assert backend.collector.batches == [[0, 1, 2, 3, 4]]
    assert backend.lost("buffered") == 3


async def test_the_end_of_the_server_sends_what_is_left(clock: FakeClock) -> None:
    backend = Backend(clock, max_size=2)
    backend.note(3)
    closing = asyncio.ensure_future(backend.close())
    await clock.advance(0)
    await closing
    assert sorted(backend.sizes) == [1, 2]
    assert backend.collector.ended
    backend.note()
    assert backend.lost("buffered") == 1


async def test_the_end_of_the_server_does_not_wait_for_ever(clock: FakeClock) -> None:
    backend = Backend(clock)
    backend.collector.hangs = True
    backend.note(3)
    closing = asyncio.ensure_future(backend.close())
    await clock.advance(FLUSH_SECONDS - 1)
    assert not closing.done()
    await clock.advance(1)
    await closing
    assert backend.lost("webhook") == 3


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(POLICY)
    return path


async def test_a_server_s_events_arrive(
    clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path
) -> None:
    context, bundle = certificate(tmp_path / "webhook", "127.0.0.1")
    async with webhook(context, bundle, lambda review: {}) as found:
        cluster = {"server": found.url, "certificate-authority-data": bundle}
        kubeconfig: Object = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "clusters": [{"name": "c", "cluster": cluster}],
        }
        (tmp_path / "kubeconfig").write_bytes(orjson.dumps(kubeconfig))
        told = {
            "audit_policy_file": str(policy),
            "audit_webhook_config_file": str(tmp_path / "kubeconfig"),
            "audit_log_path": str(tmp_path / "log"),
        }
        async with running(clock, signing_key, **told) as server:
            client = Client(server)
            await client.create(MAPS, {"metadata": {"name": "a"}})
            await client.get(f"{MAPS}/a")
            await client.get("/version")
            metrics = (await client.call("GET", "/metrics")).raw.decode()
        (events,) = found.reviews
    lines = [orjson.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert events["items"] == lines
    assert [(each["verb"], each["stage"]) for each in events["items"][-4:]] == [
        ("create", "RequestReceived"),
        ("create", "ResponseComplete"),
        ("get", "RequestReceived"),
        ("get", "ResponseComplete"),
    ]
    assert f"apiserver_audit_event_total {len(lines)}" in metrics.splitlines()
    assert 'apiserver_audit_level_total{level="Metadata"} ' in metrics
    assert 'apiserver_audit_level_total{level="None"} ' in metrics


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"audit_webhook_config_file": "/nowhere"}, "without --audit-policy-file nothing would be written"),
        (
            {"audit_webhook_config_file": "/nowhere", "audit_policy_file": "policy"},
            "--audit-webhook-config-file: /nowhere: No such file or directory",
        ),
    ],
)
async def test_what_cannot_be_sent_is_said_at_the_start(
    clock: FakeClock, signing_key: bytes, policy: Path, told: dict[str, str], complaint: str
) -> None:
    if "audit_policy_file" in told:
        told = {**told, "audit_policy_file": str(policy)}
    with pytest.raises(ConfigurationError) as raised:
        async with running(clock, signing_key, **told):
            raise AssertionError("it started")
    assert complaint in str(raised.value)
