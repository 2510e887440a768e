"""Environments compile expressions to programs; programs are evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from tiphys.machinery.cel import lexer
from tiphys.machinery.cel.checker import Checker
from tiphys.machinery.cel.declarations import Functions, Overload
from tiphys.machinery.cel.errors import CelRuntimeError, CostExceeded, no_such_overload
from tiphys.machinery.cel.estimate import estimate
from tiphys.machinery.cel.generator import generate
from tiphys.machinery.cel.library import KUBERNETES, Library
from tiphys.machinery.cel.open_objects import OpenTypes
from tiphys.machinery.cel.operations import no_such_key
from tiphys.machinery.cel.parser import TOO_DEEP, parse
from tiphys.machinery.cel.ranges import Range
from tiphys.machinery.cel.standard import STANDARD
from tiphys.machinery.cel.syntax import Node
from tiphys.machinery.cel.types import NAMED_TYPES, Type
from tiphys.machinery.cel.writer import PROGRAM_FILE

# What one evaluation may cost (apiserver `pkg/apis/cel/config.go`): roughly a tenth of a second upstream.
PER_CALL_LIMIT = 1_000_000


class Program:
    """A compiled expression. `type` is that of its result."""

    __slots__ = ("_run", "node", "text", "type")

    def __init__(self, text: str, node: Node) -> None:
        self.text = text
        self.node = node
        self.type = node.type
        self._run = generate(node)

    def estimated_cost(self) -> Range:
        """The least and the most that an evaluation can cost, by the sizes that the types declare."""
        return estimate(self.node)

    def evaluate(self, bindings: Mapping[str, Any], *, cost_limit: int = PER_CALL_LIMIT) -> Any:
        """The value for these variables, which are plain JSON and are not changed. CelRuntimeError when there is none."""
        return self.evaluate_with_cost(bindings, cost_limit=cost_limit)[0]

    def evaluate_with_cost(
        self, bindings: Mapping[str, Any], *, cost_limit: int = PER_CALL_LIMIT
    ) -> tuple[Any, int]:
        """The value, and what it cost. CostExceeded when that would be more than the limit."""
        try:
            return self._run(bindings, cost_limit)
        except Exception as error:
            failure = _as_cel(error)
            if failure is None:
                raise
            failure.cost = _spent(error)
            raise failure from None


def _as_cel(error: Exception) -> CelRuntimeError | None:
    """What an exception of the generated program means. None: something else is wrong."""
    if isinstance(error, CelRuntimeError):
        return error
    if isinstance(error, KeyError):
        return no_such_key(error.args[0] if error.args else "")
    if isinstance(error, RecursionError | MemoryError):
        return CostExceeded()
    # What an operand should have been is checked by trying.
    if isinstance(error, TypeError | AttributeError | ValueError | LookupError | ArithmeticError):
        return no_such_overload()
    return None


def _spent(error: Exception) -> int:
    """What had been counted when it failed: the program keeps it in a local, so that success costs nothing more."""
    spent, trace = 0, error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_filename == PROGRAM_FILE:
            spent = frame.f_locals.get("c", spent)
        trace = trace.tb_next
    return spent


class Environment:
    """Variables and functions that expressions may use.

    `variables` gives their types. `functions` and `named_types` come on top of the libraries', which are Kubernetes'
    if nothing else is said; types are for object literals and type names (`Object.spec{...}`, `type(x) == net.IP`).
    `open_root` names a root of types that are not declared (`open_objects`).
    """

    def __init__(
        self,
        variables: Mapping[str, Type] | None = None,
        functions: Iterable[Overload] = (),
        *,
        named_types: Mapping[str, Type] | None = None,
        libraries: Iterable[Library] = KUBERNETES,
        open_root: str = "",
    ) -> None:
        base, base_types = _base(tuple(libraries))
        extra = list(functions)
        self.variables = dict(variables or {})
        self.functions = base.extended(extra) if extra else base
        self.named_types: Mapping[str, Type] = {**base_types, **(named_types or {})}
        if open_root:
            self.named_types = OpenTypes(open_root, self.named_types)

    def check(self, text: str) -> Node:
        """The checked tree of an expression, for who wants to look at it. CelError when it does not compile."""
        node = parse(text)
        Checker(text, self.variables, self.functions, self.named_types).run(node)
        return node

    def compile(self, text: str) -> Program:
        """CelError when the text is no expression of this environment."""
        node = self.check(text)
        try:
            return Program(text, node)
        except RecursionError:
            raise lexer.error_of_whole(text, TOO_DEEP) from None


@lru_cache(maxsize=16)
def _base(libraries: tuple[Library, ...]) -> tuple[Functions, dict[str, Type]]:
    functions = Functions([*STANDARD, *(each for library in libraries for each in library.functions)])
    named = dict(NAMED_TYPES)
    for library in libraries:
        named.update(library.types)
    return functions, named
