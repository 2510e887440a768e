"""What is refused of the core kinds other than pods, in upstream's words."""

import copy

import pytest

from tiphys.api.core.defaults import objects as object_defaults
from tiphys.api.core.defaults import services as service_defaults
from tiphys.api.core.defaults import volumes as volume_defaults
from tiphys.api.core.validation import configuration, nodes, objects, persistent_volumes, quotas, services


def texts(errors):
    return [str(error) for error in errors]


# Configuration


def test_config_maps():
    assert texts(configuration.config_map({"data": {"a": "1"}, "binaryData": {"b": "Mg=="}}, None)) == []
    assert texts(configuration.config_map({"data": {"a": "1"}, "binaryData": {"a": "Mg=="}}, None)) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]
    assert (
        "a valid config key must consist of"
        in texts(configuration.config_map({"data": {"a b": ""}}, None))[0]
    )
    assert (
        "[]: Too long: may not be more than 1048576 bytes"
        in texts(configuration.config_map({"data": {"a": "x" * (1024 * 1024 + 1)}}, None))[0]
    )


def test_an_immutable_config_map():
    old = {"data": {"a": "1"}, "immutable": True}
    assert texts(configuration.config_map({**old, "metadata": {"labels": {"x": "y"}}}, old)) == []
    assert texts(configuration.config_map({"data": {"a": "2"}}, old)) == [
        "immutable: Forbidden: field is immutable when `immutable` is set",
        "data: Forbidden: field is immutable when `immutable` is set",
    ]


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("Opaque", {}, []),
        ("kubernetes.io/tls", {"tls.crt": ""}, ["data[tls.key]: Required value"]),
        (
            "kubernetes.io/basic-auth",
            {},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/basic-auth", {"username": ""}, []),
        ("kubernetes.io/ssh-auth", {}, ["data[ssh-privatekey]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {}, ["data[.dockerconfigjson]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "e30="}, []),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
    ],
)
def test_secrets_of_known_types(type, data, expected):
    assert texts(configuration.secret({"metadata": {}, "type": type, "data": data}, None)) == expected


def test_secrets_show_nothing_and_keep_their_type():
    bad = {"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "c2VjcmV0"}}
    assert "<secret contents redacted>" in texts(configuration.secret(bad, None))[0]
    assert texts(configuration.secret({"type": "a"}, {"type": "b"})) == [
        'type: Invalid value: "a": field is immutable'
    ]


# Services


def service(**spec):
    obj = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], **spec}}
    service_defaults.service(obj)
    return obj


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (service(), []),
        (service(ports=[]), ["spec.ports: Required value"]),
        (service(ports=[], clusterIP="None", clusterIPs=["None"]), []),
        (service(type="Other"), None),
        (
            service(ports=[{"port": 80}, {"port": 81}]),
            ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
        ),
        (
            service(ports=[{"name": "a", "port": 80}, {"name": "a", "port": 81}]),
            ['spec.ports[1].name: Duplicate value: "a"'],
        ),
        (
            service(ports=[{"port": 0}]),
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            service(ports=[{"port": 80, "nodePort": 30000}]),
            ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (service(type="ExternalName"), ["spec.externalName: Required value"]),
        (
            service(type="NodePort", clusterIP="None", clusterIPs=["None"]),
            ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            service(externalTrafficPolicy="Local"),
            [
                'spec.externalTrafficPolicy: Invalid value: "Local": '
                "may only be set for externally-accessible services"
            ],
        ),
        (
            service(externalIPs=["127.0.0.1"]),
            [
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": '
                "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            ],
        ),
        (
            service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.2"]),
            ['spec.clusterIPs: Invalid value: ["10.0.0.2"]: first value must match `clusterIP`'],
        ),
        (
            service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"], ipFamilies=["IPv6"]),
            [
                'spec.clusterIPs[0]: Invalid value: "10.0.0.1": '
                "expected an IPv6 value as indicated by `ipFamilies[0]`"
            ],
        ),
        (
            service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
            [
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: "
                "must be greater than 0 and less than 86400"
            ],
        ),
        (
            service(loadBalancerClass="a/b"),
            ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            service(trafficDistribution="Near"),
            [
                'spec.trafficDistribution: Unsupported value: "Near": '
                'supported values: "PreferClose", "PreferSameNode", "PreferSameZone"'
            ],
        ),
    ],
)
def test_services(obj, expected):
    found = texts(services.service(obj, None))
    if expected is None:
        assert found
    else:
        assert found == expected


def test_the_address_of_a_service_stays():
    old = service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1"])
    new = service(clusterIP="10.0.0.2", clusterIPs=["10.0.0.2"])
    assert texts(services.service(new, old)) == [
        'spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set'
    ]
    assert texts(services.service(service(type="ExternalName", externalName="a.b"), old)) == []


def test_status_of_services():
    obj = service(type="LoadBalancer")
    obj["status"] = {
        "loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "1.2.3.4"}]}
    }
    assert texts(services.service_status(obj, None)) == [
        'status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'
    ]


def test_endpoints():
    subset = {"addresses": [{"ip": "169.254.0.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    assert texts(services.endpoints({"subsets": [subset]}, None)) == [
        'subsets[0].addresses[0].ip: Invalid value: "169.254.0.1": '
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
    ]
    assert texts(services.endpoints({"subsets": [{}]}, None)) == [
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"
    ]


# Nodes


def test_nodes():
    taints = [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]
    found = texts(nodes.node({"spec": {"taints": taints, "podCIDRs": ["x"]}}, None))
    assert "taints must be unique by key and effect pair" in found[0]
    assert found[1].startswith('spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value')


def test_what_a_node_was_given_stays():
    old = {"spec": {"podCIDRs": ["10.0.0.0/24"], "providerID": "a"}}
    assert texts(nodes.node({"spec": {"podCIDRs": ["10.0.1.0/24"], "providerID": "b"}}, old)) == [
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    ]
    assert texts(nodes.node(old, {"spec": {}})) == []


def test_a_node_has_whole_pods():
    assert texts(nodes.node_status({"status": {"capacity": {"pods": "500m"}}}, None)) == [
        'status.capacity.pods: Invalid value: "500m": must be an integer'
    ]


# Volumes and claims


def volume(**spec):
    obj = {
        "metadata": {"name": "v"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], **spec},
    }
    volume_defaults.persistent_volume(obj)
    return obj


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (volume(hostPath={"path": "/x"}), []),
        (volume(), ["spec: Required value: must specify a volume type"]),
        (volume(hostPath={"path": "/x"}, accessModes=[]), ["spec.accessModes: Required value"]),
        (
            volume(hostPath={"path": "/x"}, accessModes=["ReadWriteOncePod", "ReadWriteOnce"]),
            ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
        ),
        (
            volume(local={"path": "/x"}),
            ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
        ),
        (
            volume(hostPath={"path": "/"}, persistentVolumeReclaimPolicy="Recycle"),
            [
                "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"
            ],
        ),
        (
            volume(csi={"driver": "d.example.com"}),
            ["spec.csi.volumeHandle: Required value"],
        ),
    ],
)
def test_persistent_volumes(obj, expected):
    assert texts(persistent_volumes.persistent_volume(obj, None)) == expected


def test_the_source_of_a_volume_stays():
    old, new = volume(hostPath={"path": "/x"}), volume(hostPath={"path": "/y"})
    found = texts(persistent_volumes.persistent_volume(new, old))
    assert found[0].startswith(
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
    )


def claim(size="1Gi", phase="Bound", **spec):
    requests = {"storage": size} if size else {}
    obj = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": requests}, **spec},
        "status": {"phase": phase, "capacity": {"storage": "1Gi"}},
    }
    volume_defaults.persistent_volume_claim(obj)
    return obj


def test_claims():
    assert texts(persistent_volumes.persistent_volume_claim(claim(), None)) == []
    assert texts(persistent_volumes.persistent_volume_claim(claim(size=None), None)) == [
        "spec.resources[storage]: Required value"
    ]
    assert texts(persistent_volumes.persistent_volume_claim(claim(accessModes=[]), None)) == [
        "spec.accessModes: Required value: at least 1 access mode is required"
    ]


def test_claims_grow_and_are_bound_once():
    old = claim()
    assert texts(persistent_volumes.persistent_volume_claim(claim(size="2Gi"), old)) == []
    assert texts(persistent_volumes.persistent_volume_claim(claim(volumeName="v"), old)) == []
    assert texts(persistent_volumes.persistent_volume_claim(claim(size="512Mi"), old)) == [
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
    ]
    moved = texts(persistent_volumes.persistent_volume_claim(claim(volumeName="b"), claim(volumeName="a")))
    assert moved[0].startswith(
        "spec: Forbidden: spec is immutable after creation except resources.requests and"
    )


def test_a_claim_that_waits_does_not_grow():
    old = claim(phase="Pending")
    assert (
        "spec is immutable after creation"
        in texts(persistent_volumes.persistent_volume_claim(claim(size="2Gi", phase="Pending"), old))[0]
    )


def test_a_claim_may_be_given_a_class_once():
    assert texts(persistent_volumes.persistent_volume_claim(claim(storageClassName="a"), claim())) == []
    assert texts(
        persistent_volumes.persistent_volume_claim(claim(storageClassName="b"), claim(storageClassName="a"))
    )


# Quotas


def limits(**item):
    obj = {"metadata": {}, "spec": {"limits": [{"type": "Container", **item}]}}
    object_defaults.limit_range(obj)
    return obj


def test_limit_ranges():
    assert texts(quotas.limit_range(limits(max={"cpu": "2"}, min={"cpu": "1"}), None)) == []
    assert texts(quotas.limit_range(limits(type="Pod", max={"cpu": "1"}, min={"cpu": "2"}), None)) == [
        'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'
    ]
    assert texts(quotas.limit_range(limits(type="Pod", default={"cpu": "1"}), None)) == [
        "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"
    ]
    assert texts(quotas.limit_range(limits(maxLimitRequestRatio={"cpu": "500m"}), None)) == [
        'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1'
    ]


def test_resource_quotas():
    assert (
        texts(quotas.resource_quota({"spec": {"hard": {"pods": "10", "count/jobs.batch": "1"}}}, None)) == []
    )
    assert texts(quotas.resource_quota({"spec": {"hard": {"pods": "-1"}}}, None)) == [
        'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0'
    ]
    scoped = {"spec": {"hard": {"services": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}}
    found = texts(quotas.resource_quota(scoped, None))
    assert [text.rsplit(": ", 1)[1] for text in found] == [
        "unsupported scope applied to resource",
        "unsupported scope applied to resource",
        "conflicting scopes",
    ]


def test_scopes_stay():
    old = {"spec": {"scopes": ["BestEffort"]}}
    assert texts(quotas.resource_quota({"spec": {}}, old)) == [
        "spec.scopes: Invalid value: []: field is immutable"
    ]


# Namespaces, events, replication controllers


def test_namespaces():
    assert texts(objects.namespace({"spec": {"finalizers": ["kubernetes", "a.b/c"]}}, None)) == []
    assert texts(objects.namespace({"spec": {"finalizers": ["nope"]}}, None)) == [
        'spec.finalizers: Invalid value: "nope": name is neither a standard finalizer name nor is it fully qualified'
    ]
    assert texts(objects.namespace_status({"metadata": {}, "status": {"phase": "Terminating"}}, None)) == [
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    ]


def test_events_stand_where_their_objects_do():
    obj = {"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b"}}
    assert texts(objects.event(obj, None)) == [
        'involvedObject.namespace: Invalid value: "b": does not match event.namespace'
    ]
    cluster = {"metadata": {"namespace": "default"}, "involvedObject": {"kind": "Node"}}
    assert texts(objects.event(cluster, None)) == []


def test_events_of_the_new_kind_say_who_reports_what():
    obj = {
        "metadata": {"namespace": "a"},
        "involvedObject": {"namespace": "a"},
        "eventTime": "2026-11-22T12:00:00.000000Z",
        "reportingComponent": "example.com/x",
        "reportingInstance": "x-1",
        "action": "Bind",
    }
    assert texts(objects.event(obj, None)) == ["reason: Required value"]


def test_replication_controllers():
    obj = {
        "metadata": {"name": "rc"},
        "spec": {
            "selector": {"app": "other"},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "a", "image": "a:1"}]},
            },
        },
    }
    object_defaults.replication_controller(obj)
    assert texts(objects.replication_controller(obj, None)) == [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    ]
    status = copy.deepcopy(obj)
    status["status"] = {"replicas": 1, "readyReplicas": 2}
    assert texts(objects.replication_controller_status(status, obj)) == [
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"
    ]
