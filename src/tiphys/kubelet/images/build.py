"""Builds image archives with nothing but Python: a layer from files, and an OCI layout around it.

The same input gives the same bytes, hence the same digests: no times, no owners, entries in the order given.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from tiphys.kubelet.images import oci
from tiphys.kubelet.images.names import normalized
from tiphys.kubelet.images.oci import Descriptor
from tiphys.machinery.frozen import frozen

EPOCH = "1970-01-01T00:00:00Z"


@frozen
class Layer:
    """Files of one layer, by path without a leading slash."""

    directories: Mapping[str, int] = field(default_factory=dict)
    """path → mode"""
    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)
    """path → (content, mode)"""
    links: Mapping[str, str] = field(default_factory=dict)
    """path → target of a symbolic link"""

    def tar(self) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path, mode in self.directories.items():
                tar.addfile(_entry(path, tarfile.DIRTYPE, mode))
            for path, (content, mode) in self.files.items():
                entry = _entry(path, tarfile.REGTYPE, mode)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            for path, target in self.links.items():
                entry = _entry(path, tarfile.SYMTYPE, 0o777)
                entry.linkname = target
                tar.addfile(entry)
        return buffer.getvalue()


def _entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type = kind
    entry.mode = mode
    return entry


@frozen
class ImageSource:
    """An image to be: its names, its layers from the bottom up, and how it is run (the OCI config's "config")."""

    names: tuple[str, ...]
    layers: tuple[Layer, ...]
    config: Mapping[str, Any]


def write_archive(path: Path, images: Iterable[ImageSource], *, architecture: str | None = None) -> None:
    """An OCI layout as one tar, which open_archive(), `ctr images import`, skopeo and `docker load` read."""
    blobs: dict[str, bytes] = {}
    entries: list[dict[str, Any]] = []
    for image in images:
        entries += _add_image(image, blobs, architecture or oci.architecture())
    index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": _json(index)}
    files |= {f"blobs/sha256/{digest.partition(':')[2]}": data for digest, data in blobs.items()}
    path.write_bytes(Layer(files={name: (data, 0o644) for name, data in files.items()}).tar())


def _add_image(image: ImageSource, blobs: dict[str, bytes], architecture: str) -> list[dict[str, Any]]:
    """Adds the image's blobs; its entries of the index, one a name."""
    tars = [layer.tar() for layer in image.layers]
    layers = [_add(blobs, oci.LAYER_GZIP, gzip.compress(tar, 6, mtime=0)) for tar in tars]
    config = _add(blobs, oci.CONFIG, _json(_config(image.config, tars, architecture)))
    manifest = _add(blobs, oci.MANIFEST, _json(_manifest(config, layers)))
    return [_index_entry(manifest, normalized(name), architecture) for name in image.names]


def _config(config: Mapping[str, Any], tars: Sequence[bytes], architecture: str) -> dict[str, Any]:
    return {
        "created": EPOCH,
        "architecture": architecture,
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [oci.digest_of(tar) for tar in tars]},
    }


def _manifest(config: Descriptor, layers: Sequence[Descriptor]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": config.entry(),
        "layers": [layer.entry() for layer in layers],
    }


def _index_entry(manifest: Descriptor, name: str, architecture: str) -> dict[str, Any]:
    return {
        **manifest.entry(),
        "platform": {"architecture": architecture, "os": "linux"},
        "annotations": {oci.NAME_ANNOTATION: name, oci.TAG_ANNOTATION: name.rpartition(":")[2]},
    }


def _add(blobs: dict[str, bytes], media_type: str, data: bytes) -> Descriptor:
    digest = oci.digest_of(data)
    blobs[digest] = data
    return Descriptor(media_type, digest, len(data))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
