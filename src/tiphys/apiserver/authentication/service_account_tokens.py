"""From a service account's token to its user: a token whose account, pod, node or secret is gone is nobody's.

Signatures are remembered by the token's hash (they do not change); expiry and bound objects are looked at every time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tiphys.apiserver.authentication.tokens import Audiences, Authenticated, TokenError
from tiphys.apiserver.cache import ResourceCache
from tiphys.apiserver.call import User
from tiphys.apiserver.service_accounts import LEGACY_CLAIM, LEGACY_ISSUER, Signer
from tiphys.machinery.meta import parse_time

Object = dict[str, Any]
Lookup = Callable[[str, str], ResourceCache]
LEEWAY_SECONDS = 60
"""For clocks that differ, and for what is being deleted to end in peace."""
_REMEMBERED = 4096
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_EXTRA = "authentication.kubernetes.io/"


class ServiceAccountTokens:
    """A TokenReader. `used(namespace, secret name, date)` is told when a token in a secret is used on another day than
    its label says."""

    def __init__(
        self,
        signer: Signer,
        lookup: Lookup,
        now: Callable[[], datetime],
        used: Callable[[str, str, str], None] = lambda namespace, name, date: None,
    ) -> None:
        self._signer = signer
        self._lookup = lookup
        self._now = now
        self._used = used
        self._verified: dict[bytes, Object] = {}

    def __call__(self, token: str, audiences: Audiences) -> Authenticated | None:
        claims = self._claims(token)
        if claims is None:
            return None
        if claims["iss"] == LEGACY_ISSUER:
            return self._legacy(token, claims, audiences)
        given = _audiences(claims)
        common = tuple(audience for audience in audiences if audience in given)
        if not common:
            wanted = " ".join(f'"{audience}"' for audience in audiences)
            has = " ".join(f'"{audience}"' for audience in given)
            raise TokenError(f"token audiences [{has}] is invalid for the target audiences [{wanted}]")
        self._check_time(claims)
        return self._bound(claims, common)

    def _claims(self, token: str) -> Object | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._verified.get(digest)
        if claims is None:
            claims = self._signer.verify(token)
            if claims is None:
                return None
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[digest] = claims
        return claims

    def _check_time(self, claims: Object) -> None:
        now = self._now().timestamp()
        ends, begins = claims.get("exp"), claims.get("nbf", 0)
        if ends is None or not _is_number(ends) or not _is_number(begins):
            raise TokenError(
                "service account token claims could not be validated due to unexpected validation error"
            )
        if now > ends + LEEWAY_SECONDS:
            raise TokenError("service account token has expired")
        if now < begins - LEEWAY_SECONDS:
            raise TokenError("service account token is not valid yet")

    def _bound(self, claims: Object, common: Audiences) -> Authenticated:
        private = _part(claims, "kubernetes.io")
        namespace, reference = _text(private, "namespace"), _part(private, "serviceaccount")
        account = self._account(namespace, _text(reference, "name"), _text(reference, "uid"), claims)
        extra: dict[str, list[str]] = {}
        if _text(claims, "jti"):
            extra[f"{_EXTRA}credential-id"] = [f"JTI={claims['jti']}"]
        for kind, plural in (("secret", "secrets"), ("pod", "pods"), ("node", "nodes")):
            if kind not in private:
                continue
            other = _part(private, kind)
            # The node of a pod's token is told, not asked for: it may go before the pod does.
            if kind != "node" or "pod" not in private:
                self._alive(plural, "" if kind == "node" else namespace, other)
            if kind != "secret":
                extra[f"{_EXTRA}{kind}-name"] = [_text(other, "name")]
                if _text(other, "uid"):
                    extra[f"{_EXTRA}{kind}-uid"] = [_text(other, "uid")]
        user = _user(account, extra)
        return Authenticated(user, common, self._staleness(claims, private))

    def _staleness(self, claims: Object, private: Object) -> tuple[tuple[str, str], ...]:
        warn_after = private.get("warnafter")
        if not _is_number(warn_after) or not warn_after:
            return ()
        late = int(self._now().timestamp()) - int(warn_after)
        if late <= 0:
            return ()
        said = f"subject: {claims['sub']}, seconds after warning threshold: {late}"
        return (("authentication.k8s.io/stale-token", said),)

    def _account(self, namespace: str, name: str, uid: str, claims: Object) -> Object:
        record = self._lookup("", "serviceaccounts").get(namespace, name)
        if record is None:
            raise TokenError(f'serviceaccounts "{name}" not found')
        if self._is_gone(record.object):
            raise TokenError(f"service account {namespace}/{name} has been deleted")
        found = record.object["metadata"]["uid"]
        if found != uid:
            raise TokenError(f"service account UID ({found}) does not match claim ({uid})")
        if claims.get("sub") != f"system:serviceaccount:{namespace}:{name}":
            raise TokenError("service account token subject does not match its claims")
        return record.object

    def _alive(self, plural: str, namespace: str, reference: Object) -> None:
        record = self._lookup("", plural).get(namespace, _text(reference, "name"))
        if record is None or self._is_gone(record.object):
            raise TokenError("service account token has been invalidated")
        found, claimed = record.object["metadata"]["uid"], _text(reference, "uid")
        if found != claimed:
            kind = plural.removesuffix("s")
            title = kind if kind == "node" else kind.capitalize()
            raise TokenError(
                f"{title} UID ({found}) does not match service account {kind} ref claim ({claimed})"
            )

    def _is_gone(self, obj: Object) -> bool:
        """Since a while: what ends gracefully still needs its token."""
        deleted = obj["metadata"].get("deletionTimestamp")
        return bool(deleted) and (self._now() - parse_time(deleted)).total_seconds() > LEEWAY_SECONDS

    # Tokens in secrets

    def _legacy(self, token: str, claims: Object, audiences: Audiences) -> Authenticated:
        common = tuple(audience for audience in audiences if audience in self._signer.audiences)
        if audiences and not common:
            raise TokenError("token audiences is invalid for the target audiences")
        namespace = _text(claims, f"{LEGACY_CLAIM}namespace")
        secret_name = _text(claims, f"{LEGACY_CLAIM}secret.name")
        name = _text(claims, f"{LEGACY_CLAIM}service-account.name")
        record = self._lookup("", "secrets").get(namespace, secret_name)
        if record is None or record.object["metadata"].get("deletionTimestamp"):
            raise TokenError("Token has been invalidated")
        secret = record.object
        kept = base64.b64decode((secret.get("data") or {}).get("token", ""))
        if not kept or not hmac.compare_digest(kept, token.encode()):
            raise TokenError("Token does not match server's copy")
        account = self._account(namespace, name, _text(claims, f"{LEGACY_CLAIM}service-account.uid"), claims)
        labels = secret["metadata"].get("labels") or {}
        if labels.get(INVALID_SINCE):
            raise TokenError(
                f"the token in secret {namespace}/{secret_name} for service account {namespace}/{name} has been marked "
                "invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
                f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            )
        today = self._now().strftime("%Y-%m-%d")
        if labels.get(LAST_USED) != today:
            self._used(namespace, secret_name, today)
        return _with_origin(_user(account, {}), common, account, secret_name)


def _with_origin(user: User, common: Audiences, account: Object, secret_name: str) -> Authenticated:
    """Those that were made by themselves, long ago, are worth a warning."""
    if any(each.get("name") == secret_name for each in account.get("secrets") or ()):
        warning = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens."
        return Authenticated(
            user, common, (("authentication.k8s.io/legacy-token-autogenerated-secret", secret_name),), warning
        )
    return Authenticated(user, common, (("authentication.k8s.io/legacy-token-manual-secret", secret_name),))


def _user(account: Object, extra: dict[str, list[str]]) -> User:
    metadata = account["metadata"]
    namespace = metadata["namespace"]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{metadata['name']}", groups, metadata["uid"], extra)


def _audiences(claims: Object) -> list[str]:
    given = claims.get("aud")
    if isinstance(given, str):
        return [given]
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _part(claims: Object, name: str) -> Object:
    found = claims.get(name)
    return found if isinstance(found, dict) else {}


def _text(claims: Object, name: str) -> str:
    found = claims.get(name)
    return found if isinstance(found, str) else ""
