"""What a write sets, keeps and drops of core objects before it is checked; what a delete means."""

import copy

import pytest

from tiphys.api.core import deletion, prepare, selectable, service_fields
from tiphys.api.core.pod_resources import container_requests, pod_requests, qos_class
from tiphys.machinery.quantity import parse


def pod(**spec):
    return {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c"}], **spec},
    }


def test_a_new_pod_is_pending():
    obj = pod()
    obj["status"] = {"phase": "Running"}
    prepare.pod(obj, None)
    assert obj["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


def test_a_gated_pod_says_so():
    obj = pod(schedulingGates=[{"name": "a"}])
    prepare.pod(obj, None)
    condition = obj["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "PodScheduled",
        "False",
        "SchedulingGated",
    )


def test_the_account_that_admission_chose_has_both_names():
    obj = pod(serviceAccountName="default")
    prepare.pod(obj, None)
    assert obj["spec"]["serviceAccount"] == "default"


def test_label_keys_become_part_of_selectors():
    term = {
        "labelSelector": {"matchLabels": {"x": "y"}},
        "topologyKey": "zone",
        "mismatchLabelKeys": ["app", "no"],
    }
    constraint = {"labelSelector": {}, "matchLabelKeys": ["app"]}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    obj = pod(affinity=affinity, topologySpreadConstraints=[constraint])
    prepare.pod(obj, None)
    assert term["labelSelector"]["matchExpressions"] == [
        {"key": "app", "operator": "NotIn", "values": ["web"]}
    ]
    assert constraint["labelSelector"]["matchExpressions"] == [
        {"key": "app", "operator": "In", "values": ["web"]}
    ]
    again = copy.deepcopy(obj)
    prepare.pod(again, obj)
    assert again == obj


def test_a_status_keeps_what_old_kubelets_leave_out():
    old = {
        **pod(),
        "status": {"qosClass": "Burstable", "conditions": [{"type": "Ready", "observedGeneration": 3}]},
    }
    new = {**pod(), "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    prepare.pod_status(new, old)
    assert new["status"]["qosClass"] == "Burstable"
    assert new["status"]["conditions"][0]["observedGeneration"] == 3


def test_a_resize_keeps_everything_else():
    old = {**pod(nodeName="n"), "status": {"phase": "Running"}}
    new = copy.deepcopy(old)
    new["spec"]["nodeName"] = "elsewhere"
    new["spec"]["containers"] = [{"name": "c", "image": "other", "resources": {"limits": {"cpu": "1"}}}]
    prepare.resize(new, old)
    assert new["spec"] == {
        "nodeName": "n",
        "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}],
    }


def test_a_namespace_is_finalized_by_its_own_path_only():
    new = {"metadata": {"name": "shop"}, "spec": {}}
    prepare.namespace(new, None)
    assert new["spec"]["finalizers"] == ["kubernetes"]
    assert new["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    changed = {"metadata": {"name": "shop"}, "spec": {"finalizers": []}}
    prepare.namespace(changed, new)
    assert changed["spec"]["finalizers"] == ["kubernetes"]


def test_the_two_names_of_a_data_source():
    claim = {"metadata": {}, "spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}}
    prepare.persistent_volume_claim(claim, None)
    assert claim["spec"]["dataSourceRef"] == {"kind": "PersistentVolumeClaim", "name": "a"}
    elsewhere = {"metadata": {}, "spec": {"dataSourceRef": {"kind": "X", "name": "a", "namespace": "b"}}}
    prepare.persistent_volume_claim(elsewhere, None)
    assert "dataSource" not in elsewhere["spec"]


def test_references_of_accounts_are_names():
    account = {"metadata": {}, "secrets": [{"name": "a", "namespace": "b", "kind": "Secret"}]}
    prepare.service_account(account, None)
    assert account["secrets"] == [{"name": "a"}]


def test_a_service_that_turns_inward_drops_what_was_for_outside():
    old = {
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 30001,
            "allocateLoadBalancerNodePorts": True,
        }
    }
    new = {"spec": {**old["spec"], "type": "ClusterIP"}}
    service_fields.prepare(new, old)
    assert new["spec"] == {"type": "ClusterIP"}


def test_a_service_keeps_its_health_check():
    old = {"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}}
    new = {"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}}
    service_fields.prepare(new, old)
    assert new["spec"]["healthCheckNodePort"] == 30001


def test_an_old_client_gives_one_address():
    obj = {"spec": {"clusterIP": "None"}}
    service_fields.prepare(obj, None)
    assert obj["spec"]["clusterIPs"] == ["None"]


# Deletion


@pytest.mark.parametrize(
    ("spec", "phase", "seconds"),
    [
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, "Running", 30),
        ({"terminationGracePeriodSeconds": 30}, "Pending", 0),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, "Succeeded", 0),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 30}, "Failed", 0),
        ({"nodeName": "n"}, "Running", 0),
    ],
)
def test_pods_are_given_time(spec, phase, seconds):
    assert deletion.pod_grace_seconds({"spec": spec, "status": {"phase": phase}}) == seconds


def test_a_dying_namespace_is_terminating():
    obj = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    assert deletion.namespace_has_finalizers(obj)
    assert deletion.terminating_namespace(obj)["status"] == {"phase": "Terminating"}
    assert obj["status"] == {"phase": "Active"}


# Selectable fields


def test_selectable_fields():
    obj = pod(nodeName="n")
    obj["status"] = {"podIPs": [{"ip": "10.0.0.1"}]}
    found = {field: get(obj) for field, get in selectable.POD.items()}
    assert found["spec.nodeName"] == "n"
    assert found["spec.hostNetwork"] == "false"
    assert found["status.podIP"] == "10.0.0.1"
    assert found["status.phase"] == ""
    assert selectable.NODE["spec.unschedulable"]({"spec": {"unschedulable": True}}) == "true"
    event = {"involvedObject": {"name": "web"}, "reportingComponent": "kubelet"}
    assert selectable.EVENT["involvedObject.name"](event) == "web"
    assert selectable.EVENT["source"](event) == "kubelet"


# Resources


def container(requests=None, limits=None, **more):
    return {"name": "c", "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([container()], "BestEffort"),
        ([container({"cpu": "1"})], "Burstable"),
        ([container({"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"})], "Guaranteed"),
        ([container({"cpu": "1", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}), container()], "Burstable"),
        ([container({"ephemeral-storage": "1Gi"})], "BestEffort"),
    ],
)
def test_qos_classes(containers, expected):
    assert qos_class({"containers": containers}) == expected


def test_sidecars_run_beside_and_init_containers_before():
    spec = {
        "containers": [container({"cpu": "1"})],
        "initContainers": [
            container({"cpu": "3"}),
            container({"cpu": "1"}, restartPolicy="Always"),
            container({"cpu": "4"}),
        ],
    }
    assert container_requests(spec) == {"cpu": parse("5")}


def test_pod_level_requests_win_and_overhead_is_added():
    spec = {
        "containers": [container({"cpu": "1", "example.com/gpu": "1"})],
        "resources": {"requests": {"cpu": "4"}},
        "overhead": {"cpu": "100m"},
    }
    assert pod_requests(spec) == {"cpu": parse("4100m"), "example.com/gpu": parse("1")}
