"""hostPath: a path of the node itself, made or checked as its type wants."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from tiphys.kubelet.volumes.request import Prepared, VolumeFailure, VolumeRequest

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


async def prepare(request: VolumeRequest) -> Prepared:
    if request.mount_options:
        raise VolumeFailure(
            "Mount options are not supported for this volume type",
            stage="MountVolume.MountOptionSupport check failed",
        )
    path = Path(request.source["path"])
    kind = request.source.get("type") or ""
    if kind == "DirectoryOrCreate" and not path.exists():
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate" and not path.exists():
        _make_file(path)
    wanted, name = _CHECKS.get(kind.removesuffix("OrCreate"), (None, ""))
    if wanted is not None and not (path.exists() and wanted(path.stat().st_mode)):
        raise VolumeFailure(f"hostPath type check failed: {path} is not a {name}")
    return Prepared(path)


def _make_file(path: Path) -> None:
    """Not the directories on the way."""
    try:
        path.touch(mode=0o644)
    except FileNotFoundError:
        raise VolumeFailure(f"open {path}: no such file or directory") from None
