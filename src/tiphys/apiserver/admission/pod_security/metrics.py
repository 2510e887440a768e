"""What is counted of PodSecurity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiphys.apiserver.version import VERSION
from tiphys.machinery.metrics import Registry, Value

if TYPE_CHECKING:
    from tiphys.apiserver.admission.attributes import Attributes
    from tiphys.apiserver.admission.pod_security.policy import LevelVersion

_REQUEST = ("request_operation", "resource", "subresource")
_RESOURCES = {"pods": "pod", "namespaces": "namespace"}


KNOWN_LIMIT = 1000
"""Series that are found by one look; labels of namespaces are part of what they are found by."""


class PodSecurityMetrics:
    def __init__(self, registry: Registry) -> None:
        self._known: dict[tuple[object, ...], Value] = {}
        self._evaluations = registry.counter(
            "pod_security_evaluations_total",
            "Number of policy evaluations that occurred, not counting ignored or exempt requests.",
            ("decision", "policy_level", "policy_version", "mode", *_REQUEST),
        )
        self._exemptions = registry.counter(
            "pod_security_exemptions_total",
            "Number of exempt requests, not counting ignored or out of scope requests.",
            _REQUEST,
        )
        self._errors = registry.counter(
            "pod_security_errors_total", "Errors that prevented a usual evaluation.", ("fatal", *_REQUEST)
        )

    def evaluated(self, attributes: Attributes, asked: LevelVersion, mode: str, *, denied: bool) -> None:
        row = attributes.row
        key = (
            asked.level, asked.version, mode, denied, attributes.operation, row.plural, attributes.subresource
        )  # fmt: skip
        series = self._known.get(key)
        if series is None:
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            decision = "deny" if denied else "allow"
            series = self._known[key] = self._evaluations.labels(
                decision, asked.level, _version(asked), mode, *_labels(attributes)
            )
        series.value += 1

    def exempted(self, attributes: Attributes) -> None:
        self._exemptions.inc(*_labels(attributes))

    def failed(self, attributes: Attributes, *, fatal: bool) -> None:
        self._errors.inc("true" if fatal else "false", *_labels(attributes))


def _labels(attributes: Attributes) -> tuple[str, str, str]:
    resource = _RESOURCES.get(attributes.row.plural, "controller")
    return attributes.operation.lower(), resource, attributes.subresource


def _version(asked: LevelVersion) -> str:
    if asked.is_privileged:
        return "latest"
    return "future" if asked.version > int(VERSION["minor"]) else str(asked).partition(":")[2]
