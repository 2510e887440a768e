"""projected: several sources in one directory, among them the service account's token, which is renewed in place."""

from __future__ import annotations

from dataclasses import replace

from tiphys.kubelet import spec
from tiphys.kubelet.security import pod_context
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes import config_map, downward_api, secret
from tiphys.kubelet.volumes.request import Prepared, VolumeRequest, default_mode
from tiphys.kubelet.volumes.writer import File, write_atomically

PRIVATE_MODE = 0o600


async def prepare(request: VolumeRequest) -> Prepared:
    files: dict[str, File] = {}
    refresh: list[float] = []
    mode, services = default_mode(request.source), request.services
    for source in request.source.get("sources") or ():
        if "configMap" in source:
            files |= await config_map.payload(source["configMap"], services, mode)
        elif "secret" in source:
            files |= await secret.payload(source["secret"], services, mode)
        elif "downwardAPI" in source:
            files |= downward_api.payload(request.pod, source["downwardAPI"], services, mode)
        elif "serviceAccountToken" in source:
            wanted = source["serviceAccountToken"]
            token = await services.token(wanted)
            files[wanted["path"]] = _token_file(request.pod, token.text, mode)
            refresh.append(token.refresh_after_seconds)
    services.mounter.mount_tmpfs(request.directory)
    write_atomically(request.directory, files, services.now)
    return Prepared(request.directory, min(refresh, default=None))


def _token_file(pod: Object, text: str, mode: int) -> File:
    """Only its user may read it, where all containers agree on one; else as the volume's mode says."""
    file = File(text.encode(), mode)
    if pod_context(pod).get("fsGroup") is not None:
        return replace(file, mode=PRIVATE_MODE)
    users = {
        (container.get("securityContext") or {}).get("runAsUser", pod_context(pod).get("runAsUser"))
        for container in spec.all_containers(pod)
    }
    [user] = users if len(users) == 1 else [None]
    return file if user is None else replace(file, mode=PRIVATE_MODE, user=user)
