"""The smallest good object of every kind: complete after its defaults, and good by the rules of its kind."""

import copy

import pytest
from minimal import minimal

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.api.types import TYPES
from tiphys.machinery.schema import check

STORED = [row for row in built_in() if not row.virtual]
every_kind = pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row.api_version}-{row.kind}")


def _made(row: Resource) -> dict[str, object]:
    obj = copy.deepcopy(minimal(row))
    obj["metadata"]["uid"] = "u-1"
    if row.defaults is not None:
        row.defaults(obj)
    if row.prepare is not None:
        row.prepare(obj, None)
    return obj


@every_kind
def test_defaults_once_are_defaults_for_good(row: Resource) -> None:
    once = _made(row)
    twice = copy.deepcopy(once)
    if row.defaults is not None:
        row.defaults(twice)
    if row.prepare is not None:
        row.prepare(twice, copy.deepcopy(once))
    assert twice == once


@every_kind
def test_what_is_added_is_in_its_final_form(row: Resource) -> None:
    obj = _made(row)
    result = check(TYPES.struct(row.type), obj)
    assert result.complaints == ()
    assert result.object == obj


@every_kind
def test_it_is_good_and_an_update_without_a_change_is(row: Resource) -> None:
    if row.validate is None:
        return
    obj = _made(row)
    assert row.validate(obj, None) == []
    assert row.validate(copy.deepcopy(obj), obj) == []


@pytest.mark.parametrize(
    "row", [row for row in STORED if row.conversion], ids=lambda row: f"{row.api_version}-{row.kind}"
)
def test_nothing_is_lost_in_the_store(row: Resource) -> None:
    obj = _made(row)
    assert row.conversion is not None
    stored = row.conversion.to_stored(copy.deepcopy(obj))
    assert stored["apiVersion"] == row.stored.api_version  # type: ignore[union-attr]
    back = row.conversion.from_stored(copy.deepcopy(stored))
    again = row.conversion.to_stored(copy.deepcopy(back))
    assert again == stored
