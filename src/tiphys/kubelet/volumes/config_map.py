"""configMap: the keys of a ConfigMap as files."""

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
    files = await payload(request.source, request.services, default_mode(request.source))
    write_atomically(request.directory, files, request.services.now)
    return Prepared(request.directory)


async def payload(source: Mapping[str, Any], services: Services, mode: int) -> Payload:
    name = source.get("name", "")
    obj = await services.lookup("configmap", name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise VolumeFailure(f'configmap "{name}" not found')
    return chosen_files(content(obj), source, mode, "config")
