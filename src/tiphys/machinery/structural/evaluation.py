"""Evaluates the rules of a schema on an object (apiextensions-apiserver `schema/cel/validation.go`).

Rules are compiled when the first object comes by. What all rules together may cost is bounded; a rule whose fault was
there before, in a part of the object that is still the same, only warns (ratcheting).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from tiphys.machinery.cel import NONE, CelRuntimeError, CostExceeded, Optional, Program
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import OMITTED, FieldErrorKind
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote
from tiphys.machinery.structural.correlation import Correlated, ItemsByKey, Schema
from tiphys.machinery.structural.declarations import declare
from tiphys.machinery.structural.pruning import is_embedded, item_schema, properties_of
from tiphys.machinery.structural.rules import OLD_SELF, SELF, TYPE_NAME, Compiled, compile_rules
from tiphys.machinery.timing import Timing

BUDGET = 10_000_000
"""What all rules of one object may cost in one request: about a second upstream."""
MESSAGE_LIMIT_BYTES = 5 * 1024
_OUT_OF_BUDGET = (
    "validation failed due to running out of cost budget, no further validation rules will be run"
)


class RulesStoppedError(Exception):
    """No further rule is evaluated."""


@frozen
class Ratchet:
    """The old value of a place, or else of the nearest place above that has one."""

    current: Correlated | None = None
    nearest: Correlated | None = None

    def forgives(self) -> bool:
        decisive = self.current if self.current is not None else self.nearest
        return decisive is not None and decisive.equal()

    def key(self, name: str) -> Ratchet:
        if self.current is None:
            return self
        if self.nearest is None and name in ("apiVersion", "kind"):
            return Ratchet()
        return Ratchet(self.current.key(name), self.current)

    def index(self, position: int) -> Ratchet:
        return self if self.current is None else Ratchet(self.current.index(position), self.current)


class Rules:
    """The rules at one place of a schema, and the ways to those below it."""

    __slots__ = ("_compiled", "fields", "has_own", "is_resource", "items", "more", "schema", "timing")

    def __init__(self, schema: Schema, *, is_resource: bool, timing: Timing | None) -> None:
        self.schema = schema
        self.timing = timing
        self.is_resource = is_resource
        self.has_own = bool(schema.get("x-kubernetes-validations"))
        self._compiled: list[Compiled] | None = None
        self.fields: dict[str, Rules] = {}
        for name, each in properties_of(schema).items():
            if (below := rules_of(each, timing=timing)) is not None:
                self.fields[name] = below
        more, items = schema.get("additionalProperties"), item_schema(schema)
        self.more = rules_of(more, timing=timing) if isinstance(more, Mapping) else None
        self.items = None if items is None else rules_of(items, timing=timing)

    def is_empty(self) -> bool:
        return not (self.has_own or self.fields or self.more or self.items)

    @property
    def compiled(self) -> list[Compiled]:
        if self._compiled is None:
            timing = self.timing
            began = timing.now() if timing is not None else 0.0
            declared = declare(self.schema, TYPE_NAME, is_resource=self.is_resource)
            self._compiled = [] if declared is None else compile_rules(self.schema, declared)
            if timing is not None:
                timing.compiled(timing.now() - began)
        return self._compiled


def rules_of(schema: Schema, *, is_resource: bool = False, timing: Timing | None = None) -> Rules | None:
    """None: there is no rule, at no place."""
    rules = Rules(schema, is_resource=is_resource or is_embedded(schema), timing=timing)
    return None if rules.is_empty() else rules


def evaluate(
    rules: Rules,
    new: Any,
    old: Any = None,
    *,
    path: Path | None = None,
    correlated: Correlated | None = None,
    budget: int = BUDGET,
    warn: Callable[[str], None] | None = None,
) -> list[FieldError]:
    """The rules that do not hold. `old` is the object that `new` replaces; `correlated` makes it forgive what was so
    before. `warn` is told of what is forgiven."""
    evaluation, timing = _Evaluation(budget, warn), rules.timing
    began = timing.now() if timing is not None else 0.0
    try:
        evaluation.visit(rules, new, old, path or Path(), Ratchet(correlated))
    except RulesStoppedError:
        pass
    if timing is not None:
        timing.evaluated(timing.now() - began)
    return evaluation.errors


Where = Path | tuple[Any, Callable[[Path, Any], Path], Any]
"""A path, or the one above and a step from there: most paths are never shown, so they are made when one is."""


def _path(where: Where) -> Path:
    if isinstance(where, Path):
        return where
    above, step, name = where
    return step(_path(above), name)


@frozen
class _Place:
    """A value that has rules: where it stands, and what was there before."""

    value: Any
    where: Where
    kind: str
    ratchet: Ratchet

    @property
    def path(self) -> Path:
        return _path(self.where)

    def fault(self, detail: str) -> FieldError:
        """What is wrong with the evaluation itself; upstream shows the type as the value."""
        return FieldError.invalid(self.path, self.kind, detail)


class _Evaluation:
    def __init__(self, budget: int, warn: Callable[[str], None] | None) -> None:
        self.errors: list[FieldError] = []
        self.budget = budget
        self.warn = warn

    def visit(self, rules: Rules, new: Any, old: Any, where: Where, ratchet: Ratchet) -> None:
        if new is None:
            return
        if rules.has_own:
            self.evaluate(rules, old, _Place(new, where, rules.schema.get("type") or "", ratchet))
        if isinstance(new, list):
            self.items(rules, new, old, where, ratchet)
        elif isinstance(new, dict):
            self.fields(rules, new, old, where, ratchet)

    def items(self, rules: Rules, new: list[Any], old: Any, where: Where, ratchet: Ratchet) -> None:
        if rules.items is None:
            return
        before = ItemsByKey(rules.schema, old)
        for position, item in enumerate(new):
            here: Where = (where, Path.index, position)
            self.visit(rules.items, item, before.get(item), here, ratchet.index(position))

    def fields(self, rules: Rules, new: dict[str, Any], old: Any, where: Where, ratchet: Ratchet) -> None:
        before = old if isinstance(old, dict) else {}
        if rules.more is not None:
            for name, value in new.items():
                inside: Where = (where, Path.key, name)
                self.visit(rules.more, value, before.get(name), inside, ratchet.key(name))
        for name, below in rules.fields.items():
            if name in new:
                here: Where = (where, Path.child, name)
                self.visit(below, new[name], before.get(name), here, ratchet.key(name))

    def evaluate(self, rules: Rules, old: Any, place: _Place) -> None:
        if self.budget <= 0:
            self.stop(place.fault(_OUT_OF_BUDGET))
        new = place.value
        plain = {SELF: new} if old is None else {SELF: new, OLD_SELF: old}
        optional = {SELF: new, OLD_SELF: NONE if old is None else Optional(old)}
        for compiled in rules.compiled:
            if compiled.error:
                self.errors.append(place.fault(f"rule compile error: {compiled.error}"))
                continue
            if compiled.program is None:
                continue
            if compiled.uses_old_self and old is None and not compiled.is_optional_old_self:
                continue
            bindings = optional if compiled.is_optional_old_self else plain
            if not self.holds(compiled, compiled.program, bindings, place):
                # The message sees the old object as it is.
                self.report(compiled, plain, place)

    def holds(self, compiled: Compiled, program: Program, bindings: Mapping[str, Any], place: _Place) -> bool:
        """False: the rule was broken. What cannot be evaluated is reported here."""
        try:
            value, cost = program.evaluate_with_cost(bindings)
        except CostExceeded as error:
            detail = (
                f"'{error}': no further validation rules will be run due to call cost exceeds limit "
                f"for rule: {compiled.text}"
            )
            self.charge(error.cost, place)
            self.stop(place.fault(detail))
        except CelRuntimeError as error:
            self.charge(error.cost, place)
            self.errors.append(place.fault(_failure(str(error), compiled.text)))
            return True
        self.charge(cost, place)
        return value is True

    def charge(self, cost: int, place: _Place) -> None:
        if cost > self.budget:
            self.stop(place.fault(_OUT_OF_BUDGET))
        self.budget -= cost

    def report(self, compiled: Compiled, bindings: Mapping[str, Any], place: _Place) -> None:
        if compiled.field_path is not None:
            place = replace(place, where=place.path.child(compiled.field_path.text))
        forgiven = not compiled.uses_old_self and place.ratchet.forgives()
        message = self.message(compiled, bindings, place, forgiven=forgiven) or compiled.default_message
        value = OMITTED if place.kind in ("object", "array") else place.value
        self.tell(_error(compiled.rule.get("reason"), place.path, value, message), forgiven=forgiven)

    def message(
        self, compiled: Compiled, bindings: Mapping[str, Any], place: _Place, *, forgiven: bool
    ) -> str:
        """What the messageExpression says; empty when it says nothing that could be shown."""
        if compiled.message is None:
            return ""
        source = quote(str(compiled.rule.get("messageExpression")))
        try:
            value, cost = compiled.message.evaluate_with_cost(bindings)
        except CostExceeded:
            detail = (
                "no further validation rules will be run due to call cost exceeds limit "
                f"for messageExpression: {source}"
            )
            self.tell(place.fault(detail), forgiven=forgiven)
            raise RulesStoppedError from None
        except CelRuntimeError as error:
            self.budget -= error.cost
            return ""
        if cost > self.budget:
            detail = (
                "messageExpression evaluation failed due to running out of cost budget, "
                "no further validation rules will be run"
            )
            self.tell(place.fault(detail), forgiven=forgiven)
            raise RulesStoppedError
        self.budget -= cost
        text = value.strip() if isinstance(value, str) else ""
        return "" if "\n" in text or len(text.encode()) > MESSAGE_LIMIT_BYTES else text

    def tell(self, error: FieldError, *, forgiven: bool) -> None:
        if not forgiven:
            self.errors.append(error)
        elif self.warn is not None:
            self.warn(str(error))

    def stop(self, error: FieldError) -> NoReturn:
        self.errors.append(error)
        raise RulesStoppedError


def _failure(error: str, rule: str) -> str:
    if error.startswith("no such overload"):
        return (
            f"'{error}': call arguments did not match a supported operator, function or macro signature "
            f"for rule: {rule}"
        )
    return f"{error} evaluating rule: {rule}"


_REASONS = {
    "FieldValueForbidden": FieldErrorKind.FORBIDDEN,
    "FieldValueRequired": FieldErrorKind.REQUIRED,
}


def _error(reason: Any, path: Path, value: Any, message: str) -> FieldError:
    if reason == "FieldValueDuplicate":
        return FieldError.duplicate(path, value)
    return FieldError(_REASONS.get(reason, FieldErrorKind.INVALID), path, value, message)
