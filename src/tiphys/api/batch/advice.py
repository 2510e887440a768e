"""What jobs may say but better would not."""

from __future__ import annotations

from typing import Any

from tiphys.api.core.advice.pods import Advise, workload
from tiphys.api.resource import Object

_COMPLETIONS, _PARALLELISM = 100_000, 10_000
_TOO_MANY = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be "
    "able to track completedIndexes when a big number of indexes fail"
)

_ZONE_IN_SCHEDULE = (
    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)
ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)


def _of_spec(*where: str) -> Advise:
    """Of a kind with a job's spec there."""
    template = workload(*where, "template", names_pods=True)

    def advise(new: Object, old: Object | None) -> list[str]:
        found = template(new, old)
        spec: Any = new
        for field in where:
            spec = spec.get(field) or {}
        if (
            spec.get("completionMode") == "Indexed"
            and (spec.get("completions") or 0) > _COMPLETIONS
            and (spec.get("parallelism") or 0) > _PARALLELISM
            and (old is None or old.get("spec") != new.get("spec"))
        ):
            found.append(f"{'.'.join(where)}: {_TOO_MANY}")
        return found

    return advise


job = _of_spec("spec")
_of_cron_job = _of_spec("spec", "jobTemplate", "spec")


def cron_job(new: Object, old: Object | None) -> list[str]:
    found = _of_cron_job(new, old)
    if old is not None and "TZ" in ((new.get("spec") or {}).get("schedule") or ""):
        found.append(_ZONE_IN_SCHEDULE)
    return found
