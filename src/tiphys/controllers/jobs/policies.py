"""What a failed pod means by the podFailurePolicy of its job, and when indexes are enough by its successPolicy.

Rules and messages are upstream's `pod_failure_policy.go` and `success_policy.go`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.client.transport import Object
from tiphys.controllers.jobs import indexes
from tiphys.controllers.jobs.indexes import Indexes
from tiphys.controllers.pods import spec_of, status_of
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

Rule = dict[str, Any]


@frozen
class Judgement:
    """`action`: of the first rule that speaks of the pod, "" when none does. `message`: why the whole job fails."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        return self.action != "Ignore"


def judge(job: Object, pod: Object) -> Judgement:
    """What a pod that failed does to its job."""
    rules = (spec_of(job).get("podFailurePolicy") or {}).get("rules") or ()
    for position, rule in enumerate(rules):
        why = _matches(rule, pod)
        if why:
            action = rule["action"]
            fails = action == "FailJob"
            return Judgement(action, f"{why} matching {action} rule at index {position}" if fails else "")
    return Judgement()


def _matches(rule: Rule, pod: Object) -> str:
    """What the rule found in the pod, in upstream's words."""
    name = meta.namespaced_name(pod)
    if (codes := rule.get("onExitCodes")) is not None:
        for status in _container_statuses(pod):
            code = ((status.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
            if _is_meant(codes, status, code):
                return f"Container {status['name']} for pod {name} failed with exit code {code}"
        return ""
    for condition in meta.conditions(pod):
        for pattern in rule.get("onPodConditions") or ():
            if (condition["type"], condition["status"]) == (pattern["type"], pattern.get("status", "True")):
                return f"Pod {name} has condition {condition['type']}"
    return ""


def _container_statuses(pod: Object) -> Iterable[Object]:
    status = status_of(pod)
    return (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))


def _is_meant(codes: Rule, status: Object, code: int) -> bool:
    if code == 0 or codes.get("containerName") not in (None, status["name"]):
        return False
    wants_them: bool = codes["operator"] == "In"
    return (code in (codes.get("values") or ())) == wants_them


def success(job: Object, succeeded: Indexes) -> str:
    """Which rule of the success policy is fulfilled, in upstream's words; "" for none."""
    rules = (spec_of(job).get("successPolicy") or {}).get("rules") or ()
    for position, rule in enumerate(rules):
        if succeeded.runs and _is_enough(rule, succeeded, spec_of(job)["completions"]):
            return f"Matched rules at index {position}"
    return ""


def _is_enough(rule: Rule, succeeded: Indexes, completions: int) -> bool:
    wanted, count = rule.get("succeededIndexes"), rule.get("succeededCount")
    if wanted is None:
        return count is not None and len(succeeded) >= count
    required = indexes.parse(wanted, completions)
    if not required.runs:
        return False
    done = required.common(succeeded)
    return done == len(required) or (count is not None and done >= count)
