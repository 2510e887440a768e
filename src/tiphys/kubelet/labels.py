"""The labels and annotations by which the kubelet knows its own sandboxes and containers again; upstream's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zlib import crc32

from tiphys.machinery import meta

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE_PERIOD = "io.kubernetes.pod.terminationGracePeriod"

Object = Mapping[str, Any]


def of_pod(pod: Object) -> dict[str, str]:
    """For a sandbox: the pod's own labels come first, so that ours cannot be overwritten."""
    return {
        **meta.labels(pod),
        POD_NAME: meta.name(pod),
        POD_NAMESPACE: meta.namespace(pod),
        POD_UID: meta.uid(pod),
    }


def of_container(pod: Object, container: Object) -> dict[str, str]:
    return {
        CONTAINER_NAME: container["name"],
        POD_NAME: meta.name(pod),
        POD_NAMESPACE: meta.namespace(pod),
        POD_UID: meta.uid(pod),
    }


def of_life(pod: Object, container: Object, attempt: int) -> dict[str, str]:
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return {
        CONTAINER_HASH: container_hash(container),
        RESTART_COUNT: str(attempt),
        TERMINATION_MESSAGE_PATH: container.get("terminationMessagePath", ""),
        TERMINATION_MESSAGE_POLICY: container.get("terminationMessagePolicy", ""),
        **({GRACE_PERIOD: str(grace)} if grace is not None else {}),
    }


def container_hash(container: Object) -> str:
    """Changes when the container must be made anew: for another name or image, nothing else (as upstream's)."""
    text = json.dumps({"name": container["name"], "image": container.get("image", "")}, sort_keys=True)
    return f"{crc32(text.encode()):x}"


def has_changed(container: Object, annotations: Mapping[str, str]) -> bool:
    """Whether a container was made from another definition than the pod has now; `annotations` are what it was made with."""
    made_as = annotations.get(CONTAINER_HASH)
    return bool(made_as) and made_as != container_hash(container)
