"""Checked trees to Python. Where the types are known, `a.b == 'x'` becomes just that; else a function decides.

The cost of what is done is counted in `c` as upstream's interpreter counts it, a stretch without branches at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tiphys.machinery.cel import charges, runtime, types
from tiphys.machinery.cel.charges import Charge
from tiphys.machinery.cel.declarations import Overload
from tiphys.machinery.cel.equality import equality_of, equals, needs_order_of_schema
from tiphys.machinery.cel.loops import LoopWriter
from tiphys.machinery.cel.ranges import LIST_COST, MAP_COST, OBJECT_COST
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
    LIST,
    MAP,
    OBJECT,
    PARAMETER,
    PRIMITIVE,
    STRING,
    WILDCARD,
    Type,
    is_optional,
)

# Types whose values Python compares as CEL does. (A NaN in a list is equal to itself in Python.)
_PLAINLY_EQUAL = frozenset({"int", "uint", "string", "bytes", "bool", "timestamp", "duration", "double"})
_PLAINLY_FOUND = _PLAINLY_EQUAL - {"double"}
_SCALARS = frozenset({"int", "uint", "double", "bool", "null", "timestamp", "duration", "type"})


def generate(node: Node) -> Callable[[Any, int], tuple[Any, int]]:
    """The program of a checked expression: `run(bindings, cost limit)` gives the value and its cost."""
    namespace = dict(runtime.NAMES)
    writer = Generator(namespace)
    exec(writer.finish(writer.value(node)), namespace)
    run: Callable[[Any, int], tuple[Any, int]] = namespace["run"]
    return run


class Generator(LoopWriter):
    def value(self, node: Node) -> str:
        """Python for the value of a node. Lines that it needs are written."""
        write = partial(_WRITERS[node.__class__], self, node)
        return self.outlined(write) if self.is_deep() else self.short(write())

    def values(self, nodes: list[Node]) -> list[str]:
        return self.in_order([partial(self.value, node) for node in nodes])

    # Leaves

    def literal(self, node: Literal) -> str:
        value = node.value
        if value is None or value.__class__ is bool:
            return repr(value)
        if value.__class__ is int:
            return repr(value) if value >= 0 else f"({value!r})"
        return self.name(value)

    def identifier(self, node: Identifier) -> str:
        if node.role == "type":
            return self.name(node.target)
        self.charge(1)
        if node.role == "bound":
            return f"bound({node.target})"
        code = node.target if node.role == "local" else self.variable(node.name)
        return self.converted(node.type, code)

    def converted(self, this: Type, code: str) -> str:
        """What comes out of an object as JSON has it, as the type that the schema says."""
        convert = runtime.conversion(this)
        return code if convert is None else f"{self.name(convert)}({code})"

    # Fields

    def select(self, node: Select) -> str:
        if node.qualified is not None:
            return self.value(node.qualified)
        operand = self.subscripted(node.operand)
        self.charge(1)
        key = self.name(node.property)
        if node.optional:
            return f"select_optional({operand}, {key})"
        return self.converted(node.type, f"{operand}[{key}]")

    def subscripted(self, node: Node) -> str:
        """What is indexed in Python, which warns of a literal there."""
        code = self.value(node)
        if not (code[:1].isdigit() or code.startswith("(-") or code in ("None", "True", "False")):
            return code
        name = self.fresh("t")
        self.line(f"{name} = {code}")
        return name

    def presence(self, node: Presence) -> str:
        operand, key = self.value(node.operand), self.name(node.property)
        known = node.operand.type.kind in (OBJECT, MAP)
        return f"({key} in {operand})" if known else f"present({operand}, {key})"

    def index(self, node: Index) -> str:
        operand, key = self.values([node.operand, node.index])
        self.charge(1)
        if node.optional:
            return f"index_optional({operand}, {key})"
        this = node.operand.type
        if this.kind == LIST and node.index.type is types.INT:
            code = f"index_list({operand}, {key})"
        elif this.kind == MAP and node.index.type.name == "string":
            code = f"{operand}[{key}]"
        else:
            code = f"index({operand}, {key})"
        return self.converted(node.type, code)

    # Logic

    def logic(self, node: Logic) -> str:
        result = self.fresh("t")
        error = self.fresh("e") if any(map(_can_fail, node.terms)) else ""
        if error:
            self.flush()
            self.line(f"{error} = None")
        self.terms(node, 0, result, error)
        return result

    def terms(self, node: Logic, index: int, result: str, error: str) -> None:
        """The terms from `index` on. An error counts as undecided: a later term may still decide."""
        start = self.indentation
        for term in node.terms[index:]:
            if term is not node.terms[0]:
                self.flush()
                self.line(f"if {result}:" if node.operator == "&&" else f"if not {result}:")
                self.indentation += 1
            self.term(term, node.operator, result, error)
            if self.is_deep() and term is not node.terms[-1]:
                rest = node.terms.index(term) + 1
                self.deep_terms(node, rest, result, error)
                break
        self.flush()
        if error:
            undecided = result if node.operator == "&&" else f"not {result}"
            self.line(f"if {error} is not None and ({undecided}): raise {error}")
        self.indentation = start

    def deep_terms(self, node: Logic, start: int, result: str, error: str) -> None:
        """The rest of a long chain, in a function of its own."""
        rest = Logic(node.offset, node.operator, node.terms[start:])
        rest.type = node.type
        self.flush()
        self.line(f"if {result}:" if node.operator == "&&" else f"if not {result}:")
        self.indentation += 1
        self.line(f"{result} = {self.outlined(partial(self.logic, rest))}")
        self.indentation -= 1

    def term(self, term: Node, operator: str, result: str, error: str) -> None:
        if not error:
            self.line(f"{result} = {self.boolean(term)}")
            return
        caught = self.fresh("e")
        with self.block("try:", counts=True):
            code = self.boolean(term)
            # Counted before it can fail.
            self.flush()
            self.line(f"{result} = {code}")
        with self.block(f"except Exception as {caught}:"):
            self.line(f"if {error} is None: {error} = absorbed({caught})")
            self.line(f"{result} = {operator == '&&'}")

    def boolean(self, node: Node) -> str:
        code = self.value(node)
        return code if node.type.name == "bool" else f"truth({code})"

    def conditional(self, node: Conditional) -> str:
        condition = self.boolean(node.condition)
        result = self.fresh("t")
        with self.block(f"if {condition}:"):
            self.line(f"{result} = {self.value(node.then)}")
        with self.block("else:"):
            self.line(f"{result} = {self.value(node.otherwise)}")
        return result

    # Literals of several values

    def list_literal(self, node: ListLiteral) -> str:
        self.charge(LIST_COST)
        if not node.optional and all(isinstance(each, Literal) for each in node.elements):
            return self.name([each.value for each in node.elements if isinstance(each, Literal)])
        codes = self.values(node.elements)
        shown = (f"*given({code})" if index in node.optional else code for index, code in enumerate(codes))
        return self.temporary(f"[{', '.join(shown)}]")

    def map_literal(self, node: MapLiteral) -> str:
        self.charge(MAP_COST)
        codes = self.values([part for entry in node.entries for part in (entry.key, entry.value)])
        pairs = []
        for entry, key, value in zip(node.entries, codes[::2], codes[1::2], strict=True):
            pair = f"({key}, {value})"
            pairs.append(f"*given_pair({key}, {value})" if entry.optional else pair)
        return self.temporary(f"entries([{', '.join(pairs)}])")

    def object_literal(self, node: ObjectLiteral) -> str:
        self.charge(OBJECT_COST)
        codes = self.values([entry.value for entry in node.entries])
        pairs = [self.property(entry, code) for entry, code in zip(node.entries, codes, strict=True)]
        made = node.type.python[0]
        make = "dict" if made is dict else self.name(made, "f")
        return self.temporary(f"{make}([{', '.join(pairs)}])")

    def property(self, entry: Entry, code: str) -> str:
        key = self.name(entry.key)
        return f"*given_pair({key}, {code})" if entry.optional else f"({key}, {code})"

    # Calls

    def call(self, node: Call) -> str:
        if node.function in ("or", "orValue") and is_optional(node.operands[0].type):
            return self.optional_or(node)
        if node.function in ("_==_", "_!=_"):
            return self.equality(node)
        operands = node.operands
        codes = self.values(operands)
        if len(node.overloads) != 1 or not _is_certain(node.overloads[0], operands):
            return self.dispatched(node, codes)
        overload = node.overloads[0]
        if node.function == "@in":
            return self.membership(overload, operands, codes)
        if node.function == "_+_" and operands[0].type.list_type != "atomic":
            self.charge(1)
            return f"add_sets({codes[0]}, {codes[1]}, {self.name(operands[0].type)})"
        return self.invoked(overload, codes)

    def invoked(self, overload: Overload, codes: list[str]) -> str:
        if not overload.charge.code.isdigit():
            codes = [code if is_simple(code) else self.temporary(code) for code in codes]
        if not overload.charge.after:
            self.spend(charges.runtime(overload.charge, codes, ""))
        if overload.code:
            code = overload.code.format(*codes)
        else:
            code = f"{self.name(overload.implementation, 'f')}({', '.join(codes)})"
        if overload.charge.after:
            code = self.temporary(code)
            self.spend(charges.runtime(overload.charge, codes, code), check=True)
        return code

    def dispatched(self, node: Call, codes: list[str]) -> str:
        """A call whose overload depends on what the operands turn out to be."""
        choose = runtime.Dispatcher(node.overloads)
        result, cost = self.fresh("t"), self.fresh("n")
        self.line(f"{result}, {cost} = {self.name(choose, 'f')}({', '.join(codes)})")
        self.spend(cost, check=True)
        return result

    def equality(self, node: Call) -> str:
        left, right = node.operands
        codes = self.values([left, right])
        charge = _equality_charge(left, right)
        if not charge.code.isdigit():
            codes = [self.temporary(code) for code in codes]
        self.spend(charges.runtime(charge, codes, ""))
        equal = self.equal(left.type, right.type, codes)
        return equal if node.function == "_==_" else f"(not {equal})"

    def equal(self, left: Type, right: Type, codes: list[str]) -> str:
        if left.name == right.name and left.name in _PLAINLY_EQUAL:
            return f"({codes[0]} == {codes[1]})"
        for one, code in ((left, codes[1]), (right, codes[0])):
            if one.name == "null":
                return f"({code} is None)"
        schema = left if needs_order_of_schema(left) else right
        equal = equality_of(schema) if needs_order_of_schema(schema) else equals
        return f"{self.name(equal, 'f')}({codes[0]}, {codes[1]})"

    def membership(self, overload: Overload, operands: list[Node], codes: list[str]) -> str:
        needle, haystack = operands[0].type, operands[1].type
        if haystack.kind == LIST:
            codes[1] = self.temporary(codes[1])
            self.spend(charges.runtime(overload.charge, codes, ""))
        else:
            self.charge(1)
        if needle.name == haystack.parameters[0].name and needle.name in _PLAINLY_FOUND:
            return f"({codes[0]} in {codes[1]})"
        return f"contains({codes[0]}, {codes[1]})"

    def optional_or(self, node: Call) -> str:
        """`x.or(y)`, `x.orValue(y)`: y is evaluated only when x is none."""
        optional = self.temporary(self.value(node.operands[0]))
        self.charge(1)
        result = self.fresh("t")
        with self.block(f"if {optional}.present:"):
            self.line(f"{result} = {optional}{'.value' if node.function == 'orValue' else ''}")
        with self.block("else:"):
            self.line(f"{result} = {self.value(node.operands[1])}")
        return result


def is_simple(code: str) -> bool:
    return code.isidentifier()


def _is_certain(overload: Overload, operands: list[Node]) -> bool:
    """Whether the operands are sure to be of the types that the function takes."""
    return all(
        wanted.kind in (PARAMETER, WILDCARD) or operand.type.kind != WILDCARD
        for wanted, operand in zip(overload.parameters, operands, strict=True)
    )


def _equality_charge(left: Node, right: Node) -> Charge:
    if left.type.name in _SCALARS or right.type.name in _SCALARS:
        return charges.NOMINAL
    for operand in (left, right):
        # A short text: the shorter one counts, a tenth, rounded up.
        if isinstance(operand, Literal) and operand.type is STRING and 0 < len(operand.value) <= 10:
            return charges.NOMINAL
    return charges.EQUAL_BY_TYPE.get(left.type.name, charges.COMPARISON)


def _can_fail(node: Node) -> bool:
    """Whether evaluation may raise. Rather yes than no."""
    if isinstance(node, Literal):
        return False
    if isinstance(node, Identifier):
        return node.role == "bound" or node.type.kind != PRIMITIVE
    if isinstance(node, Presence):
        return not isinstance(node.operand, Identifier) or node.operand.type.kind != OBJECT
    if isinstance(node, Call) and node.function == "!_":
        return _can_fail(node.arguments[0])
    return True


_WRITERS: dict[type[Node], Callable[[Generator, Any], str]] = {
    Literal: Generator.literal,
    Identifier: Generator.identifier,
    Select: Generator.select,
    Presence: Generator.presence,
    Index: Generator.index,
    Call: Generator.call,
    Logic: Generator.logic,
    Conditional: Generator.conditional,
    ListLiteral: Generator.list_literal,
    MapLiteral: Generator.map_literal,
    ObjectLiteral: Generator.object_literal,
    Comprehension: LoopWriter.comprehension,
    Bind: LoopWriter.bind,
}
