"""How the API shows pods that it did not order: mirror pods, made and deleted by the node. Pure.

A mirror has a uid of its own, and an annotation that says which static pod it is the mirror of. Whoever deletes it gets another one;
whoever wants to change it must change the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.kubelet.spec import CONFIG_MIRROR, Object
from tiphys.kubelet.static_pods.manifest import CONFIG_HASH
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

TAKEN = ("resourceVersion", "generation", "creationTimestamp")
"""What a static pod has of its mirror's metadata."""


@frozen
class CreateMirror:
    pod: Mapping[str, Any]


@frozen
class DeleteMirror:
    namespace: str
    name: str
    uid: str


def key_of(pod: Object) -> str:
    """Namespace and name: what a static pod and its mirror have in common."""
    return f"{meta.namespace(pod)}/{meta.name(pod)}"


def is_mirror(pod: Object) -> bool:
    return CONFIG_MIRROR in meta.annotations(pod)


def fits(mirror: Object, pod: Object) -> bool:
    """It shows this static pod, as it is now."""
    return meta.annotations(mirror).get(CONFIG_MIRROR) == meta.annotations(pod).get(CONFIG_HASH)


def decide(
    pod: Object | None, mirror: Object | None, node: Mapping[str, Any]
) -> CreateMirror | DeleteMirror | None:
    """What to do so that the API shows the static pod, or nothing if there is none. `node` as the API has it."""
    if mirror is not None:
        if pod is not None and fits(mirror, pod) and meta.deletion_time(mirror) is None:
            return None
        return DeleteMirror(meta.namespace(mirror), meta.name(mirror), meta.uid(mirror))
    if pod is None or meta.deletion_time(node) is not None:
        return None
    return CreateMirror(mirror_of(pod, node))


def mirror_of(pod: Object, node: Mapping[str, Any]) -> dict[str, Any]:
    """The object to create. Its priority is the API server's business."""
    metadata = {name: value for name, value in meta.metadata(pod).items() if name != "uid"}
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": meta.name(node),
        "uid": meta.uid(node),
        "controller": True,
    }
    annotations = {**meta.annotations(pod), CONFIG_MIRROR: meta.annotations(pod)[CONFIG_HASH]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "annotations": annotations, "ownerReferences": [owner]},
        "spec": {name: value for name, value in pod["spec"].items() if name != "priority"},
    }


def shown(pod: Object, mirror: Object | None) -> dict[str, Any]:
    """The static pod with what the API knows of it: its status."""
    if mirror is None or not fits(mirror, pod):
        return dict(pod)
    taken = {name: meta.metadata(mirror)[name] for name in TAKEN if name in meta.metadata(mirror)}
    metadata = {**meta.metadata(pod), **taken}
    # Of a mirror that is new, nothing was reported yet.
    status = {**pod["status"], **(mirror.get("status") or {})}
    return {**pod, "metadata": metadata, "status": status}
