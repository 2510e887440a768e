"""persistentvolumeclaim-protection-controller: a claim that a pod on a node uses stays until that pod is gone.

Rules are upstream's `pkg/controller/volume/pvcprotection`. A pod that is not on a node yet does not count: no kubelet starts one whose
claim is being deleted. When the cache knows no such pod, the API server is asked once more before the claim goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tiphys.client.cache import Index, View
from tiphys.client.client import Client
from tiphys.client.parts import DELETION, SPEC
from tiphys.client.resources import PERSISTENTVOLUMECLAIMS, PODS
from tiphys.client.transport import Object
from tiphys.controllers.actions import Plan
from tiphys.controllers.pods import spec_of
from tiphys.controllers.protection import Use, protect, waits_to_go
from tiphys.controllers.runner import Controller, Watch
from tiphys.machinery import meta

FINALIZER = "kubernetes.io/pvc-protection"


def _claims_of(pod: Object) -> Iterable[str]:
    """The keys of the claims that its volumes name, and of those that were made for its ephemeral ones."""
    for volume in spec_of(pod).get("volumes") or ():
        if volume.get("persistentVolumeClaim") is not None:
            yield f"{meta.namespace(pod)}/{volume['persistentVolumeClaim'].get('claimName', '')}"
        elif volume.get("ephemeral") is not None:
            yield f"{meta.namespace(pod)}/{meta.name(pod)}-{volume['name']}"


BY_CLAIM = Index("claim", _claims_of, SPEC)


def uses(pod: Object, claim: Object) -> bool:
    """Whether a pod on a node holds a claim. An ephemeral one is let go as soon as the kubelet is done with the pod."""
    if not spec_of(pod).get("nodeName"):
        return False
    for volume in spec_of(pod).get("volumes") or ():
        named = volume.get("persistentVolumeClaim")
        if named is not None and named.get("claimName") == meta.name(claim):
            return True
        made = volume.get("ephemeral") is not None and f"{meta.name(pod)}-{volume['name']}" == meta.name(
            claim
        )
        if made and meta.is_controlled_by(claim, pod) and not _is_shut_down(pod):
            return True
    return False


def _is_shut_down(pod: Object) -> bool:
    return meta.is_deleting(pod) and pod["metadata"].get("deletionGracePeriodSeconds") == 0


def observe(claim: Object, view: View) -> Use:
    if not waits_to_go(claim, FINALIZER):
        return Use(found=True)
    return Use(found=any(uses(pod, claim) for pod in view.by(PODS, BY_CLAIM, meta.namespaced_name(claim))))


async def gather(claim: Object, use: Use, client: Client) -> Use:
    if use.found:
        return use
    pods = await client.list(PODS, meta.namespace(claim))
    return Use(found=any(uses(pod, claim) for pod in pods.items))


def plan(claim: Object, use: Use, now: datetime) -> Plan:
    return protect(PERSISTENTVOLUMECLAIMS, claim, FINALIZER, use)


def keys_of_pod(pod: Object, view: View) -> Iterable[str]:
    """The claims of a pod that wait for it to go."""
    for key in _claims_of(pod):
        namespace, _, name = key.partition("/")
        claim = view.get(PERSISTENTVOLUMECLAIMS, name, namespace)
        if claim is not None and meta.is_deleting(claim):
            yield key


CONTROLLER = Controller(
    name="persistentvolumeclaim-protection-controller",
    kind=PERSISTENTVOLUMECLAIMS,
    observe=observe,
    gather=gather,
    plan=plan,
    watches=[Watch(PODS, keys_of_pod, parts=SPEC | DELETION)],
)
