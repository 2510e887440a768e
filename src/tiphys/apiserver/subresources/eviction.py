"""pods/eviction: a delete that asks the pod's disruption budget first (policy/v1).

The disruption controller keeps the budgets' counts; here one disruption is taken from them. The rules and words are upstream's
(`pkg/registry/core/pod/storage/eviction.go`).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tiphys.api.resource import Object
from tiphys.api.types import schema_named
from tiphys.apiserver.admission.attributes import CREATE
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.records import Record
from tiphys.apiserver.registry.deletion import DeleteOptions, read_delete_options
from tiphys.apiserver.responses import statement
from tiphys.machinery import errors, meta
from tiphys.machinery.gvk import GroupResource, GroupVersionKind
from tiphys.machinery.selectors import SelectorError, label_selector_from_dict
from tiphys.net.http import Response

MAX_DISRUPTED_PODS = 2000
"""More evictions than this that the controller has not seen yet are not granted."""
DELETE_TRIES = 20
_EVICTION = GroupVersionKind("policy", "v1", "Eviction")
_BUDGETS = GroupResource("policy", "poddisruptionbudget")
_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def evict(call: Call) -> Response:
    eviction = read_object(call, _EVICTION, schema_named("policy/v1.Eviction"))
    name = (eviction.get("metadata") or {}).get("name") or call.info.name
    if name != call.info.name:
        raise errors.bad_request("name in URL does not match name in Eviction object")
    await call.server.writes.review(call, CREATE, eviction, kind=_EVICTION)
    options = _options(call, eviction.get("deleteOptions") or {})
    record = _find(call)
    if _may_ignore_budgets(record.object):
        await _delete_unguarded(call, record, options)
        return statement(call, _SUCCESS, 201)
    budget = _budget_of(call, record.object)
    if budget is None:
        await _delete(call, record, options)
    elif _is_no_loss(record.object, budget):
        # It must not have become ready since it was looked at; when it has, the client shall ask again.
        guarded = options if options.resource_version else _at_version(options, record)
        try:
            await _delete(call, record, guarded)
        except errors.StatusError as error:
            if errors.is_conflict(error) and not options.resource_version:
                raise _still_processed(budget["metadata"]["name"]) from None
            raise
    else:
        await _spend(call, budget, record.name, dry_run=options.dry_run)
        await _delete(call, record, options)
    return statement(call, _SUCCESS, 201)


def _options(call: Call, given: Object) -> DeleteOptions:
    """The request's dry run and that of the body must not contradict each other."""
    in_query, in_body = call.request.query.get("dryRun") or [], given.get("dryRun") or []
    if in_query and in_body and in_query != in_body:
        raise errors.internal_error(
            f"Non-matching dry-run options in request and content: [{' '.join(in_query)}] and [{' '.join(in_body)}]"
        )
    return replace(read_delete_options(given, {}), dry_run=bool(in_query or in_body))


def _find(call: Call) -> Record:
    return call.server.writes.find(call.row, call.info.namespace, call.info.name)


def _may_ignore_budgets(pod: Object) -> bool:
    """A pod that is over, not begun or already going disturbs nobody."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or meta.is_deleting(pod)


async def _delete_unguarded(call: Call, record: Record, options: DeleteOptions) -> None:
    """A pending pod may begin to run, and then count, at any moment: it is deleted as it was looked at, or looked at again."""
    for _ in range(DELETE_TRIES):
        pending = (record.object.get("status") or {}).get("phase") == "Pending"
        guard = pending and not meta.is_deleting(record.object) and not options.resource_version
        try:
            await _delete(call, record, _at_version(options, record) if guard else options)
            return
        except errors.StatusError as error:
            if not errors.is_conflict(error) or options.resource_version:
                raise
        record = _find(call)
    raise errors.conflict(call.row.group_resource, call.info.name)


def _at_version(options: DeleteOptions, record: Record) -> DeleteOptions:
    return replace(options, resource_version=str(record.revision))


async def _delete(call: Call, record: Record, options: DeleteOptions) -> None:
    """Says on the pod that it is disrupted (KEP-3329), then deletes it. Admission has seen the Eviction, and sees neither."""
    if not options.dry_run:
        marked = await _mark(call, record, options)
        if options.resource_version:
            options = _at_version(options, marked)  # the change of it was our own
        record = marked
    await call.server.writes.delete(call, record, options, reviewed=True)


async def _mark(call: Call, record: Record, options: DeleteOptions) -> Record:
    own = call.server.internal_call(call.row, record.namespace, record.name, subresource="status")

    def change(old: Object) -> Object:
        _check_precondition(old, "UID", "uid", options.uid, "deleted and then recreated")
        _check_precondition(old, "ResourceVersion", "resourceVersion", options.resource_version, "modified")
        conditions = meta.set_condition(
            meta.conditions(old),
            "DisruptionTarget",
            "True",
            call.server.clock.now(),
            reason="EvictionByEvictionAPI",
            message="Eviction API: evicting",
            observedGeneration=meta.generation(old),
        )
        return {**old, "status": {**(old.get("status") or {}), "conditions": conditions}}

    marked, _ = await call.server.writes.update(own, change, reviewed=True)
    return marked


def _check_precondition(pod: Object, word: str, field: str, wanted: str | None, what: str) -> None:
    found = pod["metadata"][field]
    if wanted and wanted != found:
        cause = (
            f"the {word} in the precondition ({wanted}) does not match the {word} in record ({found}). "
            f"The object might have been {what}"
        )
        raise errors.conflict(GroupResource("", "Pod"), pod["metadata"]["name"], cause)


def _budget_of(call: Call, pod: Object) -> Object | None:
    records, _ = call.server.writes.cache("policy", "poddisruptionbudgets").page(call.info.namespace)
    found = [record.object for record in records if _selects(record.object, pod)]
    if len(found) > 1:
        text = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
        raise errors.StatusError(500, "", text)
    return found[0] if found else None


def _selects(budget: Object, pod: Object) -> bool:
    """No selector matches nothing; an empty one matches every pod of the namespace."""
    selector = (budget.get("spec") or {}).get("selector")
    if selector is None:
        return False
    try:
        return label_selector_from_dict(selector).matches(meta.labels(pod))
    except SelectorError:
        return False


def _is_no_loss(pod: Object, budget: Object) -> bool:
    """A pod that is not ready is not among the healthy ones: its end costs nothing, if the budget wants it so."""
    if meta.is_condition_true(meta.conditions(pod), "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return bool(desired > 0 and (status.get("currentHealthy") or 0) >= desired)


async def _spend(call: Call, budget: Object, pod_name: str, *, dry_run: bool) -> None:
    """Takes one disruption from the budget, or refuses with 429."""
    now = call.server.clock.now()
    if dry_run:
        _spent(budget, pod_name, now)
        return
    row = call.server.scheme.by_resource("policy", "v1", "poddisruptionbudgets")
    assert row is not None
    name = budget["metadata"]["name"]
    own = call.server.internal_call(row, call.info.namespace, name, subresource="status")
    await call.server.writes.update(own, lambda old: _spent(old, pod_name, now))


def _spent(budget: Object, pod_name: str, now: datetime) -> Object:
    """The budget with one disruption less. Raises when it has none to give."""
    name, status = budget["metadata"]["name"], dict(budget.get("status") or {})
    allowed = status.get("disruptionsAllowed") or 0
    disrupted = status.get("disruptedPods") or {}
    if (status.get("observedGeneration") or 0) < meta.generation(budget):
        raise _still_processed(name)
    if allowed < 0:
        raise errors.forbidden(_BUDGETS, name, "pdb disruptions allowed is negative")
    if len(disrupted) > MAX_DISRUPTED_PODS:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden(_BUDGETS, name, text)
    if allowed == 0:
        desired, current = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        text = f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        raise _refused(text, 0)
    status["disruptionsAllowed"] = allowed - 1
    if allowed == 1:
        status["conditions"] = meta.set_condition(
            status.get("conditions"),
            "DisruptionAllowed",
            "False",
            now,
            reason="InsufficientPods",
            observedGeneration=status.get("observedGeneration") or 0,
        )
    status["disruptedPods"] = {**disrupted, pod_name: meta.format_time(now)}
    return {**budget, "status": status}


def _still_processed(budget: str) -> errors.StatusError:
    return _refused(f"The disruption budget {budget} is still being processed by the server.", 10)


def _refused(cause: str, retry_after_seconds: int) -> errors.StatusError:
    error = errors.too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        retry_after_seconds=retry_after_seconds,
    )
    causes = [{"reason": "DisruptionBudget", "message": cause}]
    error.details = {**(error.details or {}), "causes": causes}
    return error
