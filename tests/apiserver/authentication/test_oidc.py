"""Users of other identity providers, who are asked for their keys over real TLS."""

from __future__ import annotations

import ssl
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from reload_metrics import hash_of, reloads
from served import Client, Object, running

from tiphys.apiserver.authentication.jose import SigningKey
from tiphys.apiserver.authentication.oidc.configuration import read
from tiphys.apiserver.settings import ConfigurationError
from tiphys.cluster.pki import Authority, Leaf
from tiphys.machinery import yaml
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.net.tls import server_context
from tiphys.testing.clock import FakeClock

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n"


def new_key(*, is_rsa: bool = False) -> SigningKey:
    key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    return SigningKey(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


@dataclass
class Provider:
    """An identity provider: what it publishes, and how often it was asked."""

    clock: FakeClock
    port: int = 0
    authority: str = ""
    key: SigningKey = field(default_factory=new_key)
    asked: list[str] = field(default_factory=list)
    document: Object = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        if request.path == "/keys":
            return Response(200, [], orjson.dumps({"keys": [self.key.public.jwk()]}))
        return Response(
            200, [], orjson.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.document})
        )

    def token(self, *, key: SigningKey | None = None, **claims: Any) -> str:
        now = int(self.clock.now().timestamp())
        return (key or self.key).sign(
            {"iss": self.url, "aud": "tiphys", "exp": now + 60, "sub": "7", **claims}
        )

    def file(self, path: Path, jwt: str = "", rest: str = "") -> str:
        """An AuthenticationConfiguration with this provider."""
        mappings = (
            jwt
            or "claimMappings:\n  username: {claim: sub, prefix: 'o:'}\n  groups: {claim: groups, prefix: 'o:'}\n"
        )
        issuer = f"issuer:\n  url: {self.url}\n  audiences: [tiphys]\n  certificateAuthority: |\n{textwrap.indent(self.authority, '    ')}"
        entry = textwrap.indent(f"{issuer}\n{mappings}", "  ").replace("  ", "- ", 1)
        path.write_text(f"{HEAD}jwt:\n{entry}\n{rest}")
        return str(path)


@pytest.fixture
async def provider(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Provider]:
    authority = Authority(tmp_path / "provider", datetime.now(UTC))
    authority.ensure([Leaf("provider", "provider", names=("localhost",))])
    made = Provider(clock, authority=authority.certificate_file.read_text())
    context: ssl.SSLContext = server_context(
        str(authority.certificate("provider")), str(authority.key("provider"))
    )
    server = Server(made.answer, ssl_context=context)
    made.port = (await server.listen(host="127.0.0.1", port=0)).port
    yield made
    await server.shutdown(grace_seconds=1)


@asynccontextmanager
async def served(clock: FakeClock, key: bytes, config: str, **more: Any) -> AsyncIterator[Client]:
    async with running(clock, key, authentication_config=config, **more) as server:
        yield Client(server).anonymous()


async def user(client: Client, token: str) -> Any:
    answer = await client.call("POST", WHO, {}, authorization=f"Bearer {token}")
    return answer.body["status"]["userInfo"] if answer.status == 201 else answer.status


async def problem(client: Client, token: str) -> str:
    """What a TokenReview says of it."""
    review = {"spec": {"token": token}}
    made = await Client(client.server).create("/apis/authentication.k8s.io/v1/tokenreviews", review)
    return str(made["status"].get("error", ""))


async def test_a_user_of_a_provider(
    provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    async with served(clock, signing_key, provider.file(tmp_path / "c")) as client:
        token = provider.token(groups=["a", "b"])
        assert await user(client, token) == {
            "username": "o:7",
            "groups": ["o:a", "o:b", "system:authenticated"],
        }
        assert await user(client, provider.token(groups="one", aud=["x", "tiphys"])) == {
            "username": "o:7",
            "groups": ["o:one", "system:authenticated"],
        }
        assert provider.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_worthless_tokens(
    provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    now = int(clock.now().timestamp())
    async with served(clock, signing_key, provider.file(tmp_path / "c")) as client:
        assert await user(client, provider.token()) != 401
        head, body, _ = provider.token().split(".")
        for name, token in {
            "expired": provider.token(exp=now - 1),
            "without an end": provider.token(exp=None),
            "too early": provider.token(nbf=now + 301),
            "for others": provider.token(aud="x"),
            "for nobody": provider.token(aud=[]),
            "another issuer": provider.token(iss="https://elsewhere"),
            "another key": provider.token(key=new_key()),
            "unsigned": f"{head}.{body}.",
            "no username": provider.token(sub=None),
            "a username that is a list": provider.token(sub=["a"]),
            "groups that are objects": provider.token(groups=[{}]),
        }.items():
            assert await user(client, token) == 401, name
        assert await problem(client, provider.token(aud="x")) == (
            "oidc: verify token: oidc: expected audience \"tiphys\" got ['x']"
        )


async def test_a_new_key_is_fetched_and_worthless_tokens_ask_nobody(
    provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    async with served(clock, signing_key, provider.file(tmp_path / "c")) as client:
        assert await user(client, provider.token()) != 401
        for _ in range(20):
            assert await user(client, provider.token(key=new_key())) == 401
        assert len(provider.asked) == 2
        await clock.advance(11)
        for _ in range(20):
            assert await user(client, provider.token(key=new_key())) == 401
        assert len(provider.asked) == 4
        provider.key = new_key(is_rsa=True)
        await clock.advance(11)
        assert await user(client, provider.token()) != 401


async def test_a_provider_that_says_it_is_another(
    provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    provider.document = {"issuer": "https://evil"}
    async with served(clock, signing_key, provider.file(tmp_path / "c")) as client:
        assert await user(client, provider.token()) == 401
        await clock.advance(11)
        provider.document = {"jwks_uri": "http://localhost/keys"}
        assert "jwks_uri must be an https URL" in await problem(client, provider.token())


EXPRESSIONS = """
claimValidationRules:
- {claim: hd, requiredValue: example.com}
- {expression: 'claims.level >= 2', message: 'level is too low'}
claimMappings:
  username: {expression: 'claims.email_verified ? claims.email : ""'}
  groups: {expression: 'claims.roles.split(",")'}
  uid: {claim: sub}
  extra:
  - {key: example.com/tenant, valueExpression: claims.tenant}
userValidationRules:
- {expression: "!user.username.startsWith('system:')", message: "reserved"}
- {expression: "user.groups.all(g, g != 'system:masters')"}
"""


async def test_expressions(provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    good = {
        "hd": "example.com",
        "level": 2,
        "email": "a@b",
        "email_verified": True,
        "roles": "x,y",
        "tenant": "t",
    }
    async with served(clock, signing_key, provider.file(tmp_path / "c", EXPRESSIONS)) as client:
        assert await user(client, provider.token(**good)) == {
            "username": "a@b",
            "uid": "7",
            "groups": ["x", "y", "system:authenticated"],
            "extra": {"example.com/tenant": ["t"]},
        }
        for changes, said in (
            ({"hd": "x"}, "oidc: required claim hd value does not match. Got = x, want = example.com"),
            ({"level": 1}, "oidc: error evaluating claim validation expression: level is too low"),
            ({"email_verified": False}, "oidc: empty username via CEL expression is not allowed"),
            ({"email": "system:admin"}, "oidc: error evaluating user info validation rule: reserved"),
            (
                {"roles": "system:masters"},
                "oidc: error evaluating user info validation rule: validation expression 'user.groups.all(g, g != 'system:masters')' failed",
            ),
            (
                {"level": None},
                "oidc: error evaluating claim validation expression: expression 'claims.level >= 2' resulted in error: no such overload",
            ),
        ):
            assert await problem(client, provider.token(**{**good, **changes})) == said


async def test_the_file_is_read_again(
    provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    path.write_text(f"{HEAD}jwt: []\n")
    async with served(clock, signing_key, str(path)) as client:
        assert await user(client, provider.token()) == 401
        provider.file(path)
        await clock.advance(6)
        assert (await user(client, provider.token()))["username"] == "o:7"
        in_use = path.read_bytes()
        path.write_text("nonsense: [")
        await clock.advance(6)
        assert (await user(client, provider.token()))["username"] == "o:7"
        counted = await reloads(Client(client.server), "authentication")
        assert counted["automatic_reloads_total success"] == "1"
        assert counted["automatic_reloads_total failure"] == "1"
        last = float(counted["automatic_reload_last_timestamp_seconds failure"])
        assert 0 <= clock.now().timestamp() - last < 5
        assert counted["hash"] == hash_of(in_use)


async def test_where_anonymous_requests_are_let_in(
    clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    path.write_text(f"{HEAD}anonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n")
    async with served(clock, signing_key, str(path)) as client:
        assert (await client.call("GET", "/livez")).status == 200
        for target in ("/readyz", "/livez/", "/livez/ping", "/", "/api"):
            assert (await client.call("GET", target)).status == 401, target
    path.write_text(f"{HEAD}anonymous: {{enabled: false}}\n")
    async with served(clock, signing_key, str(path)) as client:
        assert (await client.call("GET", "/livez")).status == 401


async def test_the_old_flags(
    provider: Provider, clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    (tmp_path / "ca").write_text(provider.authority)
    flags: dict[str, Any] = {
        "oidc_issuer_url": provider.url,
        "oidc_client_id": "tiphys",
        "oidc_ca_file": str(tmp_path / "ca"),
        "oidc_groups_claim": "groups",
        "oidc_required_claims": (("hd", "x"),),
    }
    async with running(clock, signing_key, **flags) as server:
        client = Client(server).anonymous()
        assert await user(client, provider.token(hd="x")) == 401  # ES256 is not among --oidc-signing-algs
        provider.key = new_key(is_rsa=True)
        assert await user(client, provider.token()) == 401
        found = await user(client, provider.token(hd="x", groups=["g"]))
        assert found == {"username": f"{provider.url}#7", "groups": ["g", "system:authenticated"]}
    with pytest.raises(ConfigurationError, match="must be specified together"):
        async with running(clock, signing_key, oidc_client_id="x"):
            pass


GOOD = "issuer: {url: 'https://a', audiences: [x]}\nclaimMappings: {username: {claim: sub, prefix: ''}}\n"


@pytest.mark.parametrize(
    ("jwt", "complaint"),
    [
        ("", "jwt[0].issuer.url: Required value"),
        ("", "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"),
        ("", "jwt[0].claimMappings.username: Required value: claim or expression is required"),
        (
            GOOD.replace("https", "http"),
            'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https',
        ),
        (GOOD.replace("//a", "//u:p@a"), "URL must not contain a username or password"),
        (GOOD.replace("//a", "//a?b"), "URL must not contain a query"),
        (GOOD.replace("//a", "//a#b"), "URL must not contain a fragment"),
        (
            GOOD.replace("https://a", "https://us"),
            "URL must not overlap with disallowed issuers: [https://us]",
        ),
        (GOOD.replace("[x]", "[x, z]"), "audienceMatchPolicy must be MatchAny for multiple audiences"),
        (
            GOOD.replace("[x]", "[x, x], audienceMatchPolicy: MatchAny"),
            'jwt[0].issuer.audiences[1]: Duplicate value: "x"',
        ),
        (
            GOOD.replace("[x]", "[x], certificateAuthority: z"),
            'certificateAuthority: Invalid value: "<omitted>"',
        ),
        (GOOD.replace("[x]", "[x], discoveryURL: 'https://a/'"), "discoveryURL must be different from URL"),
        (
            GOOD.replace(", prefix: ''", ""),
            "username.prefix: Required value: prefix is required when claim is set.",
        ),
        (GOOD.replace("prefix: ''", "expression: claims.a"), "claim and expression can't both be set"),
        (
            GOOD.replace("claim: sub, prefix: ''", "expression: claims.email"),
            "claims.email_verified must be used in",
        ),
        (GOOD.replace("claim: sub, prefix: ''", "expression: 'claims.'"), "compilation failed: ERROR"),
        (
            GOOD + "claimValidationRules: [{}]",
            "claimValidationRules[0]: Required value: claim or expression is required",
        ),
        (GOOD + "claimValidationRules: [{expression: '1'}]", "must evaluate to bool"),
        (GOOD + "userValidationRules: [{expression: 'user.nope'}]", "undefined field 'nope'"),
        (
            GOOD.replace("}}", "}, extra: [{key: Foo, valueExpression: '1'}]}"),
            "must be a domain-prefixed path",
        ),
        (
            GOOD.replace("}}", "}, extra: [{key: a.k8s.io/x, valueExpression: '1'}]}"),
            "are reserved for Kubernetes use",
        ),
        (
            GOOD.replace("}}", "}, nope: 1}"),
            'strict decoding error: unknown field "jwt[0].claimMappings.nope"',
        ),
    ],
)
def test_what_is_wrong_with_a_file(jwt: str, complaint: str) -> None:
    entry = yaml.load(jwt.encode()) or {}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [entry],
    }
    _, problems = read(document, ["https://us"])
    assert any(complaint in each for each in problems), problems


def test_a_claim_that_is_checked_may_be_used() -> None:
    expression = "{expression: 'claims.?email_verified.orValue(true) == true ? claims.email : claims.sub'}"
    entry = yaml.load(GOOD.replace("{claim: sub, prefix: ''}", expression).encode())
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [entry, entry],
    }
    assert read(document)[1] == ['jwt[1].issuer.url: Duplicate value: "https://a"']


@pytest.mark.parametrize(
    "document", [None, [], {"kind": "AuthenticationConfiguration"}, {"apiVersion": "v1", "kind": "Pod"}]
)
def test_something_else(document: Any) -> None:
    assert len(read(document)[1]) == 1
