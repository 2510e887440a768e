"""References of container images (apiserver `pkg/cel/library/image.go`, go-containerregistry `pkg/name`)."""

from __future__ import annotations

import re

from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.frozen import frozen

_DEFAULT_REGISTRY = "index.docker.io"
_is_repository = re.compile(r"[a-z0-9_./-]{2,255}").fullmatch
_is_tag = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
_is_digest = re.compile(r"sha256:[a-f0-9]{64}").fullmatch
_is_registry = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]+)?").fullmatch


@frozen
class Image:
    registry: str
    repository: str
    tag: str
    digest: str

    @property
    def identifier(self) -> str:
        return self.digest or self.tag


def parse(text: str) -> Image:
    """ValueError when it is no reference of an image."""
    base, at, digest = text.partition("@")
    if at and not _is_digest(digest):
        raise ValueError(f"could not parse reference: {text}")
    head, colon, tag = base.rpartition(":")
    # A colon before a slash is that of a port.
    repository, tag = (head, tag) if colon and "/" not in tag else (base, "")
    if (tag or (colon and repository == head)) and not _is_tag(tag):
        raise ValueError(f"could not parse reference: {text}")
    registry, repository = _split(repository)
    if not _is_registry(registry) or not _is_repository(repository) or "//" in repository:
        raise ValueError(f"could not parse reference: {text}")
    return Image(registry, repository, "" if digest else tag or "latest", digest)


def _split(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and (re.search(r"[.:]", first) or first == "localhost"):
        registry, repository = first, rest
    else:
        registry, repository = _DEFAULT_REGISTRY, text
    if registry == "docker.io":
        registry = _DEFAULT_REGISTRY
    if registry == _DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def to_image(text: str) -> Image:
    try:
        return parse(text)
    except ValueError as error:
        raise CelRuntimeError(str(error)) from None


def is_image(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


IMAGE_TYPE = opaque("kubernetes.Image", Image)
_TYPES = {"Image": IMAGE_TYPE}

IMAGES = Library(
    "kubernetes.Image",
    tuple(
        function(signature, implementation, known=_TYPES)
        for signature, implementation in (
            ("image(string) -> Image", to_image),
            ("isImage(string) -> bool", is_image),
            ("Image.containsDigest() -> bool", lambda image: bool(image.digest)),
            ("Image.registry() -> string", lambda image: image.registry),
            ("Image.repository() -> string", lambda image: image.repository),
            ("Image.identifier() -> string", lambda image: image.identifier),
            ("Image.tag() -> string", lambda image: image.tag),
            ("Image.digest() -> string", lambda image: image.digest),
        )
    ),
    {"kubernetes.Image": IMAGE_TYPE},
)
