"""Deletes jobs some time after they are over, as their ttlSecondsAfterFinished says, and their pods with them."""

from __future__ import annotations

from datetime import datetime, timedelta

from tiphys.client.cache import View
from tiphys.client.resources import JOBS
from tiphys.client.transport import Object
from tiphys.controllers.actions import NOTHING, Delete, Plan
from tiphys.controllers.jobs.finished import finished, finished_at
from tiphys.controllers.pods import spec_of
from tiphys.controllers.runner import Controller
from tiphys.machinery import meta


def observe(job: Object, view: View) -> datetime | None:
    """When it is to go; None: never, or nobody knows yet."""
    ended, seconds = finished_at(job), spec_of(job).get("ttlSecondsAfterFinished")
    if ended is None or seconds is None or meta.is_deleting(job):
        return None
    return ended + timedelta(seconds=seconds)


def plan(job: Object, expires: datetime | None, now: datetime) -> Plan:
    if expires is None:
        return NOTHING
    if expires > now:
        return Plan(requeue_after_seconds=(expires - now).total_seconds())
    deletion = Delete(
        JOBS,
        meta.name(job),
        meta.namespace(job),
        uid=meta.uid(job),
        resource_version=meta.resource_version(job),
        propagation="Foreground",
    )
    return Plan((deletion,), reason="is over for long enough")


def _concerns(job: Object) -> bool:
    return spec_of(job).get("ttlSecondsAfterFinished") is not None and bool(finished(job))


CONTROLLER = Controller(
    name="ttl-after-finished-controller", kind=JOBS, observe=observe, plan=plan, concerns=_concerns
)
