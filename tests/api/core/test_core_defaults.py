"""Defaults of the core kinds. The expected values are what a v1.36 API server answers."""

import copy
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.core.defaults import objects, pods, services, volumes
from tiphys.api.core.images import default_pull_policy, image_tag


def pod(**spec):
    return {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "nginx"}], **spec}}


def defaulted(obj, default):
    default(obj)
    return obj


def test_a_bare_pod_gets_what_kubectl_shows():
    assert defaulted(pod(), pods.pod) == {
        "metadata": {"name": "web"},
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": "nginx",
                    "imagePullPolicy": "Always",
                    "resources": {},
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                }
            ],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": True,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
        "status": {},
    }


def test_a_template_gets_no_pod_only_defaults():
    limits = {"limits": {"cpu": "1"}}
    template = {
        "spec": {
            "hostNetwork": True,
            "containers": [{"name": "c", "resources": dict(limits), "ports": [{"containerPort": 80}]}],
        }
    }
    pods.pod_template(template)
    container = template["spec"]["containers"][0]
    assert container["resources"] == limits
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert "enableServiceLinks" not in template["spec"]
    assert template["metadata"] == {}


def test_requests_come_from_limits():
    container = {
        "name": "c",
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    }
    obj = defaulted(pod(containers=[container]), pods.pod)
    assert obj["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_the_host_network_takes_host_ports():
    containers = [{"name": "c", "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 8081}]}]
    obj = defaulted(pod(hostNetwork=True, containers=containers), pods.pod)
    assert [port["hostPort"] for port in obj["spec"]["containers"][0]["ports"]] == [80, 8081]


def test_zero_in_a_probe_counts_as_unset():
    probe = {"httpGet": {"port": 80}, "periodSeconds": 0, "timeoutSeconds": 5}
    obj = defaulted(pod(containers=[{"name": "c", "readinessProbe": probe}]), pods.pod)
    assert obj["spec"]["containers"][0]["readinessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 5,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_the_old_name_of_the_service_account_counts_for_both():
    spec = defaulted(pod(serviceAccount="robot"), pods.pod)["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("robot", "robot")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"name": "c"}}, {"configMap": {"name": "c", "defaultMode": 420}}),
        ({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {
                "projected": {
                    "defaultMode": 420,
                    "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}],
                }
            },
        ),
        (
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {
                "downwardAPI": {
                    "defaultMode": 420,
                    "items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}],
                }
            },
        ),
        ({"iscsi": {}}, {"iscsi": {"iscsiInterface": "default"}}),
    ],
)
def test_volumes(source, expected):
    volume = {"name": "v", **source}
    volumes.pod_volume(volume)
    assert volume == {"name": "v", **expected}


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("nginx", "latest"),
        ("nginx:1.27", "1.27"),
        ("registry.example.com:5000/team/app", "latest"),
        ("registry.example.com:5000/team/app:v1", "v1"),
        ("nginx@sha256:" + "a" * 64, ""),
        ("nginx:latest@sha256:" + "a" * 64, "latest"),
        ("Nginx", ""),
        ("a" * 64, ""),
        ("", ""),
        ("not an image", ""),
    ],
)
def test_image_tags(image, tag):
    assert image_tag(image) == tag
    assert default_pull_policy(image) == ("Always" if tag == "latest" else "IfNotPresent")


def test_services():
    obj = defaulted({"spec": {"ports": [{"port": 80}]}}, services.service)
    assert obj == {
        "spec": {
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        },
        "status": {"loadBalancer": {}},
    }


def test_load_balancers_and_client_ip_affinity():
    spec = defaulted({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}}, services.service)[
        "spec"
    ]
    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["allocateLoadBalancerNodePorts"] is True
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_external_names_have_no_traffic_policy():
    spec = defaulted({"spec": {"type": "ExternalName", "externalName": "example.com"}}, services.service)[
        "spec"
    ]
    assert "internalTrafficPolicy" not in spec
    assert "externalTrafficPolicy" not in spec


def test_string_data_of_a_secret_becomes_data():
    obj = defaulted({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}}, objects.secret)
    assert obj == {"type": "Opaque", "data": {"a": "bmV3", "b": "Yg=="}}


def test_namespaces_are_labelled_with_their_name():
    obj = defaulted({"metadata": {"name": "shop"}}, objects.namespace)
    assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert obj["status"] == {"phase": "Active"}


def test_limit_ranges_of_containers():
    item = {"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "100m", "memory": "1Mi"}}
    objects.limit_range({"spec": {"limits": [item]}})
    assert item["default"] == {"cpu": "2"}
    assert item["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}


def test_a_replication_controller_takes_its_selector_from_its_template():
    obj = {"spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}}}
    objects.replication_controller(obj)
    assert obj["spec"]["selector"] == {"app": "web"}
    assert obj["metadata"]["labels"] == {"app": "web"}
    assert obj["spec"]["replicas"] == 1


def test_pod_level_requests_come_from_containers_then_limits():
    spec = {
        "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}],
    }
    pods.pod({"spec": spec})
    assert spec["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_nodes_show_their_zeros():
    obj = defaulted({"metadata": {"name": "n"}, "spec": {"podCIDRs": ["10.1.0.0/24"]}}, objects.node)
    assert obj["spec"]["podCIDR"] == "10.1.0.0/24"
    assert obj["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}
    assert obj["status"]["nodeInfo"]["kubeletVersion"] == ""


_SOURCES = st.sampled_from(
    [
        {},
        {"emptyDir": {}},
        {"secret": {"secretName": "s"}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    ]
)
_CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")},
        optional={
            "image": st.sampled_from(["a", "a:latest", "a:1", "?"]),
            "ports": st.just([{"containerPort": 80}]),
            "resources": st.sampled_from([{}, {"limits": {"cpu": "1"}}, {"requests": {"cpu": "1"}}]),
            "livenessProbe": st.sampled_from([{"httpGet": {"port": 1}}, {"exec": {}}, {"grpc": {"port": 1}}]),
            "lifecycle": st.sampled_from([{}, {"preStop": {"httpGet": {"port": 1}}}]),
        },
    ),
    max_size=3,
)
_SPECS = st.fixed_dictionaries(
    {"containers": _CONTAINERS},
    optional={
        "initContainers": _CONTAINERS,
        "hostNetwork": st.booleans(),
        "volumes": st.lists(_SOURCES.map(lambda source: {"name": "v", **copy.deepcopy(source)}), max_size=2),
        "resources": st.sampled_from([{"limits": {"cpu": "4"}}, {"requests": {"memory": "1Gi"}}, {}]),
    },
)


@given(_SPECS)
def test_defaults_are_idempotent(spec):
    once = defaulted({"spec": copy.deepcopy(spec)}, pods.pod)
    assert defaulted(copy.deepcopy(once), pods.pod) == once


def test_a_typical_pod_takes_microseconds():
    """A guard against copying and parsing: to copy it once takes some ten times as long."""
    container = {
        "name": "c",
        "image": "nginx:1",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "1"}},
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    obj = defaulted(pod(containers=[container], volumes=[{"name": "v", "emptyDir": {}}]), pods.pod)
    best, copied = (min(_seconds(work, obj) for _ in range(5)) for work in (pods.pod, copy.deepcopy))
    assert best < copied


def _seconds(work, obj):
    start = time.perf_counter()
    for _ in range(100):
        work(obj)
    return time.perf_counter() - start
