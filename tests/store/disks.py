"""Disks that break when a test says so, as virtual file systems under SQLite."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw


class Disk(apsw.VFS):
    """The ordinary file system, with every write and sync announced first. What `announce` raises is the disk's answer."""

    def __init__(self, name: str, announce: Callable[[str, str], None]) -> None:
        self.name = name
        self.announce = announce
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "DiskFile":
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self.announce("deleted", filename)


class DiskFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.announce("write", self.path)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.disk.announce("sync", self.path)
        super().xSync(flags)
        self.disk.announce("synced", self.path)


class Platter:
    """What a power cut would leave: each file as it was when it was last synced, and nothing of what came after."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.syncs = 0

    def __call__(self, operation: str, path: str) -> None:
        if operation == "synced":
            self.syncs += 1
            shutil.copy(path, self.directory)
        if operation == "deleted":
            (self.directory / Path(path).name).unlink(missing_ok=True)


class FailOnce:
    """The disk refuses the n-th operation after `arm`, and then works again."""

    def __init__(self, error: type[apsw.Error]) -> None:
        self.error = error
        self.left: int | None = None
        self.failed = False

    def arm(self, number: int) -> None:
        self.left, self.failed = number, False

    def disarm(self) -> None:
        self.left = None

    def __call__(self, operation: str, path: str) -> None:
        if self.left is None or operation in ("synced", "deleted"):
            return
        self.left -= 1
        if self.left == 0:
            self.failed, self.left = True, None
            raise self.error("the disk refuses")


class Killer:
    """Keeps, for each write to the disk after `arm`, what the files hold just before: what a killed process leaves."""

    def __init__(self, directory: Path, images: Path) -> None:
        self.directory, self.images = directory, images
        self.armed = False
        self.count = 0

    def __call__(self, operation: str, path: str) -> None:
        if self.armed and operation == "write":
            image = self.images / str(self.count)
            image.mkdir(parents=True)
            for name in ("store.db", "store.db-wal"):
                shutil.copy(self.directory / name, image)
            self.count += 1
