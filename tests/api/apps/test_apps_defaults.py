"""Defaults of the workloads."""

import copy

import pytest

from tiphys.api.apps import defaults


def workload(**spec):
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
    }
    return {"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec}}


def test_a_deployment():
    obj = workload()
    defaults.deployment(obj)
    spec = obj["spec"]
    assert spec["replicas"] == 1
    assert spec["revisionHistoryLimit"] == 10
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert spec["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert obj["status"] == {}


def test_zero_replicas_stay_zero():
    obj = workload(replicas=0)
    defaults.deployment(obj)
    assert obj["spec"]["replicas"] == 0


def test_recreate_has_no_rolling_update():
    obj = workload(strategy={"type": "Recreate"})
    defaults.deployment(obj)
    assert obj["spec"]["strategy"] == {"type": "Recreate"}


def test_a_daemon_set():
    obj = workload()
    defaults.daemon_set(obj)
    assert obj["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }
    assert obj["status"]["desiredNumberScheduled"] == 0


def test_a_stateful_set():
    obj = workload(volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": {}}])
    defaults.stateful_set(obj)
    spec = obj["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["volumeClaimTemplates"] == [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data"},
            "spec": {"volumeMode": "Filesystem", "resources": {}},
            "status": {"phase": "Pending"},
        }
    ]


def test_a_replica_set_shows_its_replicas():
    obj = workload()
    defaults.replica_set(obj)
    assert obj["spec"]["replicas"] == 1
    assert obj["status"] == {"replicas": 0}


@pytest.mark.parametrize(
    "default", [defaults.deployment, defaults.daemon_set, defaults.stateful_set, defaults.replica_set]
)
def test_idempotent(default):
    once = workload()
    default(once)
    twice = copy.deepcopy(once)
    default(twice)
    assert twice == once
