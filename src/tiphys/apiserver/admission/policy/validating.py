"""ValidatingAdmissionPolicy: requests are refused, warned of or written down because expressions are false.

Decisions, their order and their words are those of apiserver `policy/validating` (validator.go, dispatcher.go).
Imported when the first policy is asked, for the sake of CEL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from tiphys.api.admissionregistration.policy_expressions import (
    BOOLEAN,
    BUDGET,
    TEXT,
    TEXT_OR_NULL,
    Expression,
    Expressions,
)
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.matching import Match
from tiphys.apiserver.admission.policy.conditions import weighed
from tiphys.apiserver.admission.policy.evaluation import Outcome, OutOfBudget, most_expensive, run
from tiphys.apiserver.admission.policy.hooks import Binding, Hook
from tiphys.apiserver.admission.policy.metrics import error_type
from tiphys.apiserver.admission.policy.parameters import (
    NO_PARAMETERS,
    ConfigurationError,
    param_row,
    parameters,
)
from tiphys.apiserver.admission.policy.subject import Subject, asks_somebody, described
from tiphys.apiserver.admission.request import namespace_of
from tiphys.apiserver.call import Call
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen

_MESSAGE_BYTES = 5 * 1024
_ANNOTATION_BYTES = 10 * 1024
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"
_CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}


@frozen
class Decision:
    """What came of one expression. `error`: it could not be evaluated (and `denies` follows the failurePolicy)."""

    denies: bool
    message: str = ""
    reason: str = ""
    error: str = ""


_ADMITTED = Decision(denies=False)


@dataclass(slots=True)
class Result:
    """Of one evaluation. `annotations` are for the audit log; `annotation_errors` deny whatever the binding's actions are."""

    decisions: list[Decision] = field(default_factory=list)
    annotations: list[tuple[str, str]] = field(default_factory=list)
    annotation_errors: list[str] = field(default_factory=list)


_NOTHING_TO_TELL = Result()


def _holds(outcome: Outcome) -> bool:
    return outcome.value is True


class Evaluator:
    """A policy, compiled. What does not compile is an error of each request."""

    def __init__(self, policy: Object) -> None:
        spec = policy.get("spec") or {}
        expressions = Expressions(params=spec.get("paramKind") is not None)
        self.variables = {
            each["name"]: expressions.variable(each["name"], each["expression"])
            for each in spec.get("variables") or ()
        }
        self.conditions = [
            expressions.compile(each["expression"], BOOLEAN) for each in spec.get("matchConditions") or ()
        ]
        self.rules: list[Object] = spec.get("validations") or []
        self.validations = [expressions.compile(each["expression"], BOOLEAN) for each in self.rules]
        self.messages = [_message(expressions, each) for each in self.rules]
        audits = spec.get("auditAnnotations") or ()
        self.keys = [each["key"] for each in audits]
        self.annotations = [expressions.compile(each["valueExpression"], TEXT_OR_NULL) for each in audits]
        self._denies_on_error = spec.get("failurePolicy") != "Ignore"
        self.uses = described(
            [*self.variables.values(), *self.conditions, *self.validations, *self.messages, *self.annotations]
        )
        self.asks_somebody = asks_somebody(self.uses)
        self._cost_of_messages = most_expensive(self.messages, self.variables) if any(self.messages) else 0

    def undecided(self, error: str) -> Result:
        """The match conditions could not be evaluated."""
        return Result([self._failed(error)] if self._denies_on_error else [])

    def evaluate(self, bindings: dict[str, Any]) -> Result:
        """Of a request that meets the match conditions."""
        try:
            outcomes, rest = run(self.validations, bindings, self.variables, BUDGET)
        except OutOfBudget as error:
            return Result([self._failed(str(error))])
        if not self.annotations and self._cost_of_messages <= rest and all(map(_holds, outcomes)):
            return _NOTHING_TO_TELL
        result = Result()
        wanted = [outcome.value is not True and not outcome.error for outcome in outcomes]
        texts, failure = self._texts(wanted, {**bindings, **_WITHOUT_AUTHORIZER}, rest)
        for position, outcome in enumerate(outcomes):
            if outcome.error:
                result.decisions.append(self._failed(outcome.error))
            elif failure:
                result.decisions.append(self._failed(f"failed messageExpression: {failure}"))
            elif outcome.value is True:
                result.decisions.append(_ADMITTED)
            else:
                rule = self.rules[position]
                message = texts[position] or (rule.get("message") or "").strip()
                message = message or f"failed expression: {rule['expression'].strip()}"
                result.decisions.append(
                    Decision(denies=True, message=message, reason=rule.get("reason") or "Invalid")
                )
        if self.annotations:
            self._annotate(result, {**bindings, **_WITHOUT_AUTHORIZER})
        return result

    def _failed(self, error: str) -> Decision:
        return Decision(denies=self._denies_on_error, message=error, error=error)

    def _texts(self, wanted: list[bool], bindings: dict[str, Any], budget: int) -> tuple[list[str], str]:
        """What the message expressions say where it is wanted, "" for nothing good; and why all of them are given up."""
        messages = self.messages
        if not any(messages):
            return [""] * len(messages), ""
        if self._cost_of_messages <= budget:
            # Upstream works all of them out. When there is enough for all of them, nobody can tell.
            messages = [each if asked else None for each, asked in zip(messages, wanted, strict=True)]
            if not any(messages):
                return [""] * len(messages), ""
        try:
            outcomes, _ = run(messages, bindings, self.variables, budget)
        except OutOfBudget as error:
            return [], str(error)
        return [_usable(outcome.value) for outcome in outcomes], ""

    def _annotate(self, result: Result, bindings: dict[str, Any]) -> None:
        try:
            outcomes, _ = run(self.annotations, bindings, self.variables, BUDGET)
        except OutOfBudget as error:
            result.decisions = [self._failed(str(error))]
            return
        for key, outcome in zip(self.keys, outcomes, strict=True):
            if outcome.error:
                if self._denies_on_error:
                    result.annotation_errors.append(outcome.error)
            elif isinstance(outcome.value, str) and outcome.value.strip():
                text = outcome.value.strip().encode()[:_ANNOTATION_BYTES]
                result.annotations.append((key, text.decode(errors="ignore")))


_WITHOUT_AUTHORIZER: Mapping[str, Any] = {"authorizer": None, "authorizer.requestResource": None}


def _message(expressions: Expressions, rule: Object) -> Expression | None:
    text = rule.get("messageExpression")
    return expressions.compile(text, TEXT, authorizer=False) if text else None


def _usable(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    message = value.strip()
    return "" if "\n" in message or len(message.encode()) > _MESSAGE_BYTES else message


@frozen
class _Denial:
    policy: str
    binding: str
    message: str
    reason: str = ""


async def judge(attributes: Attributes, hooks: tuple[Hook[Evaluator], ...]) -> None:
    """Asks the policies, in the order of their names. Raises what the first one refuses with."""
    denials: list[_Denial] = []
    subject = Subject(attributes)
    for hook in hooks:
        try:
            match = hook.criteria.match(attributes)
            if match is not None:
                row = param_row(attributes.call.server.scheme, hook.spec.get("paramKind"))
        except (StatusError, ConfigurationError) as error:
            if not hook.ignores_failures:
                denials.append(_Denial(hook.name, "", f"failed to configure policy: {error}"))
            continue
        if match is None:
            continue
        kept: dict[str, list[str]] = {}
        for binding in hook.bindings:
            try:
                if binding.criteria.match(attributes) is None:
                    continue
                reference = binding.spec.get("paramRef")
                found = NO_PARAMETERS
                if row is not None and reference is not None:
                    found = await parameters(attributes, row, reference, namespace_of(attributes))
            except (StatusError, ConfigurationError) as error:
                if not hook.ignores_failures:
                    denials.append(_Denial(hook.name, binding.name, f"failed to configure binding: {error}"))
                continue
            for params in found:
                denials += await _applied(subject, hook, binding, match, params, kept)
        for key, values in kept.items():
            attributes.call.annotate(f"{hook.name}/{key}", ", ".join(values))
    if denials:
        raise _refusal(attributes, denials[0])


async def _applied(
    subject: Subject,
    hook: Hook[Evaluator],
    binding: Binding,
    match: Match,
    params: Object | None,
    kept: dict[str, list[str]],
) -> Sequence[_Denial]:
    """Evaluates a policy once and does what its binding says of failures. `kept`: audit annotations of the policy."""
    clock = subject.attributes.call.server.clock
    bindings = await subject.bindings(match, hook.evaluator.uses)
    bindings["params"] = params
    began = clock.monotonic()
    result = await _result(subject, hook, bindings)
    if result is _NOTHING_TO_TELL:
        return ()
    for key, value in result.annotations:
        values = kept.setdefault(key, [])
        if value not in values:
            values.append(value)
    return _told(subject.attributes.call, hook, binding, result, clock.monotonic() - began)


async def _result(subject: Subject, hook: Hook[Evaluator], bindings: dict[str, Any]) -> Result:
    evaluator = hook.evaluator
    if evaluator.conditions:
        verdict = await weighed(subject, hook.name, evaluator, bindings)
        if not verdict.meets:
            return evaluator.undecided(verdict.error) if verdict.error else _NOTHING_TO_TELL
    if evaluator.asks_somebody:
        return await subject.questions.settle(partial(evaluator.evaluate, bindings))
    return evaluator.evaluate(bindings)


def _told(
    call: Call, hook: Hook[Evaluator], binding: Binding, result: Result, seconds: float
) -> list[_Denial]:
    """Tells client, audit log and metrics what came of it. What is denied is given back."""
    observe = partial(call.server.policy_metrics.validated, seconds, hook.name, binding.name)
    denials: list[_Denial] = []
    actions = binding.spec.get("validationActions") or ()
    for position, decision in enumerate(result.decisions):
        kind = error_type(decision.error) if decision.error or not decision.denies else "invalid_error"
        if not decision.denies:
            if decision.error:
                observe(kind, "allow")
            continue
        for action in actions:
            if action == "Deny":
                denials.append(_Denial(hook.name, binding.name, decision.message, decision.reason))
            elif action == "Audit":
                call.annotate(_FAILURE, _failure(hook, binding, position, decision.message))
            else:
                call.warn(
                    f"Validation failed for ValidatingAdmissionPolicy '{hook.name}' "
                    f"with binding '{binding.name}': {decision.message}"
                )
            observe(kind, action.lower())
    for message in result.annotation_errors:
        denials.append(_Denial(hook.name, binding.name, message))
        observe(error_type(message), "deny")
    return denials


def _failure(hook: Hook[Evaluator], binding: Binding, position: int, message: str) -> str:
    value = {
        "message": message,
        "policy": hook.name,
        "binding": binding.name,
        "expressionIndex": position,
        "validationActions": binding.spec.get("validationActions"),
    }
    return orjson.dumps([value]).decode()


def _refusal(attributes: Attributes, denial: _Denial) -> StatusError:
    bound = f" with binding '{denial.binding}'" if denial.binding else ""
    message = f"ValidatingAdmissionPolicy '{denial.policy}'{bound} denied request: {denial.message}"
    error = attributes.forbidden(message)
    error.reason = denial.reason or "Invalid"
    error.code = _CODES.get(error.reason, 422)
    error.details = {**(error.details or {}), "causes": [{"message": message}]}
    return error
