"""Which life of a container a log request means, and upstream's words when there is none (`validateContainerLogStatus`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.kubelet.access import Refusal
from tiphys.kubelet.kubelet import Kubelet
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.spec import Object, reported_status
from tiphys.machinery import meta

_PULLING = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


class LogGone(Exception):
    """The container was removed, and its log with it. The text is the log's, as upstream's: no refusal."""


def log_source(kubelet: Kubelet, pod: Object, container: str, *, previous: bool) -> SeenContainer:
    """Raises Refusal or LogGone."""
    worker, name = kubelet.worker(meta.uid(pod)), meta.name(pod)
    entry = worker.reported(container) if worker is not None else None
    if entry is None:
        # The kubelet has just begun, or has finished with the pod: what the API knows counts.
        entry = reported_status(pod, container)
    if entry is None:
        raise Refusal(400, f'container "{container}" in pod "{name}" is not available')
    id = container_id(entry, container, name, previous=previous)
    for life in worker.view.containers if worker is not None else ():
        if id.endswith(f"//{life.status.id}"):
            return life
    raise LogGone(f"unable to retrieve container logs for {id}")


def container_id(entry: Mapping[str, Any], container: str, pod: str, *, previous: bool) -> str:
    """Of a container's status. Raises Refusal."""
    state = entry.get("state") or {}
    last = (entry.get("lastState") or {}).get("terminated")
    last_id = (last or {}).get("containerID") or ""
    if previous:
        if not last_id:
            raise Refusal(400, f'previous terminated container "{container}" in pod "{pod}" not found')
        return str(last_id)
    if "running" in state:
        return str(entry.get("containerID") or "")
    if "terminated" in state or last is not None:
        # Where the next life could not even be made, the one before is meant.
        id = (state.get("terminated") or {}).get("containerID") or last_id
        if not id:
            raise Refusal(400, f'container "{container}" in pod "{pod}" is terminated')
        return str(id)
    if "waiting" in state:
        reason = state["waiting"].get("reason", "")
        text = _PULLING.get(reason, reason)
        raise Refusal(400, f'container "{container}" in pod "{pod}" is waiting to start: {text}')
    raise Refusal(400, f'container "{container}" in pod "{pod}" is waiting to start - no logs yet')
