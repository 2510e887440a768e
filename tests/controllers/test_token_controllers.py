"""Tokens in secrets, bootstrap tokens and the signatures of cluster-info: over the real API server and with the controllers' own rights."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from served import Client, Object, running

from tiphys.apiserver.bootstrap import bootstrap
from tiphys.apiserver.legacy_token_tracking import NAME as TRACKING
from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.service_accounts import legacy_claims
from tiphys.client.client import Client as APIClient
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.resources import CONFIGMAPS, PODS, SERVICEACCOUNTS
from tiphys.client.resources import SECRETS as TOKEN_SECRETS
from tiphys.cluster.cluster_info import kubeconfig, publish
from tiphys.cluster.components import Components
from tiphys.cluster.pki import Authority
from tiphys.controllers import legacy_token_cleaner
from tiphys.controllers.bootstrap.signer import detached_signature
from tiphys.controllers.catalog import Options, enabled
from tiphys.controllers.legacy_token_cleaner import secret_names
from tiphys.testing.clock import START, FakeClock
from tiphys.testing.world import World

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
SYSTEM = "/api/v1/namespaces/kube-system/secrets"
INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
TOKENS, LEGACY = "serviceaccount-token-controller", "legacy-serviceaccount-token-cleaner-controller"
SIGNER, CLEANER = "bootstrap-signer-controller", "token-cleaner-controller"
USED = legacy_token_cleaner.LAST_USED


class Place:
    """A server with the four controllers beside it."""

    def __init__(self, client: Client, clock: FakeClock, components: Components) -> None:
        self.client, self.clock, self.components = client, clock, components

    async def account(self, name: str = "robot", *secrets: str) -> Object:
        obj: Object = {"metadata": {"name": name}}
        if secrets:
            obj["secrets"] = [{"name": secret} for secret in secrets]
        return await self.client.create(ACCOUNTS, obj)

    async def token(self, name: str = "t", account: str = "robot", **annotations: str) -> Object:
        given = {"kubernetes.io/service-account.name": account, **annotations}
        made = {
            "metadata": {"name": name, "annotations": given},
            "type": "kubernetes.io/service-account-token",
        }
        created = await self.client.create(SECRETS, made)
        await self.clock.advance(1)
        return created

    async def secret(self, name: str = "t") -> Object | None:
        answer = await self.client.call("GET", f"{SECRETS}/{name}")
        found: Object | None = answer.body if answer.status == 200 else None
        return found

    async def bootstrap(self, identifier: str, **data: str) -> None:
        values = {
            "token-id": identifier,
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-signing": "true",
            **data,
        }
        made = {
            "metadata": {"name": f"bootstrap-token-{identifier}"},
            "type": "bootstrap.kubernetes.io/token",
        }
        await self.client.create(SYSTEM, {**made, "stringData": values})
        await self.clock.advance(1)

    async def signatures(self) -> dict[str, str]:
        data = (await self.client.get(INFO))["data"]
        return {key: value for key, value in data.items() if key != "kubeconfig"}


@pytest.fixture
def signing_key(tmp_path: Path) -> bytes:
    return Authority(tmp_path, START).ensure_signing_key("service-account").read_bytes()


@pytest.fixture
async def place(signing_key: bytes) -> AsyncIterator[Place]:
    async with _place(FakeClock(), signing_key, TOKENS, SIGNER, CLEANER) as made:
        yield made


@asynccontextmanager
async def _place(clock: FakeClock, signing_key: bytes, *switches: str) -> AsyncIterator[Place]:
    async with running(clock, signing_key) as server:
        options = Options(
            root_ca="PEM",
            token=lambda account, secret: server.signer.sign(legacy_claims(account, secret)),
        )
        components = Components(LocalAPI(server), clock, options, list(switches), scheduler=False)
        components.start()
        await clock.advance(1)
        yield Place(Client(server), clock, components)
        await components.stop()


def decoded(secret: Object | None) -> dict[str, str]:
    assert secret is not None
    return {name: b64decode(value).decode() for name, value in secret["data"].items()}


# Tokens in secrets


async def test_a_secret_is_filled_and_its_token_is_good(place: Place) -> None:
    account = await place.account()
    await place.token()
    filled = await place.secret()
    data = decoded(filled)
    assert data.keys() == {"ca.crt", "namespace", "token"}
    assert (data["ca.crt"], data["namespace"]) == ("PEM", "default")
    assert filled is not None
    annotations = filled["metadata"]["annotations"]
    assert annotations["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
    nobody = Client(place.client.server, None)
    review = await nobody.call(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
        authorization=f"Bearer {data['token']}",
    )
    assert review.body["status"]["userInfo"]["username"] == "system:serviceaccount:default:robot"
    await place.clock.advance(1)
    labelled = await place.secret()
    assert labelled is not None
    assert labelled["metadata"]["labels"] == {USED: f"{place.clock.now():%Y-%m-%d}"}


async def test_what_is_taken_out_or_forged_comes_back_and_nothing_else_is_touched(place: Place) -> None:
    await place.account()
    await place.token()
    before = decoded(await place.secret())
    broken = {"data": {"namespace": None, "ca.crt": b64encode(b"forged").decode(), "mine": "bWluZQ=="}}
    await place.client.patch(f"{SECRETS}/t", broken)
    await place.clock.advance(1)
    assert decoded(await place.secret()) == {**before, "mine": "mine"}
    version = ((await place.secret()) or {})["metadata"]["resourceVersion"]
    await place.clock.advance(60)
    assert ((await place.secret()) or {})["metadata"]["resourceVersion"] == version


async def test_a_secret_goes_with_its_account_and_one_of_another_account_never_was(place: Place) -> None:
    await place.account()
    await place.token()
    await place.client.delete(f"{ACCOUNTS}/robot")
    await place.clock.advance(1)
    assert await place.secret() is None
    await place.token("orphan", "nobody")
    assert await place.secret("orphan") is None
    await place.account()
    await place.token("old", **{"kubernetes.io/service-account.uid": "another"})
    assert await place.secret("old") is None


async def test_an_account_made_anew_does_not_inherit_its_namesake_s_tokens(place: Place) -> None:
    await place.account()
    await place.token()
    await place.components.switch_off(TOKENS)
    await place.client.delete(f"{ACCOUNTS}/robot")
    await place.account()
    place.components.switch_on(TOKENS)
    await place.clock.advance(1)
    assert await place.secret() is None


async def test_an_account_forgets_a_token_that_is_gone_and_no_other_secret(place: Place) -> None:
    await place.account("robot", "t", "plain")
    await place.client.create(SECRETS, {"metadata": {"name": "plain"}})
    await place.token()
    await place.client.delete(f"{SECRETS}/plain")
    await place.clock.advance(1)
    assert (await place.client.get(f"{ACCOUNTS}/robot"))["secrets"] == [{"name": "t"}, {"name": "plain"}]
    await place.client.delete(f"{SECRETS}/t")
    await place.clock.advance(1)
    assert (await place.client.get(f"{ACCOUNTS}/robot"))["secrets"] == [{"name": "plain"}]


# Tokens that nobody asked for

OLD = "2024-06-01"
"""More than a year before the clock's 2026-01-01."""
INVALID = legacy_token_cleaner.INVALID_SINCE


async def clean(
    world: World,
    labels: dict[str, str] | None = None,
    *,
    named: bool = True,
    mounted: bool = False,
    **changes: str,
) -> Object | None:
    """What becomes of an old token. `changes`: since (when use is noted), created."""
    since, created = changes.get("since", OLD), changes.get("created", OLD)
    told = {"metadata": {"name": TRACKING, "namespace": "kube-system"}, "data": {"since": since}}
    world.api.put(CONFIGMAPS, told)
    account: Object = {"metadata": {"name": "robot", "namespace": "default"}}
    if named:
        account["secrets"] = [{"name": "t"}]
    world.api.put(SERVICEACCOUNTS, account)
    if mounted:
        spec = {"volumes": [{"name": "v", "secret": {"secretName": "t"}}]}
        world.api.put(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": spec})
    metadata = {
        "name": "t",
        "namespace": "default",
        "creationTimestamp": f"{created}T00:00:00Z",
        "annotations": {"kubernetes.io/service-account.name": "robot"},
        "labels": labels or {},
    }
    token = {"metadata": metadata, "type": "kubernetes.io/service-account-token"}
    world.api.put(TOKEN_SECRETS, token)
    await world.start(legacy_token_cleaner.make(Options()))
    found = world.api.objects(TOKEN_SECRETS)
    return found[0] if found else None


TODAY = f"{START:%Y-%m-%d}"


@pytest.mark.parametrize(
    "labels", [{}, {USED: "2024-12-31"}, {INVALID: "not a date"}, {"app": "x", USED: OLD}]
)
async def test_a_token_that_nobody_uses_is_marked(world: World, labels: dict[str, str]) -> None:
    marked = await clean(world, labels)
    assert marked is not None
    assert marked["metadata"]["labels"] == {**labels, INVALID: TODAY}


async def test_what_has_been_invalid_for_a_year_is_deleted(world: World) -> None:
    assert await clean(world, {INVALID: "2024-12-31"}) is None


@pytest.mark.parametrize(
    ("labels", "changes"),
    [
        ({USED: "2025-01-01"}, {}),
        ({USED: "yesterday"}, {}),
        ({INVALID: "2025-01-01"}, {}),
        ({}, {"named": False}),
        ({}, {"mounted": True}),
        ({}, {"created": "2025-01-02"}),
        ({}, {"since": "2025-01-01"}),
        ({}, {"since": "never"}),
    ],
)
async def test_what_may_be_in_use_is_left_alone(
    world: World, labels: dict[str, str], changes: dict[str, Any]
) -> None:
    kept = await clean(world, labels, **changes)
    assert kept is not None
    assert kept["metadata"]["labels"] == labels


async def test_it_looks_again_every_day(world: World) -> None:
    kept = await clean(world, {USED: "2025-01-02"})
    assert kept is not None
    await world.settle(3 * 86400)
    assert world.api.objects(TOKEN_SECRETS)[0]["metadata"]["labels"].keys() == {USED, INVALID}


async def test_another_authority_is_handed_out_at_once(place: Place) -> None:
    await place.account()
    await place.token()
    place.components.switch_on("root-ca-certificate-publisher-controller")
    await place.clock.advance(1)
    await place.components.exchange_authority("ANOTHER")
    await place.clock.advance(1)
    for namespace in ("default", "kube-system"):
        found = await place.client.get(f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
        assert found["data"] == {"ca.crt": "ANOTHER"}
    assert decoded(await place.secret())["ca.crt"] == "ANOTHER"
    assert "root-ca-certificate-publisher-controller" in place.components.running


async def test_the_api_server_says_since_when_it_notes_use(place: Place) -> None:
    path = f"/api/v1/namespaces/kube-system/configmaps/{TRACKING}"
    assert (await place.client.get(path))["data"] == {"since": TODAY}
    await place.client.patch(path, {"data": {"since": OLD}})
    await bootstrap(place.client.server)
    assert (await place.client.get(path))["data"] == {"since": OLD}
    await place.client.patch(path, {"data": {"since": "soon"}})
    await place.clock.advance(0)
    assert (await place.client.get(path))["data"] == {"since": TODAY}
    # It comes back at once, but if it is always deleted not all the time.
    await place.clock.advance(1800)
    for wait_seconds in (0, 1798, 1798):
        await place.client.delete(path)
        await place.clock.advance(wait_seconds - 1 if wait_seconds else 0)
        assert (await place.client.call("GET", path)).status == (404 if wait_seconds else 200)
        await place.clock.advance(2)
        assert (await place.client.call("GET", path)).status == 200


def test_all_secrets_that_a_pod_names_are_found() -> None:
    key = {"name": "env", "key": "k"}
    spec: dict[str, Any] = {
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "from"}}]}],
        "containers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": key}}]}],
        "volumes": [
            {"name": "v", "secret": {"secretName": "volume"}},
            {
                "name": "p",
                "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "no"}}]},
            },
            {"name": "c", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
            {"name": "a", "azureFile": {"secretName": "azure", "shareName": "s"}},
            {"name": "s", "scaleIO": {"secretRef": {"name": "scale"}}},
        ],
    }
    names = {"pull", "from", "env", "volume", "projected", "csi", "azure", "scale"}
    assert secret_names(spec) == names


# Bootstrap tokens


async def test_cluster_info_is_signed_by_every_token_that_may(place: Place) -> None:
    transport = InProcessTransport(LocalAPI(place.client.server), "admin", ("system:masters",))
    await publish(APIClient(transport), "https://10.0.0.1:6443", "PEM")
    soon = f"{place.clock.now() + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    await place.bootstrap("aaaaaa")
    await place.bootstrap("bbbbbb", expiration=soon)
    await place.bootstrap("cccccc", **{"usage-bootstrap-signing": "false"})
    await place.bootstrap("dddddd", expiration="never")
    assert (await place.signatures()).keys() == {"jws-kubeconfig-aaaaaa", "jws-kubeconfig-bbbbbb"}
    content = (await place.client.get(INFO))["data"]["kubeconfig"]
    assert content == kubeconfig("https://10.0.0.1:6443", "PEM")
    header, nothing, signature = (await place.signatures())["jws-kubeconfig-aaaaaa"].split(".")
    assert nothing == ""
    assert json.loads(urlsafe_b64decode(header + "==")) == {"alg": "HS256", "kid": "aaaaaa"}
    payload = b64encode(content.encode(), b"-_").decode().rstrip("=")
    expected = hmac.new(b"0123456789abcdef", f"{header}.{payload}".encode(), hashlib.sha256).digest()
    assert urlsafe_b64decode(signature + "=") == expected
    # What changes is signed anew, and what has expired signs no more, and is gone.
    await publish(APIClient(transport), "https://10.0.0.2:6443", "PEM")
    await place.clock.advance(1)
    assert (await place.signatures())["jws-kubeconfig-aaaaaa"] != f"{header}..{signature}"
    await place.clock.advance(3600)
    assert (await place.signatures()).keys() == {"jws-kubeconfig-aaaaaa"}
    left = {secret["metadata"]["name"] for secret in (await place.client.get(SYSTEM))["items"]}
    assert left == {"bootstrap-token-aaaaaa", "bootstrap-token-cccccc"}


def test_a_signature_is_that_of_upstream_s_own_test() -> None:
    """`k8s.io/cluster-bootstrap/token/jws`."""
    assert (
        detached_signature(
            "Hello from the other side. I must have called a thousand times.",
            "joshua",
            "my voice is my passcode",
        )
        == "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
    )


def test_the_two_for_bootstrap_tokens_are_off_by_default() -> None:
    named = {entry.name for entry in enabled()}
    assert {TOKENS, LEGACY} <= named
    assert not {SIGNER, CLEANER} & named
