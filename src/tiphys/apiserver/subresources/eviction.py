"""pods/eviction: a delete that asks the pod's disruption budgets first (policy/v1)."""

from __future__ import annotations

from tiphys.api.resource import Object
from tiphys.api.types import schema_named
from tiphys.apiserver.bodies import read_object
from tiphys.apiserver.call import Call
from tiphys.apiserver.registry.deletion import read_delete_options
from tiphys.apiserver.responses import json_response
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.selectors import label_selector_from_dict
from tiphys.net.http import Response

_EVICTION = GroupVersionKind("policy", "v1", "Eviction")
_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def evict(call: Call) -> Response:
    eviction = read_object(call, _EVICTION, schema_named("policy/v1.Eviction"))
    name = (eviction.get("metadata") or {}).get("name") or call.info.name
    if name != call.info.name:
        raise errors.bad_request(
            f"name in URL does not match name in Eviction object: {call.info.name} {name}"
        )
    writes = call.server.writes
    record = writes.find(call.row, call.info.namespace, call.info.name)
    options = read_delete_options(eviction.get("deleteOptions") or {}, call.request.query)
    pod = record.object
    if _counts(pod):
        budget = _budget_of(call, pod)
        if budget is not None:
            await _spend(call, budget, record.name)
    await writes.delete(call, record, options)
    return json_response(_SUCCESS, 201)


def _counts(pod: Object) -> bool:
    """A pod that is over, not begun or already going disturbs nobody."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed", "Pending") and not pod["metadata"].get("deletionTimestamp")


def _budget_of(call: Call, pod: Object) -> Object | None:
    records, _ = call.server.writes.cache("policy", "poddisruptionbudgets").page(call.info.namespace)
    labels = pod["metadata"].get("labels") or {}
    found = [
        record.object
        for record in records
        if record.object["spec"].get("selector") is not None
        and label_selector_from_dict(record.object["spec"]["selector"]).matches(labels)
    ]
    if len(found) > 1:
        text = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
        raise errors.internal_error(text)
    return found[0] if found else None


async def _spend(call: Call, budget: Object, pod_name: str) -> None:
    """Takes one disruption from the budget, or refuses with 429."""
    name = budget["metadata"]["name"]
    row = call.server.scheme.by_resource("policy", "v1", "poddisruptionbudgets")
    assert row is not None
    own = call.server.internal_call(row, call.info.namespace, name, subresource="status")

    def change(old: Object) -> Object:
        status = dict(old.get("status") or {})
        if (status.get("observedGeneration") or 0) < (old["metadata"].get("generation") or 0):
            raise _refused(name, "The disruption budget {} is still being processed by the server.", 10)
        allowed = status.get("disruptionsAllowed", 0)
        if allowed <= 0:
            needs = f"The disruption budget {{}} needs {status.get('desiredHealthy', 0)} healthy pods and has {status.get('currentHealthy', 0)} currently"
            raise _refused(name, needs, 0)
        now = call.server.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        status["disruptionsAllowed"] = allowed - 1
        status["disruptedPods"] = {**(status.get("disruptedPods") or {}), pod_name: now}
        return {**old, "status": status}

    await call.server.writes.update(own, change)


def _refused(budget: str, message: str, retry_after_seconds: int) -> errors.StatusError:
    error = errors.too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        retry_after_seconds=retry_after_seconds,
    )
    cause = {"reason": "DisruptionBudget", "message": message.format(budget)}
    error.details = {**(error.details or {}), "causes": [cause]}
    return error
