"""The images that every node has from the start: the pause container's, and busybox, made of the host's own /bin/busybox.

So the first pod runs without a registry, a build tool or a network.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tiphys.cluster import pause
from tiphys.kubelet.images.archive import open_archive
from tiphys.kubelet.images.build import ImageSource, Layer, write_archive
from tiphys.kubelet.images.load import ImageLoader, ImportedImage

PAUSE_IMAGE = "localhost/pause:1"
"""The sandbox image; the kubelet's image collection must leave it alone."""
BUSYBOX_IMAGE = "docker.io/library/busybox:latest"
BUSYBOX = Path("/bin/busybox")
NOBODY = 65535
FORMAT = 1
"""Counts changes to what is built here, so that archives of older versions are not used again."""

_DIRECTORIES = [
    "bin",
    "dev",
    "etc",
    "home",
    "lib",
    "proc",
    "root",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/sbin",
    "var",
    "var/spool",
    "var/www",
]
_PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
tty:x:5:
www-data:x:33:
nogroup:x:65534:
"""


class BusyboxError(Exception):
    """The host's busybox cannot be made into an image; the text says why and what to do."""


def pause_source() -> ImageSource:
    layer = Layer(files={"pause": (pause.elf(), 0o755)})
    return ImageSource((PAUSE_IMAGE,), (layer,), {"Entrypoint": ["/pause"], "User": f"{NOBODY}:{NOBODY}"})


def busybox_source(program: bytes, applets: list[str]) -> ImageSource:
    """Like docker.io's busybox: everything in /bin, `sh` by default.

    It has no version tag: what asks for a certain version wants docker.io's, and a Pod's status shows the first tag of an image.
    """
    files = {"bin/busybox": (program, 0o755)}
    for name, text in (("passwd", _PASSWD), ("group", _GROUP), ("nsswitch.conf", "hosts: files dns\n")):
        files[f"etc/{name}"] = (text.encode(), 0o644)
    layer = Layer(
        directories={path: _mode(path) for path in _DIRECTORIES},
        files=files,
        links={f"bin/{applet}": "busybox" for applet in applets if applet != "busybox"},
    )
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return ImageSource((BUSYBOX_IMAGE,), (layer,), {"Cmd": ["sh"], "Env": [f"PATH={path}"]})


def _mode(path: str) -> int:
    return {"tmp": 0o1777, "root": 0o700}.get(path, 0o755)


def host_busybox(path: Path = BUSYBOX) -> ImageSource:
    """An image of this host's busybox. Raises BusyboxError."""
    try:
        program = path.read_bytes()
    except OSError as error:
        raise BusyboxError(f"{path}: {error.strerror}; install the package busybox-static") from error
    if not is_static(program):
        raise BusyboxError(f"{path} needs shared libraries; install the package busybox-static in its place")
    listing = subprocess.run([path, "--list"], capture_output=True, text=True, check=False)
    return busybox_source(program, listing.stdout.split())


def is_static(program: bytes) -> bool:
    """Whether a 64-bit little-endian ELF program asks for no interpreter (it has no PT_INTERP header)."""
    if program[:6] != b"\x7fELF\x02\x01":
        return False
    start = int.from_bytes(program[32:40], "little")
    size, count = (int.from_bytes(program[at : at + 2], "little") for at in (54, 56))
    kinds = [program[start + index * size :][:4] for index in range(count)]
    return (3).to_bytes(4, "little") not in kinds


def built_in_archive(directory: Path, busybox: Path = BUSYBOX) -> Path:
    """An archive of both images below the directory, built unless it is there. Raises BusyboxError."""
    try:
        state = busybox.stat()
    except OSError as error:
        raise BusyboxError(f"{busybox}: {error.strerror}; install the package busybox-static") from error
    key = f"{FORMAT} {busybox} {state.st_size} {state.st_mtime_ns} {pause.elf().hex()}"
    path = directory / f"built-in-{hashlib.sha256(key.encode()).hexdigest()[:16]}.tar"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        write_archive(unfinished, [pause_source(), host_busybox(busybox)])
        unfinished.replace(path)
    return path


async def provide_built_in_images(
    loader: ImageLoader, directory: Path, busybox: Path = BUSYBOX
) -> list[ImportedImage]:
    """Imports what of the built-in images the node does not have yet, as they are now; what it imported.

    A tag that the user has imported over one of ours stays the user's.
    """
    path = built_in_archive(directory, busybox)
    with open_archive(path) as archive:
        names = {name for image in archive.images for name in image.names}
    present = {image.name for image in await loader.images()}
    if names <= present and await loader.is_on_node(PAUSE_IMAGE):
        return []
    return await loader.import_archive(path)
