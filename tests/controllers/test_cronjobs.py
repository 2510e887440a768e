"""CronJobs over a whole API, and jobs that are deleted some time after their end."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.resources import CRONJOBS, JOBS
from tiphys.controllers.jobs import cronjob, ttl
from tiphys.machinery import meta
from tiphys.testing.world import World

Object = dict[str, Any]
MIDNIGHT = 29_453_760
"""Minutes of the epoch: 2026-01-01T00:00:00Z."""


def make(schedule: str = "*/5 * * * *", **spec: Any) -> Object:
    template = {
        "metadata": {"labels": {"app": "tick"}, "annotations": {"note": "x"}},
        "spec": {"template": {"spec": {"containers": []}}},
    }
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    whole = {"schedule": schedule, "concurrencyPolicy": "Allow", "suspend": False, **limits}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {**whole, "jobTemplate": template, **spec},
    }


async def start(world: World, cron_job: Object) -> None:
    await world.client.create(CRONJOBS, cron_job)
    await world.start(cronjob.controller(world.clock.now))


def names(world: World) -> list[str]:
    return [meta.name(job).removeprefix("tick-") for job in world.api.objects(JOBS)]


def status(world: World) -> Object:
    found: Object = world.api.objects(CRONJOBS)[0].get("status", {})
    return found


def end(world: World, name: str, how: str = "Complete") -> None:
    job = next(job for job in world.api.objects(JOBS) if meta.name(job) == name)
    now = meta.format_time(world.clock.now())
    condition = {"type": how, "status": "True", "lastTransitionTime": now}
    completion = {"completionTime": now} if how == "Complete" else {}
    world.api.put(JOBS, {**job, "status": {"startTime": now, "conditions": [condition], **completion}})


async def test_a_job_is_made_when_it_is_due(world: World) -> None:
    await start(world, make(timeZone="Europe/Berlin"))
    assert world.api.objects(JOBS) == []
    await world.settle(300)
    (job,) = world.api.objects(JOBS)
    assert meta.name(job) == f"tick-{MIDNIGHT + 5}"
    assert job["metadata"]["labels"] == {"app": "tick"}
    assert job["metadata"]["annotations"] == {
        "note": "x",
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T01:05:00+01:00",
    }
    assert meta.controller_of(job) == {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": "tick",
        "uid": meta.uid(world.api.objects(CRONJOBS)[0]),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert status(world)["lastScheduleTime"] == "2026-01-01T00:05:00Z"
    (active,) = status(world)["active"]
    assert (active["kind"], active["name"], active["uid"]) == ("Job", meta.name(job), meta.uid(job))
    assert world.events() == [("tick", "SuccessfulCreate", f"Created job {meta.name(job)}")]
    writes = len(world.api.requests)
    await world.settle(290)
    assert len(world.api.requests) == writes


async def test_the_end_of_a_job_is_seen(world: World) -> None:
    await start(world, make())
    await world.settle(600)
    assert names(world) == [str(MIDNIGHT + 5), str(MIDNIGHT + 10)]
    end(world, f"tick-{MIDNIGHT + 5}")
    end(world, f"tick-{MIDNIGHT + 10}", "Failed")
    await world.settle()
    assert "active" not in status(world)
    assert status(world)["lastSuccessfulTime"] == "2026-01-01T00:10:01Z"
    told = {message for _, reason, message in world.events() if reason == "SawCompletedJob"}
    assert told == {
        f"Saw completed job: tick-{MIDNIGHT + 5}, condition: Complete",
        f"Saw completed job: tick-{MIDNIGHT + 10}, condition: Failed",
    }


async def test_only_a_few_that_are_over_are_kept(world: World) -> None:
    await start(world, make(successfulJobsHistoryLimit=2))
    for minute in range(5, 30, 5):
        await world.settle(300)
        end(world, f"tick-{MIDNIGHT + minute}")
    await world.settle()
    assert names(world) == [str(MIDNIGHT + 20), str(MIDNIGHT + 25)]
    assert ("tick", "SuccessfulDelete", f"Deleted job tick-{MIDNIGHT + 15}") in world.events()


async def test_forbid_waits_for_the_one_that_runs(world: World) -> None:
    await start(world, make(concurrencyPolicy="Forbid"))
    await world.settle(900)
    assert names(world) == [str(MIDNIGHT + 5)]
    message = "Not starting job because prior execution is running and concurrency policy is Forbid"
    assert ("tick", "JobAlreadyActive", message) in world.events()
    end(world, f"tick-{MIDNIGHT + 5}")
    await world.settle()
    assert names(world) == [str(MIDNIGHT + 5), str(MIDNIGHT + 15)]


async def test_replace_puts_a_new_one_in_its_place(world: World) -> None:
    await start(world, make(concurrencyPolicy="Replace"))
    await world.settle(601)
    assert names(world) == [str(MIDNIGHT + 10)]
    assert [entry["name"] for entry in status(world)["active"]] == [f"tick-{MIDNIGHT + 10}"]
    assert [(reason, message) for _, reason, message in world.events()] == [
        ("SuccessfulCreate", f"Created job tick-{MIDNIGHT + 5}"),
        ("SuccessfulDelete", f"Deleted job tick-{MIDNIGHT + 5}"),
        ("SuccessfulCreate", f"Created job tick-{MIDNIGHT + 10}"),
    ]


async def test_a_suspended_one_makes_nothing_and_then_the_last_one_missed(world: World) -> None:
    await start(world, make(suspend=True))
    await world.settle(3700)
    assert names(world) == []
    await world.client.patch(CRONJOBS, "tick", {"spec": {"suspend": False}}, "default")
    await world.settle()
    assert names(world) == [str(MIDNIGHT + 60)]


async def test_too_late_is_too_late(world: World) -> None:
    await start(world, make(suspend=True, startingDeadlineSeconds=60))
    await world.settle(400)
    await world.client.patch(CRONJOBS, "tick", {"spec": {"suspend": False}}, "default")
    await world.settle()
    assert names(world) == []
    await world.settle(200)
    assert names(world) == [str(MIDNIGHT + 10)]


async def test_many_missed_ones_are_told(world: World) -> None:
    await start(world, make("* * * * *", suspend=True))
    await world.settle(7000)
    await world.client.patch(CRONJOBS, "tick", {"spec": {"suspend": False}}, "default")
    await world.settle()
    assert names(world) == [str(MIDNIGHT + 7001 // 60)]
    message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
    assert ("tick", "TooManyMissedTimes", message) in world.events()


async def test_a_changed_schedule_does_not_look_back(world: World) -> None:
    await start(world, make("0 3 * * *"))
    await world.settle(10 * 3600)
    assert len(names(world)) == 1
    await world.client.patch(CRONJOBS, "tick", {"spec": {"schedule": "0 5 * * *"}}, "default")
    await world.settle(3600)
    assert len(names(world)) == 1
    await world.settle(19 * 3600)
    assert names(world)[-1] == str(MIDNIGHT + 29 * 60)


async def test_jobs_that_go_and_come_by_hand_are_told(world: World) -> None:
    await start(world, make())
    await world.settle(300)
    await world.client.delete(JOBS, f"tick-{MIDNIGHT + 5}", "default")
    owner = meta.controller_reference(world.api.objects(CRONJOBS)[0])
    byhand = {"metadata": {"name": "by-hand", "namespace": "default", "ownerReferences": [owner]}}
    await world.client.create(JOBS, byhand)
    await world.settle()
    assert "active" not in status(world)
    assert ("tick", "MissingJob", f"Active job went missing: tick-{MIDNIGHT + 5}") in world.events()
    message = "Saw a job that the controller did not create or forgot: by-hand"
    assert ("tick", "UnexpectedJob", message) in world.events()


async def test_somebody_elses_job_of_that_name_is_left_alone(world: World) -> None:
    await world.client.create(JOBS, {"metadata": {"name": f"tick-{MIDNIGHT + 5}", "namespace": "default"}})
    await start(world, make())
    await world.settle(300)
    assert world.events() == []
    await world.settle(300)
    assert names(world) == [str(MIDNIGHT + 5), str(MIDNIGHT + 10)]


async def test_more_often_than_once_a_minute_is_once_a_minute(world: World) -> None:
    await start(world, make("@every 20s"))
    await world.settle(179)
    assert names(world) == [str(MIDNIGHT), str(MIDNIGHT + 1), str(MIDNIGHT + 2)]
    assert {reason for _, reason, _ in world.events()} == {"SuccessfulCreate"}


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"timeZone": "Nowhere/Land"}, "UnknownTimeZone", 'invalid timeZone: "Nowhere/Land": unknown time zone Nowhere/Land'),
        ({"schedule": "never"}, "UnparseableSchedule", 'unparseable schedule: "never" : expected exactly 5 fields, found 1: [never]'),
        ({"schedule": "59 23 31 2 *"}, "InvalidSchedule", "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second"),
        ({"schedule": "TZ=UTC 0 0 1 1 *"}, "UnsupportedSchedule", 'CRON_TZ or TZ used in schedule "TZ=UTC 0 0 1 1 *" is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details'),
    ],
)  # fmt: skip
async def test_a_schedule_that_cannot_be_is_told(
    world: World, spec: Object, reason: str, message: str
) -> None:
    await start(world, make(**spec))
    assert world.events() == [("tick", reason, message)]


async def test_no_run_is_made_twice_however_often_the_controller_is_killed(world: World) -> None:
    await start(world, make("* * * * *", successfulJobsHistoryLimit=1))
    for _ in range(20):
        await world.settle(59.5)
        await world.restart()
        for job in world.api.objects(JOBS):
            end(world, meta.name(job))
        await world.restart()
    told = [message for _, reason, message in world.events() if reason == "SuccessfulCreate"]
    creations = [path for method, path in world.api.requests if method == "POST" and path.endswith("/jobs")]
    assert len(creations) == len(set(told)) >= 18


async def test_a_job_goes_some_time_after_its_end(world: World) -> None:
    job = {"metadata": {"name": "done", "namespace": "default"}, "spec": {"ttlSecondsAfterFinished": 100}}
    await world.client.create(JOBS, job)
    await world.start(ttl.CONTROLLER)
    await world.settle(500)
    end(world, "done")
    await world.settle(99)
    assert not meta.is_deleting(world.api.objects(JOBS)[0])
    await world.settle(2)
    (deleted,) = world.api.objects(JOBS)
    assert meta.is_deleting(deleted)
    assert meta.finalizers(deleted) == ["foregroundDeletion"]
