"""Calls that are no functions: `has`, comprehensions, `cel.bind`, `optMap`.

A call with a macro's name and number of arguments is the macro. Messages are cel-go's.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.machinery.cel.errors import CelError
from tiphys.machinery.cel.syntax import (
    Bind,
    Call,
    Comprehension,
    Identifier,
    ListLiteral,
    Node,
    Presence,
    Select,
)

Fail = Callable[[int, str], CelError]

# Number of variables and of further arguments, by name and number of arguments.
_COMPREHENSIONS: dict[tuple[str, int], int] = {
    ("all", 2): 1,
    ("exists", 2): 1,
    ("exists_one", 2): 1,
    ("existsOne", 2): 1,
    ("map", 2): 1,
    ("map", 3): 1,
    ("filter", 2): 1,
    ("all", 3): 2,
    ("exists", 3): 2,
    ("existsOne", 3): 2,
    ("exists_one", 3): 2,
    ("transformList", 3): 2,
    ("transformList", 4): 2,
    ("transformMap", 3): 2,
    ("transformMap", 4): 2,
    ("transformMapEntry", 3): 2,
    ("transformMapEntry", 4): 2,
}
_PREDICATES = frozenset({"all", "exists", "exists_one", "existsOne", "filter"})
# What upstream's expansions call the result of a fold: no iteration variable may have its name.
_RESULT = "__result__"


def expand(call: Call, fail: Fail) -> Node | None:
    """The node that a macro call stands for, or None when the call is a plain one."""
    count = len(call.arguments)
    if call.target is None:
        return _presence(call, fail) if call.function == "has" and count == 1 else None
    if call.function == "bind" and count == 3 and _is_name(call.target, "cel"):
        return _bind(call, fail)
    if call.function in ("greatest", "least") and count > 2 and _is_name(call.target, "math"):
        call.arguments = [ListLiteral(call.offset, call.arguments, set())]
        return None
    if call.function in ("optMap", "optFlatMap") and count == 2:
        name = _variable(
            call.arguments[0], fail, f"{call.function}() variable name must be a simple identifier"
        )
        return Bind(call.offset, name, call.target, call.arguments[1], call.function)
    variables = _COMPREHENSIONS.get((call.function, count))
    return None if variables is None else _comprehension(call, call.target, variables, fail)


def _is_name(node: Node, name: str) -> bool:
    return isinstance(node, Identifier) and node.name == name


def _presence(call: Call, fail: Fail) -> Node:
    [argument] = call.arguments
    if isinstance(argument, Select) and not argument.optional:
        return Presence(call.offset, argument.operand, argument.name)
    raise fail(argument.offset, "invalid argument to has() macro")


def _bind(call: Call, fail: Fail) -> Node:
    name = _variable(call.arguments[0], fail, "cel.bind() variable names must be simple identifiers")
    return Bind(call.offset, name, call.arguments[1], call.arguments[2])


def _comprehension(call: Call, range_node: Node, count: int, fail: Fail) -> Node:
    message = (
        "argument is not an identifier"
        if call.function in ("map", "filter")
        else "argument must be a simple name"
    )
    names = [_variable(node, fail, message) for node in call.arguments[:count]]
    _check_names(call, names, fail)
    rest = call.arguments[count:]
    if call.function in _PREDICATES:
        parts: tuple[Node | None, Node | None] = rest[0], None
    else:
        parts = (None if len(rest) == 1 else rest[0]), rest[-1]
    macro = "exists_one" if call.function == "existsOne" else call.function
    return Comprehension(call.offset, macro, range_node, names, *parts)


def _check_names(call: Call, names: list[str], fail: Fail) -> None:
    for node, name in zip(call.arguments, names, strict=False):
        if name == _RESULT:
            raise fail(node.offset, "iteration variable overwrites accumulator variable")
    if len(names) == 2 and names[0] == names[1]:
        raise fail(call.arguments[1].offset, f"duplicate variable name: {names[1]}")


def _variable(node: Node, fail: Fail, message: str) -> str:
    if not isinstance(node, Identifier) or node.name.startswith("."):
        raise fail(node.offset, message)
    return node.name
