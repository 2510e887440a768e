"""Cells of the workloads."""

from datetime import UTC, datetime

from tiphys.api.apps import columns

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "one:1"}, {"name": "b", "image": "two:2"}]}}


def workload(*, status=None, **spec):
    return {
        "metadata": {"name": "web", "creationTimestamp": "2026-11-22T11:00:00Z"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE, **spec},
        "status": status or {},
    }


def test_a_deployment():
    obj = workload(replicas=3, status={"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1})
    assert columns.DEPLOYMENT.cells(obj, NOW) == ["web", "2/3", 3, 1, "60m", "a,b", "one:1,two:2", "app=web"]


def test_a_deployment_that_has_only_just_been_made():
    assert columns.DEPLOYMENT.cells(workload(replicas=1), NOW)[:4] == ["web", "0/1", 0, 0]


def test_a_replica_set():
    obj = workload(replicas=3, status={"replicas": 2, "readyReplicas": 1})
    assert columns.REPLICA_SET.cells(obj, NOW)[:5] == ["web", 3, 2, 1, "60m"]


def test_a_stateful_set():
    obj = workload(replicas=3, status={"readyReplicas": 1})
    assert columns.STATEFUL_SET.cells(obj, NOW) == ["web", "1/3", "60m", "a,b", "one:1,two:2"]


def test_a_daemon_set():
    obj = workload(
        status={
            "desiredNumberScheduled": 3,
            "currentNumberScheduled": 2,
            "numberReady": 1,
            "numberAvailable": 1,
        }
    )
    assert columns.DAEMON_SET.cells(obj, NOW)[:8] == ["web", 3, 2, 1, 0, 1, "<none>", "60m"]


def test_a_controller_revision():
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": True, "uid": "1"}
    obj = {"metadata": {"name": "db-1", "ownerReferences": [owner]}, "revision": 4}
    assert columns.CONTROLLER_REVISION.cells(obj, NOW) == ["db-1", "statefulset.apps/db", 4, "<unknown>"]


def test_every_table_has_a_cell_for_every_column():
    for table in (columns.DEPLOYMENT, columns.REPLICA_SET, columns.STATEFUL_SET, columns.DAEMON_SET):
        assert len(table.cells(workload(), NOW)) == len(table.columns)
