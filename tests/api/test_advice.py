"""What clients are warned of although it is allowed: upstream's words, where upstream says them."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.scheme import built_in
from tiphys.machinery.gvk import GroupVersionKind

Object = dict[str, Any]
SCHEME = built_in()
CONTAINER = {"name": "c", "image": "i"}
NOT_WHOLE = "is invalid, must be an integer"
NOTHING = "a null labelSelector results in matching no pod"


def advice(kind: str, new: Object, old: Object | None = None, group: str = "") -> list[str]:
    row = SCHEME.by_kind(GroupVersionKind(group, "v1", kind))
    assert row is not None
    assert row.advise is not None
    return list(row.advise({"metadata": {"name": "x"}, **new}, old))


def pod(annotations: Object | None = None, **spec: Any) -> Object:
    return {
        "metadata": {"name": "x", "annotations": annotations or {}},
        "spec": {"containers": [CONTAINER], **spec},
    }


def container(**fields: Any) -> Object:
    return pod(containers=[{**CONTAINER, **fields}])


OLD_LABEL = {"key": "beta.kubernetes.io/os", "operator": "In", "values": ["linux"]}
TERM = {"matchExpressions": [OLD_LABEL]}
USE = 'deprecated since v1.14; use "kubernetes.io/os" instead'
AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [TERM]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": TERM}],
    },
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a"}],
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "a"}},
            {"weight": 1, "podAffinityTerm": {"topologyKey": "a", "labelSelector": {}}},
        ],
    },
}
REQUIRED, PREFERRED = (f"{each}DuringSchedulingIgnoredDuringExecution" for each in ("required", "preferred"))
PODS: list[tuple[Object, list[str]]] = [
    (pod(), []),
    (
        pod(nodeSelector={"beta.kubernetes.io/os": "linux"}),
        [f"spec.nodeSelector[beta.kubernetes.io/os]: {USE}"],
    ),
    (
        pod(affinity=AFFINITY),
        [
            f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is {USE}",
            f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[0].key: beta.kubernetes.io/os is {USE}",
            f"spec.affinity.podAntiAffinity.{REQUIRED}[0].labelSelector: {NOTHING}",
            f"spec.affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.labelSelector: {NOTHING}",
        ],
    ),
    (
        pod(topologySpreadConstraints=[{"topologyKey": "beta.kubernetes.io/os"}]),
        [
            f"spec.topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/os is {USE}",
            f"spec.topologySpreadConstraints[0].labelSelector: {NOTHING}",
        ],
    ),
    (
        pod(
            volumes=[
                {"name": "a", "gitRepo": {}},
                {"name": "b", "storageos": {}},
                {"name": "c", "emptyDir": {}},
            ]
        ),
        [
            "spec.volumes[0].gitRepo: deprecated in v1.11",
            "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
        ],
    ),
    (
        pod(
            imagePullSecrets=[{"name": "a"}, {"name": "a"}, {}],
            hostAliases=[{"ip": "1"}, {"ip": "2"}, {"ip": "1"}],
        ),
        [
            'spec.hostAliases[2].ip: duplicate ip "1"',
            'spec.imagePullSecrets[1].name: duplicate name "a"',
            'spec.imagePullSecrets[2].name: invalid empty name ""',
        ],
    ),
    (
        container(resources={"requests": {"memory": "100m", "cpu": "100m"}, "limits": {"memory": "1.5Gi"}}),
        [f'spec.containers[0].resources.requests[memory]: fractional byte value "100m" {NOT_WHOLE}'],
    ),
    (
        container(
            env=[
                {"name": "A", "value": "1"},
                {"name": "A", "value": "$(A)2"},
                {"name": "A", "value": "3"},
                {"name": "B", "value": "1"},
            ]
        ),
        [
            'spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply'
        ],
    ),
    (
        container(
            ports=[
                {"containerPort": 80, "protocol": "TCP"},
                {"containerPort": 80, "protocol": "UDP"},
                {"containerPort": 80, "protocol": "TCP"},
                {"containerPort": 80, "protocol": "UDP", "hostPort": 8080},
                {"containerPort": 80, "protocol": "UDP", "hostPort": 8080, "hostIP": "1.2.3.4"},
            ]
        ),
        [
            "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[1]",
            "spec.containers[0].ports[4]: overlapping port definition with spec.containers[0].ports[1]",
            "spec.containers[0].ports[4]: dangerously ambiguous port definition with spec.containers[0].ports[3]",
        ],
    ),
    (
        pod(terminationGracePeriodSeconds=-1),
        [
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ],
    ),
    (
        pod(
            {
                "seccomp.security.alpha.kubernetes.io/pod": "x",
                "scheduler.alpha.kubernetes.io/critical-pod": "",
            }
        ),
        [
            "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; "
            'use the "priorityClassName" field instead',
            "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; "
            'use the "seccompProfile" field instead',
        ],
    ),
]


@pytest.mark.parametrize(("obj", "said"), PODS)
def test_pods(obj: Object, said: list[str]) -> None:
    assert advice("Pod", obj) == said
    assert advice("Pod", obj, pod()) == [], "humans seldom update pods"


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("ReplicationController", ""),
        *((kind, "apps") for kind in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")),
    ],
)
@pytest.mark.parametrize(("template", "said"), PODS)
def test_templates(kind: str, group: str, template: Object, said: list[str]) -> None:
    obj = {"spec": {"template": template}}
    inside = [
        line.replace("with spec.", "with spec.template.spec.").replace(
            line[:1], f"spec.template.{line[:1]}", 1
        )
        for line in said
    ]
    assert advice(kind, obj, group=group) == inside
    assert advice(kind, obj, {"spec": {"template": pod()}}, group) == inside
    assert advice(kind, obj, obj, group) == [], "nothing of that has changed"


@pytest.mark.parametrize(
    ("kind", "group", "what"),
    [
        ("Pod", "", "the Pod's hostname"),
        ("Deployment", "apps", "Pod names and hostnames"),
        ("Job", "batch", "Pod names and hostnames"),
        ("CronJob", "batch", "Pod names and hostnames"),
    ],
)
def test_names_that_are_no_labels(kind: str, group: str, what: str) -> None:
    assert advice(kind, {"metadata": {"name": "a.b"}, "spec": {}}, group=group) == [
        f"metadata.name: this is used in {what}, which can result in surprising behavior; "
        "a DNS label is recommended: [must not contain dots]"
    ]


def test_stateful_sets_and_jobs() -> None:
    claims = [{"spec": {"resources": {"requests": {"storage": "1m"}}}}]
    obj = {"spec": {"revisionHistoryLimit": -1, "volumeClaimTemplates": claims}}
    assert advice("StatefulSet", obj, group="apps") == [
        f'spec.volumeClaimTemplates[0].resources.requests[storage]: fractional byte value "1m" {NOT_WHOLE}',
        "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
    ]
    spec = {"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001}
    (said,) = advice("Job", {"spec": spec}, group="batch")
    assert said.startswith("spec: In Indexed Jobs with a number of completions higher than 10^5")
    (said,) = advice("CronJob", {"spec": {"jobTemplate": {"spec": spec}}}, group="batch")
    assert said.startswith("spec.jobTemplate.spec: In Indexed Jobs")


SERVICES = [
    ({"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}, []),
    (
        {"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP", "externalIPs": ["1.2.3.4"]},
        [
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
        ],
    ),
    (
        {"type": "ExternalName", "externalName": "a.b", "externalIPs": ["1.2.3.4"]},
        ['spec.externalIPs is ignored when spec.type is "ExternalName"'],
    ),
    (
        {
            "type": "ClusterIP",
            "externalIPs": ["010.0.0.1", "2001:DB8::1", "::ffff:1.2.3.4"],
            "externalName": "x",
        },
        [
            'spec.externalIPs[0]: non-standard IP address "010.0.0.1" will be considered invalid in a future Kubernetes '
            'release: use "10.0.0.1"',
            'spec.externalIPs[1]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")',
            'spec.externalIPs[2]: non-standard IP address "::ffff:1.2.3.4" will be considered invalid in a future Kubernetes '
            'release: use "1.2.3.4"',
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
            'spec.externalName is ignored when spec.type is not "ExternalName"',
        ],
    ),
    (
        {"type": "ClusterIP", "trafficDistribution": "PreferClose"},
        ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'],
    ),
]


@pytest.mark.parametrize(("spec", "said"), SERVICES)
def test_services(spec: Object, said: list[str]) -> None:
    assert advice("Service", {"spec": spec}) == said
    assert advice("Service", {"spec": spec}, {"metadata": {}, "spec": spec}) == said


def test_volumes_nodes_and_accounts() -> None:
    annotated = {"metadata": {"name": "x", "annotations": {"volume.beta.kubernetes.io/storage-class": "s"}}}
    where = "metadata.annotations[volume.beta.kubernetes.io/storage-class]"
    old_class = f'{where}: deprecated since v1.8; use "storageClassName" attribute instead'
    requests = {"resources": {"requests": {"storage": "1m"}}}
    assert advice("PersistentVolumeClaim", {**annotated, "spec": requests}) == [
        old_class,
        f'spec.resources.requests[storage]: fractional byte value "1m" {NOT_WHOLE}',
    ]
    spec = {
        "persistentVolumeReclaimPolicy": "Recycle",
        "nodeAffinity": {"required": {"nodeSelectorTerms": [TERM]}},
        "rbd": {},
    }
    assert advice("PersistentVolume", {**annotated, "spec": spec}) == [
        old_class,
        "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to "
        "use dynamic provisioning.",
        f"spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is {USE}",
        "spec.rbd: deprecated in v1.28, non-functional in v1.31+",
    ]
    assert advice("Node", {"spec": {"configSource": {}, "externalID": "x"}}) == [
        "spec.configSource: the feature is removed",
        "spec.externalID: this field is deprecated, and is unused by Kubernetes",
    ]
    account = {"metadata": {"name": "x", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}
    (said,) = advice("ServiceAccount", account)
    assert said.startswith(
        "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+"
    )
    assert advice("ServiceAccount", account, account) == []
    scheduling = {"scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}}
    assert advice("RuntimeClass", scheduling, group="node.k8s.io") == [f"scheduling.nodeSelector: {USE}"]
    topologies = {"allowedTopologies": [{"matchLabelExpressions": [OLD_LABEL]}]}
    assert advice("StorageClass", topologies, group="storage.k8s.io") == [
        f"allowedTopologies[0].matchLabelExpressions[0].key: {USE}"
    ]
    capacity = {"nodeTopology": {**TERM, "matchLabels": {"beta.kubernetes.io/os": "linux"}}}
    assert advice("CSIStorageCapacity", capacity, group="storage.k8s.io") == [
        f"nodeTopology.matchExpressions[0].key: beta.kubernetes.io/os is {USE}",
        f"nodeTopology.matchLabels.beta.kubernetes.io/os: {USE}",
    ]
    ingress = {"metadata": {"name": "x", "annotations": {"kubernetes.io/ingress.class": "nginx"}}, "spec": {}}
    assert advice("Ingress", ingress, group="networking.k8s.io") == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    assert advice("Ingress", {**ingress, "spec": {"ingressClassName": "a"}}, group="networking.k8s.io") == []
