"""A minimal valid object of every kind that is stored, by (group, version, kind): what goes beside metadata."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Resource

Object = dict[str, Any]

_LABELS = {"app": "web"}
_SELECTOR = {"matchLabels": _LABELS}
_CONTAINERS = [{"name": "main", "image": "busybox"}]
_TEMPLATE = {"metadata": {"labels": _LABELS}, "spec": {"containers": _CONTAINERS}}
_JOB = {
    "template": {
        "metadata": {"labels": _LABELS},
        "spec": {"containers": _CONTAINERS, "restartPolicy": "Never"},
    }
}
_CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}},
    "volumeMode": "Filesystem",
}
_ROLE_REF = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
_CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_REQUEST = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KQUFBQQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"  # PEM
_WEBHOOK = {
    "name": "check.example.com",
    "clientConfig": {"url": "https://example.com/check"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
}
_MATCH = {
    "resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    ]
}
_MUTATION = {
    "matchConstraints": _MATCH,
    "reinvocationPolicy": "Never",
    "failurePolicy": "Fail",
    "mutations": [
        {
            "patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": 'Object{metadata: Object.metadata{labels: {"a": "b"}}}'},
        }
    ],
}
_TAINT = {
    "deviceSelector": {"driver": "d.example.com"},
    "taint": {"key": "example.com/t", "effect": "NoSchedule"},
}
_CANDIDATE = {
    "leaseName": "l",
    "binaryVersion": "1.36.0",
    "emulationVersion": "1.36.0",
    "strategy": "OldestEmulationVersion",
}
_SLICE = {
    "driver": "d.example.com",
    "nodeName": "n",
    "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
}

_BODIES: dict[tuple[str, str], Object] = {
    ("", "ConfigMap"): {"data": {"a": "b"}},
    ("", "Endpoints"): {"subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
    ("", "Event"): {
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Tested",
        "message": "m",
        "type": "Normal",
    },
    ("", "LimitRange"): {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}},
    ("", "Namespace"): {},
    ("", "Node"): {},
    ("", "PersistentVolumeClaim"): {"spec": _CLAIM},
    ("", "PersistentVolume"): {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
        }
    },
    ("", "Pod"): {"spec": {"containers": _CONTAINERS}},
    ("", "PodTemplate"): {"template": _TEMPLATE},
    ("", "ReplicationController"): {"spec": {"selector": _LABELS, "template": _TEMPLATE}},
    ("", "ResourceQuota"): {"spec": {"hard": {"pods": "10"}}},
    ("", "Secret"): {"data": {"a": "Yg=="}},
    ("", "ServiceAccount"): {},
    ("", "Service"): {"spec": {"ports": [{"port": 80}], "selector": _LABELS}},
    ("apiregistration.k8s.io", "APIService"): {
        "spec": {
            "group": "example.com",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        }
    },
    ("apps", "ControllerRevision"): {"data": {"spec": {}}, "revision": 1},
    ("apps", "DaemonSet"): {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    ("apps", "Deployment"): {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    ("apps", "ReplicaSet"): {"spec": {"selector": _SELECTOR, "template": _TEMPLATE}},
    ("apps", "StatefulSet"): {"spec": {"selector": _SELECTOR, "template": _TEMPLATE, "serviceName": "s"}},
    ("events.k8s.io", "Event"): {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/tester",
        "reportingInstance": "t-1",
        "action": "Testing",
        "reason": "Tested",
        "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    },
    ("autoscaling", "HorizontalPodAutoscaler"): {
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"},
            "maxReplicas": 3,
        }
    },
    ("batch", "CronJob"): {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": _JOB}}},
    ("batch", "Job"): {"spec": _JOB},
    ("certificates.k8s.io", "CertificateSigningRequest"): {
        "spec": {"request": _REQUEST, "signerName": "example.com/s", "usages": ["client auth"]}
    },
    ("certificates.k8s.io", "ClusterTrustBundle"): {"spec": {"trustBundle": _CA}},
    ("certificates.k8s.io", "PodCertificateRequest"): {
        "spec": {
            "signerName": "example.com/s",
            "podName": "p",
            "podUID": "u",
            "serviceAccountName": "default",
            "serviceAccountUID": "u",
            "nodeName": "n",
            "nodeUID": "u",
            "stubPKCS10Request": "AAAA",
        }
    },
    ("networking.k8s.io", "IngressClass"): {"spec": {"controller": "example.com/c"}},
    ("networking.k8s.io", "Ingress"): {
        "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    },
    ("networking.k8s.io", "IPAddress"): {
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}
    },
    ("networking.k8s.io", "NetworkPolicy"): {"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    ("networking.k8s.io", "ServiceCIDR"): {"spec": {"cidrs": ["10.200.0.0/16"]}},
    ("policy", "PodDisruptionBudget"): {"spec": {"minAvailable": 1, "selector": _SELECTOR}},
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): {"roleRef": _ROLE_REF},
    ("rbac.authorization.k8s.io", "ClusterRole"): {"rules": _RULES},
    ("rbac.authorization.k8s.io", "RoleBinding"): {"roleRef": _ROLE_REF},
    ("rbac.authorization.k8s.io", "Role"): {"rules": _RULES},
    ("storage.k8s.io", "CSIDriver"): {"spec": {"attachRequired": True}},
    ("storage.k8s.io", "CSINode"): {"spec": {"drivers": []}},
    ("storage.k8s.io", "CSIStorageCapacity"): {"storageClassName": "fast"},
    ("storage.k8s.io", "StorageClass"): {"provisioner": "example.com/p"},
    ("storage.k8s.io", "VolumeAttachment"): {
        "spec": {"attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
    },
    ("storage.k8s.io", "VolumeAttributesClass"): {"driverName": "d.example.com", "parameters": {"iops": "1"}},
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): {"spec": _MUTATION},
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): {"spec": {"policyName": "p"}},
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): {"webhooks": [_WEBHOOK]},
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): {
        "spec": {"matchConstraints": _MATCH, "validations": [{"expression": "true"}]}
    },
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): {
        "spec": {"policyName": "p", "validationActions": ["Deny"]}
    },
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): {"webhooks": [_WEBHOOK]},
    ("apiextensions.k8s.io", "CustomResourceDefinition"): {
        "spec": {
            "group": "example.com",
            "names": {"plural": "ships", "singular": "ship", "kind": "Ship", "listKind": "ShipList"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        }
    },
    ("scheduling.k8s.io", "PriorityClass"): {"value": 10},
    ("scheduling.k8s.io", "PodGroup"): {"spec": {"schedulingPolicy": {"basic": {}}}},
    ("scheduling.k8s.io", "Workload"): {
        "spec": {"podGroupTemplates": [{"name": "g", "schedulingPolicy": {"basic": {}}}]}
    },
    ("coordination.k8s.io", "Lease"): {"spec": {"holderIdentity": "me"}},
    ("coordination.k8s.io", "LeaseCandidate"): {"spec": _CANDIDATE},
    ("node.k8s.io", "RuntimeClass"): {"handler": "runc"},
    ("discovery.k8s.io", "EndpointSlice"): {"addressType": "IPv4", "endpoints": [], "ports": []},
    ("resource.k8s.io", "DeviceClass"): {"spec": {}},
    ("resource.k8s.io", "DeviceTaintRule"): {"spec": _TAINT},
    ("resource.k8s.io", "ResourceClaim"): {"spec": {}},
    ("resource.k8s.io", "ResourceClaimTemplate"): {"spec": {"spec": {}}},
    ("resource.k8s.io", "ResourceSlice"): {"spec": _SLICE},
    ("resource.k8s.io", "ResourcePoolStatusRequest"): {"spec": {"driver": "d.example.com"}},
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): {
        "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 100}
    },
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}
    },
    ("internal.apiserver.k8s.io", "StorageVersion"): {"spec": {}},
    ("storagemigration.k8s.io", "StorageVersionMigration"): {
        "spec": {"resource": {"group": "", "resource": "pods"}}
    },
}
_NAMES = {
    ("networking.k8s.io", "IPAddress"): "10.9.8.7",
    ("apiregistration.k8s.io", "APIService"): "v1.example.com",
    ("apiextensions.k8s.io", "CustomResourceDefinition"): "ships.example.com",
}


def name_of(row: Resource) -> str:
    return _NAMES.get((row.group, row.kind), "one")


def minimal(row: Resource, name: str = "") -> Object:
    """A new object of the kind, ready to be sent. KeyError: the table above lacks the kind."""
    metadata: Object = {"name": name or name_of(row), "labels": {"test": "minimal"}}
    if row.namespaced:
        metadata["namespace"] = "default"
    return {
        "kind": row.kind,
        "apiVersion": row.api_version,
        "metadata": metadata,
        **_BODIES[row.group, row.kind],
    }


def collection(row: Resource, namespace: str = "default") -> str:
    """The path of a kind's collection."""
    root = f"/apis/{row.api_version}" if row.group else f"/api/{row.version}"
    return f"{root}/namespaces/{namespace}/{row.plural}" if row.namespaced else f"{root}/{row.plural}"
