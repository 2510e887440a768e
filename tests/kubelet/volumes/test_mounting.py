"""The kernel's mounts, in a mount namespace of the test's own: made, found again, and gone without a trace elsewhere."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tiphys.kubelet.files import Files
from tiphys.kubelet.volumes.mounting import SystemMounter, mounts_below
from tiphys.kubelet.volumes.pod_volumes import remove_volumes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS, _MS_REC, _MS_SHARED = 0x20000, 16384, 1 << 20


def in_own_namespace(work: Callable[[], None]) -> None:
    """In a process of its own whose mounts end with it; shared among themselves, as a node's are."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        failure = ""
        try:
            assert _libc.unshare(_CLONE_NEWNS) == 0
            assert _libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | 1 << 18), None) == 0
            assert _libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_SHARED), None) == 0
            work()
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}"
        os.write(writer, failure.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        failure = pipe.read()
    os.waitpid(pid, 0)
    assert failure == ""


def opened(path: Path) -> int:
    return os.open(path, os.O_PATH)


def test_a_tmpfs_of_a_size(tmp_path: Path) -> None:
    def work() -> None:
        SystemMounter().mount("tmpfs", "tmpfs", tmp_path, ["size=1048576"])
        (tmp_path / "kept").touch()
        SystemMounter().mount("tmpfs", "tmpfs", tmp_path, ["size=4096"])
        assert (tmp_path / "kept").exists(), "it stays as it is"
        [line] = [line for line in Path("/proc/mounts").read_text().splitlines() if str(tmp_path) in line]
        release = tuple(int(number) for number in os.uname().release.split(".")[:2])
        assert ("noswap" in line) == (release >= (6, 4))
        assert os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize == 1 << 20

    in_own_namespace(work)


def test_a_bind_mount_for_reading_only(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "with space"
    source.mkdir()
    target.mkdir()

    def work() -> None:
        SystemMounter().mount("bind", str(source), target, ["bind", "ro"])
        assert mounts_below(tmp_path) == [target]
        with pytest.raises(OSError, match="Read-only"):
            (target / "x").touch()
        (source / "y").touch()
        assert (target / "y").exists()

    in_own_namespace(work)


def test_what_was_opened_is_mounted_whatever_lies_there_by_now(tmp_path: Path) -> None:
    mounter = SystemMounter()

    def work() -> None:
        (tmp_path / "first").write_text("1")
        (tmp_path / "second").mkdir()
        file = opened(tmp_path / "first")
        (tmp_path / "first").rename(tmp_path / "elsewhere")
        target = mounter.bind(file, tmp_path / "at/0")
        assert target.read_text() == "1"
        mounter.bind(opened(tmp_path / "second"), tmp_path / "at/0")
        assert target.is_dir()
        assert mounts_below(tmp_path) == [target], "instead of what was there"

    in_own_namespace(work)


def test_what_is_mounted_later_shows_only_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "source/later").mkdir(parents=True)

    def work() -> None:
        mounter = SystemMounter()
        mounter.mount("bind", str(tmp_path / "source"), tmp_path / "source", ["bind"])
        alone = mounter.bind(opened(tmp_path / "source"), tmp_path / "alone")
        shared = mounter.bind(opened(tmp_path / "source"), tmp_path / "shared", is_shared=True)
        mounter.mount("tmpfs", "tmpfs", tmp_path / "source/later")
        assert mounts_below(alone) == [alone]
        assert mounts_below(shared) == [shared, shared / "later"]

    in_own_namespace(work)


def test_deeply_read_only(tmp_path: Path) -> None:
    (tmp_path / "source/inner").mkdir(parents=True)

    def work() -> None:
        mounter = SystemMounter()
        mounter.mount("tmpfs", "tmpfs", tmp_path / "source/inner")
        target = mounter.bind(opened(tmp_path / "source"), tmp_path / "deep", is_deeply_read_only=True)
        for directory in (target, target / "inner"):
            with pytest.raises(OSError, match="Read-only"):
                (directory / "x").touch()
        (tmp_path / "source/inner/x").touch()

    in_own_namespace(work)


def test_removal_lets_go_of_everything_and_touches_nothing_that_is_the_nodes(tmp_path: Path) -> None:
    files = Files(tmp_path / "kubelet")
    nodes_own = tmp_path / "own"
    (nodes_own / "disk").mkdir(parents=True)
    (nodes_own / "file").touch()

    def work() -> None:
        mounter = SystemMounter()
        mounter.mount("bind", str(nodes_own), nodes_own, ["bind"])
        volume = files.volume("u1", "emptyDir", "v")
        (volume / "by the container").mkdir(parents=True)
        mounter.mount("tmpfs", "tmpfs", volume / "by the container")
        mounter.bind(opened(nodes_own), files.subpath("u1", "v", "c", 0), is_shared=True)
        local = files.volume("u1", "local", "pv")
        local.mkdir(parents=True)
        mounter.mount("bind", str(nodes_own), local, ["bind"])
        # What is mounted on the node later shows below all mounts that are the same.
        mounter.mount("tmpfs", "tmpfs", nodes_own / "disk")
        assert len(mounts_below(files.directory)) == 5
        of_the_node = mounts_below(nodes_own)
        remove_volumes("u1", files, mounter)
        assert mounts_below(files.directory) == []
        assert list(files.pod("u1").iterdir()) == []
        assert (nodes_own / "file").exists()
        assert mounts_below(nodes_own) == of_the_node
        remove_volumes("u1", files, mounter)

    in_own_namespace(work)


def test_what_is_still_mounted_is_not_removed(tmp_path: Path) -> None:
    files = Files(tmp_path / "kubelet")

    class Stubborn(SystemMounter):
        def unmount_below(self, directory: Path) -> None:
            pass

    def work() -> None:
        volume = files.volume("u1", "local", "pv")
        volume.mkdir(parents=True)
        (tmp_path / "own").mkdir()
        (tmp_path / "own/file").touch()
        SystemMounter().mount("bind", str(tmp_path / "own"), volume, ["bind"])
        with pytest.raises(OSError, match="still mounted"):
            remove_volumes("u1", files, Stubborn())
        assert (tmp_path / "own/file").exists()

    in_own_namespace(work)
