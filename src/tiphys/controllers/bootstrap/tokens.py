"""What a secret of type bootstrap.kubernetes.io/token says (`k8s.io/cluster-bootstrap/util/secrets`)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tiphys.client.transport import Object
from tiphys.controllers.token_secrets import text
from tiphys.machinery import meta

TYPE, NAMESPACE = "bootstrap.kubernetes.io/token", "kube-system"
_NAME = re.compile(r"bootstrap-token-([a-z0-9]{6})")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def is_token(secret: Object) -> bool:
    return secret.get("type") == TYPE and meta.namespace(secret) == NAMESPACE


def expiration(secret: Object) -> datetime | None:
    """None: never. A time that cannot be read has come."""
    told = text(secret, "expiration")
    if not told:
        return None
    try:
        return meta.parse_time(told)
    except ValueError:
        return _LONG_AGO


def for_signing(secret: Object, now: datetime) -> tuple[str, str] | None:
    """(id, secret) of a token that may sign; None: it may not, or no more."""
    named = _NAME.fullmatch(meta.name(secret))
    identifier, key = text(secret, "token-id"), text(secret, "token-secret")
    end = expiration(secret)
    if named is None or named[1] != identifier or not key or (end is not None and end <= now):
        return None
    return (identifier, key) if text(secret, "usage-bootstrap-signing") == "true" else None
