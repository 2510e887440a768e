"""What a container finds in its file system: volumes, parts of volumes, and nothing that is outside of them."""

from __future__ import annotations

import gc
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tiphys.kubelet.container_mounts import BadMount, MountMaker, devices, is_deeply_read_only, mounts_path
from tiphys.kubelet.files import Files
from tiphys.kubelet.runtimes.interface import Device, Mount
from tiphys.kubelet.subpath import BadSubPath, open_sub_path, wanted_path
from tiphys.kubelet.volumes.mounting import NoMounter
from tiphys.kubelet.volumes.pod_volumes import Volume

POD = {"metadata": {"name": "web", "namespace": "default", "uid": "u1"}, "spec": {}}


@dataclass
class Mounter(NoMounter):
    deep: list[Path] = field(default_factory=list)
    shared: list[Path] = field(default_factory=list)

    def bind(
        self, file: int, target: Path, *, is_deeply_read_only: bool = False, is_shared: bool = False
    ) -> Path:
        if is_deeply_read_only:
            self.deep.append(target)
        if is_shared:
            self.shared.append(target)
        return super().bind(file, target)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "volume"
    path.mkdir()
    return path


@pytest.fixture
def descriptors() -> Iterator[None]:
    """None stays open."""
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def mounts(volume: Volume, *wanted: dict[str, Any], mounter: Mounter | None = None) -> list[Mount]:
    container = {"name": "c", "volumeMounts": [{"name": "v", **mount} for mount in wanted]}
    maker = MountMaker(Files(volume.path.parent / "kubelet"), mounter or Mounter())
    return maker.mounts(POD, container, {"v": volume}, {"NAME": "x", "EMPTY": ""})


def resolve(volume: Path, path: str) -> Path:
    file = open_sub_path(volume, path, "v", "c")
    try:
        return Path(os.readlink(f"/proc/self/fd/{file}"))
    finally:
        os.close(file)


def test_a_volume_as_it_is_wanted(volume: Path) -> None:
    plain = {"mountPath": "data"}
    shared = {"mountPath": "/b", "readOnly": True, "mountPropagation": "Bidirectional"}
    assert mounts(Volume("v", volume), plain, shared) == [
        Mount("/data", str(volume)),
        Mount("/b", str(volume), read_only=True, propagation="Bidirectional"),
    ]
    assert mounts(Volume("v", volume, read_only=True), plain) == [Mount("/data", str(volume), read_only=True)]
    assert mounts_path({"volumeMounts": [{"mountPath": "/etc/hosts/"}]}, "/etc/hosts")
    assert not mounts_path({}, "/etc/hosts")


def test_a_part_of_a_volume(volume: Path) -> None:
    [expanded, plain] = mounts(
        Volume("v", volume),
        {"mountPath": "/a", "subPathExpr": "$(NAME)/y"},
        {"mountPath": "/b", "subPath": "$(NAME)"},
    )
    assert (expanded.host_path, plain.host_path) == (str(volume / "x/y"), str(volume / "$(NAME)"))


def test_a_part_of_a_volume_shows_later_mounts_if_its_container_wants_them(volume: Path) -> None:
    mounter = Mounter()
    part = {"mountPath": "/b", "subPath": "x"}
    mounts(Volume("v", volume), part, {**part, "mountPropagation": "HostToContainer"}, mounter=mounter)
    assert [path.name for path in mounter.shared] == ["1"]


def test_a_volume_as_a_device(volume: Path) -> None:
    wanted = {"volumeDevices": [{"name": "v", "devicePath": "/dev/disk"}]}
    assert devices(wanted, {"v": Volume("v", Path("/dev/sda"))}) == (Device("/dev/disk", "/dev/sda", "mrw"),)
    assert devices(wanted, {"v": Volume("v", Path("/dev/sda"), True)})[0].permissions == "r"


# Sub-paths


def test_a_sub_path_is_made_with_the_mode_of_the_volume(volume: Path, descriptors: None) -> None:
    volume.chmod(0o2775)
    previous = os.umask(0o077)
    try:
        assert resolve(volume, "a/b") == volume / "a/b"
    finally:
        os.umask(previous)
    assert stat.S_IMODE((volume / "a").stat().st_mode) == 0o2775
    assert stat.S_IMODE((volume / "a/b").stat().st_mode) == 0o2775
    (volume / "a/b").chmod(0o700)
    resolve(volume, "a/b")
    assert stat.S_IMODE((volume / "a/b").stat().st_mode) == 0o700, "what is there is not touched"


def test_a_sub_path_may_be_a_file_or_a_link_within(volume: Path, descriptors: None) -> None:
    (volume / "..data").symlink_to("..1")
    (volume / "..1").mkdir()
    (volume / "..1/key").write_text("x")
    (volume / "key").symlink_to("..data/key")
    assert resolve(volume, "key") == volume / "..1/key"


@pytest.mark.parametrize("path", ["link/x", "link", "loop", "file/x"])
def test_a_sub_path_that_leads_out_or_nowhere_is_refused(
    volume: Path, tmp_path: Path, path: str, descriptors: None
) -> None:
    (tmp_path / "out").mkdir()
    (volume / "link").symlink_to(tmp_path / "out")
    (volume / "loop").symlink_to("loop")
    (volume / "file").touch()
    with pytest.raises(BadSubPath, match=r'subPath( directory)? for volumeMount "v" of container "c"$'):
        resolve(volume, path)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_directory_that_becomes_a_link_meanwhile_is_not_followed(volume: Path, tmp_path: Path) -> None:
    """Between the resolution of the path and the walk: what a malicious container would try."""
    (tmp_path / "out").mkdir()
    (volume / "a").mkdir()

    class Swapped(type(volume)):  # type: ignore[misc]
        def resolve(self, strict: bool = False) -> Path:
            found = Path(self).resolve(strict)
            if found == volume / "a":
                (volume / "a").rmdir()
                (volume / "a").symlink_to(tmp_path / "out")
            return found if found == volume / "a" else Swapped(found)

    with pytest.raises(BadSubPath):
        open_sub_path(Swapped(volume), "a", "v", "c")


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"subPath": "/etc"}, "error SubPath `/etc` must not be an absolute path"),
        ({"subPath": "a/../../b"}, "unable to provision SubPath `a/../../b`: must not contain '..'"),
        ({"subPathExpr": "$(NONE)/$(EMPTY)/$(NAME)"}, "missing value for EMPTY, NONE"),
        ({"subPathExpr": "$(ROOT)"}, "error SubPath `/tmp` must not be an absolute path"),
    ],
)
def test_a_sub_path_that_cannot_be(mount: dict[str, str], message: str) -> None:
    with pytest.raises(BadSubPath) as caught:
        wanted_path(mount, {"NAME": "x", "EMPTY": "", "ROOT": "/tmp"})
    assert str(caught.value) == message


# recursiveReadOnly


def test_a_volume_for_reading_only_with_all_below_it(volume: Path) -> None:
    mounter = Mounter()
    wanted = {"mountPath": "/a", "readOnly": True, "recursiveReadOnly": "Enabled"}
    mounts(Volume("v", volume), {"mountPath": "/b"}, wanted, mounter=mounter)
    assert mounter.deep == [volume.parent / "kubelet/pods/u1/volume-subpaths/v/c/1"]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "read-only"),
        (
            {"readOnly": True, "mountPropagation": "HostToContainer"},
            'compatible with propagation "HostToContainer"',
        ),
    ],
)
def test_what_cannot_be_deeply_read_only(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(BadMount) as caught:
        is_deeply_read_only({"name": "v", "recursiveReadOnly": "IfPossible", **wanted})
    assert str(caught.value) == f'volume "v" requested recursive read-only mode, but it is not {message}'
