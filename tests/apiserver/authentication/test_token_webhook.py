"""Tokens that somebody elsewhere knows: what is asked, whose they are, how long that is believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from served import Client, Object, running
from webhook_server import Webhook, certificate, webhook

from tiphys.apiserver.settings import ConfigurationError
from tiphys.testing.clock import FakeClock

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ISSUER = "https://kubernetes.default.svc.cluster.local"
ALICE = {"username": "alice", "uid": "7", "groups": ["devs"], "extra": {"scope": ["a"]}}
ANSWERS: dict[str, Object] = {
    "alice": {"authenticated": True, "user": ALICE},
    "ours": {"authenticated": True, "user": ALICE, "audiences": [ISSUER, "x"]},
    "theirs": {"authenticated": True, "user": ALICE, "audiences": ["x"]},
    "nameless": {"authenticated": True, "user": {"groups": ["system:masters"]}},
    "half": {"authenticated": "true", "user": ALICE},
    "refused": {"authenticated": False, "user": ALICE, "error": "it was revoked"},
}


@pytest.fixture
async def knower(tmp_path: Path) -> AsyncIterator[Webhook]:
    def answer(review: Object) -> Object:
        return {**review, "status": ANSWERS.get(review["spec"]["token"], {})}

    context, bundle = certificate(tmp_path / "webhook", "127.0.0.1")
    async with webhook(context, bundle, answer) as found:
        kubeconfig = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": found.url, "certificate-authority-data": bundle}}
            ],
            "users": [{"name": "u", "user": {"token": "secret"}}],
        }
        (tmp_path / "kubeconfig").write_bytes(orjson.dumps(kubeconfig))
        yield found


async def user(client: Client, token: str) -> Any:
    answer = await client.anonymous().call("POST", WHO, {}, authorization=f"Bearer {token}")
    return answer.body["status"]["userInfo"] if answer.status == 201 else answer.status


async def test_whose_a_token_is(
    knower: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    file = str(tmp_path / "kubeconfig")
    async with running(
        clock,
        signing_key,
        authentication_token_webhook_config_file=file,
        authentication_token_webhook_version="v1",
    ) as server:
        client = Client(server)
        whole = {**ALICE, "groups": ["devs", "system:authenticated"]}
        assert await user(client, "alice") == whole
        assert knower.reviews[0]["apiVersion"] == "authentication.k8s.io/v1"
        assert knower.reviews[0]["spec"] == {"token": "alice", "audiences": [ISSUER]}
        assert await user(client, "ours") == whole
        for token in ("theirs", "nameless", "half", "refused", "unknown"):
            assert await user(client, token) == 401, token
        made = await client.create(
            "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "refused"}}
        )
        assert made["status"] == {"user": {}, "error": "it was revoked"}


async def test_answers_are_believed_for_a_while(
    knower: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    file = str(tmp_path / "kubeconfig")
    async with running(clock, signing_key, authentication_token_webhook_config_file=file) as server:
        client = Client(server)
        for _ in range(3):
            assert await user(client, "alice") != 401
            assert await user(client, "unknown") == 401
        assert len(knower.reviews) == 2
        assert knower.reviews[0]["apiVersion"] == "authentication.k8s.io/v1beta1"
        await clock.advance(121)
        assert await user(client, "alice") != 401
        assert len(knower.reviews) == 3
        knower.status = 500
        await clock.advance(121)
        assert await user(client, "alice") == 401
        knower.status = 200
        assert await user(client, "alice") != 401


async def test_a_file_that_is_none(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("[]")
    for name in ("bad", "missing"):
        with pytest.raises(ConfigurationError, match="--authentication-token-webhook-config-file"):
            async with running(
                clock, signing_key, authentication_token_webhook_config_file=str(tmp_path / name)
            ):
                pass
