"""downwardAPI: fields of the pod as files; labels and annotations follow the pod while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.kubelet.downward import Surroundings, UnknownField, field_value, resource_value
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.empty_dir import mount_memory
from tiphys.kubelet.volumes.request import Prepared, VolumeFailure, VolumeRequest, default_mode
from tiphys.kubelet.volumes.writer import File, Payload, write_atomically


async def prepare(request: VolumeRequest) -> Prepared:
    files = payload(request.pod, request.source, request.services.around, default_mode(request.source))
    mount_memory(request)
    write_atomically(request.directory, files, request.services.now, request.ownership)
    return Prepared(request.directory)


def payload(pod: Object, source: Mapping[str, Any], around: Surroundings, mode: int) -> Payload:
    files: dict[str, File] = {}
    for item in source.get("items") or ():
        try:
            text = _text(pod, item, around)
        except UnknownField as error:
            raise VolumeFailure(str(error)) from None
        own_mode = item.get("mode")
        files[item["path"]] = File(text.encode(), mode if own_mode is None else own_mode)
    return files


def _text(pod: Object, item: Mapping[str, Any], around: Surroundings) -> str:
    if item.get("fieldRef"):
        return field_value(pod, item["fieldRef"]["fieldPath"], around)
    return resource_value(pod, None, item["resourceFieldRef"], around)
