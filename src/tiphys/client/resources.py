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


CONFIGMAPS = find("core", "v1", "configmaps")
EVENTS = find("core", "v1", "events")
NAMESPACES = find("core", "v1", "namespaces")
NODES = find("core", "v1", "nodes")
PERSISTENTVOLUMECLAIMS = find("core", "v1", "persistentvolumeclaims")
PERSISTENTVOLUMES = find("core", "v1", "persistentvolumes")
PODS = find("core", "v1", "pods")
REPLICATIONCONTROLLERS = find("core", "v1", "replicationcontrollers")
RESOURCEQUOTAS = find("core", "v1", "resourcequotas")
SERVICEACCOUNTS = find("core", "v1", "serviceaccounts")
DEPLOYMENTS = find("apps", "v1", "deployments")
REPLICASETS = find("apps", "v1", "replicasets")
STATEFULSETS = find("apps", "v1", "statefulsets")
IPADDRESSES = find("networking", "v1", "ipaddresses")
SERVICECIDRS = find("networking", "v1", "servicecidrs")
PODDISRUPTIONBUDGETS = find("policy", "v1", "poddisruptionbudgets")
CUSTOMRESOURCEDEFINITIONS = find("apiextensions", "v1", "customresourcedefinitions")
VALIDATINGADMISSIONPOLICIES = find("admissionregistration", "v1", "validatingadmissionpolicies")
CERTIFICATESIGNINGREQUESTS = find("certificates", "v1", "certificatesigningrequests")
SUBJECTACCESSREVIEWS = find("authorization", "v1", "subjectaccessreviews")
TOKENREVIEWS = find("authentication", "v1", "tokenreviews")
CLUSTERROLES = find("rbac", "v1", "clusterroles")
VOLUMEATTRIBUTESCLASSES = find("storage", "v1", "volumeattributesclasses")
LEASES = find("coordination", "v1", "leases")
