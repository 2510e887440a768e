"""secret: the keys of a Secret as files, in memory only."""

from __future__ import annotations

from tiphys.kubelet.volumes.empty_dir import mount_memory
from tiphys.kubelet.volumes.payload import files_of
from tiphys.kubelet.volumes.request import Prepared, VolumeRequest, default_mode
from tiphys.kubelet.volumes.writer import write_atomically


async def prepare(request: VolumeRequest) -> Prepared:
    # A volume names its secret otherwise than all other references do.
    source = {**request.source, "name": request.source.get("secretName", "")}
    files = await files_of("secret", source, request.services.lookups.find, default_mode(source))
    mount_memory(request)
    write_atomically(request.directory, files, request.services.now, request.ownership)
    return Prepared(request.directory)
