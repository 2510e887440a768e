"""The types of an expression: every node gets one, every call its overloads. Errors are cel-go's.

Language rules: langdef.md "Gradual Type Checking". Literals of lists and maps must be of one type, as in Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tiphys.machinery.cel import lexer, types
from tiphys.machinery.cel.calls import CallChecker
from tiphys.machinery.cel.errors import CelError, Issue
from tiphys.machinery.cel.parser import TOO_DEEP, qualified_name
from tiphys.machinery.cel.syntax import (
    Bind,
    Call,
    Comprehension,
    Conditional,
    Entry,
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
from tiphys.machinery.cel.types import (
    BOOL,
    DYN,
    ERROR,
    INT,
    LIST,
    MAP,
    OBJECT,
    PARAMETER,
    PRIMITIVE,
    WILDCARD,
    Type,
    is_optional,
    list_of,
    map_of,
    optional_of,
)

if TYPE_CHECKING:
    from tiphys.machinery.cel.declarations import Functions


class Local:
    """A variable of a comprehension or of cel.bind: its type, role and name in the generated program."""

    __slots__ = ("name", "role", "type")

    def __init__(self, this: Type, role: str, name: str) -> None:
        self.type = this
        self.role = role
        self.name = name


class Checker(CallChecker):
    """Checks one expression. `types_by_name` are those that identifiers and object literals may name."""

    def __init__(
        self,
        text: str,
        variables: Mapping[str, Type],
        functions: Functions,
        types_by_name: Mapping[str, Type],
    ) -> None:
        super().__init__(functions)
        self.text = text
        self.variables = variables
        self.types_by_name = types_by_name
        self.scopes: list[dict[str, Local]] = []
        self.local_count = 0
        self.issues: list[Issue] = []
        self.nodes: list[Node] = []

    def run(self, node: Node) -> Type:
        """Check the whole expression; its type. CelError with everything that is wrong."""
        try:
            self.check(node)
        except RecursionError:
            raise lexer.error_of_whole(self.text, TOO_DEEP) from None
        if self.issues:
            raise CelError(self.issues, self.text)
        for each in self.nodes:
            if each.type.kind != PRIMITIVE:
                each.type = self.substitution.apply(each.type, final=True)
        return node.type

    def check(self, node: Node) -> Type:
        found = _CHECKS[node.__class__](self, node)
        node.type = found
        self.nodes.append(node)
        return found

    def known(self, node: Node) -> Type:
        """Check a node; its type as far as it is known now."""
        found = self.check(node)
        return found if found.kind == PRIMITIVE else self.substitution.apply(found)

    def report(self, offset: int, message: str) -> Type:
        self.issues.append(Issue(message, *lexer.place(self.text, offset)))
        return ERROR

    def issues_are_empty(self) -> bool:
        return not self.issues

    def undeclared(self, offset: int, name: str) -> Type:
        return self.report(offset, f"undeclared reference to '{name}' (in container '')")

    # Leaves

    def literal(self, node: Literal) -> Type:
        return types.of_value(node.value)

    def identifier(self, node: Identifier) -> Type:
        for scope in reversed(self.scopes):
            local = scope.get(node.name)
            if local is not None:
                node.role, node.target = local.role, local.name
                return local.type
        return self.global_name(node, node.name) or self.undeclared(node.offset, node.name)

    def global_name(self, node: Identifier, name: str) -> Type | None:
        node.name = name.removeprefix(".")
        variable = self.variables.get(node.name)
        if variable is not None:
            node.role = "variable"
            return variable
        named = self.types_by_name.get(node.name)
        if named is None:
            return None
        node.role, node.target = "type", named
        return types.type_of(named)

    # Fields

    def select(self, node: Select) -> Type:
        whole = None if node.optional else qualified_name(node)
        if whole is not None and (whole in self.variables or whole in self.types_by_name):
            node.qualified = Identifier(node.offset, whole)
            return self.check(node.qualified)
        node.property = node.name
        operand = self.known(node.operand)
        found, node.property = self.field(operand, node.name, node.offset)
        return optional_of(found) if node.optional or is_optional(operand) else found

    def presence(self, node: Presence) -> Type:
        operand = self.known(node.operand)
        _, node.property = self.field(operand, node.name, node.offset)
        return BOOL

    def field(self, operand: Type, name: str, offset: int) -> tuple[Type, str]:
        """The type of a field, and the name of the property."""
        if is_optional(operand):
            operand = self.substitution.apply(operand.parameters[0])
        if operand.kind == OBJECT:
            found = operand.fields.get(name)
            if found is None:
                return self.report(offset, f"undefined field '{name}'"), name
            return found.type, found.name
        if operand.kind == MAP:
            return self.substitution.apply(operand.parameters[1]), name
        if operand.kind == PARAMETER:
            self.substitution.assignable(DYN, operand)
        elif operand.kind != WILDCARD:
            return self.report(offset, f"type '{operand}' does not support field selection"), name
        return DYN, name

    def index(self, node: Index) -> Type:
        operand, key = self.known(node.operand), self.known(node.index)
        inner = self.substitution.apply(operand.parameters[0]) if is_optional(operand) else operand
        found = self.element(inner, key)
        if found is None:
            shown = "_[?_]" if node.optional else "_[_]"
            return self.no_overload(node.offset, shown, [operand, key])
        return optional_of(found) if node.optional or is_optional(operand) else found

    def element(self, operand: Type, key: Type) -> Type | None:
        if operand.kind in (WILDCARD, PARAMETER):
            return DYN
        if operand.kind == LIST and self.substitution.assignable(INT, key):
            return operand.parameters[0]
        if operand.kind == MAP and self.substitution.assignable(operand.parameters[0], key):
            return operand.parameters[1]
        return None

    # Operators that are no functions

    def logic(self, node: Logic) -> Type:
        found = [self.known(term) for term in node.terms]
        for index, this in enumerate(found):
            if not self.substitution.assignable(BOOL, this):
                pair = found[:2] if index < 2 else [BOOL, this]
                return self.no_overload(node.offset, f"_{node.operator}_", pair)
        return BOOL

    def conditional(self, node: Conditional) -> Type:
        condition, then, otherwise = (
            self.known(node.condition),
            self.check(node.then),
            self.check(node.otherwise),
        )
        [result] = self.substitution.instantiate([types.parameter("A")])
        if not self.substitution.all_assignable([BOOL, result, result], [condition, then, otherwise]):
            return self.no_overload(node.offset, "_?_:_", [condition, then, otherwise])
        return self.substitution.apply(result)

    # Literals of several values

    def list_literal(self, node: ListLiteral) -> Type:
        element: Type | None = None
        for index, each in enumerate(node.elements):
            given = self.check(each)
            if index in node.optional:
                given = self.unwrapped(each.offset, given)
            element = self.join(each.offset, element, given)
        return list_of(element or self.substitution.fresh())

    def map_literal(self, node: MapLiteral) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            key = self.join(entry.key.offset, key, self.check(entry.key))
            given = self.check(entry.value)
            if entry.optional:
                given = self.unwrapped(entry.value.offset, given)
            value = self.join(entry.value.offset, value, given)
        return map_of(key or self.substitution.fresh(), value or self.substitution.fresh())

    def object_literal(self, node: ObjectLiteral) -> Type:
        node.name = node.name.removeprefix(".")
        this = self.types_by_name.get(node.name)
        if this is None:
            return self.undeclared(node.offset, node.name)
        if this.kind != OBJECT:
            return self.report(node.offset, f"'{node.name}' is not a message type")
        for entry in node.entries:
            self.object_field(this, entry)
        return this

    def object_field(self, this: Type, entry: Entry) -> None:
        given = self.check(entry.value)
        if entry.optional:
            given = self.unwrapped(entry.value.offset, given)
        wanted = this.fields.get(entry.key)
        if wanted is None:
            self.report(entry.offset, f"undefined field '{entry.key}'")
            return
        if not self.substitution.assignable(wanted.type, given):
            self.report(
                entry.offset,
                f"expected type of field '{entry.key}' is '{wanted.type}' but provided type is '{given}'",
            )
        entry.key = wanted.name

    def unwrapped(self, offset: int, given: Type) -> Type:
        """What is in an optional value that `?` puts into a literal."""
        given = self.substitution.apply(given)
        if is_optional(given):
            return given.parameters[0]
        if given.kind not in (WILDCARD, PARAMETER):
            self.report(offset, f"expected type 'optional_type({given})' but found '{given}'")
        return DYN

    def join(self, offset: int, before: Type | None, given: Type) -> Type:
        if before is None or self.substitution.assignable(before, given):
            return given if before is None else self.substitution.most_general(before, given)
        one, other = self.substitution.apply(before), self.substitution.apply(given)
        return self.report(offset, f"expected type '{one}' but found '{other}'")

    # Scopes

    def declare(self, name: str, this: Type, role: str) -> Local:
        self.local_count += 1
        return Local(this, role, f"x{self.local_count}")

    def comprehension(self, node: Comprehension) -> Type:
        range_type = self.known(node.range)
        item_types = self.items(node, range_type)
        scope = {}
        for name, this in zip(node.variables, item_types, strict=True):
            scope[name] = self.declare(name, this, "local")
        node.locals = [local.name for local in scope.values()]
        self.scopes.append(scope)
        condition = None if node.condition is None else self.known(node.condition)
        result = None if node.result is None else self.check(node.result)
        self.scopes.pop()
        made = self.collected(node, item_types, result)
        if condition is not None and not self.substitution.assignable(BOOL, condition):
            return self.bad_condition(node, condition, made)
        return made

    def items(self, node: Comprehension, range_type: Type) -> list[Type]:
        """The types of the variables."""
        pair: tuple[Type, Type]
        if range_type.kind == LIST:
            pair = INT, self.substitution.apply(range_type.parameters[0])
        elif range_type.kind == MAP:
            key, value = range_type.parameters
            pair = self.substitution.apply(key), self.substitution.apply(value)
        elif range_type.kind in (WILDCARD, PARAMETER):
            self.substitution.assignable(DYN, range_type)
            pair = DYN, DYN
        else:
            self.report(
                node.range.offset,
                f"expression of type '{range_type}' cannot be range of a comprehension"
                " (must be list, map, or dynamic)",
            )
            pair = ERROR, ERROR
        if len(node.variables) == 2:
            return list(pair)
        return [pair[0] if range_type.kind == MAP else pair[1]]

    def collected(self, node: Comprehension, items: list[Type], result: Type | None) -> Type:
        if node.macro == "filter":
            return list_of(items[0])
        if result is None:
            return BOOL
        if node.macro in ("map", "transformList"):
            return list_of(result)
        if node.macro == "transformMap":
            return map_of(items[0], result)
        wanted = map_of(self.substitution.fresh(), self.substitution.fresh())
        if not self.substitution.assignable(wanted, result):
            return self.no_overload(node.offset, "cel.@mapInsert", [wanted, self.substitution.apply(result)])
        return self.substitution.apply(wanted)

    def bad_condition(self, node: Comprehension, condition: Type, made: Type) -> Type:
        """The complaint of the expression that upstream makes of the macro."""
        if node.macro in ("all", "exists"):
            return self.no_overload(node.offset, "_&&_" if node.macro == "all" else "_||_", [BOOL, condition])
        accumulated = INT if node.macro == "exists_one" else made
        return self.no_overload(node.offset, "_?_:_", [condition, accumulated, accumulated])

    def bind(self, node: Bind) -> Type:
        value = self.known(node.value)
        if node.optional_macro:
            inner = self.inside_optional(node, value)
        else:
            inner = value
        local = self.declare(node.name, inner, "local" if node.optional_macro else "bound")
        node.local = local.name
        self.scopes.append({node.name: local})
        body = self.known(node.body)
        self.scopes.pop()
        if (
            node.optional_macro == "optFlatMap"
            and not is_optional(body)
            and body.kind not in (WILDCARD, PARAMETER)
        ):
            return self.no_overload(node.offset, "_?_:_", [BOOL, body, optional_of(body)])
        return optional_of(body) if node.optional_macro == "optMap" else body

    def inside_optional(self, node: Bind, value: Type) -> Type:
        if is_optional(value):
            return self.substitution.apply(value.parameters[0])
        if value.kind not in (WILDCARD, PARAMETER):
            self.report(node.offset, f"found no matching overload for 'hasValue' applied to '{value}.()'")
        return DYN


_CHECKS: dict[type[Node], Callable[[Checker, Any], Type]] = {
    Literal: Checker.literal,
    Identifier: Checker.identifier,
    Select: Checker.select,
    Presence: Checker.presence,
    Index: Checker.index,
    Call: Checker.call,
    Logic: Checker.logic,
    Conditional: Checker.conditional,
    ListLiteral: Checker.list_literal,
    MapLiteral: Checker.map_literal,
    ObjectLiteral: Checker.object_literal,
    Comprehension: Checker.comprehension,
    Bind: Checker.bind,
}
