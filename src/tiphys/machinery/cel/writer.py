"""Writes the Python of a program: lines, blocks, names, and the running cost.

Only text made here and in the generator is compiled. Strings, field names and functions of an expression are objects
in the program's namespace, under names made here: nothing that a user wrote becomes Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType
from typing import Any

PROGRAM_FILE = "<cel>"
# Python allows 20 nested loops and 100 levels of indentation; what nests deeper gets a function of its own.
_BLOCK_LIMIT = 8
_INDENTATION_LIMIT = 30
# A longer expression is put into a variable, so that none nests deeper than Python's parser goes.
_EXPRESSION_LIMIT = 300


class Writer:
    """The text of a function being written. `pending` is cost that no line has counted yet."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self.names: dict[int, str] = {}
        self.functions: list[str] = []
        self.variables: dict[str, str] = {}
        self.used: set[str] = set()
        self.visible: list[str] = []
        self.lines: list[str] = []
        self.indentation = 1
        self.blocks = 0
        self.pending = 0
        self.count = 0

    # Names

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def name(self, value: Any, letter: str = "k") -> str:
        """A name in the program for an object."""
        known = self.names.get(id(value))
        if known is None:
            known = self.names[id(value)] = self.fresh(letter)
            self.namespace[known] = value
        return known

    def variable(self, name: str) -> str:
        """The local that holds a variable of the caller's."""
        local = self.variables.setdefault(name, f"v{len(self.variables)}")
        self.used.add(local)
        return local

    # Lines

    def line(self, text: str) -> None:
        self.lines.append("\t" * self.indentation + text)

    @contextmanager
    def block(self, head: str, *, counts: bool = False) -> Iterator[None]:
        """An indented block. `counts`: one of those of which Python allows only 20 in each other."""
        self.flush()
        self.line(head)
        self.indentation += 1
        self.blocks += counts
        before = len(self.lines)
        yield
        self.flush()
        if len(self.lines) == before:
            self.line("pass")
        self.blocks -= counts
        self.indentation -= 1

    def temporary(self, code: str) -> str:
        """Put the value of an expression into a local of its own."""
        if code.isidentifier():
            return code
        name = self.fresh("t")
        self.line(f"{name} = {code}")
        return name

    def short(self, code: str) -> str:
        return self.temporary(code) if len(code) > _EXPRESSION_LIMIT else code

    def in_order(self, writers: list[Callable[[], str]]) -> list[str]:
        """Expressions that are evaluated in this order, although later ones may need lines of their own."""
        codes: list[str] = []
        for write in writers:
            before = len(self.lines)
            code = write()
            if len(self.lines) > before:
                self._settle(codes, before)
            codes.append(self.short(code))
        return codes

    def _settle(self, codes: list[str], position: int) -> None:
        """Give earlier expressions locals, before the line at `position`."""
        hoisted = []
        for index, code in enumerate(codes):
            if not is_atom(code):
                codes[index] = self.fresh("t")
                hoisted.append("\t" * self.indentation + f"{codes[index]} = {code}")
        self.lines[position:position] = hoisted

    # Cost

    def charge(self, cost: int) -> None:
        self.pending += cost

    def spend(self, code: str, *, check: bool = False) -> None:
        """Count a cost that is known at run time only."""
        if code.isdigit():
            self.pending += int(code)
            return
        total = f"{code}+{self.pending}" if self.pending else code
        self.pending = 0
        self.line(f"c += {total}")
        if check:
            self.check()

    def flush(self) -> None:
        if self.pending:
            self.line(f"c += {self.pending}")
            self.pending = 0

    def check(self) -> None:
        self.flush()
        self.line("if c > limit: raise CostExceeded")

    # Functions

    def is_deep(self) -> bool:
        return self.blocks >= _BLOCK_LIMIT or self.indentation >= _INDENTATION_LIMIT

    def outlined(self, write: Callable[[], str]) -> str:
        """Write an expression as a function of its own, and call it here."""
        self.flush()
        outer = self.lines, self.indentation, self.blocks, self.used
        self.lines, self.indentation, self.blocks, self.used = [], 1, 0, set()
        result = write()
        self.check()
        self.line(f"return {result}, c")
        body, used = self.lines, sorted(self.used)
        self.lines, self.indentation, self.blocks, self.used = outer
        self.used.update(used)
        name = self.fresh("g")
        parameters = ", ".join(["limit", "c", *used, *self.visible])
        self.functions.append("\n".join([f"def {name}({parameters}):", *body]))
        result = self.fresh("t")
        self.line(f"{result}, c = {name}({parameters})")
        return result

    def finish(self, result: str) -> CodeType:
        """The whole program: `run(b, limit)` answers with the value and its cost."""
        self.check()
        self.line(f"return {result}, c")
        head = ["def run(b, limit):", "\tc = 0"]
        for name, local in self.variables.items():
            key = self.name(name)
            head += [
                "\ttry:",
                f"\t\t{local} = b[{key}]",
                "\texcept KeyError:",
                f"\t\traise unbound({key}) from None",
            ]
        source = "\n".join([*self.functions, *head, *self.lines])
        return compile(source, PROGRAM_FILE, "exec", dont_inherit=True)


def is_atom(code: str) -> bool:
    """Whether evaluating this later makes no difference."""
    return code.isidentifier() or code.isdigit()
