"""Comprehensions and `cel.bind` as Python loops and locals.

Costs are those of the folds that upstream makes of the macros: see the table.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

from tiphys.machinery.cel.ranges import LIST_COST, MAP_COST
from tiphys.machinery.cel.syntax import Bind, Comprehension, Node
from tiphys.machinery.cel.types import LIST, MAP
from tiphys.machinery.cel.writer import Writer


class Fold(NamedTuple):
    """What upstream's fold of a macro costs besides the macro's own expressions."""

    # Before and after the loop: what is accumulated, and the result.
    once: int
    # For each element: the condition to go on.
    condition: int
    # For each element, when the predicate or filter holds, and when not.
    step: int
    skipped: int


FOLDS: dict[str, Fold] = {
    "all": Fold(1, 2, 1, 1),
    "exists": Fold(1, 3, 1, 1),
    "exists_one": Fold(2, 0, 2, 1),
    "map": Fold(LIST_COST + 1, 0, LIST_COST + 2, 1),
    "filter": Fold(LIST_COST + 1, 0, LIST_COST + 3, 1),
    "transformList": Fold(LIST_COST + 1, 0, LIST_COST + 2, 1),
    "transformMap": Fold(MAP_COST + 1, 0, 3, 1),
    "transformMapEntry": Fold(MAP_COST + 1, 0, 2, 1),
}
# hasValue(), then optional.none(); or value(), a bind, and optional.of().
OPTIONAL_COST = 1
ABSENT_COST = 1
PRESENT_COST = LIST_COST + 2


class LoopWriter(Writer):
    @abstractmethod
    def value(self, node: Node) -> str: ...

    @abstractmethod
    def boolean(self, node: Node) -> str: ...

    def comprehension(self, node: Comprehension) -> str:
        fold = FOLDS[node.macro]
        iterator = self.fresh("i")
        self.line(f"{iterator} = iter({self.items(node)})")
        self.charge(fold.once)
        result = self.fresh("t")
        self.visible += node.locals
        if node.macro in ("all", "exists"):
            self.quantifier(node, fold, iterator, result)
        else:
            self.collection(node, fold, iterator, result)
        del self.visible[-len(node.locals) :]
        return result

    def items(self, node: Comprehension) -> str:
        code, kind = self.value(node.range), node.range.type.kind
        if len(node.variables) == 1:
            return code if kind in (LIST, MAP) else f"elements({code})"
        if kind == LIST:
            return f"enumerate({code})"
        return f"{code}.items()" if kind == MAP else f"numbered({code})"

    def quantifier(self, node: Comprehension, fold: Fold, iterator: str, result: str) -> None:
        """`all` stops at the first false, `exists` at the first true; an error counts only when neither comes."""
        assert node.condition is not None
        error, caught = self.fresh("e"), self.fresh("e")
        decisive = node.macro == "exists"
        self.flush()
        self.line(f"{result}, {error} = {not decisive}, None")
        with self.block(f"for {', '.join(node.locals)} in {iterator}:", counts=True):
            self.charge(fold.condition + fold.step)
            self.check()
            with self.block("try:", counts=True):
                predicate = self.boolean(node.condition)
                with self.block(f"if {predicate}:" if decisive else f"if not ({predicate}):"):
                    self.line(f"{result}, {error} = {decisive}, None")
                    # Upstream asks once more whether to go on, if there is another element.
                    self.line(f"if next({iterator}, MISSING) is not MISSING: c += {fold.condition}")
                    self.line("break")
            with self.block(f"except Exception as {caught}:"):
                self.line(f"if {error} is None: {error} = absorbed({caught})")
        self.line(f"if {error} is not None: raise {error}")

    def collection(self, node: Comprehension, fold: Fold, iterator: str, result: str) -> None:
        self.flush()
        self.line(f"{result} = {_EMPTY.get(node.macro, '[]')}")
        with self.block(f"for {', '.join(node.locals)} in {iterator}:", counts=True):
            if node.condition is not None:
                with self.block(f"if not ({self.boolean(node.condition)}):"):
                    self.charge(fold.skipped)
                    self.check()
                    self.line("continue")
            self.charge(fold.step)
            self.collect(node, result)
            self.check()
        if node.macro == "exists_one":
            self.line(f"{result} = {result} == 1")

    def collect(self, node: Comprehension, result: str) -> None:
        if node.macro == "exists_one":
            self.line(f"{result} += 1")
        elif node.macro == "filter":
            self.line(f"{result}.append({node.locals[0]})")
        elif node.result is not None:
            code = self.value(node.result)
            if node.macro in ("map", "transformList"):
                self.line(f"{result}.append({code})")
            elif node.macro == "transformMap":
                self.line(f"insert({result}, {node.locals[0]}, {code})")
            else:
                self.line(f"insert_all({result}, {code})")

    def bind(self, node: Bind) -> str:
        if node.optional_macro:
            return self.optional_map(node)
        self.charge(LIST_COST)
        self.flush()
        caught = self.fresh("e")
        with self.block("try:", counts=True):
            self.line(f"{node.local} = {self.value(node.value)}")
        # The variable may not be used at all: its error waits until it is.
        with self.block(f"except Exception as {caught}:"):
            self.line(f"{node.local} = Failed(absorbed({caught}))")
        self.check()
        self.visible.append(node.local)
        code = self.value(node.body)
        self.visible.pop()
        return code

    def optional_map(self, node: Bind) -> str:
        optional = self.temporary(self.value(node.value))
        self.charge(OPTIONAL_COST)
        result = self.fresh("t")
        with self.block(f"if {optional}.present:"):
            self.charge(PRESENT_COST)
            self.line(f"{node.local} = {optional}.value")
            self.visible.append(node.local)
            body = self.value(node.body)
            self.visible.pop()
            self.line(f"{result} = {f'Optional({body})' if node.optional_macro == 'optMap' else body}")
        with self.block("else:"):
            self.charge(ABSENT_COST)
            self.line(f"{result} = NONE")
        return result


_EMPTY = {"exists_one": "0", "transformMap": "{}", "transformMapEntry": "{}"}
