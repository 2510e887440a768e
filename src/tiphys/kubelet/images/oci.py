"""The few facts of the OCI image specification that both reading and building archives need."""

from __future__ import annotations

import hashlib
import platform
from typing import Any

from tiphys.machinery.frozen import frozen

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_INDEX)

NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@frozen
class Descriptor:
    """A blob by its kind, digest ("sha256:…") and size."""

    media_type: str
    digest: str
    size_bytes: int

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Descriptor:
        return cls(entry.get("mediaType", ""), entry["digest"], entry["size"])

    def entry(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def architecture(machine: str | None = None) -> str:
    """This machine's name among images: "amd64"."""
    machine = machine or platform.machine()
    return ARCHITECTURES.get(machine, machine)
