"""Pod ranges for nodes: the first that overlaps nothing, quickly for many."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tiphys.controllers.node_ipam import first_free


@pytest.mark.parametrize(
    ("used", "free"),
    [
        ([], "10.0.0.0/24"),
        (["10.0.0.0/24"], "10.0.1.0/24"),
        (["10.0.1.0/24"], "10.0.0.0/24"),
        (["10.0.0.0/23"], "10.0.2.0/24"),
        (["10.0.0.128/25"], "10.0.1.0/24"),
        (["192.168.0.0/16", "fd00::/64"], "10.0.0.0/24"),
        (["10.0.0.0/8"], None),
        (["10.0.0.0/22"], None),
    ],
)
def test_the_first_range_that_overlaps_nothing(used: list[str], free: str | None) -> None:
    assert first_free(ip_network("10.0.0.0/22"), 24, frozenset(used)) == free


def test_ranges_of_the_newer_protocol() -> None:
    assert first_free(ip_network("fd00::/48"), 64, frozenset(["fd00::/64"])) == "fd00:0:0:1::/64"


def test_ten_thousand_nodes_get_ranges_of_their_own() -> None:
    cluster = ip_network("10.128.0.0/9")
    used = frozenset(f"10.{128 + number // 256}.{number % 256}.0/24" for number in range(10_000))
    assert first_free(cluster, 24, used) == "10.167.16.0/24"
