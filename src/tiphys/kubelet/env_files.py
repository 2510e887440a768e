"""Variables from a file that an init container left on an emptyDir (KEP-3721): `NAME='value'` lines, a strict part of what a shell reads.

The value is taken literally, over several lines if need be. The file belongs to whoever writes the volume: it is opened inside of the
volume without following links, and nothing that it says can lead elsewhere.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

LIMIT_BYTES = 1 << 20
_ENTRY = re.compile(r"([^\s=#'][^\s=]*)='([^']*)'[ \t\r]*(?:[ \t]#[^\n]*)?(?:\n|\Z)")
_SKIPPED = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_INDENTATION = re.compile(r"[ \t]*")
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class BadEnvFile(ValueError):
    """It cannot be read, or is malformed before the name that is looked for."""


def value_of(text: str, name: str) -> str:
    """The first value of a name; empty when it has none. What comes after it is not looked at. Raises BadEnvFile."""
    position = 0
    while position < len(text):
        skipped = _SKIPPED.match(text, position)
        if skipped is not None:
            position = skipped.end()
            continue
        start = _INDENTATION.match(text, position)
        entry = _ENTRY.match(text, start.end() if start else position)
        if entry is None:
            line = text.count("\n", 0, position) + 1
            raise BadEnvFile(f"invalid environment variable format at line {line}")
        if entry[1] == name:
            return entry[2]
        position = entry.end()
    return ""


def read(volume: Path, path: str) -> str:
    """The text of a regular file of a volume, of at most a mebibyte. Raises BadEnvFile."""
    try:
        root = volume.resolve()
        parts = (root / path.lstrip("/")).resolve().relative_to(root).parts
        file = _open(root, parts)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadEnvFile(str(error)) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise BadEnvFile("not a regular file")
    with os.fdopen(file, "rb") as opened:
        data = opened.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise BadEnvFile("the file is too large")
    return data.decode(errors="surrogateescape")


def _open(root: Path, parts: tuple[str, ...]) -> int:
    if not parts:
        raise IsADirectoryError("the path names no file")
    current = os.open(root, _DIRECTORY)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
        return os.open(parts[-1], _FILE, dir_fd=current)
    finally:
        os.close(current)
