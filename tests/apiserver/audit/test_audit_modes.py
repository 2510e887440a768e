"""How requests depend on their events being stored, and how large events may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from served import Client, running
from webhook_server import Webhook, certificate, webhook

from tiphys.apiserver.audit.backends import truncated
from tiphys.apiserver.audit.batches import Batches, Batching
from tiphys.apiserver.settings import ConfigurationError
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
RULE = {"level": "RequestResponse", "resources": [{"group": "", "resources": ["configmaps"]}]}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_bytes(orjson.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [RULE]}))
    return path


@asynccontextmanager
async def collector(home: Path) -> AsyncIterator[tuple[Webhook, Path]]:
    """Somebody who takes events, and the kubeconfig that says so."""
    context, bundle = certificate(home / "webhook", "127.0.0.1")
    async with webhook(context, bundle, lambda review: {}) as found:
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": found.url, "certificate-authority-data": bundle}}
            ],
        }
        (home / "kubeconfig").write_bytes(orjson.dumps(config))
        yield found, home / "kubeconfig"


def stages(found: Webhook) -> list[str]:
    return [event["stage"] for events in found.reviews for event in events["items"]]


async def until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0)


async def test_a_request_waits_for_its_events(
    clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path
) -> None:
    async with collector(tmp_path) as (found, config):
        told = {"audit_webhook_config_file": str(config), "audit_webhook_mode": "blocking"}
        async with running(clock, signing_key, audit_policy_file=str(policy), **told) as server:
            client = Client(server)
            found.reviews.clear()
            found.gate.clear()
            creating = asyncio.ensure_future(client.create(MAPS, {"metadata": {"name": "a"}}))
            await until(lambda: found.reviews)
            assert (await client.call("GET", "/version")).status == 200
            assert server.writes.cache("", "configmaps").get("default", "a") is None
            found.gate.set()
            await creating
            assert stages(found) == ["RequestReceived", "ResponseComplete"]
            watch = await client.watch(f"{MAPS}?watch=1")
            assert stages(found)[2:] == ["RequestReceived", "ResponseStarted"]
            watch.leave()
            await until(lambda: len(found.reviews) == 5)


@pytest.mark.parametrize("mode", ["blocking", "blocking-strict"])
async def test_an_event_that_cannot_be_sent(
    clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path, mode: str
) -> None:
    async with collector(tmp_path) as (found, config):
        told = {
            "audit_webhook_config_file": str(config),
            "audit_webhook_mode": mode,
            "request_timeout_seconds": 1e6,
        }
        async with running(clock, signing_key, audit_policy_file=str(policy), **told) as server:
            client = Client(server)
            found.status = 500
            found.reviews.clear()
            getting = asyncio.ensure_future(
                client.call("GET", f"{MAPS}/a?x=<", audit_id="mine", user_agent="x")
            )
            await _give_up(clock, found, attempts=5)
            if mode == "blocking":
                await _give_up(clock, found, attempts=10)
            answer = await getting
            metrics = (await client.call("GET", "/metrics")).raw.decode()
    assert answer.headers["audit-id"] == "mine"
    refused = "apiserver_audit_requests_rejected_total 1" in metrics.splitlines()
    assert f'apiserver_audit_error_total{{plugin="webhook"}} {1 if refused else 2}' in metrics
    if mode == "blocking":
        assert (answer.status, refused) == (404, False)
    else:
        assert (answer.status, refused) == (500, True)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.raw.decode() == (
            f'Internal Server Error: "{MAPS}/a?x=&lt;": failed to store audit event\n'
        )
        assert set(stages(found)) == {"RequestReceived"}


async def _give_up(clock: FakeClock, found: Webhook, *, attempts: int) -> None:
    """Lets time pass until so many attempts have been made, and their answers have come."""
    while len(found.reviews) < attempts:
        await clock.advance(1)
        await asyncio.sleep(0.001)


async def test_a_log_that_cannot_be_written(clock: FakeClock, signing_key: bytes, policy: Path) -> None:
    for mode, status in (("blocking", 200), ("blocking-strict", 500)):
        told = {"audit_policy_file": str(policy), "audit_log_path": "/dev/full", "audit_log_mode": mode}
        async with running(clock, signing_key, **told) as server:
            client = Client(server)
            assert (await client.call("GET", MAPS)).status == status
            assert (await client.call("GET", "/version")).status == 200


async def test_a_log_in_batches(clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    told = {
        "audit_policy_file": str(policy),
        "audit_log_path": str(log),
        "audit_log_mode": "batch",
        "audit_log_batch_max_size": 3,
        "audit_log_batch_max_wait_seconds": 5.0,
    }
    async with running(clock, signing_key, **told) as server:
        await clock.advance(5)
        log.write_bytes(b"")
        client = Client(server)
        await client.call("GET", MAPS)
        assert not log.read_bytes()
        await client.call("GET", MAPS)
        assert len(log.read_bytes().splitlines()) == 3
        await clock.advance(5)
        assert len(log.read_bytes().splitlines()) == 4


async def test_large_events_lose_their_bodies(
    clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    told = {
        "audit_policy_file": str(policy),
        "audit_log_path": str(log),
        "audit_log_truncate": True,
        "audit_log_truncate_max_event_bytes": 2000,
    }
    async with running(clock, signing_key, **told) as server:
        client = Client(server)
        log.write_bytes(b"")
        await client.create(MAPS, {"metadata": {"name": "small"}})
        await client.create(MAPS, {"metadata": {"name": "large"}, "data": {"a": "x" * 3000}})
        await client.call("GET", f"{MAPS}/none", user_agent="é" * 1024)
        metrics = (await client.call("GET", "/metrics")).raw.decode()
    small, large = (orjson.loads(line) for line in log.read_bytes().splitlines()[1::2])
    assert small["requestObject"]["metadata"]["name"] == "small"
    assert "audit.k8s.io/truncated" not in small["annotations"]
    assert not {"requestObject", "responseObject"} & set(large)
    assert large["annotations"]["audit.k8s.io/truncated"] == "true"
    assert large["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert 'apiserver_audit_error_total{plugin="truncate"} 2' in metrics, "still too large: discarded"


def test_an_event_without_bodies_stays_as_it_is() -> None:
    event = orjson.dumps({"level": "Metadata", "requestURI": "/x"})
    assert truncated(event) is event


async def test_batches_are_split_by_bytes(clock: FakeClock) -> None:
    given: list[int] = []

    class Receiver:
        def send(self, events: Sequence[bytes]) -> bool:
            given.append(len(events))
            return True

        async def close(self) -> None: ...

    batches = Batches(Receiver(), Batching(max_size=10, max_bytes=100), clock, lambda: None)
    for size in (40, 40, 40, 300, 10, 10):
        batches.write(b"x" * size)
    await batches.close()
    assert given == [2, 1, 1, 2]


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (
            {"audit_log_mode": "soon"},
            'invalid audit log mode soon, allowed modes are "batch,blocking,blocking-strict"',
        ),
        (
            {"audit_log_mode": "batch", "audit_log_batch_buffer_size": 0},
            "invalid audit batch log buffer size 0, must be a positive number",
        ),
        (
            {"audit_log_mode": "batch", "audit_log_batch_throttle": True},
            "invalid audit batch log throttle QPS 0, must be a positive number",
        ),
        (
            {"audit_log_truncate_max_event_bytes": 0},
            "invalid audit truncate log max event size 0, must be a positive number",
        ),
        (
            {"audit_log_truncate_max_batch_bytes": 7},
            "invalid audit truncate log max batch size 7, must be greater than max event size (102400)",
        ),
        (
            {"audit_log_version": "audit.k8s.io/v1beta1"},
            'invalid group version, allowed versions are [{"audit.k8s.io" "v1"}]',
        ),
        ({"audit_log_format": "xml"}, 'invalid audit log format xml, allowed formats are "legacy,json"'),
    ],
)
async def test_settings_that_make_no_sense(
    clock: FakeClock, signing_key: bytes, policy: Path, told: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        async with running(
            clock, signing_key, audit_policy_file=str(policy), audit_log_path="/dev/null", **told
        ):
            raise AssertionError("it started")
    assert str(raised.value) == complaint
