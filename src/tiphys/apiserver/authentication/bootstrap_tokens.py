"""Bootstrap tokens: secrets in kube-system with which a machine that has nothing yet asks for its first certificate.

https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable
from datetime import datetime

from tiphys.apiserver.authentication.tokens import Audiences, Authenticated
from tiphys.apiserver.cache import ResourceCache
from tiphys.apiserver.call import User
from tiphys.machinery.meta import parse_time

GROUP = "system:bootstrappers"
TYPE = "bootstrap.kubernetes.io/token"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUPS = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """A TokenReader over the secrets of kube-system."""

    def __init__(self, secrets: Callable[[], ResourceCache], now: Callable[[], datetime]) -> None:
        self._secrets = secrets
        self._now = now

    def __call__(self, token: str, audiences: Audiences) -> Authenticated | None:
        del audiences
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        record = self._secrets().get("kube-system", f"bootstrap-token-{match[1]}")
        if record is None:
            return None
        secret = record.object
        if secret.get("type") != TYPE or secret["metadata"].get("deletionTimestamp"):
            return None
        data = {name: _text(value) for name, value in (secret.get("data") or {}).items()}
        if not _same(data, "token-id", match[1]) or not _same(data, "token-secret", match[2]):
            return None
        if (
            self._has_expired(data.get("expiration", ""))
            or data.get("usage-bootstrap-authentication") != "true"
        ):
            return None
        groups = _groups(data.get("auth-extra-groups", ""))
        return None if groups is None else Authenticated(User(f"system:bootstrap:{match[1]}", groups))

    def _has_expired(self, text: str) -> bool:
        """A time that cannot be read has come."""
        if not text:
            return False
        try:
            return self._now() >= parse_time(text)
        except ValueError:
            return True


def _text(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "replace")


def _same(data: dict[str, str], name: str, given: str) -> bool:
    return hmac.compare_digest(data.get(name, "").encode(), given.encode())


def _groups(extra: str) -> tuple[str, ...] | None:
    """None: a group that a bootstrap token cannot give."""
    wanted = [group.strip() for group in extra.split(",")] if extra else []
    if not all(_GROUPS.fullmatch(group) for group in wanted):
        return None
    return (*sorted({GROUP, *wanted}), "system:authenticated")
