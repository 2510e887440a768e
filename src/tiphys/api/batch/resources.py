"""The kinds of the batch group."""

from __future__ import annotations

from tiphys.api.batch import advice, columns, defaults, job_status, prepare, selectable, validation
from tiphys.api.resource import Resource, Subresource

RESOURCES = (
    Resource(
        group="batch",
        version="v1",
        kind="CronJob",
        plural="cronjobs",
        namespaced=True,
        short_names=("cj",),
        categories=("all",),
        subresources=(Subresource("status"),),
        type="batch/v1.CronJob",
        defaults=defaults.cron_job,
        validate=validation.cron_job,
        advise=advice.cron_job,
        table=columns.CRON_JOB,
    ),
    Resource(
        group="batch",
        version="v1",
        kind="Job",
        plural="jobs",
        namespaced=True,
        categories=("all",),
        subresources=(Subresource("status"),),
        type="batch/v1.Job",
        defaults=defaults.job,
        prepare=prepare.job,
        validate=validation.job,
        validate_status=job_status.job_status,
        selectable_fields=selectable.JOB,
        advise=advice.job,
        orphans_dependents=advice.ORPHANS,
        table=columns.JOB,
    ),
)
