"""The files that ConfigMaps and Secrets become."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tiphys.kubelet.env import content
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.request import Kind, VolumeFailure
from tiphys.kubelet.volumes.writer import File, Payload

_MISSING_KEY: Mapping[str, str] = {
    "configmap": "configmap references non-existent config key: ",
    "secret": "references non-existent secret key: ",
}


async def files_of(
    kind: Kind, source: Mapping[str, Any], find: Callable[[Kind, str], Awaitable[Object | None]], mode: int
) -> Payload:
    """Of the object that `source` names; none when it is optional and not there. Raises VolumeFailure."""
    name, is_optional = source.get("name", ""), bool(source.get("optional"))
    obj = await find(kind, name)
    if obj is None:
        if is_optional:
            return {}
        raise VolumeFailure(f'{kind} "{name}" not found')
    values, items = content(obj), source.get("items")
    if not items:
        return {key: File(data, mode) for key, data in values.items()}
    found: dict[str, File] = {}
    for item in items:
        if item["key"] in values:
            own_mode = item.get("mode")
            found[item["path"]] = File(values[item["key"]], mode if own_mode is None else own_mode)
        elif not is_optional:
            raise VolumeFailure(f"{_MISSING_KEY[kind]}{item['key']}")
    return found
