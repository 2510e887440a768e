from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tiphys.cluster import images, pause
from tiphys.cluster.images import BusyboxError, built_in_archive, busybox_source, host_busybox, is_static
from tiphys.kubelet.images.archive import open_archive


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """A static program that lists two applets, if asked as busybox is."""
    path = tmp_path / "busybox"
    path.write_text("#!/bin/sh\nprintf 'busybox\\nsh\\nls\\n'\n")
    path.chmod(0o755)
    return path


def test_only_a_program_without_interpreter_is_static(tmp_path: Path) -> None:
    assert is_static(pause.elf())
    assert not is_static(Path(shutil.which("sh") or sys.executable).resolve().read_bytes())
    assert not is_static(b"#!/bin/sh\n")
    assert not is_static(b"")


def test_every_applet_is_a_link_to_busybox() -> None:
    source = busybox_source(b"program", ["busybox", "ls", "sh"])
    [layer] = source.layers
    assert layer.links == {"bin/ls": "busybox", "bin/sh": "busybox"}
    assert layer.files["bin/busybox"] == (b"program", 0o755)
    assert b"root:x:0:0:" in layer.files["etc/passwd"][0]
    assert layer.directories["tmp"] == 0o1777
    assert source.config["Cmd"] == ["sh"]


def test_a_dynamic_or_missing_busybox_is_told_with_its_cure(tmp_path: Path, busybox: Path) -> None:
    with pytest.raises(BusyboxError, match="needs shared libraries; install the package busybox-static"):
        host_busybox(busybox)
    for make in (lambda path: host_busybox(path), lambda path: built_in_archive(tmp_path / "images", path)):
        with pytest.raises(
            BusyboxError, match="No such file or directory; install the package busybox-static"
        ):
            make(tmp_path / "none")


def tarfile_as_it_is(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    return member


@pytest.mark.real
def test_the_hosts_busybox_becomes_an_image(tmp_path: Path) -> None:
    path = built_in_archive(tmp_path)
    with open_archive(path) as archive:
        assert sorted(name for image in archive.images for name in image.names) == [
            images.BUSYBOX_IMAGE,
            images.PAUSE_IMAGE,
        ]
        largest = max(archive.blobs, key=lambda blob: blob.descriptor.size_bytes)
        with largest.open() as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            tar.extraction_filter = tarfile_as_it_is  # an argument only since Python 3.11.4
            tar.extractall(tmp_path / "root")
    for applet in ("sh", "ls", "wget", "httpd", "nslookup"):
        assert os.readlink(tmp_path / "root/bin" / applet) == "busybox"
    result = subprocess.run([tmp_path / "root/bin/echo", "ahoy"], capture_output=True, check=True)
    assert result.stdout == b"ahoy\n"


@pytest.mark.real
def test_the_archive_is_built_once(tmp_path: Path) -> None:
    path = built_in_archive(tmp_path)
    built = path.stat()
    assert built_in_archive(tmp_path) == path
    assert path.stat().st_ino == built.st_ino
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
