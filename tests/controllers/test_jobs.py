"""Jobs over a whole API: what no single plan shows."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tiphys.client.resources import JOBS, PODS
from tiphys.controllers.jobs import job as jobs
from tiphys.controllers.jobs.making import TRACKING
from tiphys.controllers.jobs.orphans import ORPHANS
from tiphys.machinery import meta
from tiphys.machinery.errors import forbidden, internal_error
from tiphys.testing.world import World

Object = dict[str, Any]
INDEX = "batch.kubernetes.io/job-completion-index"
ONE_BY_ONE = {"completions": 1, "parallelism": 1, "backoffLimit": 6, "suspend": False}


def make(**spec: Any) -> Object:
    """What the API server makes of a job of the name `work`."""
    labels = {"batch.kubernetes.io/controller-uid": "j", "batch.kubernetes.io/job-name": "work"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]},
    }
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": "j"}}
    whole = {**ONE_BY_ONE, "template": template, "selector": selector, **spec}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {name: value for name, value in whole.items() if value is not None},
    }


def indexed(**spec: Any) -> Object:
    return make(completionMode="Indexed", **spec)


async def start(world: World, job: Object) -> None:
    await world.client.create(JOBS, job)
    await world.start(jobs.CONTROLLER, ORPHANS)


def found(world: World) -> Object:
    (job,) = world.api.objects(JOBS)
    return job


def status(world: World) -> Object:
    result: Object = found(world)["status"]
    return result


def conditions(world: World) -> dict[str, tuple[str, str, str]]:
    return {
        each["type"]: (each["status"], each["reason"], each["message"])
        for each in status(world)["conditions"]
    }


def end(world: World, pod: Object, code: int = 0, **more: Any) -> None:
    """What a kubelet says when the only container has ended."""
    finished = meta.format_time(world.clock.now())
    terminated = {"exitCode": code, "finishedAt": finished}
    phase = "Failed" if code else "Succeeded"
    containers = [{"name": "main", "state": {"terminated": terminated}}]
    world.set_pod(pod, status={"phase": phase, "containerStatuses": containers, **more})


def live(world: World) -> list[Object]:
    return [pod for pod in world.pods() if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]


def by_index(world: World) -> dict[str, Object]:
    return {pod["metadata"]["annotations"][INDEX]: pod for pod in live(world)}


async def end_all(world: World, code: int = 0) -> None:
    for pod in live(world):
        end(world, pod, code)
    await world.settle(0)


def reasons(world: World) -> list[str]:
    return [reason for _, reason, _ in world.events()]


async def test_a_job_runs_to_its_end_and_says_so_as_upstream(world: World) -> None:
    await start(world, make(completions=3, parallelism=2))
    assert len(world.pods()) == 2
    assert status(world) == {
        "active": 2,
        "ready": 0,
        "terminating": 0,
        "startTime": "2026-01-01T00:00:00Z",
        "uncountedTerminatedPods": {},
    }
    assert all(meta.finalizers(pod) == [TRACKING] for pod in world.pods())
    await end_all(world)
    assert len(world.pods()) == 3
    assert (status(world)["succeeded"], status(world)["active"]) == (2, 1)
    await end_all(world)
    reached = ("True", "CompletionsReached", "Reached expected number of succeeded pods")
    assert conditions(world) == {"SuccessCriteriaMet": reached, "Complete": reached}
    assert status(world)["succeeded"] == 3
    assert status(world)["completionTime"] == "2026-01-01T00:00:01Z"
    assert status(world)["uncountedTerminatedPods"] == {}
    assert "active" not in status(world)
    assert not any(meta.finalizers(pod) for pod in world.pods())
    assert world.events()[-1] == ("work", "Completed", "Job completed")
    assert reasons(world).count("SuccessfulCreate") == 3
    writes = len(world.api.requests)
    await world.settle(3600)
    assert len(world.api.requests) == writes


async def test_a_work_queue_is_done_by_its_first_success_and_the_end_of_the_others(world: World) -> None:
    await start(world, make(completions=None, parallelism=3))
    first, *others = world.pods()
    end(world, first)
    await world.settle()
    assert (len(world.pods()), status(world)["active"]) == (3, 2)
    assert "conditions" not in status(world)
    for pod in others:
        end(world, pod, 1)
    await world.settle()
    assert "Complete" in conditions(world)
    assert (status(world)["succeeded"], status(world)["failed"]) == (1, 2)


async def test_pods_that_fail_are_replaced_ever_more_slowly(world: World) -> None:
    await start(world, make(backoffLimit=9))
    for failures, wait in enumerate((10, 20, 40, 80, 160, 320, 600, 600), 1):
        await end_all(world, 1)
        await world.settle(wait - 1)
        assert len(world.pods()) == failures
        await world.settle(1)
        assert len(world.pods()) == failures + 1
    assert status(world)["failed"] == 8


async def test_too_many_failures_fail_the_job(world: World) -> None:
    await start(world, make(backoffLimit=1, completions=3, parallelism=3))
    for pod in live(world)[:2]:
        end(world, pod, 1)
    await world.settle()
    why = ("True", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    assert conditions(world) == {"FailureTarget": why, "Failed": why}
    assert status(world)["failed"] == 3  # the one that ran was deleted
    assert "completionTime" not in status(world)
    assert world.events()[-1] == ("work", *why[1:])
    assert reasons(world).count("SuccessfulDelete") == 1
    assert len(world.pods()) == 2


async def test_containers_that_start_again_count_where_pods_are_not_replaced(world: World) -> None:
    job = make(backoffLimit=2)
    job["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure"
    await start(world, job)
    (pod,) = world.pods()
    for restarts in (1, 2):
        containers: list[Object] = [{"name": "main", "restartCount": restarts, "state": {}}]
        world.set_pod(pod, status={"phase": "Running", "containerStatuses": containers})
        assert "conditions" not in status(world)
        await world.settle()
    assert conditions(world)["Failed"][1] == "BackoffLimitExceeded"


async def test_a_job_is_over_only_when_its_last_pod_has_ended(world: World) -> None:
    await start(world, make(activeDeadlineSeconds=60))
    world.make_ready()
    await world.settle()
    assert status(world)["ready"] == 1
    await world.settle(60)
    why = ("True", "DeadlineExceeded", "Job was active longer than specified deadline")
    assert conditions(world) == {"FailureTarget": why}
    assert (status(world)["terminating"], status(world)["ready"]) == (1, 0)
    await world.remove_terminating()
    assert conditions(world) == {"FailureTarget": why, "Failed": why}
    assert (status(world)["terminating"], status(world)["failed"]) == (0, 1)


async def test_a_suspended_job_has_no_pods_and_starts_anew(world: World) -> None:
    await start(world, make(suspend=True, activeDeadlineSeconds=100))
    assert world.pods() == []
    assert "startTime" not in status(world)
    assert conditions(world) == {"Suspended": ("True", "JobSuspended", "Job suspended")}
    await world.settle(500)
    await world.client.patch(JOBS, "work", {"spec": {"suspend": False}}, "default")
    await world.settle(0)
    assert conditions(world) == {"Suspended": ("False", "JobResumed", "Job resumed")}
    assert status(world)["startTime"] == "2026-01-01T00:08:21Z"
    world.make_ready()
    await world.settle(50)
    await world.client.patch(JOBS, "work", {"spec": {"suspend": True}}, "default")
    await world.settle(0)
    assert all(meta.is_deleting(pod) and not meta.finalizers(pod) for pod in world.pods())
    await world.remove_terminating()
    assert status(world).get("failed", 0) == 0
    assert "startTime" not in status(world)
    await world.client.patch(JOBS, "work", {"spec": {"suspend": False}}, "default")
    await world.settle(90)
    assert len(live(world)) == 1
    assert ("work", "Suspended", "Job suspended") in world.events()
    assert ("work", "Resumed", "Job resumed") in world.events()


async def test_indexed_pods_know_their_index(world: World) -> None:
    await start(world, indexed(completions=3, parallelism=3))
    assert sorted(by_index(world)) == ["0", "1", "2"]
    pod = by_index(world)["1"]
    assert pod["metadata"]["labels"][INDEX] == "1"
    assert pod["metadata"]["name"].startswith("work-1-")
    assert pod["spec"]["hostname"] == "work-1"
    (variable,) = pod["spec"]["containers"][0]["env"]
    assert variable["name"] == "JOB_COMPLETION_INDEX"
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    end(world, by_index(world)["0"])
    end(world, by_index(world)["2"])
    await world.settle()
    assert status(world)["completedIndexes"] == "0,2"
    await end_all(world, 1)
    await world.settle(10)
    assert sorted(by_index(world)) == ["1"]
    await end_all(world)
    assert status(world)["completedIndexes"] == "0-2"
    assert "Complete" in conditions(world)


async def test_an_indexed_job_grows_and_shrinks(world: World) -> None:
    await start(world, indexed(completions=2, parallelism=2))
    end(world, by_index(world)["1"])
    await world.settle()
    await world.client.patch(JOBS, "work", {"spec": {"completions": 4, "parallelism": 4}}, "default")
    await world.settle()
    assert sorted(by_index(world)) == ["0", "2", "3"]
    await world.client.patch(JOBS, "work", {"spec": {"completions": 1, "parallelism": 1}}, "default")
    await world.settle()
    assert sorted(by_index(world)) == ["0"]
    assert "completedIndexes" not in status(world)
    await end_all(world)
    assert "Complete" in conditions(world)


async def test_indexes_fail_by_themselves(world: World) -> None:
    await start(world, indexed(completions=3, parallelism=3, backoffLimitPerIndex=1, backoffLimit=2**31 - 1))
    assert all(
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "0"
        for pod in world.pods()
    )
    end(world, by_index(world)["0"])
    end(world, by_index(world)["1"], 1)
    await world.settle(0)
    assert sorted(by_index(world)) == ["2"]
    await world.settle(10)
    again = by_index(world)["1"]
    assert again["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == "1"
    end(world, again, 1)
    await world.settle()
    assert (status(world)["failedIndexes"], status(world)["completedIndexes"]) == ("1", "0")
    await world.settle(3600)
    assert sorted(by_index(world)) == ["2"]
    await end_all(world)
    why = ("True", "FailedIndexes", "Job has failed indexes")
    assert conditions(world) == {"FailureTarget": why, "Failed": why}
    assert (status(world)["failed"], status(world)["succeeded"]) == (2, 2)


async def test_more_failed_indexes_than_allowed_end_it_at_once(world: World) -> None:
    await start(
        world,
        indexed(completions=4, parallelism=2, backoffLimitPerIndex=0, maxFailedIndexes=0, backoffLimit=99),
    )
    end(world, by_index(world)["0"], 1)
    await world.settle()
    assert conditions(world)["Failed"][1:] == (
        "MaxFailedIndexesExceeded",
        "Job has exceeded the specified maximal number of failed indexes",
    )
    assert status(world)["failedIndexes"] == "0"


def policy(action: str, **rule: Any) -> Object:
    return {"rules": [{"action": action, **rule}]}


def codes(*values: int, operator: str = "In") -> Object:
    return {"onExitCodes": {"operator": operator, "values": list(values)}}


async def test_an_exit_code_can_fail_the_job(world: World) -> None:
    await start(world, make(podFailurePolicy=policy("FailJob", **codes(42)), parallelism=2, completions=2))
    pod = live(world)[0]
    end(world, pod, 42)
    await world.settle()
    name = pod["metadata"]["name"]
    why = f"Container main for pod default/{name} failed with exit code 42 matching FailJob rule at index 0"
    assert conditions(world)["FailureTarget"] == ("True", "PodFailurePolicy", why)
    assert conditions(world)["Failed"] == ("True", "PodFailurePolicy", why)
    assert ("work", "PodFailurePolicy", why) in world.events()


async def test_ignored_failures_do_not_count(world: World) -> None:
    disrupted = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    await start(world, make(podFailurePolicy=policy("Ignore", **disrupted), backoffLimit=0))
    for _ in range(3):
        (pod,) = live(world)
        end(world, pod, 137, conditions=[{"type": "DisruptionTarget", "status": "True"}])
        await world.settle(600)
    assert status(world).get("failed", 0) == 0
    await end_all(world)
    assert "Complete" in conditions(world)


async def test_an_exit_code_can_fail_its_index_only(world: World) -> None:
    rule = policy("FailIndex", **codes(42))
    await start(
        world,
        indexed(completions=2, parallelism=2, backoffLimitPerIndex=3, podFailurePolicy=rule, backoffLimit=99),
    )
    end(world, by_index(world)["0"], 42)
    await world.settle(700)
    assert sorted(by_index(world)) == ["1"]
    assert status(world)["failedIndexes"] == "0"


@pytest.mark.parametrize(
    ("rule", "message"),
    [({"succeededIndexes": "1"}, "0"), ({"succeededCount": 1}, "0"), ({"succeededIndexes": "1-2", "succeededCount": 1}, "0")],
)  # fmt: skip
async def test_a_success_policy_ends_the_job_early(world: World, rule: Object, message: str) -> None:
    await start(world, indexed(completions=3, parallelism=3, successPolicy={"rules": [rule]}))
    end(world, by_index(world)["1"])
    await world.settle()
    why = ("True", "SuccessPolicy", f"Matched rules at index {message}")
    assert conditions(world) == {"SuccessCriteriaMet": why, "Complete": why}
    assert status(world)["succeeded"] == 1
    assert status(world).get("failed", 0) == 0
    assert reasons(world).count("SuccessfulDelete") == 2


@pytest.mark.parametrize(("replacement", "pods"), [("TerminatingOrFailed", 2), ("Failed", 1)])
async def test_a_pod_that_is_ending_is_replaced_now_or_later(
    world: World, replacement: str, pods: int
) -> None:
    await start(world, make(podReplacementPolicy=replacement))
    world.make_ready()
    await world.client.delete(PODS, world.pods()[0]["metadata"]["name"], "default")
    await world.settle(40)
    assert len(world.pods()) == pods
    assert status(world)["terminating"] == 1
    assert status(world).get("failed", 0) == pods - 1


async def test_more_and_less_parallel(world: World) -> None:
    await start(world, make(completions=5, parallelism=4))
    await world.client.patch(JOBS, "work", {"spec": {"parallelism": 1}}, "default")
    await world.settle()
    assert (len(live(world)), status(world)["active"]) == (1, 1)
    assert status(world).get("failed", 0) == 0
    await world.client.patch(JOBS, "work", {"spec": {"parallelism": 9}}, "default")
    await world.settle()
    assert len(live(world)) == 5


async def test_a_matching_pod_of_nobody_is_adopted_and_one_that_no_longer_matches_let_go(
    world: World,
) -> None:
    labels = {"batch.kubernetes.io/controller-uid": "j"}
    world.api.put(PODS, {"metadata": {"name": "orphan", "namespace": "default", "labels": labels}})
    await start(world, make())
    (pod,) = world.pods()
    assert pod["metadata"]["name"] == "orphan"
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Job"
    assert meta.finalizers(pod) == [TRACKING]
    await world.client.patch(PODS, "orphan", {"metadata": {"labels": {next(iter(labels)): None}}}, "default")
    await world.settle()
    released = next(pod for pod in world.pods() if pod["metadata"]["name"] == "orphan")
    assert not meta.owner_references(released)
    assert not meta.finalizers(released)
    assert len(world.pods()) == 2


async def test_a_refused_pod_is_told_and_tried_again(world: World) -> None:
    world.api.refuse(
        lambda method, path: method == "POST" and path.endswith("/pods"),
        forbidden(PODS.group_resource, "work-", "exceeded quota"),
    )
    await start(world, make(completions=9, parallelism=9))
    assert reasons(world)[0] == "FailedCreate"
    assert status(world)["startTime"]
    world.api.accept_all()
    await world.settle(60)
    assert len(world.pods()) == 9


async def test_a_job_that_somebody_else_manages_is_left_alone(world: World) -> None:
    await start(world, make(managedBy="example.com/other"))
    assert world.pods() == []
    assert "status" not in found(world)


@pytest.mark.parametrize("propagation", ["Background", "Orphan"])
async def test_no_pod_is_held_by_a_job_that_is_gone(world: World, propagation: str) -> None:
    await world.collect_garbage()
    await start(world, make(completions=2, parallelism=2))
    world.make_ready()
    await world.client.delete(JOBS, "work", "default", propagation=propagation)
    await world.settle()
    await world.remove_terminating()
    assert world.api.objects(JOBS) == []
    assert len(world.pods()) == (2 if propagation == "Orphan" else 0)
    assert not any(meta.finalizers(pod) for pod in world.pods())


async def test_every_pod_counts_once_however_often_the_controller_is_killed(world: World) -> None:
    dice = random.Random(7)
    await start(world, make(completions=12, parallelism=4, backoffLimit=200))
    ended = [0, 0]
    for _ in range(60):
        if "conditions" in status(world):
            break
        for pod in live(world)[: 12 - ended[0]]:
            code = int(dice.random() < 0.3)
            ended[code] += 1
            end(world, pod, code)
        for _ in range(3):
            for _ in range(dice.randrange(40)):
                await asyncio.sleep(0)
            await world.restart()
        await world.settle(600)
    assert "Complete" in conditions(world)
    assert (status(world)["succeeded"], status(world).get("failed", 0)) == (12, ended[1])
    assert ended[0] == 12
    assert status(world)["uncountedTerminatedPods"] == {}
    assert len(world.pods()) == sum(ended)
    assert not any(meta.finalizers(pod) for pod in world.pods())


async def test_a_finalizer_that_could_not_be_taken_off_does_not_count_a_pod_twice(world: World) -> None:
    await start(world, make(completions=2, parallelism=2))
    world.api.refuse(
        lambda method, path: method == "PATCH" and "/pods/" in path, internal_error("no power"), once=True
    )
    await end_all(world)
    await world.settle(60)
    assert (status(world)["succeeded"], "Complete" in conditions(world)) == (2, True)
