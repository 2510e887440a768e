"""The auditor of a server: begins a record for each request that the policy asks for, and writes its stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson

from tiphys.apiserver.audit.log import AuditLog, Rotation
from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.audit.policy import Level, Policy, read_policy
from tiphys.apiserver.audit.record import Record, event
from tiphys.apiserver.audit.webhook import AuditWebhook, Batching
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, KubeconfigWebhook
from tiphys.net.http import Response, Sink

if TYPE_CHECKING:
    from tiphys.apiserver.call import Call
    from tiphys.apiserver.server import APIServer

RECEIVED, STARTED, COMPLETE = "RequestReceived", "ResponseStarted", "ResponseComplete"


class Backend(Protocol):
    """Where events go."""

    def write(self, event: bytes) -> None:
        """One event, as JSON. Whatever comes of it, the request goes on."""

    async def close(self) -> None: ...


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
        self._events, self._levels = metrics.events.labels(), metrics.levels

    def begin(self, call: Call) -> None:
        """Sets `call.audit` when this request is to be written down."""
        verdict = self._policy.judge(call.user, call.info)
        self._levels.inc(verdict.level.word)
        if verdict.level is Level.NONE:
            return
        identifier = call.request.headers.get("audit-id") or call.server.new_audit_id()
        call.audit = Record(identifier, verdict, self._now(), dict(call.notes))
        self._write(call, RECEIVED, None)

    def end(self, call: Call, response: Response) -> None:
        """The answer is made; a stream goes on until its client or the server ends it."""
        if call.audit is None:
            if response.status != 401:
                return
            # Whoever is turned away at the door has not come past `begin`.
            self.begin(call)
            if call.audit is None:
                return
        if response.start is None and response.upgrade is None:
            self._write(call, COMPLETE, response)
            return
        self._write(call, STARTED, response)
        self._follow(call, response)

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

    def _write(self, call: Call, stage: str, response: Response | None) -> None:
        record = call.audit
        if record is not None and stage not in record.verdict.omitted_stages:
            line = orjson.dumps(event(call, record, stage, self._now(), response))
            self._events.value += 1
            for backend in self._backends:
                backend.write(line)

    async def close(self) -> None:
        for backend in self._backends:
            await backend.close()


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
        rotation = Rotation(
            settings.audit_log_max_megabytes, settings.audit_log_max_backups, settings.audit_log_max_age_days
        )
        backends.append(AuditLog(settings.audit_log_path, rotation, now, lambda: metrics.errors.inc("log")))
    if settings.audit_webhook_config_file:
        backends.append(_webhook(settings, server, metrics))
    return Auditor(policy, backends, now, metrics) if backends else None


def _webhook(settings: Settings, server: APIServer, metrics: AuditMetrics) -> AuditWebhook:
    try:
        webhook = KubeconfigWebhook(Path(settings.audit_webhook_config_file), server.service_dialer)
    except KubeconfigError as error:
        raise ConfigurationError(f"--audit-webhook-config-file: {error}") from None
    batching = Batching(
        settings.audit_webhook_batch_buffer_size,
        settings.audit_webhook_batch_max_size,
        settings.audit_webhook_batch_max_wait_seconds,
        settings.audit_webhook_batch_throttle,
        settings.audit_webhook_batch_throttle_qps,
        settings.audit_webhook_batch_throttle_burst,
        settings.audit_webhook_initial_backoff_seconds,
    )
    return AuditWebhook(webhook.send, webhook.close, batching, server.clock, metrics)
