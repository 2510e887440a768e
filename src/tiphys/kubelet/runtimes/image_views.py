"""The content of images as read-only directories: what image volumes are made of (KEP-4639), where a runtime cannot mount them itself."""

from __future__ import annotations

from typing import Protocol

from tiphys.machinery.frozen import frozen


@frozen
class FilesystemMount:
    """What is to be mounted, as mount(8) is told; paths are the node's."""

    kind: str
    source: str
    options: tuple[str, ...]


class ImageViews(Protocol):
    """All raise the errors of interface.py."""

    async def view(self, image_id: str, key: str) -> FilesystemMount | None:
        """The content of an image that is here, until `remove(key)`; asked again, the same. None: there is nothing to see."""

    async def remove(self, key: str) -> None:
        """Harmless when there is none. Nothing of it may be mounted any more."""


class NoImageViews:
    """Of a runtime whose images have no content."""

    async def view(self, image_id: str, key: str) -> FilesystemMount | None:
        return None

    async def remove(self, key: str) -> None:
        pass
