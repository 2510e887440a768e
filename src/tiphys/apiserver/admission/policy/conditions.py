"""matchConditions of policies: expressions that must all be true before anything else of a policy is evaluated (KEP-3716)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from tiphys.api.admissionregistration.expressions import MATCH_CONDITIONS_BUDGET
from tiphys.api.admissionregistration.policy_expressions import Expression
from tiphys.apiserver.admission.policy.evaluation import OutOfBudget, run
from tiphys.apiserver.admission.policy.subject import Subject
from tiphys.machinery.frozen import frozen


@frozen
class Verdict:
    """`error`: why it cannot be said whether all are true. `failures`: how many could not be evaluated."""

    meets: bool
    error: str = ""
    failures: int = 0


MET = Verdict(meets=True)


class Conditional(Protocol):
    """A compiled policy."""

    conditions: list[Expression]
    variables: dict[str, Expression]


def weigh(
    conditions: Sequence[Expression], variables: Mapping[str, Expression], bindings: dict[str, Any]
) -> Verdict:
    """One that is false decides, whatever else failed."""
    try:
        outcomes, _ = run(conditions, bindings, variables, MATCH_CONDITIONS_BUDGET)
    except OutOfBudget as error:
        return Verdict(meets=False, error=str(error))
    failures = [outcome.error for outcome in outcomes if outcome.error]
    if any(outcome.value is False for outcome in outcomes):
        return Verdict(meets=False, failures=len(failures))
    if not failures:
        return MET
    texts = list(dict.fromkeys(failures))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return Verdict(meets=False, error=text, failures=len(failures))


async def weighed(subject: Subject, policy: str, compiled: Conditional, bindings: dict[str, Any]) -> Verdict:
    """What the conditions of a policy say of a request; counted."""
    if not compiled.conditions:
        return MET
    attributes = subject.attributes
    server, labels = attributes.call.server, ("policy", policy, attributes.operation, "validate")
    began = server.clock.monotonic()
    # Conditions are not told of the namespace.
    before = {**bindings, "namespaceObject": None}
    verdict = await subject.questions.settle(partial(weigh, compiled.conditions, compiled.variables, before))
    server.webhook_metrics.conditions_took(labels, server.clock.monotonic() - began)
    for _ in range(verdict.failures):
        server.webhook_metrics.condition_failed(labels)
    if not verdict.meets and not verdict.error:
        server.webhook_metrics.excluded(labels)
    return verdict
