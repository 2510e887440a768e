"""IP addresses and ranges as fields hold them, with upstream's messages (apimachinery `util/validation`).

Parsing is as generous as upstream's: an IPv4 octet may have leading zeros (read as decimal) and an IPv4 address
may be written as IPv6 (`::ffff:10.0.0.1`), in which case it counts as IPv4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the module costs more to import than everything else in this room
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_NETWORK = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, or None when it is none. Zones (`fe80::1%eth0`) are refused."""
    from ipaddress import IPv6Address, ip_address

    if "%" in text:
        return None
    try:
        address = ip_address(_without_leading_zeros(text))
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_network(text: str) -> IPv4Network | IPv6Network | None:
    """The network that `address/bits` lies in (bits of the host are cut off), or None when it is none."""
    from ipaddress import ip_network

    address, slash, bits = text.partition("/")
    if not slash or not bits.isdecimal() or not bits.isascii() or "%" in address:
        return None
    try:
        return ip_network(f"{_without_leading_zeros(address)}/{int(bits)}", strict=False)
    except ValueError:
        return None


def _without_leading_zeros(text: str) -> str:
    if not text.isascii() or not text.replace(".", "").isdecimal():
        return text
    return ".".join(octet.lstrip("0") or octet[:1] for octet in text.split("."))


def ip(text: str) -> list[str]:
    return [] if parse_address(text) else [_ADDRESS]


def ipv4(text: str) -> list[str]:
    address = parse_address(text)
    return [] if address is not None and address.version == 4 else ["must be a valid IPv4 address"]


def ipv6(text: str) -> list[str]:
    address = parse_address(text)
    return [] if address is not None and address.version == 6 else ["must be a valid IPv6 address"]


def cidr(text: str) -> list[str]:
    return [] if parse_network(text) else [_NETWORK]
