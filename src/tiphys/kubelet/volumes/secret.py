"""secret: the keys of a Secret as files, in memory only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.kubelet.env import content
from tiphys.kubelet.volumes.request import (
    Prepared,
    Services,
    VolumeFailure,
    VolumeRequest,
    chosen_files,
    default_mode,
)
from tiphys.kubelet.volumes.writer import Payload, write_atomically


async def prepare(request: VolumeRequest) -> Prepared:
    # A volume names its secret otherwise than all other references do.
    source = {**request.source, "name": request.source.get("secretName", "")}
    files = await payload(source, request.services, default_mode(request.source))
    request.services.mounter.mount_tmpfs(request.directory)
    write_atomically(request.directory, files, request.services.now)
    return Prepared(request.directory)


async def payload(source: Mapping[str, Any], services: Services, mode: int) -> Payload:
    name = source.get("name", "")
    obj = await services.lookup("secret", name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise VolumeFailure(f'secret "{name}" not found')
    return chosen_files(content(obj), source, mode, "secret")
