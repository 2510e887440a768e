"""Somebody elsewhere decides: what is asked, how long answers are kept, and the file that says whom to ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from reload_metrics import hash_of, reloads
from served import Client, Object, running
from webhook_server import Webhook, certificate, webhook

from tiphys.apiserver.authorization.configuration import read
from tiphys.apiserver.settings import ConfigurationError
from tiphys.testing.clock import FakeClock

PODS = "/api/v1/namespaces/default/pods"
HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}


def answered(review: Object, **status: Any) -> Object:
    return {**review, "status": status}


@pytest.fixture
async def decider(tmp_path: Path) -> AsyncIterator[Webhook]:
    """Allows alice, denies mallory, and has no opinion of others."""

    def answer(review: Object) -> Object:
        user = review["spec"].get("user")
        return answered(review, allowed=user == "alice", denied=user == "mallory", reason=f"because {user}")

    context, bundle = certificate(tmp_path / "webhook", "127.0.0.1")
    async with webhook(context, bundle, answer) as found:
        kubeconfig = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": found.url, "certificate-authority-data": bundle}}
            ],
        }
        (tmp_path / "kubeconfig").write_bytes(orjson.dumps(kubeconfig))
        yield found


def entry(home: Path, **changes: Any) -> Object:
    hook = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(home / "kubeconfig")},
        **changes,
    }
    return {"type": "Webhook", "name": "decider", "webhook": hook}


def write(home: Path, *authorizers: Object) -> str:
    (home / "config").write_bytes(orjson.dumps({**HEAD, "authorizers": list(authorizers)}))
    return str(home / "config")


@asynccontextmanager
async def served(clock: FakeClock, key: bytes, config: str) -> AsyncIterator[Client]:
    async with running(clock, key, authorization_config=config) as server:
        yield Client(server)


async def status(client: Client, name: str, target: str = PODS) -> int:
    return (await client.as_user(name, "g").call("GET", target)).status


RBAC = {"type": "RBAC", "name": "rbac"}


async def test_what_is_asked(decider: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    async with served(clock, signing_key, write(tmp_path, entry(tmp_path), RBAC)) as admin:
        assert (
            await status(admin, "alice", f"{PODS}?labelSelector=a%3Db,!c&fieldSelector=spec.nodeName%3Dn")
            == 200
        )
        assert await status(admin, "alice", "/healthz") == 200
        assert decider.reviews[0]["apiVersion"] == "authorization.k8s.io/v1"
        assert decider.reviews[0]["spec"] == {
            "user": "alice",
            "groups": ["g"],
            "resourceAttributes": {
                "namespace": "default",
                "verb": "list",
                "version": "v1",
                "resource": "pods",
                "fieldSelector": {
                    "requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n"]}]
                },
                "labelSelector": {
                    "requirements": [
                        {"key": "a", "operator": "In", "values": ["b"]},
                        {"key": "c", "operator": "DoesNotExist"},
                    ]
                },
            },
        }
        assert decider.reviews[1]["spec"]["nonResourceAttributes"] == {"path": "/healthz", "verb": "get"}
        refused = await admin.as_user("mallory").call("GET", PODS)
        assert (refused.status, refused.body["message"].rpartition(": ")[2]) == (403, "because mallory")
        assert await status(admin, "bob") == 403
        assert (await admin.call("GET", PODS)).status == 200
        assert len(decider.reviews) == 4, "nobody asks about administrators"


async def test_answers_are_kept_for_a_while(
    decider: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    hook = entry(tmp_path, authorizedTTL="10s", unauthorizedTTL="5s")
    async with served(clock, signing_key, write(tmp_path, hook)) as admin:
        for _ in range(3):
            assert (await status(admin, "alice"), await status(admin, "bob")) == (200, 403)
        assert len(decider.reviews) == 2
        await clock.advance(6)
        assert (await status(admin, "alice"), await status(admin, "bob")) == (200, 403)
        assert len(decider.reviews) == 3
        await clock.advance(5)
        await status(admin, "alice")
        assert len(decider.reviews) == 4
    never = entry(tmp_path, cacheAuthorizedRequests=False)
    async with served(clock, signing_key, write(tmp_path, never)) as admin:
        before = len(decider.reviews)
        for _ in range(3):
            await status(admin, "alice")
        assert len(decider.reviews) == before + 3


@pytest.mark.parametrize(("policy", "expected"), [("NoOpinion", 200), ("Deny", 403)])
async def test_when_nobody_answers(
    decider: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path, policy: str, expected: int
) -> None:
    decider.status = 500
    config = write(tmp_path, entry(tmp_path, failurePolicy=policy), {"type": "AlwaysAllow", "name": "all"})
    async with served(clock, signing_key, config) as admin:
        assert await status(admin, "alice") == expected


@pytest.mark.parametrize(
    ("expression", "asked", "expected"),
    [
        ("request.user == 'alice'", True, 200),
        ("request.user == 'bob'", False, 403),
        ("has(request.resourceAttributes) && request.resourceAttributes.resource == 'pods'", True, 200),
        ("request.groups.exists(g, g == 'nope')", False, 403),
        (
            "request.resourceAttributes.labelSelector.rawSelector == ''",
            False,
            403,
        ),  # an error: the policy denies
    ],
)
async def test_conditions(
    decider: Webhook,
    clock: FakeClock,
    signing_key: bytes,
    tmp_path: Path,
    *,
    expression: str,
    asked: bool,
    expected: int,
) -> None:
    conditions = {
        "matchConditions": [{"expression": expression}],
        "matchConditionSubjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
    }
    async with served(clock, signing_key, write(tmp_path, entry(tmp_path, **conditions))) as admin:
        assert await status(admin, "alice") == expected
        assert bool(decider.reviews) is asked


async def test_reviews_and_rules(
    decider: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    async with served(clock, signing_key, write(tmp_path, entry(tmp_path), RBAC)) as admin:
        attributes = {"verb": "get", "resource": "pods"}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        found = await admin.create(path, {"spec": {"user": "mallory", "resourceAttributes": attributes}})
        assert found["status"] == {"allowed": False, "denied": True, "reason": "because mallory"}
        rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        answer = await admin.as_user("alice", "g").create(rules, {"spec": {"namespace": "default"}})
        assert answer["status"]["incomplete"] is True
        assert (
            answer["status"]["evaluationError"] == "webhook authorizer does not support user rule resolution"
        )


async def test_the_file_is_read_again(
    decider: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    async with served(clock, signing_key, write(tmp_path, RBAC)) as admin:
        assert await status(admin, "alice") == 403
        write(tmp_path, entry(tmp_path), RBAC)
        await clock.advance(6)
        assert await status(admin, "alice") == 200
        in_use = (tmp_path / "config").read_bytes()
        (tmp_path / "config").write_text("nonsense")
        await clock.advance(6)
        assert await status(admin, "alice") == 200
        counted = await reloads(admin, "authorization")
        assert counted["automatic_reloads_total success"] == "1"
        assert counted["automatic_reloads_total failure"] == "1"
        assert counted["hash"] == hash_of(in_use)


async def test_the_flags(decider: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    modes: dict[str, Any] = {"authorization_mode": ("Node", "RBAC", "Webhook")}
    file = str(tmp_path / "kubeconfig")
    async with running(clock, signing_key, **modes, authorization_webhook_config_file=file) as server:
        assert await status(Client(server), "alice") == 200
        review = decider.reviews[-1]
        assert (review["apiVersion"], review["spec"]["group"]) == ("authorization.k8s.io/v1beta1", ["g"])
    for settings in (modes, {**modes, "authorization_webhook_config_file": str(tmp_path / "none")}):
        with pytest.raises(ConfigurationError):
            async with running(clock, signing_key, **settings):
                pass


@pytest.mark.parametrize(
    ("authorizer", "complaint"),
    [
        ({}, "authorizers[0].type: Required value"),
        ({"type": "ABAC"}, 'authorizers[0].type: Unsupported value: "ABAC"'),
        ({"type": "RBAC"}, "authorizers[0].name: Required value"),
        ({"type": "RBAC", "name": "A b"}, "authorizer name is invalid: a lowercase RFC 1123 subdomain"),
        ({"type": "RBAC", "name": "a", "webhook": {}}, "may only be specified when type=Webhook"),
        (
            {"type": "Webhook", "name": "a"},
            "authorizers[0].webhook: Required value: required when type=Webhook",
        ),
        ({"timeout": "31s"}, 'timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        ({"timeout": None}, '"authorizers[0].webhook.timeout" has a value of another type'),
        ({"authorizedTTL": "-1s"}, "authorizedTTL: Invalid value"),
        ({"subjectAccessReviewVersion": "v2"}, 'subjectAccessReviewVersion: Unsupported value: "v2"'),
        ({"failurePolicy": "Fail"}, 'failurePolicy: Unsupported value: "Fail"'),
        ({"connectionInfo": {}}, "connectionInfo.type: Required value"),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "a"}}, "must be an absolute path"),
        ({"connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "/none"}}, "error loading file"),
        ({"matchConditions": [{"expression": "true"}]}, "required if match conditions are specified"),
        ({"matchConditions": [{"expression": " "}]}, "matchConditions[0].expression: Required value"),
        ({"matchConditions": [{"expression": "request.nope"}]}, "undefined field 'nope'"),
        ({"matchConditions": [{"expression": "1"}]}, "must evaluate to bool"),
        ({"nope": 1}, 'unknown field "authorizers[0].webhook.nope"'),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, authorizer: Object, complaint: str) -> None:
    given = authorizer if not authorizer or "type" in authorizer else entry(tmp_path, **authorizer)
    _, problems = read({**HEAD, "authorizers": [given]})
    assert any(complaint in each for each in problems), problems


def test_no_authorizers_and_the_same_twice() -> None:
    assert read({**HEAD})[1] == [
        "authorizers: Required value: at least one authorization mode must be defined"
    ]
    assert read({**HEAD, "authorizers": [RBAC, RBAC]})[1] == ['authorizers[1].type: Duplicate value: "RBAC"']
