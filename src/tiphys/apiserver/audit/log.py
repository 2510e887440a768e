"""Lines in a file that is rotated: by size, keeping so many old ones for so many days (as `--audit-log-*` say)."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

JSON, LEGACY = "json", "legacy"
_COMPRESSED = ".gz"


@frozen
class Rotation:
    """Zero: no limit."""

    max_megabytes: int = 100
    max_backups: int = 0
    max_age_days: int = 0
    compress: bool = False


class AuditLog:
    """`path` "-" is the standard output. Writing fails nobody: what cannot be written is counted by `lost()`."""

    def __init__(
        self,
        path: str,
        rotation: Rotation,
        now: Callable[[], datetime],
        lost: Callable[[], None],
        *,
        form: str = JSON,
    ) -> None:
        self._path = Path(path)
        self._rotation = rotation
        self._now = now
        self._lost = lost
        self._is_legacy = form == LEGACY
        self._descriptor = -1
        self._size = 0
        self.compressing: set[asyncio.Future[None]] = set()
        """What is under way of that."""
        if path == "-":
            self._descriptor = sys.stdout.fileno()
            self._rotation = Rotation(0)
            return
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(f"--audit-log-path: {path}: {error.strerror}") from None

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def send(self, events: Sequence[bytes]) -> bool:
        """Whether all of them, each as JSON, are in the file."""
        written = [self._write(event) for event in events]
        return all(written)

    def _write(self, event: bytes) -> bool:
        line = (legacy(orjson.loads(event)).encode() if self._is_legacy else event) + b"\n"
        limit = self._rotation.max_megabytes << 20
        try:
            if limit and self._size and self._size + len(line) > limit:
                self._rotate()
            self._size += os.write(self._descriptor, line)
            return True
        except OSError:
            self._lost()
            return False

    def _rotate(self) -> None:
        os.close(self._descriptor)
        stamp = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
        self._path.replace(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._open()
        self._forget_old()
        if self._rotation.compress:
            self._compress_old()

    def _backups(self) -> list[Path]:
        """The newest first."""
        found = self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}*")
        return sorted(found, key=lambda path: path.name.removesuffix(_COMPRESSED), reverse=True)

    def _forget_old(self) -> None:
        rotation = self._rotation
        oldest = self._now().astimezone(UTC) - timedelta(days=rotation.max_age_days)
        for position, backup in enumerate(self._backups()):
            too_many = rotation.max_backups and position >= rotation.max_backups
            if too_many or (rotation.max_age_days and _made(backup, self._path) < oldest):
                backup.unlink(missing_ok=True)

    def _compress_old(self) -> None:
        """Beside the server: a hundred megabytes take seconds."""
        loop = asyncio.get_running_loop()
        for backup in self._backups():
            if not backup.name.endswith(_COMPRESSED):
                done = loop.run_in_executor(None, _compress, backup)
                self.compressing.add(done)
                done.add_done_callback(self.compressing.discard)

    async def close(self) -> None:
        await asyncio.gather(*self.compressing, return_exceptions=True)
        if self._descriptor > 2:
            os.close(self._descriptor)
        self._descriptor = -1


def _compress(path: Path) -> None:
    """A file becomes `<name>.gz`; at no time is there neither."""
    finished = path.with_name(path.name + _COMPRESSED)
    unfinished = path.with_name(path.name + ".tmp")
    with (
        path.open("rb") as plain,
        open(unfinished, "wb", opener=_private) as packed,
        gzip.GzipFile(filename="", fileobj=packed, mode="wb") as file,
    ):
        shutil.copyfileobj(plain, file, 1 << 20)
    unfinished.replace(finished)
    path.unlink()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _made(backup: Path, path: Path) -> datetime:
    """When a backup was made, by its name; one that has another name is not ours, and new for ever."""
    text = backup.name.removesuffix(_COMPRESSED).removesuffix(path.suffix).removeprefix(f"{path.stem}-")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H-%M-%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)


def legacy(event: dict[str, Any]) -> str:
    """An event as the line that came before JSON (`--audit-log-format=legacy`)."""
    user, other = event.get("user") or {}, event.get("impersonatedUser")
    fields = {
        "id": event["auditID"],
        "stage": event["stage"],
        "ip": (event.get("sourceIPs") or ["<unknown>"])[0],
        "method": event["verb"],
        "user": user.get("username") or "<none>",
        "groups": _listed(user.get("groups")) or "<none>",
        "as": "<self>" if other is None else other.get("username", ""),
        "asgroups": "<lookup>" if other is None or other.get("groups") is None else _listed(other["groups"]),
        "user-agent": event.get("userAgent", ""),
        "namespace": (event.get("objectRef") or {}).get("namespace") or "<none>",
        "uri": event["requestURI"],
    }
    response = event["responseStatus"].get("code", 0) if "responseStatus" in event else "<deferred>"
    text = " ".join(f"{name}={quote(value)}" for name, value in fields.items())
    return f'{event["requestReceivedTimestamp"]} AUDIT: {text} response="{response}"'


def _listed(groups: Sequence[str] | None) -> str:
    return ",".join(quote(group) for group in groups or ())
