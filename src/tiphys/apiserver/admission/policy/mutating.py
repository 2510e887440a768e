"""MutatingAdmissionPolicy: objects are changed as expressions say (apiserver `policy/mutating/dispatcher.go`).

One policy after another, in the order of their names, each sees what those before it have made of the object. When anything was
patched, the whole chain runs once more, in which those are called again whose reinvocationPolicy is IfNeeded.
Imported when the first policy is asked, for the sake of CEL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from tiphys.api.admissionregistration.policy_expressions import (
    BOOLEAN,
    BUDGET,
    OBJECT,
    PATCH,
    Expression,
    Expressions,
)
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.matching import Match, convert
from tiphys.apiserver.admission.policy.conditions import weighed
from tiphys.apiserver.admission.policy.evaluation import OutOfBudget, run
from tiphys.apiserver.admission.policy.hooks import Binding, Hook
from tiphys.apiserver.admission.policy.metrics import error_type
from tiphys.apiserver.admission.policy.parameters import (
    ConfigurationError,
    identity,
    param_row,
    parameters,
)
from tiphys.apiserver.admission.policy.patches import MutationError, apply_configuration, json_patch
from tiphys.apiserver.admission.policy.subject import Subject, described
from tiphys.apiserver.admission.request import namespace_of
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

Key = tuple[Any, ...]
NAME = "MutatingAdmissionPolicy"


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
        self.mutations = [_mutation(expressions, each) for each in spec.get("mutations") or ()]
        self.may_run_again = spec.get("reinvocationPolicy") == "IfNeeded"
        self.uses = described([*self.variables.values(), *self.conditions, *self.mutations])

    def mutate(self, mutation: Expression, match: Match, bindings: dict[str, Any]) -> Object:
        """The object after a mutation; the object itself when nothing changes. Raises MutationError, StatusError."""
        if mutation.program is None:
            raise MutationError(mutation.error)
        try:
            [outcome], _ = run([mutation], bindings, self.variables, BUDGET)
        except OutOfBudget as error:
            raise MutationError(str(error)) from None
        if outcome.error:
            raise MutationError(outcome.error)
        change = apply_configuration if mutation.program.type.name == "Object" else json_patch
        return change(match, bindings["object"], outcome.value)


def _mutation(expressions: Expressions, mutation: Object) -> Expression:
    if mutation.get("patchType") == "JSONPatch":
        return expressions.compile(mutation["jsonPatch"]["expression"], PATCH, patches=True)
    return expressions.compile(mutation["applyConfiguration"]["expression"], OBJECT, patches=True)


@frozen
class Invocation:
    """A policy with one binding and one object of parameters, for one request."""

    hook: Hook[Evaluator]
    binding: Binding
    match: Match
    params: Object | None

    @property
    def key(self) -> Key:
        return self.hook.name, self.binding.name, identity(self.params)


@dataclass(slots=True)
class _Rounds:
    """Who is called again in the second round."""

    waiting: set[Key] = field(default_factory=set)
    """Called already; nobody has changed the object since."""
    due: set[Key] = field(default_factory=set)
    output: bytes = b""
    """The object as policies left it in the first round."""

    def changed(self) -> None:
        self.due |= self.waiting
        self.waiting.clear()


@frozen
class _Failure:
    hook: Hook[Evaluator]
    binding: str
    message: str
    reason: str = ""

    def __str__(self) -> str:
        if self.binding:
            return f"policy '{self.hook.name}' with binding '{self.binding}' denied request: {self.message}"
        return f"policy {quote(self.hook.name)} denied request: {self.message}"


async def change(attributes: Attributes, hooks: tuple[Hook[Evaluator], ...]) -> None:
    """Lets the policies change the object. Raises what the first one refuses with that may not fail."""
    failures: list[_Failure] = []
    invocations: list[Invocation] = []
    for hook in hooks:
        invocations += await _invocations(attributes, hook, failures)
    if invocations:
        await _invoke(attributes, invocations, failures)
    counting = [each for each in failures if not each.hook.ignores_failures]
    if counting:
        raise _refusal(attributes, counting)


async def _invocations(
    attributes: Attributes, hook: Hook[Evaluator], failures: list[_Failure]
) -> list[Invocation]:
    try:
        match = hook.criteria.match(attributes)
        if match is None:
            return []
        row = param_row(attributes.call.server.scheme, hook.spec.get("paramKind"))
    except (StatusError, ConfigurationError) as error:
        failures.append(_Failure(hook, "", f"failed to configure policy: {error}"))
        return []
    found: list[Invocation] = []
    for binding in hook.bindings:
        try:
            if binding.criteria.match(attributes) is None:
                continue
            reference = binding.spec.get("paramRef")
            for params in await parameters(attributes, row, reference, namespace_of(attributes)):
                found.append(Invocation(hook, binding, match, params))
        except (StatusError, ConfigurationError) as error:
            failures.append(_Failure(hook, binding.name, f"failed to configure binding: {error}"))
    return found


async def _invoke(attributes: Attributes, invocations: list[Invocation], failures: list[_Failure]) -> None:
    rounds = attributes.recall(NAME, _Rounds)
    if attributes.again and _bytes(attributes.object) != rounds.output:
        rounds.changed()  # by plugins of the server's own, in their second round
    subject, patched = Subject(attributes), False
    for invocation in invocations:
        evaluator = invocation.hook.evaluator
        bindings = await subject.bindings(invocation.match, evaluator.uses)
        bindings["params"] = invocation.params
        verdict = await weighed(subject, invocation.hook.name, evaluator, bindings)
        if not verdict.meets:
            if verdict.error:
                failures.append(_failure(invocation, verdict.error))
            continue
        if attributes.again and invocation.key not in rounds.due:
            continue
        before = bindings["object"]
        if before is not None:
            patched |= await _mutate(subject, invocation, bindings, failures)
            if bindings["object"] != before:
                await _replace(attributes, invocation.match, bindings["object"])
                rounds.changed()
        if evaluator.may_run_again:
            rounds.waiting.add(invocation.key)
    if patched:
        rounds.changed()
        attributes.wants_again = True
    if not attributes.again:
        rounds.output = _bytes(attributes.object)


async def _mutate(
    subject: Subject, invocation: Invocation, bindings: dict[str, Any], failures: list[_Failure]
) -> bool:
    """Runs the mutations of a policy, one on what the other has made. Whether any has been done. Raises StatusError."""
    server, done = subject.attributes.call.server, False
    evaluator, names = invocation.hook.evaluator, (invocation.hook.name, invocation.binding.name)
    for mutation in evaluator.mutations:
        began, problem = server.clock.monotonic(), ""
        try:
            run_it = partial(evaluator.mutate, mutation, invocation.match, bindings)
            bindings["object"] = await subject.questions.settle(run_it)
            done = True
        except MutationError as error:
            problem = str(error)
            failures.append(_failure(invocation, problem))
        finally:
            server.policy_metrics.mutated(server.clock.monotonic() - began, *names, error_type(problem))
    return done


def _failure(invocation: Invocation, problem: str) -> _Failure:
    return _Failure(invocation.hook, invocation.binding.name, problem, "Invalid")


async def _replace(attributes: Attributes, match: Match, new: Object) -> None:
    """Puts a changed object in the place of the old one, in the version of the request."""
    assert attributes.object is not None
    if match.kind != attributes.kind and attributes.kind == attributes.row.gvk:
        new = await convert(match.row, attributes.row, new)
    new = dict(new)
    attributes.object.clear()
    attributes.object.update(new)
    attributes.changed = True


def _bytes(obj: Object | None) -> bytes:
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


def _refusal(attributes: Attributes, failures: list[_Failure]) -> StatusError:
    error = attributes.forbidden("admission request denied by policy")
    error.message = str(failures[0])
    # The code stays 403, as upstream's does.
    error.reason = failures[0].reason or error.reason
    error.details = {**(error.details or {}), "causes": [{"message": str(each)} for each in failures]}
    return error
