"""EventRateLimit: no more events a second than the server, a namespace, a user or a source may write.

Buckets of tokens, one a key of each limit; the ones that were used longest ago are forgotten, and begin full again.
https://kubernetes.io/docs/reference/config-api/apiserver-eventratelimit.v1alpha1/
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.admission.configuration import (
    BadConfiguration,
    Configuration,
    expect,
    refuse,
    refuse_unknown,
)
from tiphys.machinery import errors
from tiphys.machinery.fields import FieldError, Path

_VERSIONS = ("eventratelimit.admission.k8s.io/v1alpha1",)
_KEYS_KEPT = 4096
_SOURCE, _INVOLVED = ("component", "host"), ("kind", "namespace", "name", "uid", "apiVersion")


def _source_and_object(attributes: Attributes) -> str:
    event = attributes.object or {}
    source, involved = event.get("source") or {}, event.get("involvedObject") or {}
    return "".join(
        [source.get(name) or "" for name in _SOURCE] + [involved.get(name) or "" for name in _INVOLVED]
    )


_KEYS: Mapping[str, Callable[[Attributes], str]] = {
    "Server": lambda attributes: "",
    "Namespace": lambda attributes: attributes.namespace,
    "User": lambda attributes: attributes.user.name,
    "SourceAndObject": _source_and_object,
}


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


@dataclass
class _Limit:
    kind: str
    qps: float
    burst: float
    keys_kept: int
    buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def takes(self, key: str, now: float) -> bool:
        """Whether there is a token left for a key; takes it."""
        bucket = self.buckets.setdefault(key, _Bucket(self.burst, now))
        self.buckets.move_to_end(key)
        if len(self.buckets) > self.keys_kept:
            self.buckets.popitem(last=False)
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.filled_at) * self.qps)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class EventRateLimit:
    name = "EventRateLimit"

    def __init__(self, configuration: Configuration | None = None) -> None:
        if configuration is None:
            raise BadConfiguration("limits: Required value: it limits nothing without a configuration")
        expect(configuration, "Configuration", _VERSIONS, ("limits",))
        limits, path = configuration.get("limits"), Path("limits")
        if not isinstance(limits, list) or not limits:
            raise BadConfiguration("limits: Invalid value: null: must not be empty")
        self._limits = [_read(limit, path.index(position)) for position, limit in enumerate(limits)]

    def validate(self, attributes: Attributes) -> None:
        if attributes.operation not in (CREATE, UPDATE) or attributes.dry_run:
            return
        if not attributes.is_for("", "events"):
            return
        now = attributes.call.server.clock.monotonic()
        refusal = ""
        for limit in self._limits:  # each counts it, whatever the others say
            key = _KEYS[limit.kind](attributes)
            if not limit.takes(key, now):
                refusal = f"limit reached on type {limit.kind} for key {key}"
        if refusal:
            raise errors.too_many_requests(f"Too many requests: {refusal}")


def _read(limit: Any, path: Path) -> _Limit:
    if not isinstance(limit, dict):
        raise BadConfiguration(f"{path}: it is no object")
    refuse_unknown(limit, ("type", "qps", "burst", "cacheSize"), f"{path}.")
    kind, kept = limit.get("type", ""), limit.get("cacheSize") or 0
    problems: list[FieldError] = []
    if kind not in _KEYS:
        problems.append(FieldError.not_supported(path.child("type"), kind, sorted(_KEYS)))
    for name in ("burst", "qps"):
        value = limit.get(name) or 0
        if not isinstance(value, int) or value <= 0:
            problems.append(FieldError.invalid(path.child(name), value, "must be positive"))
    if kind != "Server" and (not isinstance(kept, int) or kept < 0):
        problems.append(FieldError.invalid(path.child("cacheSize"), kept, "must not be negative"))
    refuse(problems)
    return _Limit(kind, limit["qps"], limit["burst"], kept or _KEYS_KEPT)
