"""Writes a set of files so that a reader sees all of the old ones or all of the new ones (upstream's AtomicWriter).

volume/..2026_11_22_10_00_00.123456789/key     the files, in a directory of their own for each version
volume/..data -> ..2026_11_22_10_00_00.123456789    replaced by one rename
volume/key -> ..data/key                       what the container opens
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tiphys.kubelet.volumes.ownership import Ownership
from tiphys.machinery.frozen import frozen

DATA = "..data"
VERSIONS = ".."


@frozen
class File:
    data: bytes
    mode: int
    user: int | None = None
    """Its owner, when it is not root's."""


Payload = Mapping[str, File]
"""Files by their path below the volume."""


def write_atomically(
    volume: Path, payload: Payload, now: datetime, ownership: Ownership | None = None
) -> bool:
    """Makes the volume hold exactly these files; False when it does already. Raises OSError.

    `ownership`: whose they are before anybody sees them.
    """
    data = volume / DATA
    old = os.readlink(data) if data.is_symlink() else ""
    if old and _holds(volume / old, payload):
        return False
    version = _new_version(volume, now)
    directory = volume / version
    directory.chmod(0o755)
    for path, file in payload.items():
        _write(directory, path, file)
    if ownership is not None:
        # Of all of it: what lies beside the version's directory may be new, too.
        ownership.apply(volume, read_only=True)
    temporary = volume / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(version)
    temporary.replace(data)
    _link_names(volume, {path.partition("/")[0] for path in payload})
    for entry in volume.glob(f"{VERSIONS}*"):
        # The old one, and what was left half written when we were killed.
        if entry.name not in (version, DATA, temporary.name):
            shutil.rmtree(entry, ignore_errors=True)
    return True


def _new_version(volume: Path, now: datetime) -> str:
    """Makes the directory of a version, however often the clock shows the same moment."""
    number = 0
    while (
        volume / (version := f"{VERSIONS}{now:%Y_%m_%d_%H_%M_%S}.{now.microsecond:06}{number:03}")
    ).exists():
        number += 1
    (volume / version).mkdir()
    return version


def _holds(directory: Path, payload: Payload) -> bool:
    present = {
        str(path.relative_to(directory)): path
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    if set(present) != set(payload):
        return False
    return all(_is(present[path], file) for path, file in payload.items())


def _is(path: Path, file: File) -> bool:
    """Group bits may have been added since for the pod's fsGroup."""
    status = path.stat()
    wanted = file.mode & 0o777
    return stat.S_IMODE(status.st_mode) & wanted == wanted and path.read_bytes() == file.data


def _write(directory: Path, path: str, file: File) -> None:
    """The umask has no say in what the API asked for."""
    parent = directory
    for name in Path(path).parts[:-1]:
        parent /= name
        if not parent.exists():
            parent.mkdir()
            parent.chmod(0o755)
    whole = directory / path
    whole.write_bytes(file.data)
    whole.chmod(file.mode)
    if file.user is not None:
        os.chown(whole, file.user, -1)


def _link_names(volume: Path, names: set[str]) -> None:
    for name in names:
        link = volume / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in volume.iterdir():
        if entry.is_symlink() and entry.name not in names and not entry.name.startswith(".."):
            entry.unlink()
