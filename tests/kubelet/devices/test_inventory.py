"""Which devices there are, and who has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tiphys.kubelet.devices import checkpoint
from tiphys.kubelet.devices.inventory import AllocationError, Device, Grant, Inventory

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOY = "example.com/toy"


def inventory(*ids: str, broken: tuple[str, ...] = ()) -> Inventory:
    found = Inventory()
    found.set_devices(TOY, [Device(id, is_healthy=id not in broken) for id in ids])
    return found


def test_broken_devices_are_there_and_not_to_be_had() -> None:
    found = inventory("a", "b", broken=("b",))
    assert found.amounts() == {TOY: (2, 1)}
    assert [found.health(TOY, id) for id in ("a", "b", "c")] == ["Healthy", "Unhealthy", "Unknown"]
    assert found.available(TOY, 1, ()) == ["a"]
    message = f"requested number of devices unavailable for {TOY}. Requested: 2, Available: 1"
    with pytest.raises(AllocationError, match=message):
        found.available(TOY, 2, ())


def test_what_is_granted_is_not_available_but_for_what_the_pod_has_left() -> None:
    found = inventory("a", "b", "c")
    found.grant(("u1", "init"), TOY, Grant(("a",)))
    found.grant(("u2", "main"), TOY, Grant(("b",)))
    assert found.available(TOY, 1, ()) == ["c"]
    assert found.available(TOY, 2, ("a",)) == ["a", "c"]
    assert found.keep_only({"u1"})
    assert found.available(TOY, 2, ()) == ["b", "c"]


def test_a_container_that_is_started_again_keeps_its_devices_as_long_as_they_are_well() -> None:
    found = inventory("a", "b")
    holder = ("u1", "main")
    assert found.still_needed(holder, TOY, 1) == 1
    found.grant(holder, TOY, Grant(("a",)))
    assert found.still_needed(holder, TOY, 1) == 0
    with pytest.raises(AllocationError, match=f"changed request for resource {TOY} from 1 to 2"):
        found.still_needed(holder, TOY, 2)
    found.set_devices(TOY, [Device("a", is_healthy=False), Device("b")])
    with pytest.raises(AllocationError, match="previously allocated devices are no longer healthy"):
        found.still_needed(holder, TOY, 1)
    found.stop(TOY, NOW)
    with pytest.raises(AllocationError, match=f"no healthy devices present; cannot allocate .* {TOY}"):
        found.still_needed(holder, TOY, 1)


def test_devices_of_a_plugin_that_stays_away_are_forgotten_but_for_their_name() -> None:
    found = inventory("a")
    found.stop(TOY, NOW)
    assert found.amounts() == {TOY: (1, 0)}
    assert not found.forget_old(NOW + timedelta(seconds=299))
    assert found.forget_old(NOW + timedelta(seconds=300))
    assert not found.forget_old(NOW + timedelta(seconds=301))
    assert found.amounts() == {TOY: (0, 0)}
    found.set_devices(TOY, [Device("a")])
    assert found.amounts() == {TOY: (1, 1)}


def test_what_is_granted_outlives_the_kubelet(tmp_path: Path) -> None:
    found = inventory("a")
    grant = Grant(("a",), {"A": "1"}, {"b": "2"}, (("/in", "/on", True),), (("/dev/a", "/dev/b", "rw"),))
    found.grant(("u1", "main"), TOY, grant)
    file = tmp_path / "checkpoint"
    checkpoint.write(file, found)
    again = Inventory()
    assert checkpoint.read(file, again) == [TOY]
    assert again.grants == {("u1", "main"): {TOY: grant}}
    assert again.is_known(TOY)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"grants": [{}], "resources": []}'])
def test_a_damaged_checkpoint_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "checkpoint"
    file.write_text(text)
    assert checkpoint.read(file, Inventory()) == []
