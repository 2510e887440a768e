"""Entries of managedFields: reading, writing, names, the cap."""

from typing import Any

import pytest

from tiphys.machinery.apply.managers import (
    UPDATE,
    ManagedFieldsError,
    Ownership,
    asks_for_reset,
    cap_updaters,
    differs_only_in_times,
    manager_name,
    parse_entries,
    read_entries,
    validate_field_manager,
    write_entries,
)

ENTRY = {
    "manager": "m",
    "operation": "Update",
    "apiVersion": "v1",
    "time": "2026-11-22T12:00:00Z",
    "fieldsType": "FieldsV1",
    "fieldsV1": {"f:data": {"f:a": {}}},
}


def entry(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**ENTRY, **changes}.items() if value is not None}


def test_unchanged_entries_are_written_as_they_were() -> None:
    assert write_entries(read_entries([ENTRY]))[0] is ENTRY


def test_entries_are_written_in_the_order_of_their_fields() -> None:
    made = Ownership("m", UPDATE, "v1", {"f:a": {}}, "2026-11-22T12:00:00Z", "status")
    assert list(write_entries([made])[0]) == [
        "manager",
        "operation",
        "apiVersion",
        "time",
        "fieldsType",
        "fieldsV1",
        "subresource",
    ]
    assert "subresource" not in write_entries([Ownership("m", UPDATE, "v1", {"f:a": {}}, "t")])[0]


def test_order_of_entries() -> None:
    """Appliers first; then by time, name, version, subresource."""
    wanted = [
        entry(operation="Apply", manager="z", time="2026-11-22T12:00:09Z"),
        entry(manager="z", time=None),
        entry(manager="b"),
        entry(manager="c", apiVersion="v1"),
        entry(manager="c", apiVersion="v1", subresource="status"),
        entry(manager="c", apiVersion="v2"),
        entry(manager="a", time="2026-11-22T12:00:01Z"),
    ]
    assert write_entries(read_entries(wanted[::-1])) == wanted


def test_empty_entries_are_dropped() -> None:
    assert write_entries(read_entries([entry(fieldsV1={}), entry(manager="n")])) == [entry(manager="n")]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (entry(operation="Patch"), "operation must be `Apply` or `Update`"),
        ({}, "operation must be `Apply` or `Update`"),
        (entry(apiVersion=""), "apiVersion must not be empty"),
        (entry(fieldsType=None), "missing fieldsType in managed fields entry 0"),
        (entry(fieldsType="FieldsV2"), 'invalid fieldsType "FieldsV2" in managed fields entry 0'),
        (entry(fieldsV1={"f:a": 1}), "error decoding set: fieldsV1 must be an object"),
        ("x", "operation must be `Apply` or `Update`"),
    ],
)
def test_nonsense_is_refused(broken: Any, message: str) -> None:
    with pytest.raises(ManagedFieldsError) as raised:
        parse_entries([broken])
    assert str(raised.value) == message


def test_the_last_of_the_same_manager_wins() -> None:
    found = parse_entries([ENTRY, entry(fieldsV1={"f:b": {}})])
    assert [owner.fields for owner in found] == [{"f:b": {}}]


def test_an_applier_is_the_same_in_every_version() -> None:
    one, other = read_entries([entry(operation="Apply"), entry(operation="Apply", apiVersion="v2")])
    assert one.identity == other.identity
    one, other = read_entries([entry(), entry(apiVersion="v2")])
    assert one.identity != other.identity


@pytest.mark.parametrize(
    ("value", "reset"), [([], True), ([{}], True), (None, False), ([{}, {}], False), ([ENTRY], False)]
)
def test_reset(value: Any, *, reset: bool) -> None:
    assert asks_for_reset(value) is reset


@pytest.mark.parametrize(
    ("field_manager", "user_agent", "name"),
    [
        ("me", "kubectl/v1.36", "me"),
        ("", "kubectl/v1.36.0 (linux/amd64)", "kubectl"),
        ("", "kube-controller-manager/v1/leader-election", "kube-controller-manager"),
        ("", "Mozilla", "Mozilla"),
        ("", "a\x07b\u200b/1", "ab"),
        ("", "x" * 200 + "/1", "x" * 128),
        ("", "x" * 127 + "é/1", "x" * 127),
        ("", "", "unknown"),
        ("", "/1", "unknown"),
    ],
)
def test_names(field_manager: str, user_agent: str, name: str) -> None:
    assert manager_name(field_manager, user_agent) == name


def test_field_manager_parameter() -> None:
    def found(name: str, *, applies: bool = False) -> list[str]:
        return [str(error) for error in validate_field_manager(name, applies=applies)]

    assert found("") == []
    assert found("", applies=True) == ["fieldManager: Required value: is required for apply patch"]
    assert found("me", applies=True) == []
    assert found("x" * 129) == ["fieldManager: Too long: may not be more than 128 bytes"]
    assert found("é\x07") == ['fieldManager: Invalid value: "é\\a": invalid character U+0007 (at position 2)']


def updaters(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        entry(manager=f"m{n:02}", time=f"2026-11-22T12:00:{n:02}Z", fieldsV1={f"f:{n:02}": {}}, **more)
        for n in range(count)
    ]


class TestCap:
    def test_ten_are_kept(self) -> None:
        owners = read_entries([*updaters(10), entry(operation="Apply")])
        assert cap_updaters(owners) is owners

    def test_the_oldest_become_ancient(self) -> None:
        kept = write_entries(cap_updaters(read_entries(updaters(12))))
        assert len(kept) == 10
        assert kept[0] == entry(
            manager="ancient-changes",
            time="2026-11-22T12:00:02Z",
            fieldsV1={"f:00": {}, "f:01": {}, "f:02": {}},
        )
        assert [each["manager"] for each in kept[1:]] == [f"m{n:02}" for n in range(3, 12)]

    def test_what_is_ancient_grows(self) -> None:
        first = cap_updaters(read_entries(updaters(11)))
        again = [*first, Ownership("new", UPDATE, "v1", {"f:new": {}}, "2026-11-22T12:01:00Z")]
        kept = write_entries(cap_updaters(again))
        assert len(kept) == 10
        assert kept[0]["fieldsV1"] == {"f:00": {}, "f:01": {}, "f:02": {}}

    def test_versions_are_kept_apart(self) -> None:
        old = updaters(2)
        new = [{**each, "apiVersion": "v2", "manager": "n" + each["manager"]} for each in updaters(10)]
        kept = write_entries(cap_updaters(read_entries([*old, *new])))
        ancient = {
            each["apiVersion"]: each["fieldsV1"] for each in kept if each["manager"] == "ancient-changes"
        }
        assert ancient == {"v1": {"f:00": {}, "f:01": {}}, "v2": {"f:00": {}, "f:01": {}}}
        assert len(kept) == 10


class TestTimes:
    OLD = {"kind": "K", "metadata": {"name": "x", "managedFields": [ENTRY]}, "spec": {"a": 1}}

    def changed(self, **changes: Any) -> dict[str, Any]:
        return {**self.OLD, "metadata": {"name": "x", "managedFields": [entry(**changes)]}}

    def test_only_times(self) -> None:
        assert differs_only_in_times(self.changed(time="2027-01-01T00:00:00Z"), self.OLD)
        assert differs_only_in_times(self.changed(time=None), self.OLD)

    def test_more_than_times(self) -> None:
        assert not differs_only_in_times(self.changed(fieldsV1={}), self.OLD)
        assert not differs_only_in_times({**self.changed(), "spec": {"a": 2}}, self.OLD)
        assert not differs_only_in_times({**self.changed(), "status": {}}, self.OLD)
        assert not differs_only_in_times({**self.OLD, "metadata": {"name": "x"}}, self.OLD)
        assert not differs_only_in_times({**self.OLD, "metadata": {**self.OLD["metadata"], "y": 1}}, self.OLD)
