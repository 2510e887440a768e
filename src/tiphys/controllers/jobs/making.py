"""Pods of jobs: the template, a finalizer that keeps the pod until it is counted, and the index of an indexed job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tiphys.client.resources import PODS
from tiphys.client.transport import STRATEGIC_MERGE_PATCH, Object
from tiphys.controllers.actions import Action, Create, Delete, Patch
from tiphys.controllers.jobs import policies
from tiphys.controllers.jobs.indexes import COMPLETION_INDEX
from tiphys.controllers.pods import (
    CREATE_FAILED,
    CREATED,
    DELETE_FAILED,
    DELETED,
    pod_from_template,
    spec_of,
)
from tiphys.machinery import meta

TRACKING = "batch.kubernetes.io/job-tracking"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
IGNORED_FAILURES = "batch.kubernetes.io/job-index-ignored-failure-count"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
_LONGEST_PREFIX = 58
"""Of a name that the server completes with five letters."""


def is_tracked(pod: Object) -> bool:
    """It has the finalizer: it is not counted yet."""
    return TRACKING in meta.finalizers(pod)


def create(job: Object, count: int) -> list[Action]:
    return [_creation(_pod(job))] * count


def create_indexes(job: Object, wanted: Iterable[int], replaced: Mapping[int, Object]) -> list[Action]:
    """`replaced`: by index, the failed pod whose failures the new one inherits."""
    return [_creation(_indexed_pod(job, index, replaced.get(index))) for index in wanted]


def release(pods: Iterable[Object]) -> list[Action]:
    """Takes the finalizer off those that have it."""
    return [_release(pod) for pod in pods if is_tracked(pod)]


def delete(pods: Iterable[Object]) -> list[Action]:
    return [_deletion(pod) for pod in pods]


def remove(pods: Sequence[Object]) -> list[Action]:
    """Deletes pods that shall not count."""
    return [*release(pods), *delete(pods)]


def _creation(pod: Object) -> Create:
    return Create(PODS, pod, done=CREATED, failed=CREATE_FAILED)


def _deletion(pod: Object) -> Delete:
    name, namespace = meta.name(pod), meta.namespace(pod)
    return Delete(PODS, name, namespace, uid=meta.uid(pod), done=DELETED, failed=DELETE_FAILED)


def _release(pod: Object) -> Patch:
    metadata = {"uid": meta.uid(pod), "$deleteFromPrimitiveList/finalizers": [TRACKING]}
    return Patch(
        PODS, meta.name(pod), {"metadata": metadata}, meta.namespace(pod), content_type=STRATEGIC_MERGE_PATCH
    )


def _pod(job: Object) -> Object:
    pod = pod_from_template(spec_of(job)["template"], job)
    finalizers = meta.finalizers(pod)
    if TRACKING not in finalizers:
        pod["metadata"]["finalizers"] = [*finalizers, TRACKING]
    return pod


def _indexed_pod(job: Object, index: int, replaced: Object | None) -> Object:
    pod = _pod(job)
    said = {COMPLETION_INDEX: str(index)}
    counts = {} if spec_of(job).get("backoffLimitPerIndex") is None else _failures(job, replaced)
    metadata = {
        **pod["metadata"],
        "generateName": _prefix(meta.name(job), index),
        "labels": {**meta.labels(pod), **said},
        "annotations": {**meta.annotations(pod), **said, **counts},
    }
    containers = {
        field: [_with_index(container) for container in pod["spec"][field]]
        for field in ("initContainers", "containers")
        if pod["spec"].get(field)
    }
    spec = {**pod["spec"], **containers, "hostname": f"{meta.name(job)}-{index}"}
    return {**pod, "metadata": metadata, "spec": spec}


def _prefix(name: str, index: int) -> str:
    end = f"-{index}-"
    return name[: _LONGEST_PREFIX - len(end)] + end


def _with_index(container: dict[str, Any]) -> dict[str, Any]:
    variables = container.get("env") or []
    if any(variable["name"] == INDEX_VARIABLE for variable in variables):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{COMPLETION_INDEX}']"}}
    return {**container, "env": [*variables, {"name": INDEX_VARIABLE, "valueFrom": source}]}


def _failures(job: Object, replaced: Object | None) -> dict[str, str]:
    if replaced is None:
        return {FAILURES: "0"}
    counted, ignored = failures(replaced), ignored_failures(replaced)
    if policies.judge(job, replaced).counts:
        counted += 1
    else:
        ignored += 1
    return {FAILURES: str(counted), **({IGNORED_FAILURES: str(ignored)} if ignored else {})}


def failures(pod: Object) -> int:
    """How many pods of its index had failed before it."""
    return _number(pod, FAILURES)


def ignored_failures(pod: Object) -> int:
    """How many more had that the job's policy ignores."""
    return _number(pod, IGNORED_FAILURES)


def _number(pod: Object, annotation: str) -> int:
    text = meta.annotations(pod).get(annotation, "0")
    number = int(text) if text.isascii() and text.isdecimal() else 0
    return number if number < 2**31 else 0
