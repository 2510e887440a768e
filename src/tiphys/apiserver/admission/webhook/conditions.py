"""matchConditions: expressions that must all be true before a webhook is called (KEP-3716)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tiphys.api.admissionregistration.expressions import MATCH_CONDITIONS_BUDGET, compile_condition
from tiphys.api.resource import Object
from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from tiphys.machinery.cel import Program

_NO_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


@frozen
class Outcome:
    """`error`: why it cannot be known, when that refuses the request. `failed`: how many expressions failed."""

    matches: bool
    error: str = ""
    failed: int = 0


class Conditions:
    """The conditions of one webhook, compiled when a request first needs them."""

    def __init__(self, conditions: Sequence[Object], *, ignores_failure: bool) -> None:
        self._expressions = [(condition.get("expression") or "").strip() for condition in conditions]
        self._ignores_failure = ignores_failure

    @cached_property
    def _programs(self) -> list[Program | str]:
        return [_compiled(expression) for expression in self._expressions]

    def evaluate(self, bindings: Mapping[str, Any]) -> Outcome:
        """One that is false decides, whatever else failed. Raises what the authorizer raises (Undecided)."""
        from tiphys.machinery.cel import PER_CALL_LIMIT, CelRuntimeError

        left, errors = MATCH_CONDITIONS_BUDGET, []
        for expression, program in zip(self._expressions, self._programs, strict=True):
            if isinstance(program, str):
                errors.append(f"compilation error: {program}")
                continue
            try:
                value, cost = program.evaluate_with_cost(bindings, cost_limit=PER_CALL_LIMIT)
            except CelRuntimeError as error:
                value, cost = None, error.cost
                errors.append(f"expression '{expression}' resulted in error: {error}")
            if cost > left:
                return self._failed([_NO_BUDGET])
            left -= cost
            if value is False:
                return Outcome(matches=False, failed=len(errors))
        return self._failed(errors) if errors else Outcome(matches=True)

    def _failed(self, errors: Sequence[str]) -> Outcome:
        if self._ignores_failure:
            return Outcome(matches=False, failed=len(errors))
        texts = list(dict.fromkeys(errors))
        return Outcome(
            matches=False,
            error=texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]",
            failed=len(errors),
        )


def _compiled(expression: str) -> Program | str:
    from tiphys.machinery.cel import CelError

    try:
        return compile_condition(expression)
    except CelError as error:
        return f"compilation failed: {error}"
    except TypeError as error:
        return str(error)
