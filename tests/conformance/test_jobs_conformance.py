"""Jobs and CronJobs, on a simulated cluster: containers end as rules say, and the time passes while a test waits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client as official
from kubernetes import config, watch
from kubernetes.client.exceptions import ApiException

from tiphys.testing import Cluster, Namespace

Object = dict[str, Any]
PATIENCE_SECONDS = 900
"""Of the cluster's time, which passes at once."""
INDEX = "batch.kubernetes.io/job-completion-index"


def job(name: str = "work", *, restart: str = "Never", **spec: Any) -> Object:
    pod = {"restartPolicy": restart, "containers": [{"name": "c", "image": "busybox"}]}
    template = {"metadata": {"labels": {"job": name}}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"parallelism": 2, "completions": 4, "template": template, **spec},
    }


def indexed(**spec: Any) -> Object:
    return job(completionMode="Indexed", **spec)


def cron_job(name: str = "tick", **spec: Any) -> Object:
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": {"e2e": "yes"}},
        "spec": {
            "schedule": "*/1 * * * *",
            "concurrencyPolicy": "Allow",
            "jobTemplate": {"spec": {"template": job()["spec"]["template"]}},
            **spec,
        },
    }


@pytest.fixture(scope="module")
def batch(cluster: Cluster) -> Iterator[official.BatchV1Api]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as api:
        yield official.BatchV1Api(api)


@pytest.fixture(autouse=True)
def as_usual(cluster: Cluster) -> Iterator[None]:
    """What containers do in one test is no concern of the next."""
    yield
    cluster.pods.forget()


def ends(cluster: Cluster, namespace: Namespace, pod: str = "*", code: int = 0, **more: Any) -> None:
    cluster.pods.behave(pod, namespace=namespace.name, run_seconds=1, exit_code=code, **more)


def completed(namespace: Namespace, name: str = "work") -> Object:
    status: Object = namespace.wait_for(f"job/{name}", "Complete", PATIENCE_SECONDS)["status"]
    return status


def failed(namespace: Namespace, name: str = "work") -> Object:
    status: Object = namespace.wait_for(f"job/{name}", "Failed", PATIENCE_SECONDS)["status"]
    return status


def reason(status: Object, type: str) -> str:
    return next(each["reason"] for each in status["conditions"] if each["type"] == type)


def running(namespace: Namespace, count: int) -> list[Object]:
    def test(pods: list[Object]) -> bool:
        return [pod["status"].get("phase") for pod in pods] == ["Running"] * count

    return namespace.wait_for_all("pods", test, PATIENCE_SECONDS)


@pytest.mark.conformance(
    "Job should run a job to completion when tasks sometimes fail and are locally restarted"
)
def test_containers_that_fail_start_again(cluster: Cluster, namespace: Namespace) -> None:
    ends(cluster, namespace)
    ends(cluster, namespace, code=1, lives=1)
    namespace.create(job(restart="OnFailure"))
    status = completed(namespace)
    assert (status["succeeded"], status.get("failed", 0)) == (4, 0)
    for pod in namespace.list("pods"):
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1


@pytest.mark.conformance("Job should allow to use the pod failure policy on exit code to fail the job early")
def test_an_exit_code_fails_the_job(cluster: Cluster, namespace: Namespace) -> None:
    ends(cluster, namespace, code=1)
    codes = {"containerName": "c", "operator": "In", "values": [1]}
    policy = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
    namespace.create(job(podFailurePolicy=policy, parallelism=1, completions=2, backoffLimit=9))
    status = failed(namespace)
    assert (reason(status, "Failed"), reason(status, "FailureTarget")) == ("PodFailurePolicy",) * 2
    assert status["failed"] == 1


@pytest.mark.conformance(
    "Job should allow to use a pod failure policy to ignore failure matching on DisruptionTarget condition"
)
def test_disrupted_pods_do_not_count(
    cluster: Cluster, namespace: Namespace, batch: official.BatchV1Api
) -> None:
    policy = {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
        ]
    }
    namespace.create(indexed(podFailurePolicy=policy, parallelism=2, completions=2, backoffLimit=0))
    core = official.CoreV1Api(batch.api_client)
    for pod in running(namespace, 2):
        name = pod["metadata"]["name"]
        eviction = official.V1Eviction(metadata=official.V1ObjectMeta(name=name))
        core.create_namespaced_pod_eviction(name, namespace.name, eviction)
    ends(cluster, namespace)
    status = completed(namespace)
    assert (status["succeeded"], status.get("failed", 0)) == (2, 0)


@pytest.mark.conformance(
    "Job should create pods for an Indexed job with completion indexes and specified hostname"
)
def test_pods_of_an_indexed_job_are_numbered(cluster: Cluster, namespace: Namespace) -> None:
    ends(cluster, namespace)
    namespace.create(indexed())
    assert completed(namespace)["completedIndexes"] == "0-3"
    pods = {pod["metadata"]["annotations"][INDEX]: pod for pod in namespace.list("pods")}
    assert sorted(pods) == ["0", "1", "2", "3"]
    for index, pod in pods.items():
        assert pod["spec"]["hostname"] == f"work-{index}"
        assert pod["metadata"]["labels"][INDEX] == index
        (variable,) = pod["spec"]["containers"][0]["env"]
        assert variable["name"] == "JOB_COMPLETION_INDEX"
        assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX}']"


@pytest.mark.conformance(
    "Job should execute all indexes despite some failing when using backoffLimitPerIndex"
)
def test_an_index_that_fails_does_not_stop_the_others(cluster: Cluster, namespace: Namespace) -> None:
    ends(cluster, namespace)
    for index in (1, 3):
        ends(cluster, namespace, f"work-{index}-*", 1)
    namespace.create(indexed(backoffLimitPerIndex=1))
    status = failed(namespace)
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1,3")
    assert (status["succeeded"], status["failed"]) == (2, 4)
    assert reason(status, "Failed") == "FailedIndexes"


@pytest.mark.conformance(
    "Job should mark indexes as failed when the FailIndex action is matched in podFailurePolicy"
)
def test_an_exit_code_fails_its_index(cluster: Cluster, namespace: Namespace) -> None:
    ends(cluster, namespace)
    for index in (1, 3):
        ends(cluster, namespace, f"work-{index}-*", 42)
    policy = {"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}]}
    namespace.create(indexed(backoffLimitPerIndex=1, podFailurePolicy=policy))
    status = failed(namespace)
    assert (status["completedIndexes"], status["failedIndexes"]) == ("0,2", "1,3")
    assert (status["succeeded"], status["failed"]) == (2, 2)


@pytest.mark.conformance(
    "Job should terminate job execution when the number of failed indexes exceeds maxFailedIndexes"
)
def test_too_many_failed_indexes_end_the_job(cluster: Cluster, namespace: Namespace) -> None:
    ends(cluster, namespace, code=1)
    namespace.create(indexed(completions=10, parallelism=10, backoffLimitPerIndex=0, maxFailedIndexes=4))
    status = failed(namespace)
    assert reason(status, "Failed") == "MaxFailedIndexesExceeded"
    assert "succeeded" not in status


@pytest.mark.conformance("Job with successPolicy should succeeded when all indexes succeeded")
@pytest.mark.conformance(
    "Job with successPolicy succeededIndexes rule should succeeded even when some indexes remain pending"
)
@pytest.mark.conformance(
    "Job with successPolicy succeededCount rule should succeeded even when some indexes remain pending"
)
@pytest.mark.parametrize(
    ("rule", "succeeding", "done"),
    [
        ({"succeededCount": 2, "succeededIndexes": "0-1"}, "*", "0,1"),
        ({"succeededIndexes": "0"}, "work-0-*", "0"),
        ({"succeededCount": 1}, "work-1-*", "1"),
    ],
)
def test_a_success_policy_completes_a_job(
    cluster: Cluster, namespace: Namespace, rule: Object, succeeding: str, done: str
) -> None:
    ends(cluster, namespace, succeeding)
    namespace.create(indexed(completions=2, parallelism=2, successPolicy={"rules": [rule]}))
    status = completed(namespace)
    assert (reason(status, "SuccessCriteriaMet"), reason(status, "Complete")) == ("SuccessPolicy",) * 2
    assert status["completedIndexes"] == done
    assert status["terminating"] == 0


@pytest.mark.conformance("Job should delete a job")
def test_a_deleted_job_takes_its_pods_along(namespace: Namespace) -> None:
    namespace.create(job())
    running(namespace, 2)
    namespace.delete("job/work")
    namespace.wait_gone("job/work", PATIENCE_SECONDS)
    assert namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS) == []


@pytest.mark.conformance("Job should adopt matching orphans and release non-matching pods")
def test_orphans_are_taken_back_and_strangers_let_go(namespace: Namespace) -> None:
    namespace.create(job())
    name = running(namespace, 2)[0]["metadata"]["name"]

    def is_owned(pod: Object) -> bool:
        return any(owner.get("controller") for owner in pod["metadata"].get("ownerReferences", ()))

    namespace.patch(f"pod/{name}", {"metadata": {"ownerReferences": None}})
    namespace.wait_for(f"pod/{name}", is_owned, PATIENCE_SECONDS)
    labels = namespace.get(f"pod/{name}")["metadata"]["labels"]  # type: ignore[index]
    namespace.patch(f"pod/{name}", {"metadata": {"labels": dict.fromkeys(labels)}})
    namespace.wait_for(f"pod/{name}", lambda pod: not is_owned(pod), PATIENCE_SECONDS)
    running(namespace, 3)


@pytest.mark.conformance("Job should apply changes to a job status")
def test_the_status_of_a_job_is_written_by_itself(namespace: Namespace, batch: official.BatchV1Api) -> None:
    namespace.create(job())
    running(namespace, 2)
    where = ("work", namespace.name)
    patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"ready": 0}}
    patched = batch.patch_namespaced_job_status(*where, patch)
    assert patched.metadata.annotations["patchedstatus"] == "true"

    def updated() -> Any:
        found = batch.read_namespaced_job_status(*where)
        found.status.conditions = [
            *(found.status.conditions or ()),
            official.V1JobCondition(
                type="AdminExample", status="True", reason="E2E", message="Set by a test"
            ),
        ]
        return batch.replace_namespaced_job_status(*where, found)

    while True:
        try:
            changed = updated()
            break
        except ApiException as error:
            if error.status != 409:  # the controller was faster
                raise
    assert changed.status.conditions[-1].type == "AdminExample"
    found = batch.read_namespaced_job_status(*where)
    assert "AdminExample" in [each.type for each in found.status.conditions]
    assert found.status.start_time is not None


@pytest.mark.conformance("Job should manage the lifecycle of a job")
def test_jobs_take_every_verb(cluster: Cluster, namespace: Namespace, batch: official.BatchV1Api) -> None:
    ends(cluster, namespace)
    where = ("work", namespace.name)
    namespace.create(job(suspend=True))
    namespace.wait_for("job/work", "Suspended", PATIENCE_SECONDS)
    assert namespace.list("pods") == []
    patched = batch.patch_namespaced_job(*where, {"metadata": {"labels": {"e2e": "patched"}}})
    assert patched.metadata.labels["e2e"] == "patched"
    found = batch.read_namespaced_job(*where)
    found.metadata.annotations = {"updated": "true"}
    found.spec.suspend = False
    assert batch.replace_namespaced_job(*where, found).metadata.annotations["updated"] == "true"
    completed(namespace)
    listed = batch.list_job_for_all_namespaces(label_selector="e2e=patched")
    assert [each.metadata.name for each in listed.items] == ["work"]
    batch.delete_collection_namespaced_job(
        namespace.name, label_selector="e2e=patched", propagation_policy="Background"
    )
    namespace.wait_gone("job/work", PATIENCE_SECONDS)
    assert namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS) == []


def test_a_job_rests_is_placed_anew_and_goes_on(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(job(activeDeadlineSeconds=3600))
    running(namespace, 2)
    namespace.patch("job/work", {"spec": {"suspend": True}})
    rested = namespace.wait_for("job/work", "Suspended", PATIENCE_SECONDS)
    assert "startTime" not in rested["status"]
    assert namespace.wait_for_all("pods", lambda pods: not pods, PATIENCE_SECONDS) == []
    placed = {"nodeSelector": {"kubernetes.io/hostname": "node-2"}}
    ends(cluster, namespace)
    namespace.patch("job/work", {"spec": {"suspend": False, "template": {"spec": placed}}})
    assert completed(namespace)["succeeded"] == 4
    assert {pod["spec"]["nodeName"] for pod in namespace.list("pods")} == {"node-2"}


# Cron jobs


def active(count: int) -> Any:
    return lambda found: len(found["status"].get("active", ())) >= count


@pytest.mark.conformance("CronJob should schedule multiple jobs concurrently")
def test_jobs_run_beside_each_other(namespace: Namespace) -> None:
    namespace.create(cron_job())
    namespace.wait_for("cronjob/tick", active(2), PATIENCE_SECONDS)
    unfinished = [each for each in namespace.list("jobs") if "completionTime" not in each["status"]]
    assert len(unfinished) >= 2


@pytest.mark.conformance("CronJob should not schedule jobs when suspended [Slow]")
def test_a_suspended_cron_job_makes_none(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(cron_job(suspend=True))
    cluster.clock.advance(600)
    assert namespace.list("jobs") == []
    namespace.patch("cronjob/tick", {"spec": {"suspend": False}})
    namespace.wait_for("cronjob/tick", active(1), PATIENCE_SECONDS)


@pytest.mark.conformance("CronJob should not schedule new jobs when ForbidConcurrent [Slow]")
def test_no_job_beside_another(cluster: Cluster, namespace: Namespace) -> None:
    namespace.create(cron_job(concurrencyPolicy="Forbid"))
    namespace.wait_for("cronjob/tick", active(1), PATIENCE_SECONDS)
    cluster.clock.advance(300)
    assert len(namespace.list("jobs")) == 1
    assert any("JobAlreadyActive" in event for event in namespace.events("cronjob/tick"))


@pytest.mark.conformance("CronJob should replace jobs when ReplaceConcurrent")
def test_the_next_job_replaces_the_last(namespace: Namespace) -> None:
    namespace.create(cron_job(concurrencyPolicy="Replace"))
    first = namespace.wait_for("cronjob/tick", active(1), PATIENCE_SECONDS)["status"]["active"]
    assert len(first) == 1

    def is_another(found: Object) -> bool:
        listed = found["status"]["active"]
        return len(listed) == 1 and listed[0]["name"] != first[0]["name"]

    namespace.wait_for("cronjob/tick", is_another, PATIENCE_SECONDS)
    namespace.wait_gone(f"job/{first[0]['name']}", PATIENCE_SECONDS)
    assert len(namespace.list("jobs")) == 1


@pytest.mark.conformance("CronJob should support CronJob API operations")
def test_cron_jobs_take_every_verb(namespace: Namespace, batch: official.BatchV1Api) -> None:
    for number in range(3):
        namespace.create(cron_job(f"tick-{number}", suspend=True))
    where = ("tick-0", namespace.name)
    listed = batch.list_namespaced_cron_job(namespace.name, label_selector="e2e=yes")
    assert len(listed.items) == 3
    everywhere = batch.list_cron_job_for_all_namespaces(label_selector="e2e=yes")
    assert len(everywhere.items) == 3
    patched = batch.patch_namespaced_cron_job(*where, {"metadata": {"annotations": {"patched": "true"}}})
    assert patched.metadata.annotations["patched"] == "true"
    patched.metadata.annotations["updated"] = "true"
    assert batch.replace_namespaced_cron_job(*where, patched).metadata.annotations["updated"] == "true"
    seen, since = watch.Watch(), listed.metadata.resource_version
    everything = seen.stream(
        batch.list_namespaced_cron_job, namespace.name, resource_version=since, _request_timeout=120
    )
    assert any("updated" in (event["object"].metadata.annotations or {}) for event in everything)
    seen.stop()
    status = {
        "metadata": {"annotations": {"patchedstatus": "true"}},
        "status": {"lastScheduleTime": "2026-01-01T00:00:00Z"},
    }
    assert batch.patch_namespaced_cron_job_status(*where, status).status.last_schedule_time.year == 2026
    read = batch.read_namespaced_cron_job_status(*where)
    read.status.last_schedule_time = read.status.last_schedule_time.replace(year=2025)
    assert batch.replace_namespaced_cron_job_status(*where, read).status.last_schedule_time.year == 2025
    batch.delete_namespaced_cron_job(*where)
    namespace.wait_gone("cronjob/tick-0", PATIENCE_SECONDS)
    batch.delete_collection_namespaced_cron_job(namespace.name, label_selector="e2e=yes")
    assert namespace.wait_for_all("cronjobs", lambda found: not found, PATIENCE_SECONDS) == []
