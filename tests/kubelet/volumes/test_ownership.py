"""fsGroup: whose files are, from the root of a volume to its last link; and when it is not looked at all of them again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tiphys.kubelet.volumes.ownership import Ownership

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
GROUP = 2000


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    (root / "sub").mkdir(parents=True)
    (root / "sub/file").touch(mode=0o600)
    (root / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").touch(mode=0o600)
    return root


def test_a_group_may_write_where_it_is_its_own(volume: Path) -> None:
    Ownership(GROUP).apply(volume)
    for path in (volume, volume / "sub", volume / "sub/file"):
        assert path.stat().st_gid == GROUP
    assert mode(volume / "sub/file") == 0o660
    assert mode(volume) & 0o2770 == mode(volume / "sub") & 0o2770 == 0o2770
    assert (volume / "link").lstat().st_gid == GROUP
    outside = volume.parent / "outside"
    assert (outside.stat().st_gid, mode(outside)) == (os.getgid(), 0o600)


def test_a_group_may_read_what_is_not_to_be_written(volume: Path) -> None:
    (volume / "sub/file").chmod(0o400)
    Ownership(GROUP).apply(volume, read_only=True)
    assert mode(volume / "sub/file") == 0o440


def test_without_a_group_nothing_is_touched(volume: Path) -> None:
    Ownership(None).apply(volume)
    assert (volume.stat().st_gid, mode(volume / "sub/file")) == (os.getgid(), 0o600)


def test_what_has_the_right_root_is_right_below_if_the_pod_says_so(volume: Path) -> None:
    Ownership(GROUP, "OnRootMismatch").apply(volume)
    (volume / "sub/file").chmod(0o600)
    Ownership(GROUP, "OnRootMismatch").apply(volume)
    assert mode(volume / "sub/file") == 0o600
    Ownership(GROUP).apply(volume)
    assert mode(volume / "sub/file") == 0o660
    volume.chmod(0o700)
    (volume / "sub/file").chmod(0o600)
    Ownership(GROUP, "OnRootMismatch").apply(volume)
    assert mode(volume / "sub/file") == 0o660
