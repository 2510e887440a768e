"""One golden row or more of every kind outside core and apps: what `kubectl get -o wide` shows of it."""

from datetime import UTC, datetime

import pytest

from tiphys.api.scheme import built_in
from tiphys.machinery.gvk import GroupVersionKind, parse_api_version

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
CREATED = "2026-11-22T11:55:00Z"
SCHEME = built_in()
CONTAINERS = {
    "spec": {"containers": [{"name": "a", "image": "busybox:1"}, {"name": "b", "image": "nginx"}]},
    "metadata": {"labels": {"app": "web"}},
}
SELECTED = {"matchLabels": {"app": "web"}}


def table(api_version, kind):
    group, version = parse_api_version(api_version)
    return SCHEME.by_kind(GroupVersionKind(group, version, kind)).table


def cells(api_version, kind, fields, **metadata):
    obj = {"metadata": {"name": "x", "creationTimestamp": CREATED, **metadata}, **fields}
    return table(api_version, kind).cells(obj, NOW)


def headings(api_version, kind):
    return [
        column.name if column.priority == 0 else f"({column.name})"
        for column in table(api_version, kind).columns
    ]


def job(spec=None, **status):
    return {"spec": {"template": CONTAINERS, "selector": SELECTED, **(spec or {})}, "status": status}


def condition(type, status="True", **more):
    return {"type": type, "status": status, **more}


JOB = ("batch/v1", "Job")
WIDE = ["a,b", "busybox:1,nginx", "app=web"]


@pytest.mark.parametrize(
    ("fields", "metadata", "expected"),
    [
        (job({"completions": 3}), {}, ["x", "Running", "0/3", "", "5m", *WIDE]),
        (
            job({"completions": 3}, succeeded=2, startTime="2026-11-22T11:58:00Z"),
            {},
            ["x", "Running", "2/3", "2m", "5m", *WIDE],
        ),
        (
            job(
                {"completions": 1},
                succeeded=1,
                startTime="2026-11-22T11:55:00Z",
                completionTime="2026-11-22T11:55:30Z",
                conditions=[condition("SuccessCriteriaMet"), condition("Complete")],
            ),
            {"deletionTimestamp": CREATED},
            ["x", "Complete", "1/1", "30s", "5m", *WIDE],
        ),
        (job({"parallelism": 4}, succeeded=1), {}, ["x", "Running", "1/1 of 4", "", "5m", *WIDE]),
        (job({"parallelism": 1}), {}, ["x", "Running", "0/1", "", "5m", *WIDE]),
        (job(conditions=[condition("Failed")]), {}, ["x", "Failed", "0/1", "", "5m", *WIDE]),
        (job(conditions=[condition("Suspended")]), {}, ["x", "Suspended", "0/1", "", "5m", *WIDE]),
        (job(conditions=[condition("Suspended", "False")]), {}, ["x", "Running", "0/1", "", "5m", *WIDE]),
        (job(conditions=[condition("FailureTarget")]), {}, ["x", "FailureTarget", "0/1", "", "5m", *WIDE]),
        (job(), {"deletionTimestamp": CREATED}, ["x", "Terminating", "0/1", "", "5m", *WIDE]),
    ],
)
def test_jobs(fields, metadata, expected):
    assert cells(*JOB, fields, **metadata) == expected


def resource(target, name="cpu"):
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def measured(current, name="cpu"):
    return {"type": "Resource", "resource": {"name": name, "current": current}}


PERCENT = resource({"type": "Utilization", "averageUtilization": 80})
MEMORY = resource({"type": "AverageValue", "averageValue": "1Gi"}, "memory")
PODS = {
    "type": "Pods",
    "pods": {"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "100"}},
}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"value": "30"}}}
EXTERNAL_AVERAGE = {
    "type": "External",
    "external": {"metric": {"name": "q"}, "target": {"averageValue": "30"}},
}
CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {"name": "cpu", "container": "c", "target": {"averageUtilization": 60}},
}


@pytest.mark.parametrize(
    ("wanted", "have", "text"),
    [
        ([], [], "<none>"),
        ([PERCENT], [], "cpu: <unknown>/80%"),
        ([PERCENT], [measured({"averageUtilization": 5, "averageValue": "5m"})], "cpu: 5%/80%"),
        ([resource({"type": "Utilization"})], [], "cpu: <unknown>/<auto>"),
        ([MEMORY], [measured({"averageValue": "512Mi"}, "memory")], "memory: 512Mi/1Gi"),
        (
            [PERCENT, PODS],
            [{"type": "Resource"}, {"type": "Pods", "pods": {"current": {"averageValue": "12"}}}],
            "cpu: <unknown>/80%, 12/100",
        ),
        ([EXTERNAL], [{"type": "External", "external": {"current": {"value": "9"}}}], "9/30"),
        (
            [EXTERNAL_AVERAGE],
            [{"type": "External", "external": {"current": {"averageValue": "9"}}}],
            "9/30 (avg)",
        ),
        (
            [CONTAINER],
            [{"type": "ContainerResource", "containerResource": {"current": {"averageUtilization": 7}}}],
            "cpu: 7%/60%",
        ),
        ([PERCENT, MEMORY, PODS], [], "cpu: <unknown>/80%, memory: <unknown>/1Gi + 1 more..."),
        ([{"type": "Other"}], [], "<unknown type>"),
    ],
)
def test_metrics_of_autoscalers(wanted, have, text):
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 4}
    fields = {
        "spec": {**spec, "metrics": wanted},
        "status": {"currentReplicas": 2, "currentMetrics": have, "desiredReplicas": 2},
    }
    row = cells("autoscaling/v2", "HorizontalPodAutoscaler", fields)
    assert row == ["x", "Deployment/web", text, "1", 4, 2, "5m"]


def test_autoscaling_v1_prints_as_v2():
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 4}
    fields = {
        "spec": {**spec, "targetCPUUtilizationPercentage": 80},
        "status": {"currentReplicas": 1, "currentCPUUtilizationPercentage": 5},
    }
    row = cells("autoscaling/v1", "HorizontalPodAutoscaler", fields)
    assert row == ["x", "Deployment/web", "cpu: 5%/80%", "<unset>", 4, 1, "5m"]


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ([], "*"),
        ([None], "*"),
        (["a"], "a"),
        (["a", "b", "c"], "a,b,c"),
        (["a", "b", "c", "d", "e"], "a,b,c + 2 more..."),
    ],
)
def test_hosts_of_ingresses(hosts, text):
    fields = {"spec": {"rules": [{"host": host} if host else {} for host in hosts]}}
    assert cells("networking.k8s.io/v1", "Ingress", fields)[2] == text


INGRESS = {
    "spec": {"ingressClassName": "nginx", "tls": [{}], "rules": [{"host": "a.b"}]},
    "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}, {"hostname": "lb"}, {"ip": "10.0.0.1"}]}},
}
EVENT = {
    "eventTime": "2026-11-22T11:59:00.000000Z",
    "reportingController": "kubelet",
    "reportingInstance": "n1",
    "reason": "Tested",
    "regarding": {"kind": "Pod", "name": "p"},
    "note": "well",
    "type": "Normal",
}
RULES_WITH_QUEUES = {
    "nominalConcurrencyShares": 30,
    "limitResponse": {"queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}},
}
ATTACHMENT = {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
SUBJECTS = [
    {"kind": "User", "name": "ann"},
    {"kind": "User", "name": "bob"},
    {"kind": "Group", "name": "devs"},
    {"kind": "ServiceAccount", "namespace": "default", "name": "web"},
]
CSR = {"signerName": "example.com/s", "username": "ann", "expirationSeconds": 3600}
GOLDEN = [
    (
        "batch/v1 CronJob",
        {
            "spec": {
                "schedule": "* * * * *",
                "suspend": False,
                "jobTemplate": {"spec": {"template": CONTAINERS}},
            },
            "status": {"active": [{}], "lastScheduleTime": "2026-11-22T11:59:30Z"},
        },
        ["x", "* * * * *", "<none>", "False", 1, "30s", "5m", "a,b", "busybox:1,nginx", "<none>"],
    ),
    (
        "batch/v1 CronJob",
        {"spec": {"schedule": "@daily", "timeZone": "Etc/UTC", "suspend": True}},
        ["x", "@daily", "Etc/UTC", "True", 0, "<none>", "5m", "", "", "<none>"],
    ),
    ("networking.k8s.io/v1 Ingress", INGRESS, ["x", "nginx", "a.b", "10.0.0.1,10.0.0.2,lb", "80, 443", "5m"]),
    ("networking.k8s.io/v1 Ingress", {}, ["x", "<none>", "*", "", "80", "5m"]),
    (
        "networking.k8s.io/v1 IngressClass",
        {"spec": {"controller": "c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}},
        ["x", "c", "K.g/n", "5m"],
    ),
    ("networking.k8s.io/v1 IngressClass", {"spec": {"controller": "c"}}, ["x", "c", "<none>", "5m"]),
    ("networking.k8s.io/v1 NetworkPolicy", {"spec": {"podSelector": {}}}, ["x", "<none>", "5m"]),
    ("networking.k8s.io/v1 NetworkPolicy", {"spec": {"podSelector": SELECTED}}, ["x", "app=web", "5m"]),
    (
        "networking.k8s.io/v1 ServiceCIDR",
        {"spec": {"cidrs": ["10.0.0.0/16", "fd00::/64"]}},
        ["x", "10.0.0.0/16,fd00::/64", "5m"],
    ),
    (
        "networking.k8s.io/v1 IPAddress",
        {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}},
        ["x", "services/default/kubernetes", "5m"],
    ),
    (
        "policy/v1 PodDisruptionBudget",
        {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 2}},
        ["x", "50%", "N/A", 2, "5m"],
    ),
    ("policy/v1 PodDisruptionBudget", {"spec": {"maxUnavailable": 0}}, ["x", "N/A", "0", 0, "5m"]),
    (
        "rbac.authorization.k8s.io/v1 RoleBinding",
        {"roleRef": {"kind": "Role", "name": "r"}, "subjects": SUBJECTS},
        ["x", "Role/r", "5m", "ann, bob", "devs", "default/web"],
    ),
    ("storage.k8s.io/v1 StorageClass", {"provisioner": "p"}, ["x", "p", "Delete", "Immediate", False, "5m"]),
    (
        "storage.k8s.io/v1 CSIDriver",
        {"spec": {"attachRequired": False, "tokenRequests": [{"audience": "a"}, {"audience": "b"}]}},
        ["x", False, False, False, "a,b", False, "<none>", "5m"],
    ),
    (
        "storage.k8s.io/v1 CSIDriver",
        {"spec": {"volumeLifecycleModes": ["Persistent", "Ephemeral"]}},
        ["x", True, False, False, "<unset>", False, "Persistent,Ephemeral", "5m"],
    ),
    ("storage.k8s.io/v1 CSINode", {"spec": {"drivers": [{}, {}]}}, ["x", 2, "5m"]),
    (
        "storage.k8s.io/v1 CSIStorageCapacity",
        {"storageClassName": "s", "capacity": "1Gi"},
        ["x", "s", "1Gi"],
    ),
    (
        "storage.k8s.io/v1 VolumeAttachment",
        {"spec": ATTACHMENT, "status": {"attached": True}},
        ["x", "d", "pv", "n", True, "5m"],
    ),
    ("storage.k8s.io/v1 VolumeAttributesClass", {"driverName": "d"}, ["x", "d", "5m"]),
    (
        "scheduling.k8s.io/v1 PriorityClass",
        {"value": 10, "preemptionPolicy": "Never"},
        ["x", 10, False, "5m", "Never"],
    ),
    ("coordination.k8s.io/v1 Lease", {"spec": {"holderIdentity": "me"}}, ["x", "me", "5m"]),
    (
        "coordination.k8s.io/v1beta1 LeaseCandidate",
        {"spec": {"leaseName": "l", "binaryVersion": "1.36.0", "emulationVersion": "1.35.0"}},
        ["x", "l", "1.36.0", "1.35.0", "5m"],
    ),
    ("node.k8s.io/v1 RuntimeClass", {"handler": "runc"}, ["x", "runc", "5m"]),
    (
        "discovery.k8s.io/v1 EndpointSlice",
        {
            "addressType": "IPv4",
            "ports": [{"port": 80}, {"name": "dns"}, {"name": ""}, {"port": 81}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}],
        },
        ["x", "IPv4", "80,dns,* + 1 more...", "10.0.0.1,10.0.0.2", "5m"],
    ),
    ("discovery.k8s.io/v1 EndpointSlice", {"addressType": "IPv6"}, ["x", "IPv6", "<unset>", "<unset>", "5m"]),
    (
        "events.k8s.io/v1 Event",
        EVENT,
        ["60s", "Normal", "Tested", "pod/p", "", "kubelet, n1", "well", "60s", 1, "x"],
    ),
    (
        "certificates.k8s.io/v1 CertificateSigningRequest",
        {"spec": CSR, "status": {"conditions": [{"type": "Approved"}], "certificate": "AA=="}},
        ["x", "5m", "example.com/s", "ann", "60m", "Approved,Issued"],
    ),
    (
        "certificates.k8s.io/v1 CertificateSigningRequest",
        {"status": {"conditions": [{"type": "Approved"}, {"type": "Denied"}, {"type": "Failed"}]}},
        ["x", "5m", "<none>", "", "<none>", "Denied,Failed"],
    ),
    ("certificates.k8s.io/v1beta1 ClusterTrustBundle", {}, ["x", "<none>"]),
    (
        "certificates.k8s.io/v1beta1 PodCertificateRequest",
        {"spec": {"podName": "p", "signerName": "s"}, "status": {"conditions": [condition("Issued")]}},
        ["x", "p", "", "", "s", "Issued"],
    ),
    (
        "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration",
        {"webhooks": [{}, {}]},
        ["x", 2, "5m"],
    ),
    (
        "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy",
        {"spec": {"validations": [{}], "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}},
        ["x", 1, "v1/ConfigMap", "5m"],
    ),
    (
        "admissionregistration.k8s.io/v1 MutatingAdmissionPolicy",
        {"spec": {"mutations": [{}]}},
        ["x", 1, "<unset>", "5m"],
    ),
    (
        "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding",
        {"spec": {"policyName": "p", "paramRef": {"name": "n", "namespace": "s"}}},
        ["x", "p", "s/n", "5m"],
    ),
    ("apiregistration.k8s.io/v1 APIService", {"spec": {}}, ["x", "Local", "Unknown", "5m"]),
    (
        "apiregistration.k8s.io/v1 APIService",
        {
            "spec": {"service": {"namespace": "n", "name": "s"}},
            "status": {"conditions": [condition("Available", "False", reason="MissingEndpoints")]},
        },
        ["x", "n/s", "False (MissingEndpoints)", "5m"],
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1 FlowSchema",
        {
            "spec": {"priorityLevelConfiguration": {"name": "exempt"}, "matchingPrecedence": 1},
            "status": {"conditions": [condition("Dangling", "False")]},
        },
        ["x", "exempt", 1, "<none>", "5m", "False"],
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration",
        {"spec": {"type": "Limited", "limited": RULES_WITH_QUEUES}},
        ["x", "Limited", 30, 64, 8, 50, "5m"],
    ),
    (
        "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration",
        {"spec": {"type": "Exempt", "exempt": {}}},
        ["x", "Exempt", "<none>", "<none>", "<none>", "<none>", "5m"],
    ),
    ("resource.k8s.io/v1 ResourceClaim", {}, ["x", "pending", "5m"]),
    (
        "resource.k8s.io/v1 ResourceClaim",
        {"status": {"allocation": {}, "reservedFor": [{}]}},
        ["x", "allocated,reserved", "5m"],
    ),
    (
        "resource.k8s.io/v1 ResourceSlice",
        {"spec": {"nodeName": "n", "driver": "d", "pool": {"name": "p"}}},
        ["x", "n", "d", "p", "5m"],
    ),
    ("resource.k8s.io/v1 DeviceClass", {}, ["x", "5m"]),
    (
        "internal.apiserver.k8s.io/v1alpha1 StorageVersion",
        {"status": {"storageVersions": [{"apiServerID": "a", "encodingVersion": "v1"}]}},
        ["x", "<unset>", "a=v1", "5m"],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "expected"), GOLDEN)
def test_rows(kind, fields, expected):
    assert cells(*kind.split(" "), fields) == expected


def test_the_default_class_is_marked():
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert cells("storage.k8s.io/v1", "StorageClass", {}, annotations=annotations)[0] == "x (default)"
    annotations = {"storageclass.kubernetes.io/is-default-class": "yes"}
    assert cells("storage.k8s.io/v1", "StorageClass", {}, annotations=annotations)[0] == "x"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("batch/v1 Job", "Name Status Completions Duration Age (Containers) (Images) (Selector)"),
        (
            "batch/v1 CronJob",
            "Name Schedule Timezone Suspend Active Last_Schedule Age (Containers) (Images) (Selector)",
        ),
        (
            "autoscaling/v2 HorizontalPodAutoscaler",
            "Name Reference Targets MinPods MaxPods Replicas Age",
        ),
        (
            "rbac.authorization.k8s.io/v1 ClusterRoleBinding",
            "Name Role Age (Users) (Groups) (ServiceAccounts)",
        ),
        (
            "certificates.k8s.io/v1 CertificateSigningRequest",
            "Name Age SignerName Requestor RequestedDuration Condition",
        ),
    ],
)
def test_headings(kind, expected):
    assert [heading.replace(" ", "_") for heading in headings(*kind.split(" "))] == expected.split(" ")


@pytest.mark.parametrize(
    "kind", ["rbac.authorization.k8s.io/v1 Role", "apiextensions.k8s.io/v1 CustomResourceDefinition"]
)
def test_kinds_that_say_when_they_were_created(kind):
    assert table(*kind.split(" ")) is None
