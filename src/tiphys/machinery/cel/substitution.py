"""What the type parameters of an expression stand for (cel-go `checker/types.go`).

`[]` is a list of some type that is found out later; `f(list(A), A)` gets new parameters at each call.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.machinery.cel import types
from tiphys.machinery.cel.types import (
    DYN,
    LIST,
    MAP,
    OBJECT,
    OPAQUE,
    PARAMETER,
    PRIMITIVE,
    TYPE,
    WILDCARD,
    Type,
    same,
)


class Substitution:
    """Types by the name of a parameter. Attempts that fail leave no trace."""

    def __init__(self) -> None:
        self.found: dict[str, Type] = {}
        self.count = 0

    def fresh(self) -> Type:
        self.count += 1
        return types.parameter(f"_var{self.count - 1}")

    def instantiate(self, these: Sequence[Type]) -> list[Type]:
        """The types with new parameters in place of theirs, the same ones for the same names."""
        made: dict[str, Type] = {}
        return [self._instantiate(this, made) for this in these]

    def _instantiate(self, this: Type, made: dict[str, Type]) -> Type:
        if this.kind == PARAMETER:
            if this.name not in made:
                made[this.name] = self.fresh()
            return made[this.name]
        if not this.parameters:
            return this
        return _with_parameters(this, [self._instantiate(each, made) for each in this.parameters])

    def apply(self, this: Type, *, final: bool = False) -> Type:
        """The type as far as it is known; `final`: what is still open can be anything."""
        if this.kind == PARAMETER:
            known = self.found.get(this.name)
            if known is None:
                return DYN if final else this
            return self.apply(known, final=final)
        if not this.parameters:
            return this
        applied = [self.apply(each, final=final) for each in this.parameters]
        if all(one is other for one, other in zip(applied, this.parameters, strict=True)):
            return this
        return _with_parameters(this, applied)

    def assignable(self, to: Type, given: Type) -> bool:
        """Whether a value of type `given` can be where `to` is wanted; parameters are bound so that it can."""
        return self.all_assignable([to], [given])

    def all_assignable(self, to: Sequence[Type], given: Sequence[Type]) -> bool:
        if len(to) != len(given):
            return False
        before = self.found.copy() if self.found else {}
        if all(self._assignable(one, other) for one, other in zip(to, given, strict=True)):
            return True
        self.found = before
        return False

    def _assignable(self, to: Type, given: Type) -> bool:
        if to is given:
            return True
        if given.kind == PARAMETER:
            valid, known = self._bind(given, to)
            if valid or known:
                return valid
        if to.kind == PARAMETER:
            return self._bind(to, given)[0]
        if to.kind == WILDCARD or given.kind == WILDCARD:
            return True
        if to.name == "null" or given.name == "null":
            return _nullable(given if to.name == "null" else to)
        return self._same_shape(to, given)

    def _same_shape(self, to: Type, given: Type) -> bool:
        if to.kind == TYPE:
            return given.kind == TYPE
        if to.kind != given.kind or to.name != given.name:
            return False
        if to.kind in (PRIMITIVE, OBJECT):
            return True
        return len(to.parameters) == len(given.parameters) and all(
            self._assignable(one, other) for one, other in zip(to.parameters, given.parameters, strict=True)
        )

    def _bind(self, parameter: Type, other: Type) -> tuple[bool, bool]:
        """Let a parameter stand for a type. Whether that is possible, and whether it stood for one before."""
        if parameter.kind == other.kind and parameter.name == other.name:
            return True, True
        known = self.found.get(parameter.name)
        if known is None:
            if self._occurs(parameter, other):
                return False, False
            self.found[parameter.name] = other
            return True, False
        if same(known, other):
            return True, True
        if not self._assignable(other, known):
            return False, True
        general = self.most_general(other, known)
        if not self._occurs(parameter, general):
            self.found[parameter.name] = general
        return True, True

    def _occurs(self, parameter: Type, within: Type) -> bool:
        if within.kind == PARAMETER:
            if within.name == parameter.name:
                return True
            known = self.found.get(within.name)
            return known is not None and self._occurs(parameter, known)
        return any(self._occurs(parameter, each) for each in within.parameters)

    def most_general(self, one: Type, other: Type) -> Type:
        if _at_least_as_general(one, other):
            return one
        return other if _at_least_as_general(other, one) else one


def _with_parameters(this: Type, parameters: list[Type]) -> Type:
    return Type(
        this.kind,
        this.name,
        tuple(parameters),
        python=this.python,
        max_length=this.max_length,
        list_type=this.list_type,
        list_keys=this.list_keys,
    )


def _nullable(this: Type) -> bool:
    return this.kind in (OBJECT, OPAQUE) or this.name in ("null", "timestamp", "duration")


def _at_least_as_general(one: Type, other: Type) -> bool:
    if one.kind in (WILDCARD, PARAMETER):
        return True
    if other.kind in (WILDCARD, PARAMETER):
        return False
    if one.name == "null" or other.name == "null":
        # The one that may also be null is more general.
        return one.name != "null" and _nullable(one) if other.name == "null" else False
    if (
        one.kind in (LIST, MAP, OPAQUE)
        and one.name == other.name
        and len(one.parameters) == len(other.parameters)
    ):
        return all(
            _at_least_as_general(left, right)
            for left, right in zip(one.parameters, other.parameters, strict=True)
        )
    return same(one, other)
