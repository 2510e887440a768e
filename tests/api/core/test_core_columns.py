"""Cells of the core kinds, against what upstream's printers answer."""

from datetime import UTC, datetime

import pytest

from tiphys.api.core.columns import nodes, objects, pods, services, volumes

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
CREATED = {"name": "x", "creationTimestamp": "2026-11-22T11:55:00Z"}
RUNNING = {"running": {"startedAt": "2026-11-22T11:56:00Z"}}
ONE_DONE = {"terminated": {"exitCode": 0, "reason": "Completed"}}


def pod(*, containers=1, init=(), metadata=None, spec=None, **status):
    return {
        "metadata": {**CREATED, **(metadata or {})},
        "spec": {
            "containers": [{"name": f"c{index}"} for index in range(containers)],
            "initContainers": list(init),
            **(spec or {}),
        },
        "status": status,
    }


def status(state, *, name="c0", ready=False, restarts=0, finished="", **more):
    last = {"terminated": {"finishedAt": finished}} if finished else {}
    return {"name": name, "state": state, "ready": ready, "restartCount": restarts, "lastState": last, **more}


def printed(obj):
    """READY, STATUS, RESTARTS"""
    return pods.pod_cells(obj, NOW)[1:4]


WAITING = status({"waiting": {"reason": "CrashLoopBackOff"}}, restarts=3, finished="2026-11-22T11:55:00Z")
SIDECAR = {"name": "s", "restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (pod(phase="Pending"), ["0/1", "Pending", "0"]),
        (pod(phase="Pending", reason="Evicted"), ["0/1", "Evicted", "0"]),
        (
            pod(
                phase="Pending",
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
            ),
            ["0/1", "SchedulingGated", "0"],
        ),
        (
            pod(phase="Pending", containerStatuses=[status({"waiting": {"reason": "ContainerCreating"}})]),
            ["0/1", "ContainerCreating", "0"],
        ),
        (pod(phase="Running", containerStatuses=[status(RUNNING, ready=True)]), ["1/1", "Running", "0"]),
        (pod(phase="Running", containerStatuses=[status(RUNNING)]), ["0/1", "Running", "0"]),
        (pod(phase="Running", containerStatuses=[WAITING]), ["0/1", "CrashLoopBackOff", "3 (5m ago)"]),
        (
            pod(
                phase="Failed", containerStatuses=[status({"terminated": {"exitCode": 1, "reason": "Error"}})]
            ),
            ["0/1", "Error", "0"],
        ),
        (
            pod(phase="Failed", containerStatuses=[status({"terminated": {"exitCode": 137, "signal": 9}})]),
            ["0/1", "Signal:9", "0"],
        ),
        (
            pod(phase="Failed", containerStatuses=[status({"terminated": {"exitCode": 2}})]),
            ["0/1", "ExitCode:2", "0"],
        ),
        (pod(phase="Succeeded", containerStatuses=[status(ONE_DONE)]), ["0/1", "Completed", "0"]),
        (
            pod(
                containers=2,
                phase="Running",
                conditions=[{"type": "Ready", "status": "True"}],
                containerStatuses=[status(ONE_DONE), status(RUNNING, name="c1", ready=True)],
            ),
            ["1/2", "Running", "0"],
        ),
        (
            pod(
                containers=2,
                phase="Running",
                containerStatuses=[status(ONE_DONE), status(RUNNING, name="c1", ready=True)],
            ),
            ["1/2", "NotReady", "0"],
        ),
        (
            pod(
                init=[{"name": "a"}, {"name": "b"}],
                phase="Pending",
                initContainerStatuses=[status(ONE_DONE, name="a"), status(RUNNING, name="b", restarts=1)],
                containerStatuses=[status({"waiting": {"reason": "PodInitializing"}})],
            ),
            ["0/1", "Init:1/2", "1"],
        ),
        (
            pod(
                init=[{"name": "a"}],
                phase="Pending",
                initContainerStatuses=[
                    status({"waiting": {"reason": "CrashLoopBackOff"}}, name="a", restarts=2)
                ],
            ),
            ["0/1", "Init:CrashLoopBackOff", "2"],
        ),
        (
            pod(
                init=[{"name": "a"}],
                phase="Pending",
                initContainerStatuses=[status({"terminated": {"exitCode": 3}}, name="a")],
            ),
            ["0/1", "Init:ExitCode:3", "0"],
        ),
        (
            pod(
                init=[SIDECAR],
                phase="Running",
                initContainerStatuses=[status(RUNNING, name="s", ready=True, started=True, restarts=1)],
                containerStatuses=[status(RUNNING, ready=True, restarts=2)],
            ),
            ["2/2", "Running", "3"],
        ),
        (
            pod(
                init=[{"name": "a"}],
                phase="Running",
                initContainerStatuses=[status(ONE_DONE, name="a", restarts=4)],
                containerStatuses=[status(RUNNING, ready=True)],
            ),
            ["1/1", "Running", "0"],
        ),
        (
            pod(phase="Running", metadata={"deletionTimestamp": "2026-11-22T12:00:30Z"}),
            ["0/1", "Terminating", "0"],
        ),
        (
            pod(phase="Succeeded", metadata={"deletionTimestamp": "2026-11-22T12:00:30Z"}),
            ["0/1", "Succeeded", "0"],
        ),
        (
            pod(phase="Running", reason="NodeLost", metadata={"deletionTimestamp": "2026-11-22T12:00:30Z"}),
            ["0/1", "Unknown", "0"],
        ),
    ],
)
def test_pods(obj, expected):
    assert printed(obj) == expected


def test_wide_pods():
    obj = pod(
        phase="Running",
        podIPs=[{"ip": "10.0.0.1"}],
        conditions=[{"type": "example.com/ok", "status": "True"}],
        spec={
            "nodeName": "n1",
            "readinessGates": [{"conditionType": "example.com/ok"}, {"conditionType": "other"}],
        },
    )
    assert pods.pod_cells(obj, NOW)[4:] == ["5m", "10.0.0.1", "n1", "<none>", "1/2"]
    assert pods.pod_cells(pod(), NOW)[5:] == ["<none>"] * 4


@pytest.mark.parametrize(
    ("spec", "external"),
    [
        ({"type": "ClusterIP"}, "<none>"),
        ({"type": "ClusterIP", "externalIPs": ["1.2.3.4", "5.6.7.8"]}, "1.2.3.4,5.6.7.8"),
        ({"type": "LoadBalancer"}, "<pending>"),
        ({"type": "ExternalName", "externalName": "example.com"}, "example.com"),
    ],
)
def test_external_addresses_of_services(spec, external):
    assert services.SERVICE.cells({"metadata": CREATED, "spec": spec}, NOW)[3] == external


def test_a_service():
    obj = {
        "metadata": CREATED,
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.0.0.7"],
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            "selector": {"app": "web"},
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "lb.example.com"}]}},
    }
    assert services.SERVICE.cells(obj, NOW) == [
        "x",
        "LoadBalancer",
        "10.0.0.7",
        "9.9.9.9,lb.example.com",
        "80:30080/TCP,53/UDP",
        "5m",
        "app=web",
    ]


def test_endpoints():
    addresses = [{"ip": f"10.0.0.{index}"} for index in range(5)]
    obj = {"metadata": CREATED, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}
    cell = services.ENDPOINTS.cells(obj, NOW)[1]
    assert cell == "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."
    assert services.ENDPOINTS.cells({"metadata": CREATED}, NOW)[1] == "<none>"
    assert services.join_host_port("fd00::1", 80) == "[fd00::1]:80"


def test_a_node():
    obj = {
        "metadata": {
            **CREATED,
            "labels": {
                "node-role.kubernetes.io/worker": "",
                "kubernetes.io/role": "extra",
                "node-role.kubernetes.io/": "",
            },
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "addresses": [
                {"type": "Hostname", "address": "x"},
                {"type": "InternalIP", "address": "10.1.0.1"},
            ],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian"},
        },
    }
    assert nodes.NODE.cells(obj, NOW) == [
        "x",
        "NotReady,SchedulingDisabled",
        "extra,worker",
        "5m",
        "v1.36.0",
        "10.1.0.1",
        "<none>",
        "Debian",
        "<unknown>",
        "<unknown>",
    ]
    assert nodes.NODE.cells({"metadata": CREATED}, NOW)[1:3] == ["Unknown", "<none>"]


def test_volumes_and_claims():
    volume = {
        "metadata": CREATED,
        "spec": {
            "capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": "shop", "name": "data"},
            "storageClassName": "fast",
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Bound"},
    }
    assert volumes.PERSISTENT_VOLUME.cells(volume, NOW) == [
        "x",
        "5Gi",
        "RWO,RWX",
        "Retain",
        "Bound",
        "shop/data",
        "fast",
        "<unset>",
        "",
        "5m",
        "Filesystem",
    ]
    claim = {"metadata": {**CREATED, "deletionTimestamp": "2026-11-22T12:00:00Z"}, "spec": {}, "status": {}}
    assert volumes.PERSISTENT_VOLUME_CLAIM.cells(claim, NOW) == [
        "x",
        "Terminating",
        "",
        "",
        "",
        "",
        "<unset>",
        "5m",
        "<unset>",
    ]


def test_an_event():
    obj = {
        "metadata": {"name": "x.1"},
        "involvedObject": {"kind": "Pod", "name": "web"},
        "reason": "Started",
        "message": " Container started \n",
        "type": "Normal",
        "firstTimestamp": "2026-11-22T11:50:00Z",
        "lastTimestamp": "2026-11-22T11:59:00Z",
        "count": 4,
        "source": {"component": "kubelet", "host": "n1"},
    }
    assert objects.EVENT.cells(obj, NOW) == [
        "60s",
        "Normal",
        "Started",
        "pod/web",
        "",
        "kubelet, n1",
        "Container started",
        "10m",
        4,
        "x.1",
    ]


def test_an_event_of_the_new_kind():
    obj = {
        "metadata": {"name": "x.1"},
        "involvedObject": {"kind": "Node"},
        "eventTime": "2026-11-22T11:58:00.000000Z",
        "firstTimestamp": None,
        "lastTimestamp": None,
        "reportingComponent": "scheduler",
    }
    cells = objects.EVENT.cells(obj, NOW)
    assert (cells[0], cells[3], cells[5], cells[7], cells[8]) == ("2m", "node", "scheduler", "2m", 1)
    series = {**obj, "series": {"count": 7, "lastObservedTime": "2026-11-22T11:59:50.000000Z"}}
    cells = objects.EVENT.cells(series, NOW)
    assert (cells[0], cells[8]) == ("10s", 7)


def test_a_resource_quota():
    obj = {
        "metadata": CREATED,
        "status": {
            "hard": {"pods": "10", "limits.cpu": "4", "requests.cpu": "2"},
            "used": {"pods": "3", "limits.cpu": "1"},
        },
    }
    assert objects.RESOURCE_QUOTA.cells(obj, NOW) == [
        "x",
        "pods: 3/10, requests.cpu: 0/2",
        "limits.cpu: 1/4",
        "5m",
    ]


def test_small_kinds():
    assert objects.NAMESPACE.cells({"metadata": CREATED, "status": {"phase": "Active"}}, NOW) == [
        "x",
        "Active",
        "5m",
    ]
    config_map = {"metadata": CREATED, "data": {"a": "1"}, "binaryData": {"b": "Mg=="}}
    assert objects.CONFIG_MAP.cells(config_map, NOW) == ["x", 2, "5m"]
    secret = {"metadata": CREATED, "type": "Opaque", "data": {"a": "MQ=="}}
    assert objects.SECRET.cells(secret, NOW) == ["x", "Opaque", 1, "5m"]
    assert objects.SERVICE_ACCOUNT.cells({"metadata": CREATED}, NOW) == ["x", 0, "5m"]
