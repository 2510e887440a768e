"""The auditor of a server: begins a record for each request that the policy asks for, and writes its stages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from tiphys.apiserver.audit.backends import Backend, log_backend, webhook_backend
from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.audit.policy import Level, Policy, read_policy
from tiphys.apiserver.audit.record import Record, attempted, event
from tiphys.apiserver.responses import plain_internal_error
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.net.http import Response, Sink

if TYPE_CHECKING:
    from tiphys.apiserver.call import Call
    from tiphys.apiserver.server import APIServer

RECEIVED, STARTED, COMPLETE = "RequestReceived", "ResponseStarted", "ResponseComplete"


class Auditor:
    def __init__(
        self,
        policy: Policy,
        backends: Sequence[Backend],
        now: Callable[[], datetime],
        metrics: AuditMetrics,
    ) -> None:
        self._policy = policy
        self._backends = tuple(backends)
        self._now = now
        self._events, self._levels, self._rejected = metrics.events.labels(), metrics.levels, metrics.rejected

    def begin(self, call: Call) -> Response | Awaitable[Response | None] | None:
        """Sets `call.audit` when this request is to be written down; refuses one that cannot be, and must be (mode `blocking-strict`)."""
        verdict = self._policy.judge(call.user, call.info)
        self._levels.inc(verdict.level.word)
        if verdict.level is Level.NONE:
            return None
        identifier = call.request.headers.get("audit-id") or call.server.new_audit_id()
        call.audit = Record(identifier, verdict, self._now(), dict(call.notes))
        stored = self._write(call, RECEIVED, None)
        if stored is True:
            return None
        return self._refused(call) if stored is False else self._refused_unless(call, stored)

    async def _refused_unless(self, call: Call, stored: Awaitable[bool]) -> Response | None:
        return None if await stored else self._refused(call)

    def _refused(self, call: Call) -> Response:
        assert call.audit is not None
        call.audit.is_over = True
        self._rejected.inc()
        return plain_internal_error(call.request.target, "failed to store audit event")

    def end(self, call: Call, response: Response) -> None:
        """The answer is made; a stream goes on until its client or the server ends it. Sets `call.audit.stored`."""
        if call.audit is None:
            if response.status != 401:
                return
            stored = self._turned_away(call, response)
        elif response.start is None and response.upgrade is None:
            stored = self._write(call, COMPLETE, response)
        else:
            stored = self._write(call, STARTED, response)
            self._follow(call, response)
        if call.audit is not None and not isinstance(stored, bool):
            call.audit.stored = stored

    def _turned_away(self, call: Call, response: Response) -> Awaitable[bool] | bool:
        """Who is not let in at the door has not come past `begin`: one event tells what he showed."""
        verdict = self._policy.judge(call.user, call.info)
        self._levels.inc(verdict.level.word)
        if verdict.level is Level.NONE:
            return True
        identifier = call.request.headers.get("audit-id") or call.server.new_audit_id()
        call.audit = Record(identifier, verdict, self._now(), dict(call.notes))
        call.audit.attempted = attempted(call.request)
        return self._write(call, STARTED, response)

    def _follow(self, call: Call, response: Response) -> None:
        start, upgrade = response.start, response.upgrade
        if start is not None:

            def started(sink: Sink) -> None:
                start(sink)
                ended = sink.on_close

                def closed() -> None:
                    self._write(call, COMPLETE, response)
                    ended()

                if sink.closed:
                    self._write(call, COMPLETE, response)
                else:
                    sink.on_close = closed

            response.start = started
        elif upgrade is not None:

            async def upgraded(stream: object) -> None:
                try:
                    await upgrade(stream)  # type: ignore[arg-type]
                finally:
                    self._write(call, COMPLETE, response)

            response.upgrade = upgraded

    def _write(self, call: Call, stage: str, response: Response | None) -> Awaitable[bool] | bool:
        """Whether all backends have it that must, or will have it."""
        record = call.audit
        if record is None or record.is_over or stage in record.verdict.omitted_stages:
            return True
        line = orjson.dumps(event(call, record, stage, self._now(), response))
        self._events.value += 1
        stored, waiting = True, []
        for backend in self._backends:
            written = backend.write(line)
            if isinstance(written, bool):
                stored = written and stored
            else:
                waiting.append(written)
        if not waiting:
            return stored
        # A task: it goes on where nobody waits for it.
        return asyncio.ensure_future(_all_of(waiting) if stored else _none_of(waiting))

    async def close(self) -> None:
        for backend in self._backends:
            await backend.close()


async def _all_of(waiting: Sequence[Awaitable[bool]]) -> bool:
    return all(await asyncio.gather(*waiting))


async def _none_of(waiting: Sequence[Awaitable[bool]]) -> bool:
    await asyncio.gather(*waiting)
    return False


def auditor(settings: Settings, server: APIServer, metrics: AuditMetrics) -> Auditor | None:
    """None: nothing is audited. Raises ConfigurationError."""
    if not settings.audit_policy_file:
        for flag, value in (
            ("--audit-log-path", settings.audit_log_path),
            ("--audit-webhook-config-file", settings.audit_webhook_config_file),
        ):
            if value:
                raise ConfigurationError(f"{flag}: without --audit-policy-file nothing would be written")
        return None
    policy, now = read_policy(Path(settings.audit_policy_file)), server.clock.now
    backends: list[Backend] = []
    if settings.audit_log_path:
        backends.append(log_backend(settings, server, metrics, now))
    if settings.audit_webhook_config_file:
        backends.append(webhook_backend(settings, server, metrics))
    return Auditor(policy, backends, now, metrics) if backends else None
