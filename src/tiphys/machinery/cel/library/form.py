"""The form of a library: functions, and the types that expressions may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tiphys.machinery.cel.declarations import Overload
from tiphys.machinery.cel.types import Type
from tiphys.machinery.frozen import frozen


@frozen(eq=False)
class Library:
    name: str
    functions: tuple[Overload, ...]
    types: Mapping[str, Type] = field(default_factory=dict)
