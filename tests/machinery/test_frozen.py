"""Frozen values behave as frozen dataclasses with slots do."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar

import pytest

from tiphys.machinery.frozen import frozen


@frozen
class Point:
    """A point."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list, compare=False)
    note: str = field(default="", hash=False, repr=False)
    origin: ClassVar[str] = "here"

    @property
    def sum(self) -> int:
        return self.x + self.y


@frozen
class Solid(Point):
    z: int = 5


@frozen(kw_only=True)
class Named:
    name: str
    size: int = 1


@frozen
class Mixed:
    one: int
    two: int = field(kw_only=True)
    whole: int = field(init=False, default=7)
    seen: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.seen.append(self.one)


@frozen(eq=False)
class Token:
    value: int


@frozen
class Own:
    value: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own)

    def __hash__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "own"


@frozen
class Empty:
    pass


@dataclass(frozen=True, slots=True)
class Usual:
    x: int
    y: int = 0
    note: str = field(default="", repr=False)


def test_it_is_filled_by_place_and_by_name() -> None:
    assert (Point(1, 2).x, Point(1, y=2).sum, Point(3).y) == (1, 3, 0)
    assert Solid(1, z=2) == Solid(1, 0, [], "", 2)
    assert Named(name="a").size == 1
    mixed = Mixed(1, two=2)
    assert (mixed.two, mixed.whole, mixed.seen) == (2, 7, [1])
    for wrong in (lambda: Point(), lambda: Named("a"), lambda: Mixed(1, 2), lambda: Mixed(1, two=2, whole=3)):  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            wrong()


def test_what_is_made_anew_is_nobody_elses() -> None:
    assert Point(1).tags is not Point(1).tags
    assert Mixed(1, two=2).seen is not Mixed(1, two=2).seen


def test_it_does_not_change() -> None:
    point: Any = Point(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    with pytest.raises(FrozenInstanceError):
        point.unknown = 1
    assert not hasattr(point, "__dict__")


def test_equality_and_hash() -> None:
    assert Point(1, 2, ["a"]) == Point(1, 2, ["b"])
    assert Point(1, 2) != Point(1, 3)
    assert Point(1) != Solid(1)
    assert hash(Point(1, note="a")) == hash(Point(1, note="b"))
    assert Point(1, note="a") != Point(1, note="b")
    assert len({Point(1), Point(1, 0), Point(2)}) == 2
    assert Token(1) != Token(1)
    assert len({Token(1), Token(1)}) == 2
    assert Own(1) == Own(2)
    assert hash(Own(3)) == 1
    assert repr(Own(1)) == "own"
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    with pytest.raises(TypeError):
        hash(Named(name=["a"]))  # type: ignore[arg-type]


def test_it_reads_as_a_dataclass() -> None:
    assert repr(Point(1)) == "Point(x=1, y=0, tags=[])"
    assert repr(Usual(1)).replace("Usual", "") == repr(Named(name="a")).replace(
        "Named(name='a', size=1)", "(x=1, y=0)"
    )
    assert [each.name for each in fields(Solid)] == ["x", "y", "tags", "note", "z"]
    assert replace(Solid(1), z=9).z == 9
    assert is_dataclass(Named)
    assert Point.__doc__ == "A point."
    assert Point.origin == "here"
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
        case _:
            raise AssertionError


def test_copies_and_pickles() -> None:
    point = Point(1, 2, ["a"], "b")
    for other in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert other == point
        assert other.tags == ["a"]
    assert copy.deepcopy(point).tags is not point.tags
