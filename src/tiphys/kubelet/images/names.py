"""Names of images, as everyone but their users spells them.

"busybox" is short for docker.io/library/busybox:latest. The rules are those of the distribution reference grammar
(github.com/distribution/reference) and of Docker's familiar names, which containerd follows.
"""

from __future__ import annotations

import re

from tiphys.machinery.frozen import frozen

DEFAULT_REGISTRY = "docker.io"
HUB_HOST = "registry-1.docker.io"
OFFICIAL_PREFIX = "library/"
NAME_LIMIT = 255

_DOMAIN = re.compile(
    r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]+)?"
    r"|\[[a-fA-F0-9:]+\](?::[0-9]+)?"
)
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[+._-][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")


class InvalidName(ValueError):
    """Not the name of an image; the text says why, in the words of the reference grammar."""


@frozen
class ImageName:
    """A whole name: registry and path, and a tag or a digest (a digest wins, the tag is dropped, as containerd does)."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def host(self) -> str:
        """Where the registry answers."""
        return HUB_HOST if self.registry == DEFAULT_REGISTRY else self.registry

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


def parse(text: str) -> ImageName:
    """The whole name that a user's name stands for. Raises InvalidName."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidName("invalid reference format")
    registry, remainder = _split_registry(rest)
    path, colon, tag = remainder.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidName("invalid reference format")
    if path != path.lower():
        raise InvalidName(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _PATH.fullmatch(path) or not _DOMAIN.fullmatch(registry):
        raise InvalidName("invalid reference format")
    if len(registry) + 1 + len(path) > NAME_LIMIT:
        raise InvalidName(f"repository name must not be more than {NAME_LIMIT} characters")
    return ImageName(registry, path, "" if at else tag or "latest", digest)


def normalized(text: str) -> str:
    """parse() as text: "busybox" → "docker.io/library/busybox:latest"."""
    return str(parse(text))


def _split_registry(text: str) -> tuple[str, str]:
    """A first component is a registry when it looks like a host: it has a dot or a port, is localhost, or is not lower case."""
    first, slash, remainder = text.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry, remainder = (first, remainder) if is_host else (DEFAULT_REGISTRY, text)
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in remainder:
        remainder = OFFICIAL_PREFIX + remainder
    return registry, remainder
