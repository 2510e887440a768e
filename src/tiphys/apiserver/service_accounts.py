"""Service account tokens: signed, bound to an object that may go away, and checked at every use (JWT, RS256 or ES256).

The claims are upstream's (`kubernetes.io` with namespace, serviceaccount, pod, node, secret), so that any OIDC verifier and any
client that looks inside a token finds what it knows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from tiphys.apiserver.cache import ResourceCache
from tiphys.apiserver.call import User

LEGACY_WARN_SECONDS = 3607
Lookup = Callable[[str, str], ResourceCache]


class TokenError(Exception):
    """Why a token is not valid."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token stands and falls with besides its account: kind is "Pod", "Secret" or "Node"."""

    kind: str
    name: str
    uid: str


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Signer:
    """Signs and verifies with one EC P-256 key (PEM). The cryptography package is loaded at first use."""

    def __init__(self, private_key_pem: bytes, issuer: str, audiences: tuple[str, ...]) -> None:
        self._pem = private_key_pem
        self.issuer = issuer
        self.audiences = audiences
        self._key: Any = None
        self.key_id = ""

    def _load(self) -> Any:
        if self._key is None:
            from cryptography.hazmat.primitives import serialization

            self._key = serialization.load_pem_private_key(self._pem, None)
            der = self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self.key_id = _b64(hashlib.sha256(der).digest())
        return self._key

    def sign(self, claims: dict[str, Any]) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        key = self._load()
        header = _b64(orjson.dumps({"alg": "ES256", "kid": self.key_id}))
        body = f"{header}.{_b64(orjson.dumps(claims))}"
        r, s = decode_dss_signature(key.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{body}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token with our signature. Raises TokenError."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        try:
            head, payload, signature = token.split(".")
            header, claims, raw = orjson.loads(_unb64(head)), orjson.loads(_unb64(payload)), _unb64(signature)
        except ValueError:
            raise TokenError("malformed token") from None
        if (
            not isinstance(header, dict)
            or header.get("alg") != "ES256"
            or len(raw) != 64
            or not isinstance(claims, dict)
        ):
            raise TokenError("unexpected signing method")
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        try:
            self._load().public_key().verify(der, f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            raise TokenError("invalid signature") from None
        return claims

    def jwks(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set, for verifiers elsewhere."""
        numbers = self._load().public_key().public_numbers()
        key = {
            "use": "sig",
            "kty": "EC",
            "kid": self.key_id,
            "crv": "P-256",
            "alg": "ES256",
            "x": _b64(numbers.x.to_bytes(32, "big")),
            "y": _b64(numbers.y.to_bytes(32, "big")),
        }
        return {"keys": [key]}


def make_claims(
    signer: Signer,
    account: dict[str, Any],
    audiences: list[str],
    *,
    now: datetime,
    seconds: int,
    bound: Bound | None,
    node: Bound | None,
    identifier: str,
) -> dict[str, Any]:
    """The claims of a token for a service account, valid from now."""
    metadata = account["metadata"]
    private: dict[str, Any] = {
        "namespace": metadata["namespace"],
        "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
    }
    for other in (bound, node):
        if other is not None:
            private[other.kind.lower()] = {"name": other.name, "uid": other.uid}
    issued = int(now.timestamp())
    return {
        "aud": audiences or list(signer.audiences),
        "exp": issued + seconds,
        "iat": issued,
        "nbf": issued,
        "iss": signer.issuer,
        "jti": identifier,
        "kubernetes.io": private,
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
    }


class TokenAuthenticator:
    """From a bearer token to its user; a token whose account or pod is gone is nobody's.

    Signatures are remembered by the token's hash (they do not change); expiry and bound objects are looked at every time.
    """

    def __init__(self, signer: Signer, lookup: Lookup, now: Callable[[], datetime]) -> None:
        self._signer = signer
        self._lookup = lookup
        self._now = now
        self._verified: dict[bytes, dict[str, Any]] = {}

    def __call__(self, token: str) -> User | None:
        try:
            return self.user(token, self._signer.audiences)[0]
        except TokenError:
            return None

    def user(self, token: str, audiences: tuple[str, ...]) -> tuple[User, list[str]]:
        """The user and the audiences that the token and the asker have in common. Raises TokenError."""
        claims = self._claims(token)
        now = self._now().timestamp()
        if now >= claims.get("exp", 0):
            raise TokenError("service account token has expired")
        if now < claims.get("nbf", 0):
            raise TokenError("service account token is not valid yet")
        common = [audience for audience in claims.get("aud", ()) if audience in audiences]
        if not common:
            raise TokenError(
                f"token audiences {claims.get('aud')} is invalid for the target audiences {list(audiences)}"
            )
        return self._check_objects(claims), common

    def _claims(self, token: str) -> dict[str, Any]:
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._signer.verify(token)
            if claims.get("iss") != self._signer.issuer:
                raise TokenError("token is from another issuer")
            if len(self._verified) > 4096:
                self._verified.clear()
            self._verified[digest] = claims
        return claims

    def _check_objects(self, claims: dict[str, Any]) -> User:
        private = claims.get("kubernetes.io") or {}
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        self._alive("serviceaccounts", namespace, account)
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims.get('jti', '')}"]}
        for kind, plural in (("pod", "pods"), ("secret", "secrets")):
            if kind in private:
                self._alive(plural, namespace, private[kind])
        if "pod" in private:
            extra["authentication.kubernetes.io/pod-name"] = [private["pod"]["name"]]
            extra["authentication.kubernetes.io/pod-uid"] = [private["pod"]["uid"]]
        if "node" in private:
            extra["authentication.kubernetes.io/node-name"] = [private["node"]["name"]]
            extra["authentication.kubernetes.io/node-uid"] = [private["node"].get("uid", "")]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(claims["sub"], groups, account.get("uid", ""), extra)

    def _alive(self, plural: str, namespace: str, wanted: dict[str, Any]) -> None:
        record = self._lookup("", plural).get(namespace, wanted.get("name", ""))
        if record is None or record.object["metadata"]["uid"] != wanted.get("uid"):
            raise TokenError(f"{plural} {namespace}/{wanted.get('name')} has been deleted")
