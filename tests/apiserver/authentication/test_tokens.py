"""Bearer tokens: bootstrap tokens in secrets, and those in a file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from served import Client

from tiphys.apiserver.authentication.static_tokens import BadTokenFile, StaticTokens, read_token_file
from tiphys.apiserver.server import APIServer
from tiphys.testing.clock import FakeClock

SECRETS = "/api/v1/namespaces/kube-system/secrets"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
GOOD = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
    "auth-extra-groups": "system:bootstrappers:worker",
}
TOKEN = "Bearer abcdef.0123456789abcdef"


async def put_token(client: Client, name: str = "bootstrap-token-abcdef", **changes: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in {**GOOD, **changes}.items()}
    body = {"metadata": {"name": name}, "type": "bootstrap.kubernetes.io/token", "data": data}
    await client.create(SECRETS, body)


async def user(client: Client, token: str = TOKEN) -> Any:
    answer = await client.anonymous().call("POST", WHO, {}, authorization=token)
    return answer.body["status"]["userInfo"] if answer.status == 201 else answer.status


async def test_a_bootstrap_token_is_a_bootstrapper(client: Client) -> None:
    assert await user(client) == 401
    await put_token(client)
    assert await user(client) == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:worker", "system:authenticated"],
    }
    assert await user(client, "Bearer abcdef.0123456789abcdeX") == 401
    await client.delete(f"{SECRETS}/bootstrap-token-abcdef")
    assert await user(client) == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"token-id": "zzzzzz"},
        {"token-secret": "f" * 16},
        {"usage-bootstrap-authentication": "false"},
        {"auth-extra-groups": "system:masters"},
        {"auth-extra-groups": "system:bootstrappers:a,system:masters"},
        {"expiration": "2020-01-01T00:00:00Z"},
        {"expiration": "soon"},
    ],
)
async def test_what_makes_a_bootstrap_token_no_good(client: Client, changes: dict[str, str]) -> None:
    await put_token(client, **changes)
    assert await user(client) == 401


async def test_a_bootstrap_token_expires(client: Client, clock: FakeClock) -> None:
    await put_token(client, expiration="2026-01-01T00:10:00Z")
    assert await user(client) != 401
    await clock.advance(601)
    assert await user(client) == 401


async def test_tokens_in_a_file(server: APIServer, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text('t1,alice,7,"devs,ops"\n\nt2, bob , 8\n')
    server.token_readers.append(StaticTokens(read_token_file(path)))
    assert await user(client, "Bearer t1") == {
        "username": "alice",
        "uid": "7",
        "groups": ["devs", "ops", "system:authenticated"],
    }
    assert (await user(client, "Bearer t2"))["groups"] == ["system:authenticated"]
    assert await user(client, "Bearer t3") == 401


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n", ":1: a line needs at least 3 columns (token,user,uid), this one has 2"),
        ("t,u,1\n,u,1\n", ":2: the token and the user must not be empty"),
        ("t,u,1\nt,v,2\n", ":2: this token stands in the file twice"),
    ],
)
def test_a_bad_token_file_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text(text)
    with pytest.raises(BadTokenFile) as raised:
        read_token_file(path)
    assert str(raised.value) == f"{path}{complaint}"


async def test_without_credentials_only_where_that_is_allowed(server: APIServer, client: Client) -> None:
    server.anonymous_paths = frozenset({"/livez"})
    assert (await client.anonymous().call("GET", "/livez")).status == 200
    assert (await client.anonymous().call("GET", "/readyz")).status == 401
