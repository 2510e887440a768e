"""Tokens of service accounts for pods, from the API's TokenRequest; kept until four fifths of their life are over."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tiphys.client.client import Client
from tiphys.client.resources import SERVICEACCOUNTS
from tiphys.kubelet import spec
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.request import Token, VolumeFailure
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

DEFAULT_SECONDS = 3600
RENEW_AFTER = 0.8
OLDEST_SECONDS = 24 * 3600.0
"""A token is renewed after a day, however long it would be good."""
SHORTEST_REFRESH_SECONDS = 10.0


@frozen
class _Kept:
    text: str
    got_at: datetime
    renew_at: float
    expires_at: float


class Tokens:
    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: dict[str, dict[tuple[str, int], _Kept]] = {}

    async def get(self, pod: Object, wanted: Mapping[str, Any]) -> Token:
        """`wanted`: audience, expirationSeconds. Raises VolumeFailure."""
        audience = wanted.get("audience") or ""
        seconds = wanted.get("expirationSeconds") or DEFAULT_SECONDS
        kept = self._kept.setdefault(meta.uid(pod), {})
        found = kept.get((audience, seconds))
        now = self._clock.monotonic()
        if found is None or now >= found.renew_at:
            try:
                found = kept[audience, seconds] = await self._request(pod, audience, seconds)
            except VolumeFailure as failure:
                if found is None or now >= found.expires_at:
                    raise
                log.warning("pod %s keeps its old token: %s", spec.described(pod), failure)
        return Token(found.text, max(found.renew_at - now, SHORTEST_REFRESH_SECONDS))

    async def _request(self, pod: Object, audience: str, seconds: int) -> _Kept:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": meta.name(pod),
                    "uid": meta.uid(pod),
                },
            },
        }
        account = pod["spec"].get("serviceAccountName") or "default"
        asked, now = self._clock.monotonic(), self._clock.now()
        try:
            answer = await self._client.create_subresource(
                SERVICEACCOUNTS, account, "token", body, meta.namespace(pod)
            )
        except (StatusError, OSError, TimeoutError) as error:
            raise VolumeFailure(f"failed to fetch token: {error}") from error
        status = answer["status"]
        life = (meta.parse_time(status["expirationTimestamp"]) - now).total_seconds()
        return _Kept(status["token"], now, asked + min(life * RENEW_AFTER, OLDEST_SECONDS), asked + life)

    def forget(self, uid: str) -> None:
        self._kept.pop(uid, None)
