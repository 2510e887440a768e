"""Fields of jobs that field selectors may name."""

from __future__ import annotations

from tiphys.api.resource import FieldGetter, Object


def _succeeded(job: Object) -> str:
    return str((job.get("status") or {}).get("succeeded") or 0)


JOB: dict[str, FieldGetter] = {"status.successful": _succeeded}
