"""What is counted of configuration files that a server reads again when they change: authentication, authorization, encryption."""

from __future__ import annotations

import hashlib
from datetime import datetime

from tiphys.machinery.metrics import Registry


def server_identity(host: str) -> str:
    """By which this server is told from others of its cluster (upstream: of the host's name, too)."""
    return f"apiserver-{_hash(host).removeprefix('sha256:')[:26]}"


class ConfigReloads:
    """Of one file. `identity`: the server's, "" when it has none."""

    def __init__(self, registry: Registry, of: str, identity: str, stability: str) -> None:
        prefix = f"apiserver_{of}_config_controller"
        self._server = _hash(identity) if identity else ""
        self._total = registry.counter(
            f"{prefix}_automatic_reloads_total",
            f"Reloads of the {of} configuration.",
            ("status", "apiserver_id_hash"),
            stability=stability,
        )
        self._last = registry.gauge(
            f"{prefix}_automatic_reload_last_timestamp_seconds",
            f"When the {of} configuration was last reloaded.",
            ("status", "apiserver_id_hash"),
            stability=stability,
        )
        self._info = registry.gauge(
            f"{prefix}_last_config_info",
            f"The {of} configuration that is in use, by its hash.",
            ("apiserver_id_hash", "hash"),
        )

    def in_use(self, content: bytes) -> None:
        """A file was read at the start."""
        self._info.clear()
        self._info.set(1, self._server, _hash(content))

    def succeeded(self, content: bytes, now: datetime) -> None:
        self._count("success", now)
        self.in_use(content)

    def failed(self, now: datetime) -> None:
        self._count("failure", now)

    def _count(self, status: str, now: datetime) -> None:
        self._total.inc(status, self._server)
        self._last.set(now.timestamp(), status, self._server)


def _hash(data: bytes | str) -> str:
    return f"sha256:{hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()}"
