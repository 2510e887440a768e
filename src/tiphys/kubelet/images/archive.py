"""Reads image archives: what `docker save` writes (manifest.json) and OCI layouts in a tar, either of them gzipped.

Both come out as one thing: blobs by digest, and images that name one of them. A docker archive has no manifest, so one is made.
Nothing is unpacked to disk, except that a gzipped archive is unzipped into a temporary file: its members are read out of order.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tiphys.kubelet.images import oci
from tiphys.kubelet.images.names import InvalidName, normalized
from tiphys.kubelet.images.oci import Descriptor
from tiphys.machinery.frozen import frozen

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
JSON_LIMIT_BYTES = 4 << 20
"""What a manifest or index may weigh (the distribution specification's advice)."""


class ArchiveError(Exception):
    """Not an image archive, or a damaged one; the text says what is wrong with it."""


@frozen
class Blob:
    descriptor: Descriptor
    open: Callable[[], IO[bytes]]
    references: tuple[Descriptor, ...] = ()
    """What it names, of what is in the archive: config and layers of a manifest, manifests of an index."""


@frozen
class ArchivedImage:
    names: tuple[str, ...]
    """Whole names: "docker.io/library/busybox:latest"."""
    target: Descriptor


@frozen
class Archive:
    images: tuple[ArchivedImage, ...]
    blobs: tuple[Blob, ...]
    """Each once, and after everything that it names."""


@contextmanager
def open_archive(path: Path, *, name: str | None = None) -> Iterator[Archive]:
    """Reads the archive's structure; blobs can be opened until the end of the context.

    name: for an archive of one image that does not say what it is called. Raises ArchiveError.
    """
    try:
        with _seekable(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            yield _read(_Members(tar), name)
    except FileNotFoundError:
        raise ArchiveError(f"{path}: no such file") from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{path}: not a tar archive of images: {error}") from error
    except (ArchiveError, InvalidName) as error:
        raise ArchiveError(f"{path}: {error}") from error


@contextmanager
def _seekable(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic != GZIP_MAGIC:
            yield file
            return
        with tempfile.TemporaryFile() as unzipped, gzip.open(file) as zipped:
            shutil.copyfileobj(zipped, unzipped, CHUNK_BYTES)
            unzipped.seek(0)
            yield unzipped


class _Members:
    """The files of a tar by their clean path; links lead to what they link to (docker archives share layers that way)."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._files = {posixpath.normpath(member.name): member for member in tar.getmembers()}

    def __contains__(self, path: str) -> bool:
        return self._resolve(path) is not None

    def size_bytes(self, path: str) -> int:
        return self._member(path).size

    def open(self, path: str) -> IO[bytes]:
        file = self._tar.extractfile(self._member(path))
        assert file is not None
        return file

    def json(self, path: str) -> Any:
        if self.size_bytes(path) > JSON_LIMIT_BYTES:
            raise ArchiveError(f"{path} is too large")
        try:
            return json.load(self.open(path))
        except ValueError as error:
            raise ArchiveError(f"{path} is not JSON: {error}") from error

    def _member(self, path: str) -> tarfile.TarInfo:
        member = self._resolve(path)
        if member is None:
            raise ArchiveError(f"{path} is missing from the archive")
        return member

    def _resolve(self, path: str) -> tarfile.TarInfo | None:
        path = posixpath.normpath(path)
        for _ in range(8):
            member = self._files.get(path)
            if member is None or member.isfile():
                return member
            if member.issym():
                path = posixpath.normpath(posixpath.join(posixpath.dirname(path), member.linkname))
            elif member.islnk():
                path = posixpath.normpath(member.linkname)
            else:
                return None
        return None


def _read(members: _Members, name: str | None) -> Archive:
    try:
        if "index.json" in members:
            archive = _OCILayout(members).read()
        elif "manifest.json" in members:
            archive = _read_docker(members)
        else:
            raise ArchiveError("neither an OCI layout (index.json) nor a docker archive (manifest.json)")
    except (KeyError, TypeError, AttributeError) as error:
        raise ArchiveError(f"its manifest is not as it should be: {error!r}") from error
    return _named(archive, name)


def _named(archive: Archive, name: str | None) -> Archive:
    if name is not None:
        if len(archive.images) != 1:
            raise ArchiveError(f"it holds {len(archive.images)} images, so they cannot all be named {name}")
        return Archive((ArchivedImage((normalized(name),), archive.images[0].target),), archive.blobs)
    if not archive.images:
        raise ArchiveError("it holds no image")
    nameless = [image.target.digest for image in archive.images if not image.names]
    if nameless:
        raise ArchiveError(f"it does not say what {nameless[0]} is called: give it a name")
    return archive


class _OCILayout:
    """index.json → manifests (or indexes of them) → config and layers, all under blobs/<algorithm>/."""

    def __init__(self, members: _Members) -> None:
        self._members = members
        self._blobs: dict[str, Blob] = {}

    def read(self) -> Archive:
        entries = [
            entry for entry in self._members.json("index.json")["manifests"] if self._has(entry["digest"])
        ]
        names: dict[str, list[str]] = {}
        targets: dict[str, Descriptor] = {}
        for entry in entries:
            target = targets[entry["digest"]] = self._add(Descriptor.of(entry))
            names.setdefault(target.digest, []).extend(self._names(entry, is_only=len(entries) == 1))
        images = [
            ArchivedImage(tuple(dict.fromkeys(names[digest])), target) for digest, target in targets.items()
        ]
        return Archive(tuple(images), tuple(self._blobs.values()))

    def _names(self, entry: dict[str, Any], *, is_only: bool) -> list[str]:
        annotations = entry.get("annotations") or {}
        name = annotations.get(oci.NAME_ANNOTATION) or annotations.get(oci.TAG_ANNOTATION) or ""
        # A bare tag ("latest", as skopeo writes) names nothing; `docker save` of today adds the names in manifest.json.
        if "/" in name or ":" in name:
            return [normalized(name)]
        if is_only and "manifest.json" in self._members:
            return [normalized(tag) for tag in self._members.json("manifest.json")[0].get("RepoTags") or []]
        return []

    def _add(self, descriptor: Descriptor) -> Descriptor:
        if descriptor.digest in self._blobs:
            return descriptor
        path = _blob_path(descriptor.digest)
        if self._members.size_bytes(path) != descriptor.size_bytes:
            raise ArchiveError(f"{path} is not as long as its descriptor says")
        references = self._references(descriptor, path)
        for reference in references:
            self._add(reference)
        self._blobs[descriptor.digest] = Blob(descriptor, lambda: self._members.open(path), references)
        return descriptor

    def _references(self, descriptor: Descriptor, path: str) -> tuple[Descriptor, ...]:
        if descriptor.media_type in oci.INDEXES:
            # An index may name platforms that were not saved with it.
            entries = [entry for entry in self._members.json(path)["manifests"] if self._has(entry["digest"])]
        elif descriptor.media_type in oci.MANIFESTS:
            manifest = self._members.json(path)
            entries = [manifest["config"], *manifest["layers"]]
        else:
            return ()
        return tuple(Descriptor.of(entry) for entry in entries)

    def _has(self, digest: str) -> bool:
        return _blob_path(digest) in self._members


def _blob_path(digest: str) -> str:
    algorithm, colon, encoded = digest.partition(":")
    if not colon or "/" in digest:
        raise ArchiveError(f"{digest!r} is not a digest")
    return f"blobs/{algorithm}/{encoded}"


def _read_docker(members: _Members) -> Archive:
    blobs: dict[str, Blob] = {}
    images = [_add_docker_image(members, entry, blobs) for entry in members.json("manifest.json")]
    return Archive(tuple(images), tuple(blobs.values()))


def _add_docker_image(members: _Members, entry: dict[str, Any], blobs: dict[str, Blob]) -> ArchivedImage:
    config = _file_blob(members, entry["Config"], oci.CONFIG)
    layers = [_file_blob(members, path, oci.LAYER) for path in entry["Layers"]]
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST,
            "config": config.descriptor.entry(),
            "layers": [layer.descriptor.entry() for layer in layers],
        }
    ).encode()
    target = Descriptor(oci.MANIFEST, oci.digest_of(data), len(data))
    references = tuple(blob.descriptor for blob in (config, *layers))
    for blob in (config, *layers, Blob(target, lambda: io.BytesIO(data), references)):
        blobs.setdefault(blob.descriptor.digest, blob)
    return ArchivedImage(tuple(normalized(tag) for tag in entry.get("RepoTags") or []), target)


def _file_blob(members: _Members, path: str, media_type: str) -> Blob:
    """A file that does not know its digest yet: read once to find it. A layer may be gzipped, whatever its name."""
    sha256 = hashlib.sha256()
    with members.open(path) as file:
        start = file.read(2)
        sha256.update(start)
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
    if media_type == oci.LAYER and start == GZIP_MAGIC:
        media_type = oci.LAYER_GZIP
    descriptor = Descriptor(media_type, f"sha256:{sha256.hexdigest()}", members.size_bytes(path))
    return Blob(descriptor, lambda: members.open(path))
