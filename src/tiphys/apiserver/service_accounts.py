"""Tokens of service accounts: the keys that sign and verify them, and what they say.

The claims are upstream's (`kubernetes.io` with namespace, serviceaccount, pod, node, secret), so that any OIDC verifier and any
client that looks inside a token finds what it knows. `authentication/service_account_tokens.py` reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tiphys.apiserver.authentication.jose import BadToken, SigningKey, VerificationKey, parse, public_keys
from tiphys.apiserver.authentication.tokens import TokenError
from tiphys.machinery.frozen import frozen

LEGACY_ISSUER = "kubernetes/serviceaccount"
"""Of tokens in secrets: they never expire, and are worth what the secret is."""
LEGACY_CLAIM = "kubernetes.io/serviceaccount/"


@frozen
class Bound:
    """What a token stands and falls with besides its account: kind is "Pod", "Secret" or "Node"."""

    kind: str
    name: str
    uid: str


class Signer:
    """Signs with one key (PEM) and verifies with that and others, for a change of keys is made in steps: the new one is
    verified everywhere before it signs, the old one for as long as its tokens live. Keys are read at their first use.

    The first issuer is written into tokens, all of them are accepted. Raises BadKey when a key is first used.
    """

    def __init__(
        self,
        private_key_pem: bytes,
        issuers: Sequence[str],
        audiences: tuple[str, ...] = (),
        *,
        public_key_pems: Sequence[bytes] = (),
    ) -> None:
        self._pem = private_key_pem
        self._public_pems = tuple(public_key_pems)
        self.issuers = tuple(issuers)
        self.audiences = audiences or self.issuers[:1]
        self._key: SigningKey | None = None
        self._keys: list[VerificationKey] | None = None

    @property
    def issuer(self) -> str:
        return self.issuers[0]

    @property
    def key(self) -> SigningKey:
        if self._key is None:
            self._key = SigningKey(self._pem)
        return self._key

    @property
    def keys(self) -> list[VerificationKey]:
        if self._keys is None:
            if self._public_pems:
                found = [key for pem in self._public_pems for key in public_keys(pem)]
            else:
                found = [self.key.public]
            self._keys = list({key.key_id: key for key in found}.values())
        return self._keys

    @property
    def key_id(self) -> str:
        return self.key.public.key_id

    def sign(self, claims: dict[str, Any]) -> str:
        return self.key.sign(claims)

    def verify(self, text: str) -> dict[str, Any] | None:
        """The claims of a token of our issuers with our signature; None: of others. Raises TokenError."""
        try:
            token = parse(text)
        except BadToken:
            return None
        if token.claims.get("iss") not in (*self.issuers, LEGACY_ISSUER):
            return None
        candidates = [key for key in self.keys if not token.key_id or key.key_id == token.key_id]
        if not any(key.verify(token) for key in candidates):
            raise TokenError("invalid signature")
        return token.claims

    def jwks(self) -> dict[str, Any]:
        """The public keys as a JSON Web Key Set, for verifiers elsewhere."""
        return {"keys": [key.jwk() for key in self.keys]}

    def algorithms(self) -> list[str]:
        """Those of the published keys."""
        return sorted({key["alg"] for key in self.jwks()["keys"]})


@frozen
class Lifetime:
    """Valid from `now`; with `warn_after_seconds`, what is used later than that was not renewed in time."""

    now: datetime
    seconds: int
    warn_after_seconds: int = 0


def make_claims(
    signer: Signer,
    account: dict[str, Any],
    audiences: Sequence[str],
    lifetime: Lifetime,
    *,
    identifier: str,
    bound: Sequence[Bound] = (),
) -> dict[str, Any]:
    """The claims of a token for a service account."""
    metadata = account["metadata"]
    private: dict[str, Any] = {
        "namespace": metadata["namespace"],
        "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
    }
    for other in bound:
        private[other.kind.lower()] = {"name": other.name, "uid": other.uid}
    issued = int(lifetime.now.timestamp())
    if lifetime.warn_after_seconds:
        private["warnafter"] = issued + lifetime.warn_after_seconds
    return {
        "aud": list(audiences or signer.audiences),
        "exp": issued + lifetime.seconds,
        "iat": issued,
        "iss": signer.issuer,
        "jti": identifier,
        "kubernetes.io": private,
        "nbf": issued,
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
    }


def legacy_claims(account: dict[str, Any], secret_name: str) -> dict[str, Any]:
    """The claims of a token that lives in a secret."""
    metadata = account["metadata"]
    return {
        "iss": LEGACY_ISSUER,
        f"{LEGACY_CLAIM}namespace": metadata["namespace"],
        f"{LEGACY_CLAIM}secret.name": secret_name,
        f"{LEGACY_CLAIM}service-account.name": metadata["name"],
        f"{LEGACY_CLAIM}service-account.uid": metadata["uid"],
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
    }
