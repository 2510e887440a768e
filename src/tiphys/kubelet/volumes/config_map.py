"""configMap: the keys of a ConfigMap as files."""

from __future__ import annotations

from tiphys.kubelet.volumes.empty_dir import make_directory
from tiphys.kubelet.volumes.payload import files_of
from tiphys.kubelet.volumes.request import Prepared, VolumeRequest, default_mode
from tiphys.kubelet.volumes.writer import write_atomically


async def prepare(request: VolumeRequest) -> Prepared:
    mode = default_mode(request.source)
    files = await files_of("configmap", request.source, request.services.lookups.find, mode)
    make_directory(request.directory)
    write_atomically(request.directory, files, request.services.now, request.ownership)
    return Prepared(request.directory)
