"""fsGroup: whose a volume's files are (upstream's SetVolumeOwnership)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tiphys.kubelet.security import pod_context
from tiphys.kubelet.spec import Object
from tiphys.machinery.frozen import frozen

ON_ROOT_MISMATCH = "OnRootMismatch"
_FOR_READING, _FOR_WRITING = 0o440, 0o660
_ON_DIRECTORIES = stat.S_ISGID | 0o110


@frozen
class Ownership:
    """`group`: None when the pod does not care."""

    group: int | None
    policy: str = "Always"

    @classmethod
    def of(cls, pod: Object) -> Ownership:
        context = pod_context(pod)
        return cls(context.get("fsGroup"), context.get("fsGroupChangePolicy") or "Always")

    def apply(self, volume: Path, *, read_only: bool = False) -> None:
        """Gives all of it to the group: files to read (and write), directories that pass the group on. Raises OSError."""
        if self.group is None:
            return
        bits = _FOR_READING if read_only else _FOR_WRITING
        if self.policy == ON_ROOT_MISMATCH and _is_given(volume, self.group, bits | _ON_DIRECTORIES):
            return
        for _, directories, files, directory in os.fwalk(volume, topdown=False):
            for name in (*files, *directories):
                _give(name, directory, self.group, bits)
        # The root at last: that it is right means that all below it is.
        top = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _give(".", top, self.group, bits)
        finally:
            os.close(top)


def _is_given(root: Path, group: int, bits: int) -> bool:
    status = root.stat()
    return status.st_gid == group and stat.S_IMODE(status.st_mode) & bits == bits


def _give(name: str, directory: int, group: int, bits: int) -> None:
    """Containers of other pods may exchange files for links meanwhile: what is opened here is what is changed."""
    file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        mode = os.fstat(file).st_mode
        if stat.S_ISLNK(mode):
            os.chown(name, -1, group, dir_fd=directory, follow_symlinks=False)
            return
        opened = f"/proc/self/fd/{file}"
        os.chown(opened, -1, group)
        os.chmod(opened, stat.S_IMODE(mode) | bits | (_ON_DIRECTORIES if stat.S_ISDIR(mode) else 0))
    finally:
        os.close(file)
