"""Signs the kubeconfig in the ConfigMap `cluster-info` with every bootstrap token that may (`pkg/controller/bootstrap/bootstrapsigner.go`).

Anybody may read it; who has a token knows by its signature that the authority in there is the cluster's. Off by default; kubeadm,
and `up`, turn it on.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import View
from tiphys.client.resources import CONFIGMAPS, SECRETS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Plan, Update
from tiphys.controllers.bootstrap import tokens
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta

NAME, NAMESPACE = "cluster-info", "kube-public"
KUBECONFIG, SIGNATURE = "kubeconfig", "jws-kubeconfig-"


def observe(configmap: Object, view: View) -> tuple[Object, ...]:
    """The bootstrap tokens."""
    return tuple(secret for secret in view.list(SECRETS, tokens.NAMESPACE) if tokens.is_token(secret))


def plan(configmap: Object, observed: tuple[Object, ...], now: datetime) -> Plan:
    data = configmap.get("data") or {}
    if KUBECONFIG not in data:
        return NOTHING
    signing = dict(filter(None, (tokens.for_signing(secret, now) for secret in observed)))
    wanted = {name: value for name, value in data.items() if not name.startswith(SIGNATURE)}
    wanted |= {
        f"{SIGNATURE}{identifier}": detached_signature(data[KUBECONFIG], identifier, key)
        for identifier, key in signing.items()
    }
    ends = [end for end in map(tokens.expiration, observed) if end is not None and end > now]
    again = (min(ends) - now).total_seconds() if ends else None
    if wanted == data:
        return Plan((), again)
    return Plan((Update(CONFIGMAPS, {**configmap, "data": wanted}),), again, "its signatures are others now")


def detached_signature(content: str, identifier: str, key: str) -> str:
    """A JWS (RFC 7515) by HS256 without the content, which is known: header..signature."""
    header = _encoded(json.dumps({"alg": "HS256", "kid": identifier}, separators=(",", ":")).encode())
    signed = hmac.new(key.encode(), f"{header}.{_encoded(content.encode())}".encode(), hashlib.sha256)
    return f"{header}..{_encoded(signed.digest())}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def is_signed(configmap: Object) -> bool:
    return meta.name(configmap) == NAME and meta.namespace(configmap) == NAMESPACE


def keys_of_secret(secret: Object, view: View) -> Iterable[str]:
    return (f"{NAMESPACE}/{NAME}",) if tokens.is_token(secret) else ()


CONTROLLER = Controller(
    name="bootstrap-signer-controller",
    kind=CONFIGMAPS,
    observe=observe,
    plan=plan,
    concerns=is_signed,
    watches=[Watch(SECRETS, keys_of_secret)],
)
