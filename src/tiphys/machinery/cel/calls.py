"""Which overloads of a function a call means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from tiphys.machinery.cel import times
from tiphys.machinery.cel.declarations import Overload
from tiphys.machinery.cel.parser import qualified_name
from tiphys.machinery.cel.re2 import compile_pattern
from tiphys.machinery.cel.substitution import Substitution
from tiphys.machinery.cel.syntax import Call, Literal, Node
from tiphys.machinery.cel.types import DYN, ERROR, PRIMITIVE, Type, same

if TYPE_CHECKING:
    from tiphys.machinery.cel.declarations import Functions

# Literal arguments that are looked at when the expression is compiled: which operand, and what must succeed.
_LITERALS: dict[str, tuple[int, Callable[[str], object]]] = {
    "duration": (0, times.parse_duration),
    "timestamp": (0, times.parse_timestamp),
    "matches": (1, compile_pattern),
    "find": (1, compile_pattern),
    "findAll": (1, compile_pattern),
}


class CallChecker(ABC):
    """The part of the checker that resolves calls."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions.by_name
        self.substitution = Substitution()

    @abstractmethod
    def check(self, node: Node) -> Type: ...

    @abstractmethod
    def report(self, offset: int, message: str) -> Type: ...

    @abstractmethod
    def undeclared(self, offset: int, name: str) -> Type: ...

    def call(self, node: Call) -> Type:
        self._resolve_namespace(node)
        overloads = self.functions.get(node.function)
        if node.target is None and overloads is None:
            for argument in node.arguments:
                self.check(argument)
            return self.undeclared(node.offset, node.function)
        given = [self.check(argument) for argument in node.arguments]
        if node.target is not None:
            given.insert(0, self.check(node.target))
        if overloads is None:
            return self.undeclared(node.offset, node.function)
        result = self._result(node, overloads, given)
        self._check_literal(node)
        return result

    def _resolve_namespace(self, node: Call) -> None:
        """`sets.contains(a, b)` is a function, although it looks like a method."""
        node.function = node.function.removeprefix(".")
        if node.target is None:
            return
        prefix = qualified_name(node.target)
        if prefix is None:
            return
        full = f"{prefix.removeprefix('.')}.{node.function}"
        if full in self.functions:
            node.function, node.target = full, None

    def _result(self, node: Call, overloads: list[Overload], given: list[Type]) -> Type:
        result: Type | None = None
        method = node.target is not None
        for overload in overloads:
            if overload.method != method or len(overload.parameters) != len(given):
                continue
            parameters, wanted = overload.parameters, overload.result
            if overload.generic:
                *parameters, wanted = self.substitution.instantiate([*parameters, wanted])  # type: ignore[assignment]
            if not self.substitution.all_assignable(parameters, given):
                continue
            node.overloads.append(overload)
            found = self.substitution.apply(wanted)
            if result is None:
                result = found
            elif result is not DYN and not same(result, found):
                result = DYN
            if _exact(parameters, given):
                break
        if result is None:
            return self.no_overload(node.offset, node.function, given, method=method)
        return result

    def no_overload(self, offset: int, name: str, given: list[Type], *, method: bool = False) -> Type:
        if any(this is ERROR for this in given) and not self.issues_are_empty():
            return ERROR
        shown = [str(self.substitution.apply(this)) for this in given]
        applied = f"{shown[0]}.({', '.join(shown[1:])})" if method else f"({', '.join(shown)})"
        return self.report(offset, f"found no matching overload for '{name}' applied to '{applied}'")

    @abstractmethod
    def issues_are_empty(self) -> bool: ...

    def _check_literal(self, node: Call) -> None:
        rule = _LITERALS.get(node.function)
        if rule is None or len(node.operands) <= rule[0]:
            return
        argument = node.operands[rule[0]]
        if not isinstance(argument, Literal) or not isinstance(argument.value, str):
            return
        try:
            rule[1](argument.value)
        except ValueError:
            self.report(argument.offset, f"invalid {node.function} argument")


def _exact(parameters: object, given: list[Type]) -> bool:
    """Whether no other overload can match: all types are plain ones, and the very same."""
    return all(
        this.kind == PRIMITIVE and this.name == wanted.name and wanted.kind == PRIMITIVE
        for wanted, this in zip(parameters, given, strict=True)  # type: ignore[call-overload]
    )
