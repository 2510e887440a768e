"""NodeRestriction: a node changes only what is its own: its Node, its lease, the pods that are bound to it.

Which objects it may read is the node authorizer's affair (`authorization/node.py`).
https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CONNECT, CREATE, DELETE, UPDATE, Attributes
from tiphys.apiserver.admission.node_credentials import pod_certificate, signing_request, token
from tiphys.apiserver.authorization.node import LEASES, node_of
from tiphys.apiserver.authorization.pod_references import MIRROR, all_references
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupResource

_OWN_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.kubernetes.io/region",
        "failure-domain.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED = "node-restriction.kubernetes.io"
_CLAIM_STATUS = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


class NodeRestriction:
    name = "NodeRestriction"

    def admit(self, attributes: Attributes) -> Awaitable[None] | None:
        node = node_of(attributes.user)
        if node is None or attributes.operation == CONNECT:
            return None
        if not node:
            raise attributes.forbidden(f'could not determine node from user "{attributes.user.name}"')
        row = attributes.row
        check = _CHECKS.get((row.group, row.plural, attributes.subresource))
        if check is not None:
            return check(node, attributes)
        if (row.group, row.plural) == ("", "pods"):
            raise attributes.forbidden(
                f"unexpected pod subresource \"{attributes.subresource}\", only 'status' and 'eviction' are allowed"
            )
        if (row.group, row.plural) == ("", "persistentvolumeclaims"):
            raise attributes.forbidden("may only update PVC status")
        return None


# Pods


def _pod(node: str, attributes: Attributes) -> None:
    if attributes.operation == CREATE:
        _mirror_pod(node, attributes)
    elif attributes.operation == DELETE:
        assert attributes.old is not None
        if attributes.old["spec"].get("nodeName") != node:
            raise attributes.forbidden(f'node "{node}" can only delete pods with spec.nodeName set to itself')
    else:
        raise attributes.forbidden(
            f'unexpected operation "{attributes.operation}", node "{node}" can only create and delete mirror pods'
        )


def _mirror_pod(node: str, attributes: Attributes) -> None:
    pod = attributes.object
    assert pod is not None
    if MIRROR not in (pod["metadata"].get("annotations") or {}):
        raise attributes.forbidden(
            f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
        )
    if pod["spec"].get("nodeName") != node:
        raise attributes.forbidden(f'node "{node}" can only create pods with spec.nodeName set to itself')
    _check_owner(node, attributes, pod["metadata"].get("ownerReferences") or [])
    for what in _opened(pod):
        raise attributes.forbidden(f'node "{node}" can not create pods that reference {what}')


def _check_owner(node: str, attributes: Attributes, owners: list[Object]) -> None:
    cannot = f'node "{node}" can only create pods with'
    if len(owners) > 1:
        raise attributes.forbidden(f"{cannot} a single owner reference set to itself")
    owner = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        raise attributes.forbidden(f"{cannot} an owner reference set to itself")
    if not owner.get("controller"):
        raise attributes.forbidden(f"{cannot} a controller owner reference set to itself")
    if owner.get("blockOwnerDeletion"):
        raise attributes.forbidden(f'node "{node}" must not set blockOwnerDeletion on an owner reference')
    record = attributes.objects.cache("", "nodes").get("", node)
    if record is None:
        raise errors.not_found(GroupResource("", "nodes"), node)
    uid = record.object["metadata"]["uid"]
    if owner.get("uid") != uid:
        raise attributes.forbidden(f"node {node} UID mismatch: expected {owner.get('uid', '')} got {uid}")


_IN_VOLUMES = {
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


def _opened(pod: Object) -> Iterator[str]:
    """What a pod refers to, were it no mirror pod."""
    kinds = {plural for plural, _ in all_references(pod)}
    for plural in ("serviceaccounts", "secrets", "configmaps"):
        if plural in kinds:
            yield plural
    if pod["spec"].get("resourceClaims"):
        yield "resourceclaims"
    for volume in pod["spec"].get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            yield from (_IN_VOLUMES[name] for name in source if name in _IN_VOLUMES)


def _pod_status(node: str, attributes: Attributes) -> None:
    old, new = attributes.old, attributes.object
    assert old is not None
    assert new is not None
    if old["spec"].get("nodeName") != node:
        raise attributes.forbidden(
            f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
        )
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        raise attributes.forbidden(f'node "{node}" cannot update labels through pod status')
    statuses = [(obj.get("status") or {}).get("resourceClaimStatuses") or [] for obj in (old, new)]
    if statuses[0] != statuses[1]:
        raise attributes.forbidden(f'node "{node}" cannot update resource claim statues')
    extended = [(obj.get("status") or {}).get("extendedResourceClaimStatus") for obj in (old, new)]
    if extended[0] != extended[1]:
        raise attributes.forbidden(f'node "{node}" cannot update extended resource claim status')


def _pod_eviction(node: str, attributes: Attributes) -> None:
    record = attributes.objects.cache("", "pods").get(attributes.namespace, attributes.name)
    if record is None:
        raise errors.not_found(GroupResource("", "pods"), attributes.name)
    if record.object["spec"].get("nodeName") != node:
        raise attributes.forbidden(f"node {node} can only evict pods with spec.nodeName set to itself")


# Nodes


def _node(node: str, attributes: Attributes) -> None:
    if attributes.name != node:
        raise attributes.forbidden(f'node "{node}" is not allowed to modify node "{attributes.name}"')
    new, old = attributes.object, attributes.old
    source = (new or {}).get("spec", {}).get("configSource")
    if attributes.operation == CREATE and new is not None:
        if source is not None:
            raise attributes.forbidden(
                f'node "{node}" is not allowed to create pods with a non-nil configSource'
            )
        labels = forbidden_labels(new["metadata"].get("labels") or {}, {})
        if labels:
            raise attributes.forbidden(
                f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}'
            )
    elif attributes.operation == UPDATE and new is not None and old is not None:
        if source is not None and source != old["spec"].get("configSource"):
            raise attributes.forbidden(
                f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
            )
        if (new["spec"].get("taints") or []) != (old["spec"].get("taints") or []):
            raise attributes.forbidden(f'node "{node}" is not allowed to modify taints')
        labels = forbidden_labels(new["metadata"].get("labels") or {}, old["metadata"].get("labels") or {})
        if labels:
            raise attributes.forbidden(f"is not allowed to modify labels: {', '.join(labels)}")


def forbidden_labels(new: dict[str, str], old: dict[str, str]) -> list[str]:
    """The labels that a node may not change and did."""
    changed = {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}
    return sorted(key for key in changed if _is_forbidden(key))


def _is_forbidden(key: str) -> bool:
    namespace = key.partition("/")[0] if "/" in key else ""
    if _is_below(namespace, (_RESTRICTED,)):
        return True
    ours = _is_below(namespace, ("kubernetes.io", "k8s.io"))
    return ours and key not in _OWN_LABELS and not _is_below(namespace, _OWN_PREFIXES)


def _is_below(namespace: str, domains: tuple[str, ...]) -> bool:
    return any(namespace == domain or namespace.endswith(f".{domain}") for domain in domains)


# What else it has


def _claim_status(node: str, attributes: Attributes) -> None:
    assert attributes.old is not None
    assert attributes.object is not None
    if _without_claim_status(attributes.old) != _without_claim_status(attributes.object):
        raise attributes.forbidden(
            f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions'
        )


def _without_claim_status(claim: Object) -> Object:
    metadata = {
        name: value
        for name, value in claim["metadata"].items()
        if name not in ("resourceVersion", "managedFields")
    }
    status = {name: value for name, value in (claim.get("status") or {}).items() if name not in _CLAIM_STATUS}
    return {**claim, "metadata": metadata, "status": status}


def _lease(node: str, attributes: Attributes) -> None:
    if attributes.namespace != LEASES:
        raise attributes.forbidden(f'can only access leases in the "{LEASES}" system namespace')
    _own_name(node, attributes, "node lease")


def _csi_node(node: str, attributes: Attributes) -> None:
    _own_name(node, attributes, "CSINode")


def _own_name(node: str, attributes: Attributes, what: str) -> None:
    if attributes.name != node:
        raise attributes.forbidden(f"can only access {what} with the same name as the requesting node")


def _slice(node: str, attributes: Attributes) -> None:
    if attributes.operation == CREATE:
        _check_slice(node, attributes, attributes.object, "create")
    elif attributes.operation == DELETE:
        _check_slice(node, attributes, attributes.old, "delete")


def _check_slice(node: str, attributes: Attributes, obj: Object | None, verb: str) -> None:
    if ((obj or {}).get("spec") or {}).get("nodeName") != node:
        raise _same_node(attributes, verb)


def _same_node(attributes: Attributes, verb: str) -> StatusError:
    return attributes.forbidden(
        f"can only {verb} ResourceSlice with the same NodeName as the requesting node"
    )


_CHECKS: dict[tuple[str, str, str], Callable[[str, Attributes], Awaitable[None] | None]] = {
    ("", "pods", ""): _pod,
    ("", "pods", "status"): _pod_status,
    ("", "pods", "eviction"): _pod_eviction,
    ("", "nodes", ""): _node,
    ("", "nodes", "status"): _node,
    ("", "persistentvolumeclaims", "status"): _claim_status,
    ("", "serviceaccounts", "token"): token,
    ("certificates.k8s.io", "certificatesigningrequests", ""): signing_request,
    ("certificates.k8s.io", "podcertificaterequests", ""): pod_certificate,
    ("certificates.k8s.io", "podcertificaterequests", "status"): pod_certificate,
    ("coordination.k8s.io", "leases", ""): _lease,
    ("storage.k8s.io", "csinodes", ""): _csi_node,
    ("resource.k8s.io", "resourceslices", ""): _slice,
}
