"""The rows of the kinds that our own components read and write, by name: `from tiphys.client.resources import PODS`."""

from __future__ import annotations

from importlib import import_module

from tiphys.api.resource import Resource


def find(group: str, version: str, plural: str) -> Resource:
    """The built-in row, by the folder of its group. LookupError when there is none."""
    rows: tuple[Resource, ...] = import_module(f"tiphys.api.{group}.resources").RESOURCES
    for row in rows:
        if row.version == version and row.plural == plural:
            return row
    raise LookupError(f"there is no built-in resource {plural} in {group}/{version}")


_NAMED = {
    "CONFIGMAPS": ("core", "v1", "configmaps"),
    "EVENTS": ("core", "v1", "events"),
    "NAMESPACES": ("core", "v1", "namespaces"),
    "NODES": ("core", "v1", "nodes"),
    "PERSISTENTVOLUMECLAIMS": ("core", "v1", "persistentvolumeclaims"),
    "PERSISTENTVOLUMES": ("core", "v1", "persistentvolumes"),
    "PODS": ("core", "v1", "pods"),
    "REPLICATIONCONTROLLERS": ("core", "v1", "replicationcontrollers"),
    "RESOURCEQUOTAS": ("core", "v1", "resourcequotas"),
    "SECRETS": ("core", "v1", "secrets"),
    "SERVICEACCOUNTS": ("core", "v1", "serviceaccounts"),
    "DEPLOYMENTS": ("apps", "v1", "deployments"),
    "REPLICASETS": ("apps", "v1", "replicasets"),
    "STATEFULSETS": ("apps", "v1", "statefulsets"),
    "IPADDRESSES": ("networking", "v1", "ipaddresses"),
    "SERVICECIDRS": ("networking", "v1", "servicecidrs"),
    "PODDISRUPTIONBUDGETS": ("policy", "v1", "poddisruptionbudgets"),
    "CUSTOMRESOURCEDEFINITIONS": ("apiextensions", "v1", "customresourcedefinitions"),
    "VALIDATINGADMISSIONPOLICIES": ("admissionregistration", "v1", "validatingadmissionpolicies"),
    "CERTIFICATESIGNINGREQUESTS": ("certificates", "v1", "certificatesigningrequests"),
    "SUBJECTACCESSREVIEWS": ("authorization", "v1", "subjectaccessreviews"),
    "TOKENREVIEWS": ("authentication", "v1", "tokenreviews"),
    "CLUSTERROLES": ("rbac", "v1", "clusterroles"),
    "VOLUMEATTRIBUTESCLASSES": ("storage", "v1", "volumeattributesclasses"),
    "LEASES": ("coordination", "v1", "leases"),
}

CONFIGMAPS: Resource
EVENTS: Resource
NAMESPACES: Resource
NODES: Resource
PERSISTENTVOLUMECLAIMS: Resource
PERSISTENTVOLUMES: Resource
PODS: Resource
REPLICATIONCONTROLLERS: Resource
RESOURCEQUOTAS: Resource
SECRETS: Resource
SERVICEACCOUNTS: Resource
DEPLOYMENTS: Resource
REPLICASETS: Resource
STATEFULSETS: Resource
IPADDRESSES: Resource
SERVICECIDRS: Resource
PODDISRUPTIONBUDGETS: Resource
CUSTOMRESOURCEDEFINITIONS: Resource
VALIDATINGADMISSIONPOLICIES: Resource
CERTIFICATESIGNINGREQUESTS: Resource
SUBJECTACCESSREVIEWS: Resource
TOKENREVIEWS: Resource
CLUSTERROLES: Resource
VOLUMEATTRIBUTESCLASSES: Resource
LEASES: Resource


def __getattr__(name: str) -> Resource:
    """A row, with the rules of its group, when it is first asked for: a component has its own few groups."""
    named = _NAMED.get(name)
    if named is None:
        raise AttributeError(name)
    row = globals()[name] = find(*named)
    return row
