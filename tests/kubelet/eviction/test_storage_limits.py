"""Limits of pods on the node's disk."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tiphys.kubelet.eviction.limits import has_limits, violation
from tiphys.kubelet.stats.usage import FilesystemUsage, PodDisks

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MIB = 1 << 20


def disk(used: int) -> FilesystemUsage:
    return FilesystemUsage(NOW, 0, 0, 0, 0, used_bytes=used)


def pod(*limits: str) -> dict[str, Any]:
    containers = [
        {"name": f"c{number}", "resources": {"limits": {"ephemeral-storage": limit}} if limit else {}}
        for number, limit in enumerate(limits)
    ]
    return {"spec": {"containers": containers}}


def told(limited: dict[str, Any], disks: PodDisks, *, has_image_disk: bool = False) -> str | None:
    found = violation(limited, disks, has_image_disk=has_image_disk)
    return found.message if found else None


def test_the_whole_pod_is_held_to_the_sum_of_its_limits() -> None:
    message = "Pod ephemeral local storage usage exceeds the total limit of containers 30Mi. "
    assert told(pod("10Mi", "20Mi"), PodDisks(ephemeral=disk(31 * MIB))) == message
    assert told(pod("10Mi", "20Mi"), PodDisks(ephemeral=disk(30 * MIB))) is None


def test_each_container_is_held_to_its_own() -> None:
    disks = PodDisks({"c0": disk(8 * MIB)}, {"c0": disk(3 * MIB)})
    assert told(pod("10Mi"), disks) == 'Container c0 exceeded its local ephemeral storage limit "10Mi". '
    # Where layers have a disk of their own, only logs count.
    assert told(pod("10Mi"), disks, has_image_disk=True) is None


@pytest.mark.parametrize(
    ("limited", "is_limited"),
    [
        (pod("1Mi"), True),
        (pod(""), False),
        ({"spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}}, False),
        ({"spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1"}}]}}, True),
    ],
)
def test_only_disks_with_limits_need_measuring(limited: dict[str, Any], is_limited: bool) -> None:
    assert has_limits(limited) == is_limited
