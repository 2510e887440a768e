"""Where events go, and how requests depend on it: `--audit-log-mode`, `--audit-webhook-mode` and what belongs to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from tiphys.apiserver.audit.batches import Batches, Batching, Receiver
from tiphys.apiserver.audit.log import JSON, LEGACY, AuditLog, Rotation
from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.audit.policy import Level
from tiphys.apiserver.audit.webhook import AuditWebhook
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, KubeconfigWebhook
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

BATCH, BLOCKING, BLOCKING_STRICT = "batch", "blocking", "blocking-strict"
MODES = (BATCH, BLOCKING, BLOCKING_STRICT)
VERSION = "audit.k8s.io/v1"
TRUNCATED = "audit.k8s.io/truncated"
_WITH_BODIES = (Level.REQUEST.word, Level.REQUEST_RESPONSE.word)


class Backend(Protocol):
    """Where events go."""

    def write(self, event: bytes) -> Awaitable[bool] | bool:
        """One event, as JSON: whether a request that depends on it may go on. Something to wait for: the request waits."""

    async def close(self) -> None: ...


class Blocking:
    """Requests wait until their events have been taken. `strict`: one that is not taken matters."""

    def __init__(self, receiver: Receiver, *, strict: bool) -> None:
        self._receiver = receiver
        self._strict = strict

    def write(self, event: bytes) -> Awaitable[bool] | bool:
        taken = self._receiver.send((event,))
        if isinstance(taken, bool):
            return taken or not self._strict
        return taken if self._strict else asyncio.ensure_future(_whatever_comes_of(taken))

    async def close(self) -> None:
        await self._receiver.close()


async def _whatever_comes_of(taken: Awaitable[bool]) -> bool:
    await taken
    return True


class Truncating:
    """Keeps events small: without the bodies those that are too large, and not at all those that still are."""

    def __init__(self, backend: Backend, max_event_bytes: int, lost: Callable[[], None]) -> None:
        self._backend = backend
        self._max_event_bytes = max_event_bytes
        self._lost = lost

    def write(self, event: bytes) -> Awaitable[bool] | bool:
        if len(event) > self._max_event_bytes:
            event = truncated(event)
            if len(event) > self._max_event_bytes:
                self._lost()
                return True
        return self._backend.write(event)

    async def close(self) -> None:
        await self._backend.close()


def truncated(event: bytes) -> bytes:
    """An event without what was sent and answered, if its level has that."""
    told = orjson.loads(event)
    if told["level"] not in _WITH_BODIES:
        return event
    for name in ("requestObject", "responseObject"):
        told.pop(name, None)
    told["annotations"] = {**(told.get("annotations") or {}), TRUNCATED: "true"}
    return orjson.dumps(told)


@frozen
class Delivery:
    """The flags that log and webhook have both, as they are given for one of them."""

    plugin: str
    mode: str
    version: str
    batching: Batching
    truncate: bool
    max_batch_bytes: int
    max_event_bytes: int

    def problem(self) -> str:
        """Why it cannot be so; "" when it can."""
        plugin, batching = self.plugin, self.batching
        if self.mode not in MODES:
            return f"invalid audit {plugin} mode {self.mode}, allowed modes are {quote(','.join(MODES))}"
        if self.mode == BATCH:
            counts: list[tuple[str, float]] = [
                ("buffer size", batching.buffer_size),
                ("max batch size", batching.max_size),
            ]
            if batching.throttle:
                counts += [
                    ("throttle QPS", batching.batches_per_second),
                    ("throttle burst", batching.burst),
                ]
            for name, value in counts:
                if value <= 0:
                    return f"invalid audit batch {plugin} {name} {value:g}, must be a positive number"
        if self.max_event_bytes <= 0:
            return (
                f"invalid audit truncate {plugin} max event size {self.max_event_bytes}, "
                "must be a positive number"
            )
        if self.max_batch_bytes < self.max_event_bytes:
            return (
                f"invalid audit truncate {plugin} max batch size {self.max_batch_bytes}, "
                f"must be greater than max event size ({self.max_event_bytes})"
            )
        if self.version != VERSION:
            return 'invalid group version, allowed versions are [{"audit.k8s.io" "v1"}]'
        return ""

    def to(self, receiver: Receiver, server: APIServer, metrics: AuditMetrics) -> Backend:
        backend: Backend
        if self.mode == BATCH:
            backend = Batches(receiver, self.batching, server.clock, lambda: metrics.errors.inc("buffered"))
        else:
            backend = Blocking(receiver, strict=self.mode == BLOCKING_STRICT)
        if self.truncate:
            backend = Truncating(backend, self.max_event_bytes, lambda: metrics.errors.inc("truncate"))
        return backend


def _delivery(settings: Settings, plugin: str) -> Delivery:
    """What is set for `log` or `webhook`. Raises ConfigurationError."""

    def told(name: str) -> Any:
        return getattr(settings, f"audit_{plugin}_{name}")

    batching = Batching(
        told("batch_buffer_size"),
        told("batch_max_size"),
        told("batch_max_wait_seconds"),
        told("batch_throttle"),
        told("batch_throttle_qps"),
        told("batch_throttle_burst"),
        told("truncate_max_batch_bytes") if told("truncate") else 0,
    )
    delivery = Delivery(
        plugin,
        told("mode"),
        told("version"),
        batching,
        told("truncate"),
        told("truncate_max_batch_bytes"),
        told("truncate_max_event_bytes"),
    )
    if problem := delivery.problem():
        raise ConfigurationError(problem)
    return delivery


def log_backend(
    settings: Settings, server: APIServer, metrics: AuditMetrics, now: Callable[[], datetime]
) -> Backend:
    """Raises ConfigurationError."""
    delivery = _delivery(settings, "log")
    if settings.audit_log_format not in (LEGACY, JSON):
        raise ConfigurationError(
            f"invalid audit log format {settings.audit_log_format}, allowed formats are "
            f"{quote(f'{LEGACY},{JSON}')}"
        )
    rotation = Rotation(
        settings.audit_log_max_megabytes,
        settings.audit_log_max_backups,
        settings.audit_log_max_age_days,
        settings.audit_log_compress,
    )
    log = AuditLog(
        settings.audit_log_path,
        rotation,
        now,
        lambda: metrics.errors.inc("log"),
        form=settings.audit_log_format,
    )
    return delivery.to(log, server, metrics)


def webhook_backend(settings: Settings, server: APIServer, metrics: AuditMetrics) -> Backend:
    """Raises ConfigurationError."""
    delivery = _delivery(settings, "webhook")
    try:
        posting = KubeconfigWebhook(Path(settings.audit_webhook_config_file), server.service_dialer)
    except KubeconfigError as error:
        raise ConfigurationError(f"--audit-webhook-config-file: {error}") from None
    webhook = AuditWebhook(
        posting.send,
        posting.close,
        server.clock,
        metrics,
        first_backoff_seconds=settings.audit_webhook_initial_backoff_seconds,
    )
    return delivery.to(webhook, server, metrics)
