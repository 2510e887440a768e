"""What nodes may do: what every kubelet needs, and of other objects only those that its own pods name.

Node authorization, with the selectors of KEP-4601: a node reads its own Node, the pods that are bound to it, and through
them secrets, config maps, claims and volumes. That it writes only to what is its own is NodeRestriction's affair (admission).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tiphys.apiserver.authorization.interface import (
    ALLOWED,
    NO_OPINION,
    Decision,
    Lookup,
    Rule,
    Rules,
    Verdict,
)
from tiphys.apiserver.authorization.pod_references import Reference, references
from tiphys.apiserver.authorization.rules import allows, quoted
from tiphys.apiserver.cache import DELETED, Event
from tiphys.apiserver.call import User
from tiphys.apiserver.records import Record
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery.selectors import SelectorError, parse_field_selector

PREFIX = "system:node:"
NODES = "system:nodes"
LEASES = "kube-node-lease"
_READ = ("get", "list", "watch")
_OF_NODES = frozenset({"pods", "volumeattachments", "resourceslices", "podcertificaterequests"})
"""What says itself, in `spec.nodeName`, whose it is."""
_OWN = ("get", "create", "update", "patch", "delete")


def node_of(user: User) -> str | None:
    """The name of the node that a user is; "": a node without a name; None: no node."""
    if NODES not in user.groups or not user.name.startswith(PREFIX):
        return None
    return user.name.removeprefix(PREFIX)


class NodeAuthorizer:
    """`rules`: what every node may do with the kinds that are not looked at object by object."""

    def __init__(self, lookup: Lookup, rules: Callable[[], Sequence[Rule]]) -> None:
        self._lookup = lookup
        self._rules = rules
        self._pods = _PodsOfNodes(lookup)

    def rules(self, user: User, namespace: str) -> Rules:
        if node_of(user) is None:
            return Rules()
        return Rules(incomplete=True, error="node authorizer does not support user rule resolution")

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        node = node_of(user)
        if node is None:
            return NO_OPINION
        if not node:
            return _no(f"unknown node for user {quoted((user.name,))}")
        if info.is_resource:
            decide = _DECIDE.get((info.group, info.resource))
            if decide is not None:
                return decide(self, node, info)
        return ALLOWED if any(allows(rule, info) for rule in self._rules()) else NO_OPINION

    # Relations

    def _related(self, node: str, info: RequestInfo) -> Decision:
        if not info.name:
            return _no("No Object name found")
        if self._is_related(node, info):
            return ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _is_related(self, node: str, info: RequestInfo) -> bool:
        if info.resource in _OF_NODES:
            record = self._lookup(info.group, info.resource).get(info.namespace, info.name)
            return record is not None and (record.object.get("spec") or {}).get("nodeName") == node
        if info.resource == "persistentvolumes":
            return self._is_volume_of(node, info.name)
        if self._pods.name(node, info.namespace, (info.resource, info.name)):
            return True
        return info.resource == "secrets" and self._opens_volume(node, info)

    def _is_volume_of(self, node: str, name: str) -> bool:
        record = self._lookup("", "persistentvolumes").get("", name)
        if record is None:
            return False
        claim = record.object["spec"].get("claimRef") or {}
        wanted = ("persistentvolumeclaims", claim.get("name", ""))
        return self._pods.name(node, claim.get("namespace", ""), wanted)

    def _opens_volume(self, node: str, info: RequestInfo) -> bool:
        """Whether the secret is one that a volume of the node's pods is mounted with."""
        wanted = (info.namespace, info.name)
        return any(
            wanted in _secrets_of(record) and self._is_volume_of(node, record.name)
            for record in self._lookup("", "persistentvolumes").records.values()
        )

    # Kinds

    def _get(self, node: str, info: RequestInfo) -> Decision:
        if info.verb != "get":
            return _no("can only get individual resources of this type")
        return _no("cannot get subresource") if info.subresource else self._related(node, info)

    def _read(self, node: str, info: RequestInfo) -> Decision:
        if info.verb not in _READ:
            return _no("can only read resources of this type")
        if info.subresource:
            return _no("cannot read subresource")
        if not info.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, info)

    def _claim(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource != "status":
            return self._get(node, info)
        if info.verb not in ("update", "patch"):
            return _no("can only get/update/patch this type")
        return self._related(node, info)

    def _account(self, node: str, info: RequestInfo) -> Decision:
        if info.verb == "get" and not info.subresource:
            return self._related(node, info)
        if info.verb != "create" or not info.name:
            return _no("can only create tokens for individual service accounts")
        if info.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        return self._related(node, info)

    def _lease(self, node: str, info: RequestInfo) -> Decision:
        if info.verb not in _OWN:
            return _no("can only get, create, update, patch, or delete a node lease")
        if info.namespace != LEASES:
            return _no(f'can only access leases in the "{LEASES}" system namespace')
        if info.verb != "create" and info.name != node:
            return _no("can only access node lease with the same name as the requesting node")
        return ALLOWED

    def _csi_node(self, node: str, info: RequestInfo) -> Decision:
        if info.verb not in _OWN:
            return _no("can only get, create, update, patch, or delete a CSINode")
        if info.subresource:
            return _no("cannot authorize CSINode subresources")
        if info.verb != "create" and info.name != node:
            return _no("can only access CSINode with the same name as the requesting node")
        return ALLOWED

    def _slice(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        if info.verb == "create":
            return ALLOWED
        if info.verb in _OWN:
            return self._related(node, info)
        if info.verb not in ("watch", "list", "deletecollection"):
            return _no(
                "only the following verbs are allowed for a ResourceSlice: "
                "get, watch, list, create, update, patch, delete, deletecollection"
            )
        if _selects(info, "nodeName", node) or _selects(info, "spec.nodeName", node):
            return ALLOWED
        return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")

    def _pod_certificate(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource:
            return _no("nodes may not access the status subresource of PodCertificateRequests")
        if info.verb == "create":
            return ALLOWED
        if info.verb == "get":
            return self._related(node, info)
        if info.verb not in ("list", "watch"):
            return _no(f"nodes may not {info.verb} podcertificaterequests")
        if _selects(info, "spec.nodeName", node):
            return ALLOWED
        return _no("can only list/watch podcertificaterequests with nodeName field selector")

    def _node(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource == "status":
            return ALLOWED if info.verb in ("update", "patch") else NO_OPINION
        if info.subresource:
            return NO_OPINION
        if info.verb in ("create", "update", "patch"):
            return ALLOWED
        if info.verb not in _READ:
            return NO_OPINION
        if info.name == node:
            return ALLOWED
        shown = f"'{info.name}'" if info.name else "all nodes"
        return _no(f"node '{node}' cannot read {shown}, only its own Node object")

    def _pod(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource == "status":
            return ALLOWED if info.verb in ("update", "patch") else NO_OPINION
        if info.subresource == "eviction":
            return ALLOWED if info.verb == "create" else NO_OPINION
        if info.subresource:
            return NO_OPINION
        if info.verb == "get":
            return self._get(node, info)
        if info.verb in ("list", "watch"):
            if _selects(info, "spec.nodeName", node):
                return ALLOWED
            if info.name:
                return self._related(node, info)
            return _no("can only list/watch pods with spec.nodeName field selector")
        return ALLOWED if info.verb in ("create", "delete") else NO_OPINION


_DECIDE: dict[tuple[str, str], Callable[[NodeAuthorizer, str, RequestInfo], Decision]] = {
    ("", "secrets"): NodeAuthorizer._read,
    ("", "configmaps"): NodeAuthorizer._read,
    ("", "persistentvolumeclaims"): NodeAuthorizer._claim,
    ("", "persistentvolumes"): NodeAuthorizer._get,
    ("", "serviceaccounts"): NodeAuthorizer._account,
    ("", "nodes"): NodeAuthorizer._node,
    ("", "pods"): NodeAuthorizer._pod,
    ("certificates.k8s.io", "podcertificaterequests"): NodeAuthorizer._pod_certificate,
    ("resource.k8s.io", "resourceclaims"): NodeAuthorizer._get,
    ("resource.k8s.io", "resourceslices"): NodeAuthorizer._slice,
    ("storage.k8s.io", "volumeattachments"): NodeAuthorizer._get,
    ("storage.k8s.io", "csinodes"): NodeAuthorizer._csi_node,
    ("coordination.k8s.io", "leases"): NodeAuthorizer._lease,
}


def _no(reason: str) -> Decision:
    return Decision(Verdict.NO_OPINION, reason)


def _selects(info: RequestInfo, field: str, value: str) -> bool:
    try:
        return parse_field_selector(info.field_selector).exact(field) == value
    except SelectorError:
        return False


def _secrets_of(record: Record) -> set[tuple[str, str]]:
    """(namespace, name) of the secrets that a persistent volume names."""
    spec = record.object.get("spec") or {}
    home = (spec.get("claimRef") or {}).get("namespace", "")
    return set(_secret_references(spec, home))


def _secret_references(value: object, home: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name.endswith(("secretRef", "SecretRef")):
            if isinstance(inner, dict):
                yield inner.get("namespace") or home, inner.get("name", "")
        elif name == "secretName" and isinstance(inner, str):
            yield value.get("secretNamespace") or home, inner
        else:
            yield from _secret_references(inner, home)


class _PodsOfNodes:
    """The pods of each node, and what they name; follows the cache of pods from the first question on."""

    namespace = ""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._nodes: dict[str, dict[str, Record]] | None = None
        self._references: dict[str, frozenset[Reference]] = {}

    def name(self, node: str, namespace: str, wanted: Reference) -> bool:
        """Whether a pod on the node, in that namespace, names an object."""
        if self._nodes is None:
            self._nodes = self._listen()
        return any(
            wanted in self._of(record)
            for record in self._nodes.get(node, {}).values()
            if record.namespace == namespace
        )

    def _of(self, record: Record) -> frozenset[Reference]:
        found = self._references.get(record.key)
        if found is None:
            found = self._references[record.key] = references(record.object)
        return found

    def _listen(self) -> dict[str, dict[str, Record]]:
        cache = self._lookup("", "pods")
        nodes: dict[str, dict[str, Record]] = {}
        for record in cache.records.values():
            nodes.setdefault(_node_name(record), {})[record.key] = record
        cache.watch(self)
        return nodes

    def deliver(self, event: Event) -> None:
        assert self._nodes is not None
        key = event.record.key
        self._references.pop(key, None)
        if event.previous is not None:
            self._nodes.get(_node_name(event.previous), {}).pop(key, None)
        if event.type != DELETED:
            self._nodes.setdefault(_node_name(event.record), {})[key] = event.record


def _node_name(record: Record) -> str:
    name: str = (record.object.get("spec") or {}).get("nodeName") or ""
    return name
