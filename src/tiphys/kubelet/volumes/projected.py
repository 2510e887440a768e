"""projected: several sources in one directory, among them the service account's token, which is renewed in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tiphys.kubelet import spec
from tiphys.kubelet.security import pod_context
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes import downward_api, trust_bundles
from tiphys.kubelet.volumes.empty_dir import mount_memory
from tiphys.kubelet.volumes.payload import files_of
from tiphys.kubelet.volumes.request import Prepared, VolumeFailure, VolumeRequest, default_mode
from tiphys.kubelet.volumes.writer import File, Payload, write_atomically

PRIVATE_MODE = 0o600


async def prepare(request: VolumeRequest) -> Prepared:
    """What fails is told of all sources together, as upstream does."""
    files: dict[str, File] = {}
    refresh: list[float] = []
    failures: list[str] = []
    for source in request.source.get("sources") or ():
        try:
            files |= await _payload(request, source, refresh)
        except VolumeFailure as failure:
            failures.append(str(failure))
    if failures:
        texts = list(dict.fromkeys(failures))
        raise VolumeFailure(texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]")
    mount_memory(request)
    write_atomically(request.directory, files, request.services.now, request.ownership)
    return Prepared(request.directory, min(refresh, default=None))


async def _payload(request: VolumeRequest, source: Mapping[str, Any], refresh: list[float]) -> Payload:
    mode, services = default_mode(request.source), request.services
    if source.get("configMap"):
        return await files_of("configmap", source["configMap"], services.lookups.find, mode)
    if source.get("secret"):
        return await files_of("secret", source["secret"], services.lookups.find, mode)
    if source.get("downwardAPI"):
        return downward_api.payload(request.pod, source["downwardAPI"], services.around, mode)
    if source.get("clusterTrustBundle"):
        wanted = source["clusterTrustBundle"]
        text = await trust_bundles.collect(wanted, services.lookups)
        return {wanted["path"]: _private_file(request.pod, text, mode)}
    if source.get("serviceAccountToken"):
        wanted = source["serviceAccountToken"]
        token = await services.lookups.token(wanted)
        refresh.append(token.refresh_after_seconds)
        return {wanted["path"]: _private_file(request.pod, token.text, mode)}
    if source.get("podCertificate"):
        raise VolumeFailure("pod certificates are not supported: feature PodCertificateRequest is disabled")
    return {}


def _private_file(pod: Object, text: str, mode: int) -> File:
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
