"""Everybody who may knock at the door: what each one sends to say who they are, good or forged."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import Client, Object

from tiphys.apiserver.server import APIServer
from tiphys.apiserver.service_accounts import Lifetime, Signer, make_claims
from tiphys.client.inprocess import LocalIdentity

MINE = "mine"
_UPGRADE = {"connection": "Upgrade", "upgrade": "websocket"}
ACCOUNT = f"system:serviceaccount:{MINE}:app"


@dataclass(frozen=True)
class Visitor:
    """`headers` as they are sent; `local` for an identity that another step has proven (a node's certificate)."""

    name: str
    headers: dict[str, str] = field(default_factory=dict)
    local: LocalIdentity | None = None

    async def call(self, server: APIServer, method: str, target: str, body: Any = None, **more: str) -> int:
        client = Client(server, self.local)
        request = client.request(method, target, body, **more)
        request.headers.update(self.headers)
        return (await client.respond(request)).status


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token_of(header: Object, claims: Object, signature: bytes = b"") -> str:
    """A JWT put together by hand."""
    return f"{_b64(orjson.dumps(header))}.{_b64(orjson.dumps(claims))}.{_b64(signature)}"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def prepare(client: Client) -> Object:
    """A namespace with an account that may edit it, and a bound pod; the account."""
    await client.create("/api/v1/namespaces", {"metadata": {"name": MINE}})
    await client.create("/api/v1/namespaces", {"metadata": {"name": "theirs"}})
    accounts = f"/api/v1/namespaces/{MINE}/serviceaccounts"
    account = await client.create(accounts, {"metadata": {"name": "app"}})
    resources = ["pods", "pods/*", "secrets", "services", "services/*", "serviceaccounts/token"]
    everything = {"apiGroups": [""], "resources": resources, "verbs": ["*"]}
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{MINE}"
    await client.create(f"{rbac}/roles", {"metadata": {"name": "app"}, "rules": [everything]})
    binding = {
        "metadata": {"name": "app"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "app"},
        "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": MINE}],
    }
    await client.create(f"{rbac}/rolebindings", binding)
    return account


def claims_of(server: APIServer, account: Object, **changes: Any) -> Object:
    now = server.clock.now() - timedelta(seconds=changes.pop("age_seconds", 0))
    claims = make_claims(server.signer, account, [], Lifetime(now, 3600), identifier="j")
    return {**claims, **changes}


def good(server: APIServer, account: Object) -> Visitor:
    """The account of the namespace `mine`, which may edit what is there."""
    return Visitor("an account", bearer(server.signer.sign(claims_of(server, account))))


def node() -> Visitor:
    groups = ("system:nodes", "system:authenticated")
    return Visitor("a node", local=LocalIdentity("system:node:n1", groups))


def strangers(server: APIServer, account: Object) -> list[Visitor]:
    """Those whose credentials are worth nothing: each must be turned away with 401, whatever it asks for."""
    sign = server.signer.sign
    account_claims = claims_of(server, account)
    masters = {**account_claims, "sub": "system:admin", "groups": ["system:masters"]}
    valid = sign(account_claims)
    head, body, signature = valid.split(".")
    raised = _b64(orjson.dumps(masters))
    tokens = {
        "no JWT": "nonsense",
        "three dots": "...",
        "an expired token": sign(claims_of(server, account, age_seconds=7200)),
        "a token of tomorrow": sign(claims_of(server, account, age_seconds=-7200)),
        "a token without an end": sign({k: v for k, v in account_claims.items() if k != "exp"}),
        "an end that is no number": sign({**account_claims, "exp": "9999999999"}),
        "a token for others": sign({**account_claims, "aud": ["vault"]}),
        "a token for nobody": sign({**account_claims, "aud": []}),
        "another issuer": sign({**account_claims, "iss": "https://elsewhere"}),
        "a deleted account": sign(
            {
                **account_claims,
                "kubernetes.io": {
                    **account_claims["kubernetes.io"],
                    "serviceaccount": {"name": "app", "uid": "another"},
                },
            }
        ),
        "an account without a uid": sign(
            {**account_claims, "kubernetes.io": {"namespace": MINE, "serviceaccount": {"name": "app"}}}
        ),
        "a subject that is not the account": sign(
            {**account_claims, "sub": "system:serviceaccount:kube-system:namespace-controller"}
        ),
        "no account at all": sign({k: v for k, v in masters.items() if k != "kubernetes.io"}),
        "a changed body": f"{head}.{raised}.{signature}",
        "a cut signature": valid[:-4],
        "no signature": f"{head}.{body}.",
        "a signature of zeros": f"{head}.{body}.{_b64(bytes(64))}",
        "a second signature": f"{valid}.{signature}",
        "somebody else's key": _foreign(server).sign(account_claims),
        "somebody else's key under our name": _signed_by_a_stranger(server, account_claims),
        "a key that it brings along": _with_its_own_key(server, account_claims),
        **{
            f"alg {alg}": token_of({"alg": alg}, account_claims)
            for alg in ("none", "None", "NONE", "nOnE", "")
        },
        **_confused(server, account_claims),
    }
    visitors = [Visitor(name, bearer(token)) for name, token in tokens.items()]
    protocol = f"base64url.bearer.authorization.k8s.io.{_b64(tokens['an expired token'].encode())}"
    return [
        *visitors,
        Visitor(
            "an expired token in a WebSocket's protocol",
            {"sec-websocket-protocol": f"v5.channel.k8s.io, {protocol}", **_UPGRADE},
        ),
        Visitor("two tokens", {"authorization": f"Bearer {valid}, Bearer {valid}"}),
        Visitor("a token and more", {"authorization": f"Bearer {valid} x"}),
    ]


def nobodies() -> list[Visitor]:
    """Those who show no credentials that the server looks at: they are `system:anonymous`, whatever they claim."""
    return [
        Visitor("nobody"),
        Visitor("a password", {"authorization": "Basic YWRtaW46YWRtaW4="}),
        Visitor("an empty token", {"authorization": "Bearer "}),
        Visitor("a user in a proxy's header", {"x-remote-user": "admin", "x-remote-group": "system:masters"}),
        Visitor(
            "a user in a header with an underscore",
            {"x_remote_user": "admin", "x_remote_group": "system:masters"},
        ),
        Visitor("an impersonator", {"impersonate-user": "admin", "impersonate-group": "system:masters"}),
        Visitor("an impersonator of itself", {"impersonate-user": "system:anonymous"}),
        Visitor(
            "a certificate in a header", {"x-client-cert": "MII", "x-forwarded-client-cert": "Subject=admin"}
        ),
    ]


def impersonators(server: APIServer, account: Object) -> list[Visitor]:
    """An account that would be more than it is."""
    own = good(server, account).headers
    claims = {
        "another user": {"impersonate-user": "admin"},
        "a master": {"impersonate-user": ACCOUNT, "impersonate-group": "system:masters"},
        "a node": {"impersonate-user": "system:node:n1", "impersonate-group": "system:nodes"},
        "an account elsewhere": {
            "impersonate-user": "system:serviceaccount:kube-system:namespace-controller"
        },
        "several groups in one line": {"impersonate-user": ACCOUNT, "impersonate-group": "a, system:masters"},
        "a uid": {"impersonate-user": ACCOUNT, "impersonate-uid": "1"},
        "an extra": {"impersonate-user": ACCOUNT, "impersonate-extra-scopes": "all"},
        "a name with a slash": {"impersonate-user": f"{ACCOUNT}/../../x"},
    }
    return [Visitor(f"an account as {name}", {**own, **headers}) for name, headers in claims.items()]


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _foreign(server: APIServer) -> Signer:
    return Signer(_pem(_new_key()), server.signer.issuers)


def _signed_by_a_stranger(server: APIServer, claims: Object) -> str:
    """With our key's id in its head."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    server.signer.sign(claims)  # now it has an id
    head = {"alg": "ES256", "kid": server.signer.key_id}
    text = token_of(head, claims).rpartition(".")[0]
    r, s = decode_dss_signature(_new_key().sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _with_its_own_key(server: APIServer, claims: Object) -> str:
    signer = _foreign(server)
    key = signer.jwks()["keys"][0]
    _, body, signature = signer.sign(claims).split(".")
    head = _b64(orjson.dumps({"alg": "ES256", "jwk": key, "jku": "https://127.0.0.1/keys"}))
    return f"{head}.{body}.{signature}"


def _confused(server: APIServer, claims: Object) -> dict[str, str]:
    """Our public key taken for a secret: what a verifier falls for that lets the token choose its algorithm."""
    key = serialization.load_pem_private_key(server.settings.signing_key_pem, None).public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    found = {}
    for name, encoding in (("PEM", serialization.Encoding.PEM), ("DER", serialization.Encoding.DER)):
        secret = key.public_bytes(encoding, spki)
        text = token_of({"alg": "HS256"}, claims).rpartition(".")[0]
        mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
        found[f"our public key in {name} as a secret"] = f"{text}.{_b64(mac)}"
    return found
