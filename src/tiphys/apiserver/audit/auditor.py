"""The auditor of a server: begins a record for each request that the policy asks for, and writes its stages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.apiserver.audit.log import AuditLog, Rotation
from tiphys.apiserver.audit.policy import Level, Policy, read_policy
from tiphys.apiserver.audit.record import Record, event
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.net.http import Response, Sink

if TYPE_CHECKING:
    from tiphys.apiserver.call import Call

RECEIVED, STARTED, COMPLETE = "RequestReceived", "ResponseStarted", "ResponseComplete"


class Auditor:
    def __init__(self, policy: Policy, log: AuditLog, now: Callable[[], datetime]) -> None:
        self._policy = policy
        self._log = log
        self._now = now

    def begin(self, call: Call) -> None:
        """Sets `call.audit` when this request is to be written down."""
        verdict = self._policy.judge(call.user, call.info)
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
            self._log.write(event(call, record, stage, self._now(), response))

    def close(self) -> None:
        self._log.close()


def auditor(settings: Settings, now: Callable[[], datetime]) -> Auditor | None:
    """None: nothing is audited. Raises ConfigurationError."""
    if not settings.audit_policy_file:
        if settings.audit_log_path:
            raise ConfigurationError("--audit-log-path: without --audit-policy-file nothing would be written")
        return None
    policy = read_policy(Path(settings.audit_policy_file))
    if not settings.audit_log_path:
        return None
    rotation = Rotation(
        settings.audit_log_max_megabytes, settings.audit_log_max_backups, settings.audit_log_max_age_days
    )
    return Auditor(policy, AuditLog(settings.audit_log_path, rotation, now), now)
