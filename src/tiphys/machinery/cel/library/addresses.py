"""IP addresses and CIDR blocks (apiserver `pkg/cel/library/ip.go`, `cidr.go`).

Stricter than what the API itself accepts: no leading zeros, no IPv4 written as IPv6, no zones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tiphys.machinery.cel.charges import contains_address, fixed, traversal
from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.quoting import quote

if TYPE_CHECKING:  # the module costs more to import than most of this package
    from ipaddress import IPv4Address, IPv6Address

_bits = re.compile(r"0|[1-9][0-9]{0,2}").fullmatch


class IP:
    """An address. Its size is that of its bytes."""

    __slots__ = ("address",)

    def __init__(self, address: IPv4Address | IPv6Address) -> None:
        self.address = address

    def __len__(self) -> int:
        return 4 if self.address.version == 4 else 16

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IP) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return str(self.address)


class CIDR:
    """An address and the length of its prefix. Bits behind the prefix are kept until it is masked."""

    __slots__ = ("bits", "ip")

    def __init__(self, ip: IP, bits: int) -> None:
        self.ip = ip
        self.bits = bits

    def __len__(self) -> int:
        return -(-self.bits // 8)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CIDR) and (self.ip, self.bits) == (other.ip, other.bits)

    def __hash__(self) -> int:
        return hash((self.ip, self.bits))

    def __str__(self) -> str:
        return f"{self.ip}/{self.bits}"

    def prefix_of(self, ip: IP) -> int:
        """The bits of an address that this block looks at."""
        return int(ip.address) >> (ip.address.max_prefixlen - self.bits)


def _parse(text: str) -> IPv4Address | IPv6Address:
    """ValueError, worded as Go's netip words it."""
    from ipaddress import ip_address

    problem = f"ParseAddr({quote(text)}): "
    if "." not in text and ":" not in text:
        raise ValueError(f"{problem}unable to parse IP")
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(
            problem + (_ipv4_problem(text) if ":" not in text else "unable to parse IP")
        ) from None


def _ipv4_problem(text: str) -> str:
    octets = text.split(".")
    for octet in octets:
        bad = re.search(r"[^0-9]", octet)
        if bad:
            return f"unexpected character (at {quote(text[text.index(bad[0]) :])})"
        if len(octet) > 1 and octet[0] == "0":
            return "IPv4 field has octet with leading zero"
        if octet and int(octet[:4]) > 255:
            return "IPv4 field has value >255"
    if "" in octets:
        return "IPv4 field must have at least one digit"
    return "IPv4 address too short" if len(octets) < 4 else "IPv4 address too long"


def parse_ip(text: str) -> IP:
    """ValueError when it is no address that is allowed here."""
    try:
        address = _parse(text)
    except ValueError as error:
        raise ValueError(
            f"IP Address {quote(text)} parse error during conversion from string: {error}"
        ) from None
    if "%" in text:
        raise ValueError(f"IP address {quote(text)} with zone value is not allowed")
    if address.version == 6 and address.ipv4_mapped is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return IP(address)


def parse_cidr(text: str) -> CIDR:
    """ValueError when it is no CIDR block that is allowed here."""
    head, slash, bits = text.rpartition("/")
    prefix = "network address parse error during conversion from string: "
    problem = f"{prefix}netip.ParsePrefix({quote(text)}): "
    if not slash:
        raise ValueError(f"{problem}no '/'")
    try:
        address = _parse(head)
    except ValueError as error:
        raise ValueError(f"{problem}{error}") from None
    if "%" in head:
        raise ValueError(f"{problem}IPv6 zones cannot be present in a prefix")
    if not _bits(bits):
        raise ValueError(f"{problem}bad bits after slash: {quote(bits)}")
    if int(bits) > address.max_prefixlen:
        raise ValueError(f"{problem}prefix length out of range")
    if address.version == 6 and address.ipv4_mapped is not None:
        raise ValueError(f"IPv4-mapped IPv6 address {quote(text)} is not allowed")
    return CIDR(IP(address), int(bits))


def to_ip(text: str) -> IP:
    try:
        return parse_ip(text)
    except ValueError as error:
        raise CelRuntimeError(str(error)) from None


def to_cidr(text: str) -> CIDR:
    try:
        return parse_cidr(text)
    except ValueError as error:
        raise CelRuntimeError(f"network address parse error during conversion from string: {error}") from None


def is_ip(text: str) -> bool:
    try:
        return bool(parse_ip(text))
    except ValueError:
        return False


def is_cidr(text: str) -> bool:
    try:
        parse_cidr(text)
    except ValueError:
        return False
    return True


def is_link_local_multicast(ip: IP) -> bool:
    number = int(ip.address)
    if ip.address.version == 4:
        return number >> 8 == 0xE00000
    return number >> 112 & 0xFF0F == 0xFF02


def is_global_unicast(ip: IP) -> bool:
    """As Go sees it: private addresses are global unicast, too."""
    address = ip.address
    if address.version == 4 and int(address) in (0, 0xFFFFFFFF):
        return False
    special = address.is_unspecified or address.is_loopback or address.is_multicast
    return not special and not address.is_link_local


def contains_ip(cidr: CIDR, ip: IP) -> bool:
    return cidr.ip.address.version == ip.address.version and cidr.prefix_of(ip) == cidr.prefix_of(cidr.ip)


def contains_cidr(cidr: CIDR, other: CIDR) -> bool:
    return cidr.bits <= other.bits and contains_ip(cidr, other.ip)


def masked(cidr: CIDR) -> CIDR:
    address = cidr.ip.address
    shift = address.max_prefixlen - cidr.bits
    return CIDR(IP(address.__class__(cidr.prefix_of(cidr.ip) << shift)), cidr.bits)


IP_TYPE = opaque("net.IP", IP)
CIDR_TYPE = opaque("net.CIDR", CIDR)
_TYPES = {"IP": IP_TYPE, "CIDR": CIDR_TYPE}
_PARSED = traversal()

ADDRESSES = Library(
    "kubernetes.net",
    tuple(
        function(signature, implementation, charge, known=_TYPES)
        for signature, implementation, charge in (
            ("ip(string) -> IP", to_ip, _PARSED),
            ("isIP(string) -> bool", is_ip, _PARSED),
            ("ip.isCanonical(string) -> bool", lambda text: str(to_ip(text)) == text, traversal(times=2)),
            ("string(IP) -> string", str, fixed(1)),
            ("IP.family() -> int", lambda ip: ip.address.version, fixed(1)),
            ("IP.isUnspecified() -> bool", lambda ip: ip.address.is_unspecified, fixed(1)),
            ("IP.isLoopback() -> bool", lambda ip: ip.address.is_loopback, fixed(1)),
            ("IP.isLinkLocalMulticast() -> bool", is_link_local_multicast, fixed(1)),
            ("IP.isLinkLocalUnicast() -> bool", lambda ip: ip.address.is_link_local, fixed(1)),
            ("IP.isGlobalUnicast() -> bool", is_global_unicast, fixed(1)),
            ("cidr(string) -> CIDR", to_cidr, _PARSED),
            ("isCIDR(string) -> bool", is_cidr, _PARSED),
            ("string(CIDR) -> string", str, fixed(1)),
            (
                "CIDR.containsIP(string) -> bool",
                lambda cidr, text: contains_ip(cidr, to_ip(text)),
                contains_address(network=False, text=True),
            ),
            ("CIDR.containsIP(IP) -> bool", contains_ip, contains_address(network=False, text=False)),
            (
                "CIDR.containsCIDR(string) -> bool",
                lambda cidr, text: contains_cidr(cidr, to_cidr(text)),
                contains_address(network=True, text=True),
            ),
            ("CIDR.containsCIDR(CIDR) -> bool", contains_cidr, contains_address(network=True, text=False)),
            ("CIDR.ip() -> IP", lambda cidr: cidr.ip, fixed(1)),
            ("CIDR.masked() -> CIDR", masked, fixed(1)),
            ("CIDR.prefixLength() -> int", lambda cidr: cidr.bits, fixed(1)),
        )
    ),
    {"net.IP": IP_TYPE, "net.CIDR": CIDR_TYPE},
)
