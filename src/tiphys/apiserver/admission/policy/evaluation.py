"""Running the expressions of a policy: one budget for a group of them, variables when they are first used.

Errors and costs are those of apiserver `plugin/cel/condition.go` and `composition.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tiphys.api.admissionregistration.policy_expressions import Expression
from tiphys.machinery.cel import PER_CALL_LIMIT, CelRuntimeError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class OutOfBudget(Exception):
    """A group of expressions cost more than all of them may."""

    def __init__(self) -> None:
        super().__init__(OUT_OF_BUDGET)


@frozen
class Outcome:
    """What came of an expression. `error` is "" when there is a value."""

    value: Any = None
    error: str = ""


NOTHING = Outcome()
"""Of an expression that was left out."""


class Variables(dict[str, Any]):
    """`variables`: each is worked out when it is first used, and remembered with its error. `spent`: what that has cost."""

    def __init__(self, expressions: Mapping[str, Expression], bindings: Mapping[str, Any]) -> None:
        super().__init__()
        self.spent = 0
        self._expressions = expressions
        self._bindings = bindings
        self._failures: dict[str, str] = {}

    def __missing__(self, name: str) -> Any:
        if name in self._failures:
            raise CelRuntimeError(self._failures[name])
        expression = self._expressions[name]
        if expression.program is None:
            raise self._failed(name, f"fails to compile: {expression.error}")
        try:
            value, cost = expression.program.evaluate_with_cost(self._bindings)
        except CelRuntimeError as error:
            self.spent += error.cost
            raise self._failed(name, f"fails to evaluate: {error}") from None
        self.spent += cost
        self[name] = value
        return value

    def _failed(self, name: str, how: str) -> CelRuntimeError:
        self._failures[name] = f"composited variable {quote(name)} {how}"
        return CelRuntimeError(self._failures[name])

    def __contains__(self, name: object) -> bool:
        return name in self._expressions


_NO_VARIABLES = Variables({}, {})


def run(
    expressions: Sequence[Expression | None],
    bindings: dict[str, Any],
    variables: Mapping[str, Expression],
    budget: int,
) -> tuple[list[Outcome], int]:
    """Outcomes, in order, and what is left of the budget. Puts `variables` into the bindings. Raises OutOfBudget."""
    shared = bindings["variables"] = Variables(variables, bindings) if variables else _NO_VARIABLES
    outcomes = []
    for expression in expressions:
        if expression is None:
            outcomes.append(NOTHING)
            continue
        if expression.program is None:
            outcomes.append(Outcome(error=f"compilation error: {expression.error}"))
            continue
        try:
            value, cost = expression.program.evaluate_with_cost(bindings)
            outcome = Outcome(value)
        except CelRuntimeError as error:
            cost = error.cost
            outcome = Outcome(error=f"expression '{expression.text}' resulted in error: {error}")
        budget -= cost + shared.spent
        shared.spent = 0
        if budget < 0:
            raise OutOfBudget
        outcomes.append(outcome)
    return outcomes, budget


def most_expensive(expressions: Sequence[Expression | None], variables: Mapping[str, Expression]) -> int:
    """What a run can cost at most."""
    return PER_CALL_LIMIT * (sum(1 for each in expressions if each is not None) + len(variables))
