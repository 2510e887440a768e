"""Functions that expressions may call.

A function is declared as people write it down:

    function("string.find(string) -> string", find, FIND)

Before the first dot stands the receiver's type, or a namespace when no type has that name (`sets.contains(...)`).
Single capital letters are type parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

from tiphys.machinery.cel import types
from tiphys.machinery.cel.charges import NOMINAL, Charge
from tiphys.machinery.cel.types import PARAMETER, Type
from tiphys.machinery.frozen import frozen

Implementation = Callable[..., Any]


@frozen(eq=False)
class Overload:
    """One form of a function. `code`: Python that is better than calling the implementation, of {0}, {1}…"""

    function: str
    parameters: tuple[Type, ...]
    result: Type
    implementation: Implementation
    charge: Charge = NOMINAL
    method: bool = False
    code: str = ""
    generic: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        generic = any(_is_generic(this) for this in (*self.parameters, self.result))
        object.__setattr__(self, "generic", generic)

    def accepts(self, values: tuple[Any, ...]) -> bool:
        """Whether the function can be called with these values."""
        return len(values) == len(self.parameters) and all(
            not parameter.python or value.__class__ in parameter.python or _is_a(value, parameter)
            for parameter, value in zip(self.parameters, values, strict=True)
        )


def _is_a(value: Any, parameter: Type) -> bool:
    """Slowly: a class of a caller's own (a lazy map…)."""
    return parameter.kind in (types.MAP, types.OPAQUE) and isinstance(value, parameter.python)


def _is_generic(this: Type) -> bool:
    return this.kind == PARAMETER or any(map(_is_generic, this.parameters))


_NAMES: dict[str, Type] = {
    "int": types.INT,
    "uint": types.UINT,
    "double": types.DOUBLE,
    "bool": types.BOOL,
    "string": types.STRING,
    "bytes": types.BYTES,
    "null": types.NULL,
    "timestamp": types.TIMESTAMP,
    "duration": types.DURATION,
    "dyn": types.DYN,
}
_CONSTRUCTORS: dict[str, Callable[..., Type]] = {
    "list": types.list_of,
    "map": types.map_of,
    "optional": types.optional_of,
    "type": types.type_of,
}
_word = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\S")


class _Signature:
    """Reads a declaration."""

    def __init__(self, text: str, known: Mapping[str, Type]) -> None:
        self.words = _word.findall(text)
        self.known = known
        self.position = 0

    def next(self) -> str:
        self.position += 1
        word: str = self.words[self.position - 1]
        return word

    def take(self, word: str) -> bool:
        if self.words[self.position] != word:
            return False
        self.position += 1
        return True

    def type(self) -> Type:
        word = self.next()
        if word in _CONSTRUCTORS:
            return _CONSTRUCTORS[word](*self.arguments())
        found = self.known.get(word) or _NAMES.get(word)
        if found is not None:
            return found
        if len(word) == 1 and word.isupper():
            return types.parameter(word)
        raise ValueError(f"unknown type {word!r} in {' '.join(self.words)}")

    def arguments(self) -> list[Type]:
        found: list[Type] = []
        self.next()
        while not self.take(")"):
            self.take(",")
            found.append(self.type())
        return found

    def receiver(self) -> Type | None:
        first = self.words[0]
        # `optional.of` is a namespace, `optional(A).value` a receiver.
        constructed = first in _CONSTRUCTORS and self.words[1] == "("
        if constructed or first in self.known or first in _NAMES:
            return self.type()
        return None

    def name(self) -> str:
        parts = [self.next()]
        while self.take("."):
            parts.append(self.next())
        return ".".join(parts)


def function(
    signature: str,
    implementation: Implementation,
    charge: Charge = NOMINAL,
    *,
    code: str = "",
    known: Mapping[str, Type] | None = None,
) -> Overload:
    """Declare one form of a function. `known`: further names of types in the signature (`{"Quantity": …}`)."""
    reader = _Signature(signature, known or {})
    # `string(int)` converts: it has no receiver, although it begins with the name of a type.
    receiver = reader.receiver() if _has_receiver(signature) else None
    if receiver is not None:
        reader.next()
    name = reader.name()
    arguments = reader.arguments()
    reader.position += 2
    result = reader.type()
    parameters = (*((receiver,) if receiver else ()), *arguments)
    return Overload(name, parameters, result, implementation, charge, receiver is not None, code)


def _has_receiver(signature: str) -> bool:
    """Whether there is a dot before the list of parameters."""
    head = signature.rpartition("->")[0].rstrip()
    depth = 0
    for index in range(len(head) - 1, -1, -1):
        depth += (head[index] == ")") - (head[index] == "(")
        if depth == 0 and head[index] == "(":
            return "." in head[:index]
    return False


class Functions:
    """All functions of an environment, by name."""

    def __init__(self, overloads: Iterable[Overload] = ()) -> None:
        self.by_name: dict[str, list[Overload]] = {}
        for overload in overloads:
            self.by_name.setdefault(overload.function, []).append(overload)

    def extended(self, overloads: Iterable[Overload]) -> Functions:
        made = Functions()
        made.by_name = {name: list(known) for name, known in self.by_name.items()}
        for overload in overloads:
            made.by_name.setdefault(overload.function, []).append(overload)
        return made
