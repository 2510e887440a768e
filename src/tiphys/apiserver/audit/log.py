"""Lines of JSON in a file that is rotated: by size, keeping so many old ones for so many days (as `--audit-log-*` say)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery.frozen import frozen


@frozen
class Rotation:
    """Zero: no limit."""

    max_megabytes: int = 100
    max_backups: int = 0
    max_age_days: int = 0


class AuditLog:
    """`path` "-" is the standard output. Writing fails nobody: what cannot be written is counted by `lost()`."""

    def __init__(
        self, path: str, rotation: Rotation, now: Callable[[], datetime], lost: Callable[[], None]
    ) -> None:
        self._path = Path(path)
        self._rotation = rotation
        self._now = now
        self._lost = lost
        self._descriptor = -1
        self._size = 0
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

    def write(self, event: bytes) -> None:
        """One event, as JSON."""
        line = event + b"\n"
        limit = self._rotation.max_megabytes << 20
        try:
            if limit and self._size and self._size + len(line) > limit:
                self._rotate()
            self._size += os.write(self._descriptor, line)
        except OSError:
            self._lost()

    def _rotate(self) -> None:
        os.close(self._descriptor)
        stamp = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
        self._path.replace(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._open()
        self._forget_old()

    def _forget_old(self) -> None:
        rotation = self._rotation
        backups = sorted(self._path.parent.glob(f"{self._path.stem}-*{self._path.suffix}"), reverse=True)
        oldest = self._now().astimezone(UTC) - timedelta(days=rotation.max_age_days)
        for position, backup in enumerate(backups):
            too_many = rotation.max_backups and position >= rotation.max_backups
            if too_many or (rotation.max_age_days and _made(backup, self._path) < oldest):
                backup.unlink(missing_ok=True)

    async def close(self) -> None:
        if self._descriptor > 2:
            os.close(self._descriptor)
        self._descriptor = -1


def _made(backup: Path, path: Path) -> datetime:
    """When a backup was made, by its name; one that has another name is not ours, and new for ever."""
    text = backup.stem.removeprefix(f"{path.stem}-")
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H-%M-%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
