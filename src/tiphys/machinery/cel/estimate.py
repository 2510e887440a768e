"""A bound of what an expression can cost, from what is known of the sizes of its variables (cel-go `checker/cost.go`).

Kubernetes refuses CRDs whose rules could cost too much. Sizes come from literals and from the `max_length` of declared
types; where a declared type has none, from how much fits into a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.cel import charges
from tiphys.machinery.cel.charges import Operand
from tiphys.machinery.cel.declarations import Overload
from tiphys.machinery.cel.loops import FOLDS, OPTIONAL_COST, PRESENT_COST
from tiphys.machinery.cel.measures import length
from tiphys.machinery.cel.ranges import (
    FREE,
    LIST_COST,
    MAP_COST,
    OBJECT_COST,
    ONE,
    UNKNOWN,
    UNLIMITED,
    Range,
    exactly,
)
from tiphys.machinery.cel.syntax import (
    Bind,
    Call,
    Comprehension,
    Conditional,
    Identifier,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Node,
    ObjectLiteral,
    Presence,
    Select,
)
from tiphys.machinery.cel.types import LIST, MAP, OBJECT, REQUEST_SIZE, SCALARS, Type, is_optional
from tiphys.machinery.frozen import frozen


@frozen
class Sized:
    """What is known of a value: cost of getting it, size, type as declared (if it is read out of a variable)."""

    cost: Range
    size: Range | None = None
    declared: Type | None = None
    # Sizes of its keys (or indices) and elements.
    key: Range | None = None
    element: Range | None = None


def estimate(node: Node, *, unknown: Range = UNKNOWN) -> Range:
    """The least and the most that evaluating a checked tree can cost.

    `unknown`: the size of strings and bytes of which nothing is known.
    """
    return _Estimator(unknown).visit(node).cost


def declared_size(this: Type) -> Range | None:
    """How long a value of a declared type can be."""
    if this.max_length is not None:
        return Range(0, this.max_length)
    if this.name in ("string", "bytes"):
        return Range(0, REQUEST_SIZE)
    if this.kind == LIST:
        return Range(0, REQUEST_SIZE // (_least_json(this.parameters[0]) + 1))
    if this.kind == MAP:
        # A key in quotes, a colon, a value and a comma.
        return Range(0, REQUEST_SIZE // (_least_json(this.parameters[1]) + 4))
    # Upstream's declarations give numbers and objects no size, so that comparing them costs nothing.
    return FREE if this.kind == OBJECT or this.name in _SCALARS else None


_SCALARS = frozenset({"type", *(this.name for this in SCALARS)})
_LEAST_JSON = {"string": 2, "bytes": 2, "bool": 4, "timestamp": 21, "duration": 3, "null": 4}


def _least_json(this: Type) -> int:
    """The least bytes that a value takes in a request."""
    return 2 if this.kind in (LIST, MAP, OBJECT) else _LEAST_JSON.get(this.name, 1)


class _Estimator:
    def __init__(self, unknown: Range) -> None:
        self.unknown = unknown
        self.locals: dict[str, Sized] = {}

    def visit(self, node: Node) -> Sized:
        return _VISITS[node.__class__](self, node)

    def size(self, node: Node, value: Sized) -> Range:
        if value.size is not None:
            return value.size
        if is_optional(node.type) and node.type.parameters[0].name in _SCALARS:
            return ONE
        return self.size_of_type(node.type)

    def size_of_type(self, this: Type) -> Range:
        if this.name in _SCALARS:
            return ONE
        return self.unknown if this.name in ("string", "bytes") else UNKNOWN

    def read(self, cost: Range, declared: Type | None, size: Range | None = None) -> Sized:
        """A value that comes out of a variable."""
        if declared is None:
            return Sized(cost, size)
        return Sized(cost, declared_size(declared), declared)

    # Leaves and access

    def literal(self, node: Literal) -> Sized:
        return Sized(FREE, exactly(length(node.value)))

    def identifier(self, node: Identifier) -> Sized:
        if node.role == "variable":
            return self.read(ONE, node.type)
        if node.role == "type":
            return Sized(Range(0, 1), ONE)
        known = self.locals[node.target]
        return Sized(ONE, known.size, known.declared, known.key, known.element)

    def select(self, node: Select) -> Sized:
        if node.qualified is not None:
            return self.visit(node.qualified)
        operand = self.visit(node.operand)
        cost = operand.cost.plus(ONE)
        declared = operand.declared
        if declared is None or node.optional:
            return Sized(cost, None if node.optional else operand.element)
        # Upstream finds no size behind `map.key`, though it does behind `map['key']`.
        field = declared.fields.get(node.name)
        return Sized(cost) if field is None else self.read(cost, field.type)

    def presence(self, node: Presence) -> Sized:
        return Sized(self.visit(node.operand).cost, ONE)

    def index(self, node: Index) -> Sized:
        operand, key = self.visit(node.operand), self.visit(node.index)
        cost = operand.cost.plus(key.cost).plus(ONE)
        declared = operand.declared
        if declared is None or node.optional or declared.kind not in (LIST, MAP):
            return Sized(cost, operand.element)
        return self.read(cost, declared.parameters[-1])

    # Operators

    def logic(self, node: Logic) -> Sized:
        costs = [self.visit(term).cost for term in node.terms]
        total = FREE
        for cost in costs:
            total = total.plus(cost)
        # The first term may decide alone.
        return Sized(Range(costs[0].low, total.high), ONE)

    def conditional(self, node: Conditional) -> Sized:
        condition, then, otherwise = (
            self.visit(node.condition),
            self.visit(node.then),
            self.visit(node.otherwise),
        )
        size = self.size(node.then, then).union(self.size(node.otherwise, otherwise))
        return Sized(
            condition.cost.plus(then.cost.union(otherwise.cost)),
            size,
            key=_union(then.key, otherwise.key),
            element=_union(then.element, otherwise.element),
        )

    # Literals

    def list_literal(self, node: ListLiteral) -> Sized:
        values = [self.visit(element) for element in node.elements]
        sizes = [self.size(each, value) for each, value in zip(node.elements, values, strict=True)]
        count = len(node.elements)
        return Sized(
            _total(LIST_COST, values),
            Range(count - len(node.optional), count),
            key=ONE,
            element=_union_all(sizes),
        )

    def map_literal(self, node: MapLiteral) -> Sized:
        keys = [self.visit(entry.key) for entry in node.entries]
        values = [self.visit(entry.value) for entry in node.entries]
        key_sizes = [self.size(entry.key, key) for entry, key in zip(node.entries, keys, strict=True)]
        sizes = [self.size(entry.value, value) for entry, value in zip(node.entries, values, strict=True)]
        optional = sum(entry.optional for entry in node.entries)
        return Sized(
            _total(MAP_COST, [*keys, *values]),
            Range(len(values) - optional, len(values)),
            key=_union_all(key_sizes),
            element=_union_all(sizes),
        )

    def object_literal(self, node: ObjectLiteral) -> Sized:
        return Sized(_total(OBJECT_COST, [self.visit(entry.value) for entry in node.entries]))

    # Calls

    def call(self, node: Call) -> Sized:
        values = [self.visit(operand) for operand in node.operands]
        if node.function == "dyn":
            [value] = values
            return Sized(
                value.cost.plus(ONE),
                self.size(node.arguments[0], value),
                value.declared,
                value.key,
                value.element,
            )
        operands = [
            Operand(operand, self.size(operand, value), self.element_size(operand, value))
            for operand, value in zip(node.operands, values, strict=True)
        ]
        cost, size = Range(UNLIMITED, 0), None
        for overload in node.overloads:
            found = _charge(node, overload).estimate(operands)
            cost = cost.union(found.cost)
            size = found.size if size is None else _union(size, found.size)
        total = _total(0, values).plus(cost)
        if node.function in ("or", "orValue"):
            # What is given instead is evaluated only when it is needed.
            total = Range(values[0].cost.low + cost.low, total.high)
        elements = [value.element for value in values] if node.function == "_+_" else [None]
        return Sized(total, size, element=_union_all(elements) if None not in elements else None)

    def element_size(self, operand: Node, value: Sized) -> Range:
        """The size of what is in a list."""
        if value.declared is not None and value.declared.kind == LIST:
            return declared_size(value.declared.parameters[0]) or UNKNOWN
        return self.size_of_type(operand.type.parameters[0]) if operand.type.kind == LIST else UNKNOWN

    # Scopes

    def comprehension(self, node: Comprehension) -> Sized:
        items = self.visit(node.range)
        self.bind_variables(node, items)
        fold, count = FOLDS[node.macro], self.size(node.range, items)
        result = FREE if node.result is None else (made := self.visit(node.result)).cost
        element = None if node.result is None else self.size(node.result, made)
        skipping = node.condition is not None
        step = exactly(fold.step).plus(result)
        if node.condition is not None:
            condition = self.visit(node.condition).cost
            if node.macro in ("all", "exists"):
                step = Range(fold.step, fold.step + condition.high)
            else:
                step = condition.plus(Range(fold.skipped, step.high))
        each = step.plus(exactly(fold.condition))
        total = items.cost.plus(exactly(fold.once)).plus(count.times(each))
        if node.type.kind not in (LIST, MAP):
            return Sized(total, ONE)
        return Sized(total, Range(0 if skipping else count.low, count.high), element=element)

    def bind_variables(self, node: Comprehension, items: Sized) -> None:
        declared = items.declared
        keys = Sized(ONE, items.key)
        elements = Sized(ONE, items.element)
        if declared is not None and declared.kind == MAP:
            keys, elements = (self.read(ONE, each) for each in declared.parameters)
        elif declared is not None and declared.kind == LIST:
            keys, elements = Sized(ONE, ONE), self.read(ONE, declared.parameters[0])
        if len(node.locals) == 2:
            self.locals.update(zip(node.locals, (keys, elements), strict=True))
        else:
            self.locals[node.locals[0]] = keys if node.range.type.kind == MAP else elements

    def bind(self, node: Bind) -> Sized:
        value = self.visit(node.value)
        if not node.optional_macro:
            self.locals[node.local] = value
            body = self.visit(node.body)
            cost = value.cost.plus(exactly(LIST_COST)).plus(body.cost)
            return Sized(cost, self.size(node.body, body), body.declared, body.key, body.element)
        self.locals[node.local] = Sized(ONE)
        body = self.visit(node.body)
        # Upstream evaluates the value once more when it is there.
        most = 2 * value.cost.high + OPTIONAL_COST + PRESENT_COST + body.cost.high
        return Sized(Range(value.cost.low + OPTIONAL_COST + 1, min(most, UNLIMITED)))


def _charge(node: Call, overload: Overload) -> charges.Charge:
    if node.function not in ("_==_", "_!=_"):
        return overload.charge
    left, right = node.operands
    special = charges.EQUAL_BY_TYPE.get(left.type.name) if left.type.name == right.type.name else None
    return special or overload.charge


def _total(cost: int, values: list[Sized]) -> Range:
    total = exactly(cost)
    for value in values:
        total = total.plus(value.cost)
    return total


def _union(one: Range | None, other: Range | None) -> Range | None:
    return None if one is None or other is None else one.union(other)


def _union_all(sizes: list[Any]) -> Range | None:
    if not sizes:
        return FREE
    total: Range = sizes[0]
    for size in sizes[1:]:
        total = total.union(size)
    return total


_VISITS: dict[type[Node], Callable[[_Estimator, Any], Sized]] = {
    Literal: _Estimator.literal,
    Identifier: _Estimator.identifier,
    Select: _Estimator.select,
    Presence: _Estimator.presence,
    Index: _Estimator.index,
    Call: _Estimator.call,
    Logic: _Estimator.logic,
    Conditional: _Estimator.conditional,
    ListLiteral: _Estimator.list_literal,
    MapLiteral: _Estimator.map_literal,
    ObjectLiteral: _Estimator.object_literal,
    Comprehension: _Estimator.comprehension,
    Bind: _Estimator.bind,
}
