"""emptyDir: a directory that lives as long as the pod, on the node's disk or in memory."""

from __future__ import annotations

from tiphys.kubelet.volumes.request import Prepared, VolumeRequest
from tiphys.machinery.quantity import as_value


async def prepare(request: VolumeRequest) -> Prepared:
    directory = request.directory
    if request.source.get("medium") == "Memory":
        limit = request.source.get("sizeLimit")
        request.services.mounter.mount_tmpfs(directory, as_value(limit) if limit else 0)
    directory.chmod(0o777)
    return Prepared(directory)
