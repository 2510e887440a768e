"""IP addresses and networks, read as generously as upstream reads them."""

import pytest

from tiphys.machinery import addresses


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("010.000.000.001", "10.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("2001:DB8::ffff", "2001:db8::ffff"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
    ],
)
def test_addresses(text: str, canonical: str) -> None:
    assert str(addresses.parse_address(text)) == canonical
    assert addresses.ip(text) == []


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "10.0.0.1/24", "fe80::1%eth0", "web", "１.2.3.4", "1.2.3."]
)
def test_what_is_no_address(text: str) -> None:
    assert addresses.parse_address(text) is None
    assert addresses.ip(text) == ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


def test_families() -> None:
    assert addresses.ipv4("10.0.0.1") == addresses.ipv6("::1") == []
    assert addresses.ipv4("::1") == ["must be a valid IPv4 address"]
    assert addresses.ipv6("10.0.0.1") == ["must be a valid IPv6 address"]
    assert addresses.ipv6("::ffff:10.0.0.1") == ["must be a valid IPv6 address"]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10.244.0.0/16", "10.244.0.0/16"),
        ("10.0.0.9/8", "10.0.0.0/8"),
        ("fd00::/64", "fd00::/64"),
        ("010.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_networks(text: str, canonical: str) -> None:
    assert str(addresses.parse_network(text)) == canonical
    assert addresses.cidr(text) == []


@pytest.mark.parametrize(
    "text", ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/255.0.0.0", "x/8", "fe80::%a/64"]
)
def test_what_is_no_network(text: str) -> None:
    assert addresses.cidr(text) == ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
