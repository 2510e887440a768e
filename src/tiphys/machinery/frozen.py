"""Values that do not change: `@frozen` is `@dataclass(frozen=True, slots=True)`, made in a quarter of the time.

The standard library compiles six functions for every class, which was a third of the time in which Tiphys starts. Here one is
compiled, `__init__`; the others are the same few for all classes. It also fills a new object faster. What dataclasses offers for
its own classes (`field`, `replace`, `fields`, `match`, copying, pickling) works for these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field
from dataclasses import fields as fields_of
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def frozen(cls: type[T], /) -> type[T]: ...
@overload
def frozen(*, kw_only: bool = False, eq: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[T] | None = None, /, *, kw_only: bool = False, eq: bool = True) -> Any:
    """A class decorator. `eq` False: an object equals itself only."""
    if cls is None:
        return lambda decorated: _make(decorated, kw_only=kw_only, eq=eq)
    return _make(cls, kw_only=kw_only, eq=eq)


def _make(cls: type[T], *, kw_only: bool, eq: bool) -> type[T]:
    own = cls.__dict__
    if cls.__doc__ is None:
        cls.__doc__ = (
            cls.__name__
        )  # or else dataclasses makes one of its signature, which takes as long as all the rest
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True, kw_only=kw_only)(cls)
    fields = fields_of(made)
    if "__init__" not in own:
        made.__init__ = _initializer(made, fields)
        made.__init__.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__setattr__, made.__delattr__ = _refuse_to_set, _refuse_to_delete
    made.__getstate__, made.__setstate__ = _state, _restore
    if "__repr__" not in own:
        made.__repr__ = _show
    if eq and "__eq__" not in own:
        _compare_by(made, fields, hashed="__hash__" in own)
    result: type[T] = made
    return result


def _initializer(cls: Any, fields: tuple[Field[Any], ...]) -> Any:
    """What dataclasses would write, but for the way in which a field is set: by its slot."""
    names: dict[str, Any] = {"_absent": _ABSENT}
    positional: list[str] = []
    by_name: list[str] = []
    lines = []
    for each in fields:
        name = each.name
        value, default = name, ""
        if each.default_factory is not MISSING:
            names[f"_make_{name}"] = each.default_factory
            value, default = f"_make_{name}() if {name} is _absent else {name}", "=_absent"
        elif each.default is not MISSING:
            names[f"_default_{name}"] = each.default
            default = f"=_default_{name}"
        names[f"_set_{name}"] = getattr(cls, name).__set__
        if each.init:
            (by_name if each.kw_only else positional).append(name + default)
        elif default:
            value = default[1:] if default != "=_absent" else f"_make_{name}()"
        else:
            continue
        lines.append(f" _set_{name}(self, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*", *by_name] if by_name else [])])
    made: dict[str, Any] = {}
    exec(f"def __init__({parameters}):\n" + ("\n".join(lines) or " pass"), names, made)
    return made["__init__"]


class _Absent:
    """A default that is made anew each time."""

    def __repr__(self) -> str:
        return "<factory>"


_ABSENT = _Absent()


def _compare_by(cls: Any, fields: tuple[Field[Any], ...], *, hashed: bool) -> None:
    compared = _getter([each.name for each in fields if each.compare])

    def equals(self: Any, other: Any) -> Any:
        if other.__class__ is self.__class__:
            return compared(self) == compared(other)
        return NotImplemented

    cls.__eq__ = equals
    if hashed:
        return
    counted = _getter([each.name for each in fields if (each.compare if each.hash is None else each.hash)])
    cls.__hash__ = lambda self: hash(counted(self))


def _getter(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda self: ()


def _names(self: Any) -> list[str]:
    return [each.name for each in fields_of(self)]


def _show(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields_of(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in _names(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for name, value in zip(_names(self), state, strict=True):
        object.__setattr__(self, name, value)
