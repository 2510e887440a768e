"""The kinds that our own components read and write, by name: `from tiphys.client.resources import PODS`.

A client needs of a kind how it is called, and no more: these rows are without the rules that the API server has for them, which a
component in a process of its own would load for nothing.
"""

from __future__ import annotations

from tiphys.api.resource import Resource


def _named(group: str, version: str, plural: str, kind: str, *, namespaced: bool = True) -> Resource:
    return Resource(group=group, version=version, plural=plural, kind=kind, namespaced=namespaced)


CONFIGMAPS = _named("", "v1", "configmaps", "ConfigMap")
ENDPOINTS = _named("", "v1", "endpoints", "Endpoints")
EVENTS = _named("", "v1", "events", "Event")
NAMESPACES = _named("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = _named("", "v1", "nodes", "Node", namespaced=False)
PERSISTENTVOLUMECLAIMS = _named("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
PERSISTENTVOLUMES = _named("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
PODS = _named("", "v1", "pods", "Pod")
REPLICATIONCONTROLLERS = _named("", "v1", "replicationcontrollers", "ReplicationController")
RESOURCEQUOTAS = _named("", "v1", "resourcequotas", "ResourceQuota")
SECRETS = _named("", "v1", "secrets", "Secret")
SERVICEACCOUNTS = _named("", "v1", "serviceaccounts", "ServiceAccount")
CONTROLLERREVISIONS = _named("apps", "v1", "controllerrevisions", "ControllerRevision")
DAEMONSETS = _named("apps", "v1", "daemonsets", "DaemonSet")
DEPLOYMENTS = _named("apps", "v1", "deployments", "Deployment")
REPLICASETS = _named("apps", "v1", "replicasets", "ReplicaSet")
STATEFULSETS = _named("apps", "v1", "statefulsets", "StatefulSet")
CRONJOBS = _named("batch", "v1", "cronjobs", "CronJob")
JOBS = _named("batch", "v1", "jobs", "Job")
ENDPOINTSLICES = _named("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
IPADDRESSES = _named("networking.k8s.io", "v1", "ipaddresses", "IPAddress", namespaced=False)
SERVICECIDRS = _named("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False)
PODDISRUPTIONBUDGETS = _named("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
CUSTOMRESOURCEDEFINITIONS = _named(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
VALIDATINGADMISSIONPOLICIES = _named(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
)
CERTIFICATESIGNINGREQUESTS = _named(
    "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", namespaced=False
)
SUBJECTACCESSREVIEWS = _named(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
TOKENREVIEWS = _named("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
CLUSTERROLES = _named("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
VOLUMEATTRIBUTESCLASSES = _named(
    "storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", namespaced=False
)
LEASES = _named("coordination.k8s.io", "v1", "leases", "Lease")
CLUSTERTRUSTBUNDLES = _named(
    "certificates.k8s.io", "v1beta1", "clustertrustbundles", "ClusterTrustBundle", namespaced=False
)
RUNTIMECLASSES = _named("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
SERVICES = _named("", "v1", "services", "Service")
