"""Image volumes (KEP-4639): the content of an image as a directory that nobody may write to.

The images are had together with those of the containers that mount them (pod_images.py); they are mounted when such a container is
made, once for the pod, and let go with its other volumes.
"""

from __future__ import annotations

from pathlib import Path

from tiphys.kubelet.files import Files
from tiphys.kubelet.runtimes.interface import ImageNotFound, Runtime
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.mounting import Mounter
from tiphys.kubelet.volumes.pod_volumes import Volume
from tiphys.kubelet.volumes.used import IMAGE, image_volumes
from tiphys.machinery import meta


class ImageVolumes:
    def __init__(self, files: Files, runtime: Runtime, mounter: Mounter) -> None:
        self._files = files
        self._runtime = runtime
        self._mounter = mounter

    async def mount(self, pod: Object, container: Object) -> dict[str, Volume]:
        """What the container mounts of images. Raises RuntimeFailure, OSError."""
        return {
            volume["name"]: await self._mount(meta.uid(pod), volume)
            for volume in image_volumes(pod, container)
        }

    async def _mount(self, uid: str, volume: Object) -> Volume:
        name, reference = volume["name"], volume[IMAGE].get("reference") or ""
        image = await self._runtime.image_status(reference)
        if image is None:
            raise ImageNotFound(f"failed to mount image volume: image {reference} is not present")
        directory = self._files.volume(uid, IMAGE, name)
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        view = await self._runtime.image_views.view(image.id, _key(uid, name))
        if view is not None:
            self._mounter.mount(view.kind, view.source, directory, view.options)
        return Volume(name, directory, read_only=True)

    async def remove(self, uid: str) -> None:
        """Raises RuntimeFailure, OSError."""
        for directory in self._directories(uid):
            self._mounter.unmount_below(directory)
            await self._runtime.image_views.remove(_key(uid, directory.name))

    def _directories(self, uid: str) -> list[Path]:
        top = self._files.volume(uid, IMAGE, "x").parent
        return list(top.iterdir()) if top.is_dir() else []


def _key(uid: str, volume: str) -> str:
    """The same after a restart of ours, and for those who clean up after us."""
    return f"tiphys-volume-{uid}-{volume}"
