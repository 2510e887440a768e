"""The audit log: how much of which request, and what the lines say."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from served import Client, running

from tiphys.apiserver.audit.log import AuditLog, Rotation
from tiphys.apiserver.audit.policy import Level, read_policy
from tiphys.apiserver.call import User
from tiphys.apiserver.requests import read_request
from tiphys.apiserver.settings import ConfigurationError
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  userGroups: [system:nodes]
- level: RequestResponse
  omitManagedFields: true
  resources: [{group: "", resources: [configmaps]}]
- level: Metadata
  resources: [{group: "", resources: [secrets, "pods/*"]}]
- level: Request
  verbs: [create]
  namespaces: [kube-system]
- level: None
  nonResourceURLs: ["/healthz*", "/version"]
- level: Metadata
  nonResourceURLs: ["*"]
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
async def audited(
    clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path
) -> AsyncIterator[tuple[Client, Path]]:
    log = tmp_path / "audit.log"
    told = {"audit_policy_file": str(policy), "audit_log_path": str(log)}
    async with running(clock, signing_key, **told) as server:
        log.write_bytes(b"")
        yield Client(server), log


def lines(log: Path) -> list[Any]:
    return [orjson.loads(line) for line in log.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("method", "target", "groups", "level"),
    [
        ("GET", "/api/v1/namespaces/a/secrets/x", (), Level.METADATA),
        ("GET", "/api/v1/namespaces/a/secrets/x", ("system:nodes",), Level.NONE),
        ("GET", "/api/v1/namespaces/a/pods/x/log", (), Level.METADATA),
        ("GET", "/api/v1/namespaces/a/pods/x", (), Level.NONE),
        ("POST", "/apis/apps/v1/namespaces/kube-system/deployments", (), Level.REQUEST),
        ("GET", "/apis/apps/v1/namespaces/kube-system/deployments", (), Level.NONE),
        ("GET", "/healthz/etcd", (), Level.NONE),
        ("GET", "/metrics", (), Level.METADATA),
    ],
)
def test_the_first_rule_that_matches(
    policy: Path, method: str, target: str, groups: tuple[str, ...], level: Level
) -> None:
    verdict = read_policy(policy).judge(User("u", groups), read_request(method, target, {}))
    assert verdict.level is level


async def test_a_write_with_both_bodies(audited: tuple[Client, Path]) -> None:
    client, log = audited
    await client.create(
        MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}}, user_agent="me/1", audit_id="own"
    )
    (event,) = lines(log)
    assert event["level"] == "RequestResponse"
    assert (event["stage"], event["verb"], event["auditID"]) == ("ResponseComplete", "create", "own")
    assert event["user"]["username"] == "admin"
    assert event["userAgent"] == "me/1"
    assert event["requestURI"] == MAPS
    assert event["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "name": "a",
        "apiVersion": "v1",
    }
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["requestObject"]["data"] == {"k": "v"}
    assert event["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in event["responseObject"]["metadata"]
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert event["requestReceivedTimestamp"] == "2026-01-01T00:00:00.000000Z"


async def test_whom_it_is_about_at_every_level(audited: tuple[Client, Path]) -> None:
    """By what was sent where the URL does not say it: never by a patch, nor a name that the server has made up."""
    client, log = audited
    secrets = "/api/v1/namespaces/default/secrets"
    made = await client.create(secrets, {"metadata": {"name": "s"}}, user_agent="x" * 1030)
    await client.create(secrets, {"metadata": {"generateName": "made-up-"}})
    await client.put(f"{secrets}/s", made)
    await client.patch(f"{secrets}/s", {"metadata": {"uid": made["metadata"]["uid"], "labels": {"a": "b"}}})
    events = lines(log)
    assert {event["level"] for event in events} == {"Metadata"}
    assert not any("requestObject" in event for event in events)
    common = {"resource": "secrets", "namespace": "default", "apiVersion": "v1"}
    whole = {name: made["metadata"][name] for name in ("name", "uid", "resourceVersion")}
    assert [event["objectRef"] for event in events] == [
        {**common, "name": "s"},
        common,
        {**common, **whole},
        {**common, "name": "s"},
    ]
    assert events[0]["userAgent"] == "x" * 1024 + "...TRUNCATED"


async def test_a_refusal_and_who_asked_in_truth(audited: tuple[Client, Path]) -> None:
    client, log = audited
    await client.call("GET", "/api/v1/namespaces/default/secrets", impersonate_user="eve")
    (event,) = lines(log)
    assert (event["level"], event["responseStatus"]["code"]) == ("Metadata", 403)
    assert event["responseStatus"]["reason"] == "Forbidden"
    assert event["user"]["username"] == "admin"
    assert event["impersonatedUser"]["username"] == "eve"
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert "requestObject" not in event


async def test_nobody_comes_in_unseen(audited: tuple[Client, Path]) -> None:
    client, log = audited
    await client.anonymous().call(
        "GET", "/api/v1/namespaces/default/secrets", authorization="Bearer nonsense"
    )
    (event,) = lines(log)
    assert event["stage"] == "ResponseStarted"
    assert event["responseStatus"] == {
        "metadata": {},
        "message": "Authentication failed, attempted: bearer",
        "code": 401,
    }


async def test_a_watch_begins_and_ends(audited: tuple[Client, Path]) -> None:
    client, log = audited
    watch = await client.watch(f"{MAPS}?watch=1")
    assert [event["stage"] for event in lines(log)] == ["ResponseStarted"]
    watch.leave()
    assert [event["stage"] for event in lines(log)] == ["ResponseStarted", "ResponseComplete"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kind: [", "yaml: line 2: did not find expected node content"),
        ("{}", "not a Policy of audit.k8s.io/v1"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\n", "rules: Required value"),
        (POLICY + "- level: Loud\n", 'rules[6].level: Unsupported value: "Loud"'),
        (POLICY + "- users: [x]\n", "rules[6].level: Required value"),
        (POLICY + "- level: None\n  user: x\n", 'unknown field "rules[6].user"'),
        (POLICY + "- level: None\n  nonResourceURLs: [x]\n", 'must begin with a "/" character'),
        (POLICY.replace("[RequestReceived]", "[Soon]"), 'omitStages: Unsupported value: "Soon"'),
    ],
)
def test_a_bad_policy_is_refused_with_its_place(policy: Path, text: str, complaint: str) -> None:
    policy.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        read_policy(policy)
    assert str(raised.value).startswith(f"--audit-policy-file: {policy}: ")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_the_file_is_rotated(tmp_path: Path, clock: FakeClock) -> None:
    log = AuditLog(str(tmp_path / "audit.log"), Rotation(1, 2, 0), clock.now, lambda: None)
    for _ in range(5):
        assert log.send([b"x" * 900_000])
        await clock.advance(1)
    await log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "audit-2026-01-01T00-00-03.000.log",
        "audit-2026-01-01T00-00-04.000.log",
        "audit.log",
    ]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


async def test_what_is_rotated_is_compressed(tmp_path: Path, clock: FakeClock) -> None:
    rotation = Rotation(max_megabytes=1, max_backups=2, compress=True)
    log = AuditLog(str(tmp_path / "audit.log"), rotation, clock.now, lambda: None)
    for _ in range(5):
        assert log.send([b"x" * 900_000])
        await clock.advance(1)
        await asyncio.gather(*log.compressing)
    await log.close()
    backups = sorted(tmp_path.glob("audit-*"))
    assert [path.name for path in backups] == [
        "audit-2026-01-01T00-00-03.000.log.gz",
        "audit-2026-01-01T00-00-04.000.log.gz",
    ]
    for backup in backups:
        assert gzip.decompress(backup.read_bytes()) == b"x" * 900_000 + b"\n"
        assert backup.stat().st_mode & 0o777 == 0o600


async def test_lines_as_they_were_before_json(
    clock: FakeClock, signing_key: bytes, policy: Path, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    told = {"audit_policy_file": str(policy), "audit_log_path": str(log), "audit_log_format": "legacy"}
    async with running(clock, signing_key, **told) as server:
        log.write_bytes(b"")
        await Client(server).call(
            "GET", "/api/v1/namespaces/default/secrets", impersonate_user="eve", audit_id="1", user_agent="x"
        )
    assert log.read_text() == (
        '2026-01-01T00:00:00.000000Z AUDIT: id="1" stage="ResponseComplete" ip="<unknown>" method="list" '
        'user="admin" groups="\\"system:masters\\",\\"system:authenticated\\"" as="eve" '
        'asgroups="\\"system:authenticated\\"" user-agent="x" namespace="default" '
        'uri="/api/v1/namespaces/default/secrets" response="403"\n'
    )
