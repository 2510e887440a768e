"""What a kind of volume is given to do its work, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tiphys.kubelet.downward import Surroundings
from tiphys.kubelet.env import Kind
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.mounting import Mounter
from tiphys.kubelet.volumes.writer import File

DEFAULT_MODE = 0o644


class VolumeFailure(Exception):
    """The volume cannot be had; the message is the end of upstream's FailedMount event."""


@dataclass(frozen=True, slots=True)
class Token:
    text: str
    refresh_after_seconds: float


@dataclass(frozen=True, slots=True)
class Services:
    """What volumes may ask for. `lookup(kind, name)`: an object of the pod's namespace, or None."""

    lookup: Callable[[Kind, str], Awaitable[Object | None]]
    token: Callable[[Mapping[str, Any]], Awaitable[Token]]
    around: Surroundings
    mounter: Mounter
    now: datetime


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """`source` is the volume's own field: that of `emptyDir:` for an emptyDir. `directory` exists."""

    pod: Object
    name: str
    source: Mapping[str, Any]
    directory: Path
    services: Services


@dataclass(frozen=True, slots=True)
class Prepared:
    """Where the volume lies on the node; when it must be looked at again."""

    path: Path
    refresh_after_seconds: float | None = None


def chosen_files(
    content: Mapping[str, bytes], source: Mapping[str, Any], default_mode: int, what: str
) -> dict[str, File]:
    """The keys that `items` names, at the paths and with the modes it gives them; without items all keys."""
    items = source.get("items")
    if not items:
        return {key: File(data, default_mode) for key, data in content.items()}
    found: dict[str, File] = {}
    for item in items:
        if item["key"] in content:
            mode = item.get("mode")
            found[item["path"]] = File(content[item["key"]], default_mode if mode is None else mode)
        elif not source.get("optional"):
            raise VolumeFailure(f"references non-existent {what} key: {item['key']}")
    return found


def default_mode(source: Mapping[str, Any]) -> int:
    mode = source.get("defaultMode")
    return DEFAULT_MODE if mode is None else int(mode)
