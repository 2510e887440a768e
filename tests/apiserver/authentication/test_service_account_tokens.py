"""Tokens of service accounts: the change of keys, audiences, how long they live, and those that live in secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from served import Client, Object, running, settle

from tiphys.apiserver.server import APIServer
from tiphys.apiserver.service_accounts import legacy_claims
from tiphys.apiserver.settings import ConfigurationError
from tiphys.testing.clock import FakeClock

ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ISSUER = "https://kubernetes.default.svc.cluster.local"


def write_key(
    path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *, public: bool = False
) -> str:
    pem = (
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if public
        else key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.write_bytes(pem)
    return str(path)


async def token(client: Client, **spec: Any) -> Object:
    return await client.create(f"{ACCOUNT}/token", {"spec": spec})


async def review(client: Client, text: str, *audiences: str) -> Object:
    answer = await client.create(REVIEWS, {"spec": {"token": text, "audiences": list(audiences)}})
    status: Object = answer["status"]
    return status


def decoded(text: str, part: int = 1) -> Object:
    found: Object = json.loads(base64.urlsafe_b64decode(text.split(".")[part] + "=="))
    return found


async def make_pod(client: Client, **more: Any) -> Object:
    spec = {"serviceAccountName": "default", "containers": [{"name": "c", "image": "i"}], **more}
    return await client.create("/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})


async def test_a_change_of_keys(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    """The old key verifies for as long as its tokens live; both are published."""
    old, new = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())
    async with running(
        clock, signing_key, service_account_signing_key_file=write_key(tmp_path / "old.key", old)
    ) as server:
        accounts = await Client(server).get("/api/v1/namespaces/default/serviceaccounts/default")
        text = (await token(Client(server)))["status"]["token"]
        assert decoded(text, 0)["alg"] == "RS256"
        store = server.store
        async with running_on(
            store,
            clock,
            signing_key,
            service_account_signing_key_file=write_key(tmp_path / "new.key", new),
            service_account_key_files=(
                write_key(tmp_path / "old.pub", old, public=True),
                write_key(tmp_path / "new.pub", new, public=True),
            ),
        ) as changed:
            client = Client(changed)
            assert (await review(client, text))["user"]["uid"] == accounts["metadata"]["uid"]
            fresh = (await token(client))["status"]["token"]
            assert decoded(fresh, 0)["alg"] == "ES384"
            assert (await review(client, fresh))["authenticated"] is True
            keys = (await client.call("GET", "/openid/v1/jwks")).raw
            assert [key["alg"] for key in json.loads(keys)["keys"]] == ["RS256", "ES384"]
            found = await client.get("/.well-known/openid-configuration")
            assert found["id_token_signing_alg_values_supported"] == ["ES384", "RS256"]
            # The server before does not know the new key.
            assert "authenticated" not in await review(Client(server), fresh)


def running_on(store: Any, clock: FakeClock, key: bytes, **settings: Any) -> Any:
    from contextlib import asynccontextmanager

    from served import no_kubelet

    from tiphys.apiserver.settings import Settings

    @asynccontextmanager
    async def served() -> Any:
        server = APIServer(store, Settings(key, **settings), kubelet_client=no_kubelet, clock=clock)
        server.start()
        try:
            yield server
        finally:
            await server.close()

    return served()


async def test_a_key_file_that_is_none(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    for field in ("service_account_signing_key_file", "service_account_key_files"):
        (tmp_path / "bad").write_text("nothing")
        for path in (str(tmp_path / "bad"), str(tmp_path / "missing")):
            value: Any = (path,) if field.endswith("s") else path
            with pytest.raises(ConfigurationError, match="--service-account-"):
                async with running(clock, signing_key, **{field: value}):
                    pass


async def test_issuers_and_audiences(clock: FakeClock, signing_key: bytes) -> None:
    async with running(clock, signing_key) as before:
        text = (await token(Client(before)))["status"]["token"]
        issuers = ("https://new", ISSUER)
        async with running_on(
            before.store, clock, signing_key, issuers=issuers, api_audiences=("api", ISSUER)
        ) as server:
            client = Client(server)
            assert (await review(client, text))["audiences"] == [ISSUER]
            fresh = (await token(client))["status"]["token"]
            assert (decoded(fresh)["iss"], decoded(fresh)["aud"]) == ("https://new", ["api", ISSUER])
            assert (await review(client, fresh))["audiences"] == ["api", ISSUER]
            assert (await review(client, fresh, "x", ISSUER))["audiences"] == [ISSUER]
            vault = (await token(client, audiences=["vault"]))["status"]["token"]
            assert (await review(client, vault, "vault"))["audiences"] == ["vault"]
            refused = await review(client, vault)
            wanted = 'token audiences ["vault"] is invalid for the target audiences ["api" "https://kubernetes.default.svc.cluster.local"]'
            assert refused == {"user": {}, "error": wanted}


async def test_a_pods_token_lives_for_a_year_and_tells_when_it_is_stale(
    client: Client, clock: FakeClock
) -> None:
    await make_pod(client)
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p"}
    made = await token(client, expirationSeconds=3607, boundObjectRef=reference)
    assert made["status"]["expirationTimestamp"] == "2026-01-01T01:00:07Z"
    claims = decoded(made["status"]["token"])
    assert claims["exp"] - claims["iat"] == 31536000
    assert claims["kubernetes.io"]["warnafter"] - claims["iat"] == 3607
    for spec in (
        {"expirationSeconds": 3607},
        {"expirationSeconds": 3608, "boundObjectRef": reference},
        {"expirationSeconds": 3607, "boundObjectRef": reference, "audiences": ["vault"]},
    ):
        claims = decoded((await token(client, **spec))["status"]["token"])
        assert claims["exp"] - claims["iat"] == spec["expirationSeconds"]
        assert "warnafter" not in claims["kubernetes.io"]
    reader = client.server.token_readers
    await clock.advance(3610)
    found: Any = reader.identify(made["status"]["token"], (ISSUER,))
    said = "subject: system:serviceaccount:default:default, seconds after warning threshold: 3"
    assert found.annotations == (("authentication.k8s.io/stale-token", said),)


async def test_the_longest_that_a_token_may_live(clock: FakeClock, signing_key: bytes) -> None:
    async with running(
        clock, signing_key, service_account_max_token_seconds=7200.0, service_account_extend_tokens=False
    ) as server:
        made = await token(Client(server), expirationSeconds=86400)
        assert made["spec"]["expirationSeconds"] == 7200
        claims = decoded(made["status"]["token"])
        assert claims["exp"] - claims["iat"] == 7200


async def test_a_token_ends_with_what_it_is_bound_to(client: Client, clock: FakeClock) -> None:
    await client.create("/api/v1/nodes", {"metadata": {"name": "n"}})
    await client.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    await make_pod(client, nodeName="n")
    tokens = {
        kind: (await token(client, boundObjectRef={"apiVersion": "v1", "kind": kind, "name": name}))[
            "status"
        ]["token"]
        for kind, name in (("Pod", "p"), ("Secret", "s"), ("Node", "n"))
    }
    extra = (await review(client, tokens["Pod"]))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/node-name"] == ["n"]
    # A pod that is ending still has its token for a minute.
    await client.delete("/api/v1/namespaces/default/pods/p")
    assert (await review(client, tokens["Pod"]))["authenticated"] is True
    await clock.advance(95)
    for path in ("namespaces/default/secrets/s", "nodes/n"):
        await client.delete(f"/api/v1/{path}")
    for kind, text in tokens.items():
        assert await review(client, text) == {
            "user": {},
            "error": "service account token has been invalidated",
        }, kind


# Tokens in secrets


async def legacy(client: Client, server: APIServer) -> str:
    account = await client.get(ACCOUNT)
    text = server.signer.sign(legacy_claims(account, "long"))
    secret = {
        "metadata": {"name": "long", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": base64.b64encode(text.encode()).decode()},
    }
    await client.create("/api/v1/namespaces/default/secrets", secret)
    return text


async def test_a_token_in_a_secret(client: Client, server: APIServer, clock: FakeClock) -> None:
    text = await legacy(client, server)
    path = "/api/v1/namespaces/default/secrets/long"
    status = await review(client, text)
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert status["audiences"] == [ISSUER]
    await settle()
    assert (await client.get(path))["metadata"]["labels"] == {
        "kubernetes.io/legacy-token-last-used": "2026-01-01"
    }
    await clock.advance(86400)
    await review(client, text)
    await settle()
    assert (await client.get(path))["metadata"]["labels"] == {
        "kubernetes.io/legacy-token-last-used": "2026-01-02"
    }
    await client.patch(
        path, {"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-02"}}}
    )
    refused = await review(client, text)
    assert refused["error"].startswith(
        "the token in secret default/long for service account default/default has been marked invalid."
    )


async def test_a_token_in_a_secret_is_worth_what_the_secret_is(client: Client, server: APIServer) -> None:
    text = await legacy(client, server)
    path = "/api/v1/namespaces/default/secrets/long"
    await client.patch(path, {"data": {"token": "YQ=="}})
    assert (await review(client, text))["error"] == "Token does not match server's copy"
    await client.delete(path)
    assert (await review(client, text))["error"] == "Token has been invalidated"


async def test_an_old_automatic_token_is_worth_a_warning(client: Client, server: APIServer) -> None:
    text = await legacy(client, server)
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = await client.anonymous().call("POST", who, {}, authorization=f"Bearer {text}")
    assert (answer.status, answer.warnings) == (201, ())
    await client.patch(ACCOUNT, {"secrets": [{"name": "long"}]})
    answer = await client.anonymous().call("POST", who, {}, authorization=f"Bearer {text}")
    assert "Use tokens from the TokenRequest API" in answer.warnings[0]
