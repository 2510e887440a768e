"""Reads and understands the small files in which the kernel keeps its counts. Parsing is pure; a file that is not there is None."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tiphys.kubelet.stats.usage import InterfaceUsage, Pressure, PressureLine

_READ_BYTES = 1 << 16
_OTHERS_INTERFACES = ("lo", "veth", "docker", "nerdctl")


def read(path: str) -> str | None:
    # Without Path and file objects: a node with a hundred pods reads a thousand of these for one answer.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        pieces = []
        while piece := os.read(descriptor, _READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(descriptor)


def read_number(path: str) -> int | None:
    """None too where the file says "max"."""
    text = (read(path) or "").strip()
    return int(text) if text.isdecimal() else None


def fields(text: str | None) -> dict[str, int]:
    """Lines of a name and a number: memory.stat, cpu.stat, vmstat; and meminfo, in its kB."""
    found = {}
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdecimal():
            found[words[0].rstrip(":")] = int(words[1])
    return found


def pressure(text: str | None) -> Pressure | None:
    """A PSI file."""
    lines = {}
    for line in (text or "").splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=", 1) for pair in pairs)
        lines[kind] = PressureLine(
            float(values["avg10"]), float(values["avg60"]), float(values["avg300"]), int(values["total"])
        )
    if not lines:
        return None
    return Pressure(lines.get("some", PressureLine()), lines.get("full", PressureLine()))


def interfaces(text: str | None) -> tuple[InterfaceUsage, ...]:
    """/proc/net/dev, without loopback and the other ends of pods' interfaces."""
    return tuple(_interfaces(text or ""))


def _interfaces(text: str) -> Iterator[InterfaceUsage]:
    for line in text.splitlines():
        name, colon, rest = line.strip().partition(":")
        if not colon or name.startswith(_OTHERS_INTERFACES):
            continue
        counts = [int(word) for word in rest.split()]
        yield InterfaceUsage(name, *counts[:4], *counts[8:12])
