"""The syntax tree. Each node knows its place in the text; the checker adds what it found out.

Macros become nodes of their own (`Comprehension`, `Bind`, `Presence`…) rather than the general fold that cel-go
expands them to: they are easier to compile well. What they cost is what upstream's expansion costs (cost.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiphys.machinery.cel.declarations import Overload
    from tiphys.machinery.cel.types import Type


@dataclass(slots=True, eq=False)
class Node:
    """`offset`: where in the text an error about this node points. `type`: set by the checker."""

    offset: int
    type: Type = field(init=False, repr=False)


@dataclass(slots=True, eq=False)
class Literal(Node):
    value: Any


@dataclass(slots=True, eq=False)
class Identifier(Node):
    name: str
    # What the name stands for: "variable" (given by the caller), "local", "bound" (by cel.bind) or "type".
    role: str = field(init=False, default="variable")
    # The name of a local in the generated program, or the type that is meant.
    target: Any = field(init=False, default=None)


@dataclass(slots=True, eq=False)
class Select(Node):
    """`operand.name`; optional: `operand.?name`. `property` is the unescaped name, found by the checker."""

    operand: Node
    name: str
    optional: bool = False
    property: str = field(init=False, default="")
    # The checker may find that `a.b.c` as a whole is one name.
    qualified: Identifier | None = field(init=False, default=None)


@dataclass(slots=True, eq=False)
class Presence(Node):
    """`has(operand.name)`"""

    operand: Node
    name: str
    property: str = field(init=False, default="")


@dataclass(slots=True, eq=False)
class Index(Node):
    """`operand[index]`; optional: `operand[?index]`"""

    operand: Node
    index: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class Call(Node):
    """A function, a method (`target`), or an operator by its internal name (`_+_`)."""

    function: str
    target: Node | None
    arguments: list[Node]
    overloads: list[Overload] = field(init=False, default_factory=list)

    @property
    def operands(self) -> list[Node]:
        return self.arguments if self.target is None else [self.target, *self.arguments]


@dataclass(slots=True, eq=False)
class Logic(Node):
    """`a && b && c`, or with `||`."""

    operator: str
    terms: list[Node]


@dataclass(slots=True, eq=False)
class Conditional(Node):
    condition: Node
    then: Node
    otherwise: Node


@dataclass(slots=True, eq=False)
class ListLiteral(Node):
    elements: list[Node]
    # The indices of `?element`s.
    optional: set[int]


@dataclass(slots=True, eq=False)
class Entry:
    """`key: value` in a map, `field: value` in an object; optional: `?key: value`."""

    offset: int
    key: Any
    value: Node
    optional: bool


@dataclass(slots=True, eq=False)
class MapLiteral(Node):
    entries: list[Entry]


@dataclass(slots=True, eq=False)
class ObjectLiteral(Node):
    """`Object.spec{replicas: 3}`"""

    name: str
    entries: list[Entry]


@dataclass(slots=True, eq=False)
class Comprehension(Node):
    """`range.all(x, predicate)` and its kin. `condition` is the filter or predicate, `result` what is collected."""

    macro: str
    range: Node
    variables: list[str]
    condition: Node | None
    result: Node | None
    # The names of the variables in the generated program.
    locals: list[str] = field(init=False, default_factory=list)


@dataclass(slots=True, eq=False)
class Bind(Node):
    """`cel.bind(name, value, body)`; with an `optional_macro` (optMap, optFlatMap): `value.optMap(name, body)`."""

    name: str
    value: Node
    body: Node
    optional_macro: str = ""
    local: str = field(init=False, default="")
