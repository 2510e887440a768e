"""The pods of a StatefulSet: an ordinal each, and with it a name, a place in DNS and claims that stay when the pod is made anew.

The claims are made before the pod. What becomes of them when the set is scaled down or deleted is told by their owners: the
retention policy is carried out by the garbage collector. The rules are upstream's `stateful_set_utils.go` and
`stateful_pod_control.go`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.client.resources import PERSISTENTVOLUMECLAIMS, PODS
from tiphys.client.transport import Object
from tiphys.controllers.actions import (
    NORMAL,
    WARNING,
    Action,
    Create,
    Delete,
    Note,
    Patch,
    RecordEvent,
    Update,
)
from tiphys.controllers.pods import pod_from_template, spec_of
from tiphys.controllers.revisions import POD_HASH
from tiphys.machinery import meta

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
DELETE = "Delete"
_NAME = re.compile(r"(.*)-([0-9]+)")

Claims = Mapping[str, Object]
"""PersistentVolumeClaims by name, as far as they are the set's."""


def ordinal_of(statefulset: Object, pod: Object) -> int | None:
    """Its number when its name is one of the set's, else None."""
    return ordinal_in(meta.name(statefulset), meta.name(pod))


def ordinal_in(parent: str, name: str) -> int | None:
    match = _NAME.fullmatch(name)
    return int(match[2]) if match is not None and match[1] == parent else None


def start_of(statefulset: Object) -> int:
    return int((spec_of(statefulset).get("ordinals") or {}).get("start") or 0)


def ordinals_of(statefulset: Object) -> range:
    """The ordinals that should have a pod."""
    start = start_of(statefulset)
    return range(start, start + int(spec_of(statefulset).get("replicas", 1)))


def pod_name(statefulset: Object, ordinal: int) -> str:
    return f"{meta.name(statefulset)}-{ordinal}"


def revision_of(pod: Object) -> str:
    return meta.labels(pod).get(POD_HASH, "")


# Pods


def new_pod(statefulset: Object, template: Mapping[str, Any], revision: str, ordinal: int) -> Object:
    pod = pod_from_template(template, statefulset)
    name = pod_name(statefulset, ordinal)
    metadata, spec = pod["metadata"], pod["spec"]
    labels = {
        **metadata.get("labels", {}),
        POD_HASH: revision,
        POD_NAME: name,
        POD_INDEX: str(ordinal),
    }
    given = spec_of(statefulset)
    subdomain = {"subdomain": given["serviceName"]} if given.get("serviceName") else {}
    own = _volumes(statefulset, ordinal)
    taken = {volume["name"] for volume in own}
    others = [volume for volume in spec.get("volumes") or () if volume.get("name") not in taken]
    volumes = {"volumes": [*own, *others]} if own or others else {}
    return {
        **pod,
        "metadata": {**metadata, "name": name, "labels": labels},
        "spec": {**spec, "hostname": name, **subdomain, **volumes},
    }


def _volumes(statefulset: Object, ordinal: int) -> list[dict[str, Any]]:
    return [
        {
            "name": meta.name(template),
            "persistentVolumeClaim": {"claimName": claim_name(statefulset, template, ordinal)},
        }
        for template in claim_templates(statefulset)
    ]


def create_pod(statefulset: Object, pod: Object) -> Create:
    done, failed = _notes("create", statefulset, pod)
    return Create(PODS, pod, done=done, failed=failed)


def delete_pod(statefulset: Object, pod: Object) -> Delete:
    done, failed = _notes("delete", statefulset, pod)
    return Delete(
        PODS,
        meta.name(pod),
        meta.namespace(pod),
        uid=meta.uid(pod),
        done=done,
        failed=failed,
    )


def restore_identity(statefulset: Object, pod: Object) -> Iterable[Patch]:
    """Its name is in a label, for Services of one pod: whoever takes that off gets it back."""
    if meta.labels(pod).get(POD_NAME) == meta.name(pod):
        return
    metadata = {
        "uid": meta.uid(pod),
        "resourceVersion": meta.resource_version(pod),
        "labels": {POD_NAME: meta.name(pod)},
    }
    done, failed = _notes("update", statefulset, pod)
    yield Patch(
        PODS,
        meta.name(pod),
        {"metadata": metadata},
        meta.namespace(pod),
        done=done,
        failed=failed,
    )


def _notes(verb: str, statefulset: Object, pod: Object) -> tuple[Note, Note]:
    about = f"{verb} Pod {meta.name(pod)} in StatefulSet {meta.name(statefulset)}"
    return (
        Note(NORMAL, f"Successful{verb.title()}", f"{about} successful"),
        Note(WARNING, f"Failed{verb.title()}", f"{about} failed error: {{error}}"),
    )


# Claims


def claim_templates(statefulset: Object) -> list[Object]:
    return list(spec_of(statefulset).get("volumeClaimTemplates") or ())


def claim_name(statefulset: Object, template: Object, ordinal: int) -> str:
    return f"{meta.name(template)}-{meta.name(statefulset)}-{ordinal}"


def claim_names(statefulset: Object, ordinal: int) -> list[str]:
    return [claim_name(statefulset, template, ordinal) for template in claim_templates(statefulset)]


def create_claims(statefulset: Object, ordinal: int, claims: Claims) -> Iterable[Action]:
    """Those of a pod that are not there yet."""
    set_name, pod = meta.name(statefulset), pod_name(statefulset, ordinal)
    for template in claim_templates(statefulset):
        name = claim_name(statefulset, template, ordinal)
        if name in claims:
            continue
        done = f"create Claim {name} Pod {pod} in StatefulSet {set_name} success"
        failed = f"create Claim {name} for Pod {pod} in StatefulSet {set_name} failed error: {{error}}"
        yield Create(
            PERSISTENTVOLUMECLAIMS,
            _new_claim(statefulset, template, name),
            done=Note(NORMAL, "SuccessfulCreate", done),
            failed=Note(WARNING, "FailedCreate", failed),
        )


def _new_claim(statefulset: Object, template: Object, name: str) -> Object:
    selector = spec_of(statefulset).get("selector") or {}
    labels = {**meta.labels(template), **(selector.get("matchLabels") or {})}
    annotations = dict(meta.annotations(template))
    owners = [meta.controller_reference(statefulset)] if _belongs_to_set(statefulset) else []
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": name,
            "namespace": meta.namespace(statefulset),
            **({"labels": labels} if labels else {}),
            **({"annotations": annotations} if annotations else {}),
            **({"ownerReferences": owners} if owners else {}),
        },
        "spec": template.get("spec") or {},
    }


def _policy(statefulset: Object, event: str) -> str:
    return str((spec_of(statefulset).get("persistentVolumeClaimRetentionPolicy") or {}).get(event, "Retain"))


def _belongs_to_set(statefulset: Object) -> bool:
    """Whether the claims of a pod that should be there go with the set."""
    return _policy(statefulset, "whenDeleted") == DELETE


def is_stale(statefulset: Object, ordinal: int, claims: Claims) -> bool:
    """A claim of the ordinal still belongs to a pod that is gone: it is about to be deleted, and nothing may use it before."""
    if _policy(statefulset, "whenScaled") != DELETE:
        return False
    pod = pod_name(statefulset, ordinal)
    return any(
        owner.get("kind") == "Pod" and owner.get("name") == pod
        for name in claim_names(statefulset, ordinal)
        for owner in meta.owner_references(claims.get(name, {}))
    )


def leaving_claims(statefulset: Object, ordinal: int, claims: Claims) -> list[str]:
    """The pod's claims that are being deleted: there can be no new ones before, and those cannot be used any more."""
    return [name for name in claim_names(statefulset, ordinal) if meta.is_deleting(claims.get(name, {}))]


def cannot_create(statefulset: Object, pod: str, claim: str) -> RecordEvent:
    about = f"create Pod {pod} in StatefulSet {meta.name(statefulset)}"
    return RecordEvent(WARNING, "FailedCreate", f"{about} failed error: pvc {claim} is being deleted")


def settle_owners(statefulset: Object, pod: Object, ordinal: int, claims: Claims) -> Iterable[Action]:
    """Claims whose owners are not what the retention policy says, changed."""
    for name in claim_names(statefulset, ordinal):
        claim = claims.get(name)
        if claim is None:
            continue
        if _has_other_controller(statefulset, pod, claim):
            message = (
                f"PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging "
                "controller, the retention policy is ignored for this claim"
            )
            yield RecordEvent(WARNING, "ConflictingController", message)
        elif (owners := _owners(statefulset, pod, ordinal, claim)) != list(meta.owner_references(claim)):
            metadata = {**meta.metadata(claim), "ownerReferences": owners}
            yield Update(PERSISTENTVOLUMECLAIMS, {**claim, "metadata": metadata})


def _has_other_controller(statefulset: Object, pod: Object, claim: Object) -> bool:
    if not _belongs_to_set(statefulset) and _policy(statefulset, "whenScaled") != DELETE:
        return False
    ours = (meta.uid(statefulset), meta.uid(pod))
    return any(
        owner.get("uid") not in ours and (owner.get("controller") or _is_namesake(owner, statefulset, pod))
        for owner in meta.owner_references(claim)
    )


def _is_namesake(owner: Mapping[str, Any], *objects: Object) -> bool:
    return any((owner.get("kind"), owner.get("name")) == (each["kind"], meta.name(each)) for each in objects)


def _owners(statefulset: Object, pod: Object, ordinal: int, claim: Object) -> list[Any]:
    """Others' references stay; ours are those of the policy."""
    ours = (meta.uid(statefulset), meta.uid(pod))
    others = [owner for owner in meta.owner_references(claim) if owner.get("uid") not in ours]
    is_surplus = ordinal not in ordinals_of(statefulset)
    if is_surplus and _policy(statefulset, "whenScaled") == DELETE:
        return [*others, meta.controller_reference(pod)]
    return [*others, meta.controller_reference(statefulset)] if _belongs_to_set(statefulset) else others
