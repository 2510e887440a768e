"""Prometheus' text of things that come and go: written for one answer, with the time of each measurement, and kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tiphys.machinery.metrics import number

COUNTER, GAUGE = "counter", "gauge"
Labels = Mapping[str, str]


class Exposition:
    """Families in the order of their names, as client_golang sorts them; samples in the order in which they came."""

    def __init__(self) -> None:
        self._heads: dict[str, str] = {}
        self._samples: dict[str, list[str]] = {}

    def declare(self, name: str, kind: str, text: str) -> None:
        self._heads[name] = f"# HELP {name} {text}\n# TYPE {name} {kind}"

    def add(self, name: str, labels: Labels, value: float, time: datetime | None = None) -> None:
        """A family that has no sample does not show."""
        written = ",".join(f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
        line = f"{name}{{{written}}} {number(value)}" if written else f"{name} {number(value)}"
        if time is not None:
            line += f" {round(time.timestamp() * 1000)}"
        self._samples.setdefault(name, []).append(line)

    def render(self) -> bytes:
        lines = []
        for name in sorted(self._samples):
            lines.append(self._heads[name])
            lines += self._samples[name]
        return "\n".join([*lines, ""]).encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
