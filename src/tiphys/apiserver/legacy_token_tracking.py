"""The ConfigMap that says since when the use of tokens in secrets is noted: before that day, nobody knows whether one was used.

It is made at the start, comes back when somebody deletes it, and is put right when it says no day
(`pkg/controlplane/controller/legacytokentracking`). Started by `bootstrap`, ended by the API server.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tiphys.apiserver.cache import Event
from tiphys.machinery.clock import Timer
from tiphys.machinery.errors import StatusError, is_already_exists, is_conflict, is_not_found
from tiphys.machinery.retry.backoff import Backoff
from tiphys.store.interface import StoreError

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

NAME, NAMESPACE = "kube-apiserver-legacy-service-account-token-tracking", "kube-system"
CREATION_SECONDS = 1800.0
"""It is made no more often: of several servers one may be told to delete it."""
_RETRIES = Backoff(0.005, 1000.0)


class LegacyTokenTracking:
    """A watcher of ConfigMaps in one namespace."""

    namespace = NAMESPACE

    def __init__(self, server: APIServer) -> None:
        self._server = server
        self._creatable_at = float("-inf")
        self._timer: Timer | None = None
        self._looking = self._again = False
        self._failures = 0

    async def start(self) -> None:
        """Makes it, and follows it from then on."""
        self._server.writes.cache("", "configmaps").watch(self)
        await self._look()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def deliver(self, event: Event) -> None:
        if event.record.name == NAME:
            self._wake()

    def _wake(self) -> None:
        if self._looking:
            self._again = True
        else:
            self._looking = True
            self._server.spawn(self._look())

    async def _look(self) -> None:
        self._looking = True
        try:
            while True:
                self._again = False
                wait_seconds = await self._mend()
                if not self._again:
                    break
        except (StatusError, StoreError) as error:
            log.warning("the ConfigMap %s is not as it must be: %s", NAME, error)
            self._failures += 1
            wait_seconds = _RETRIES.delay_seconds(self._failures)
        else:
            self._failures = 0
        finally:
            self._looking = False
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._server.clock.call_later(wait_seconds, self._wake) if wait_seconds else None

    async def _mend(self) -> float:
        """What is wrong now. When to look again, 0: when it changes. Raises StatusError and StoreError."""
        record = self._server.writes.cache("", "configmaps").get(NAMESPACE, NAME)
        if record is None:
            now = self._server.clock.monotonic()
            if now < self._creatable_at:
                return self._creatable_at - now
            await self._create()
            self._creatable_at = now + CREATION_SECONDS
        elif not _is_date((record.object.get("data") or {}).get("since")):
            await self._put_right()
        return 0.0

    @property
    def _today(self) -> str:
        return f"{self._server.clock.now():%Y-%m-%d}"

    async def _create(self) -> None:
        made = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "data": {"since": self._today},
        }
        try:
            await self._server.writes.create(self._call(""), made)
        except StatusError as error:
            if not is_already_exists(error):
                raise

    async def _put_right(self) -> None:
        today = self._today

        def dated(old: dict[str, Any]) -> dict[str, Any]:
            return {**old, "data": {**(old.get("data") or {}), "since": today}}

        try:
            await self._server.writes.update(self._call(NAME), dated)
        except StatusError as error:
            if not is_not_found(error) and not is_conflict(error):
                raise

    def _call(self, name: str) -> Any:
        row = self._server.scheme.by_resource("", "v1", "configmaps")
        assert row is not None
        return self._server.internal_call(row, NAMESPACE, name)


def _is_date(text: Any) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%d")
    except (TypeError, ValueError):
        return False
    return True
