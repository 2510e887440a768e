"""The formats of strings that a schema may demand: kube-openapi's registry, as far as custom resources use it.

Names are compared without their dashes (`date-time` is `datetime`). A format that is not here, such as `int32`, demands
nothing: upstream strips it from the schema.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import date
from email.utils import parseaddr

from tiphys.machinery import names
from tiphys.machinery.cel import CelRuntimeError
from tiphys.machinery.cel.library.urls import parse_request_uri
from tiphys.machinery.cel.re2 import compile_pattern
from tiphys.machinery.cel.times import parse_duration

Accepts = Callable[[str], bool]

_HEX = "[0-9a-fA-F]"
_FULL_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})").fullmatch
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:.[0-9]+)?(?:z|[+-][0-9]{2}:[0-9]{2})").fullmatch
_WORD_OF_DURATION = re.compile(r"([0-9]+)[\t\n\f\r ]*([A-Za-zµ]+)")
_CARDS = re.compile(
    "4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}"
    "|(?:222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    "|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    "|(?:2131|1800|35[0-9]{3})[0-9]{11}|6[27][0-9]{14}"
).fullmatch
_COLOR = r"\s*(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\s*"
_HOSTNAME = (
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)"
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}"
    r"([a-zA-Z0-9\p{S}\p{L}])(-?[a-zA-Z0-9\p{S}\p{L}]){1,62})$"
)
_HOSTNAME_LIMIT_BYTES, _LABEL_LIMIT_BYTES = 255, 63
_SECOND = 10**9
# The words of a duration, each with what it is worth in nanoseconds. The last of a unit may have any ending: `hours`.
_UNITS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (1, ("ns", "nano")),
    (10**3, ("us", "µs", "micro")),
    (10**6, ("ms", "milli")),
    (_SECOND, ("s", "sec")),
    (60 * _SECOND, ("m", "min")),
    (3600 * _SECOND, ("h", "hr", "hour")),
    (24 * 3600 * _SECOND, ("d", "day")),
    (7 * 24 * 3600 * _SECOND, ("w", "wk", "week")),
)


def known(name: str | None) -> Accepts | None:
    """Whether a text has the format; None: the name demands nothing."""
    return _FORMATS.get(name.replace("-", "")) if name else None


def duration_nanos(text: str) -> int | None:
    """`1h30m` as Go reads it, or `2 days 3 min` as Scala does; None: neither."""
    try:
        return parse_duration(text).nanos
    except (CelRuntimeError, ValueError):
        pass
    total, found = 0, False
    for match in _WORD_OF_DURATION.finditer(text):
        unit = match[2].lower()
        for worth, words in _UNITS:
            if unit in words or unit.startswith(words[-1]):
                total, found = total + int(match[1][:30]) * worth, True
    return total if found else None


def full_date(text: str) -> date | None:
    """`2026-11-28`."""
    match = _FULL_DATE(text)
    try:
        return date(int(match[1]), int(match[2]), int(match[3])) if match else None
    except ValueError:
        return None


def _is_date_time(text: str) -> bool:
    day, separator, clock = text.lower().partition("t")
    match = _CLOCK(clock) if separator else None
    # Seconds are compared as text, and 23:59:60 is none.
    return full_date(day) is not None and match is not None and _is_clock(match)


def _is_clock(match: re.Match[str]) -> bool:
    return match[1] <= "23" and match[2] <= "59" and match[3] <= "59"


def _by(pattern: str) -> Accepts:
    matches = re.compile(pattern, re.ASCII).fullmatch
    return lambda text: matches(text) is not None


def _uuid(version: str = f"{_HEX}", variant: str = _HEX) -> Accepts:
    return _by(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{version}{_HEX}{{3}}-?{variant}{_HEX}{{3}}-?{_HEX}{{12}}")


def _is_email(text: str) -> bool:
    """An address as net/mail reads it: `gina@example.com`, `Gina <gina@example.com>`."""
    address = parseaddr(text)[1]
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or " " in address or text.count("@") != address.count("@"):
        return False
    quoted = local[0] == local[-1] == '"' and len(local) > 1
    atoms = domain.split(".") if quoted else [*local.split("."), *domain.split(".")]
    if domain.startswith("[") and domain.endswith("]"):
        atoms = local.split(".")
    return all(map(_is_atom, atoms)) and (text == address or text.rstrip().endswith(f"<{address}>"))


_is_atom = _by(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+")


def _is_uri(text: str) -> bool:
    try:
        parse_request_uri(text)
    except ValueError:
        return False
    return True


def _is_hostname(text: str) -> bool:
    if len(text.encode()) > _HOSTNAME_LIMIT_BYTES:
        return False
    if any(len(label.encode()) > _LABEL_LIMIT_BYTES for label in text.split(".")):
        return False
    return compile_pattern(_HOSTNAME).matches(text)


def _is_ipv4(text: str) -> bool:
    """Go's net.ParseIP, of what has a dot in it: a v4 address mapped into v6 counts."""
    return "." in text and _is_ip(text)


def _is_ipv6(text: str) -> bool:
    return ":" in text and _is_ip(text)


def _is_ip(text: str) -> bool:
    try:
        return "%" not in text and ipaddress.ip_address(text) is not None
    except ValueError:
        return False


def _is_cidr(text: str) -> bool:
    address, slash, bits = text.partition("/")
    if not slash or not bits.isascii() or not bits.isdigit() or not _is_ip(address):
        return False
    return int(bits[:4]) <= ipaddress.ip_address(address).max_prefixlen


def _is_mac(text: str) -> bool:
    """Six, eight or twenty octets, parted by colons, dashes, or dots after every second one."""
    return any(
        re.fullmatch(f"{group}(?:{separator}{group}){{{count - 1}}}", text)
        for separator, group, counts in _MAC_FORMS
        for count in counts
    )


_MAC_FORMS = (
    (":", f"{_HEX}{{2}}", (6, 8, 20)),
    ("-", f"{_HEX}{{2}}", (6, 8, 20)),
    (r"\.", f"{_HEX}{{4}}", (3, 4, 10)),
)


def _isbn_digits(text: str) -> str:
    return re.sub(r"[\s-]+", "", text, flags=re.ASCII)


def _is_isbn10(text: str) -> bool:
    digits = _isbn_digits(text)
    if not re.fullmatch("[0-9]{9}[0-9X]", digits):
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(place * value for place, value in enumerate(values, 1)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = _isbn_digits(text)
    if not re.fullmatch("[0-9]{13}", digits):
        return False
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0


def _is_credit_card(text: str) -> bool:
    digits = re.sub("[^0-9]+", "", text)
    if not _CARDS(digits):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_is_ssn = _by("[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}")

_FORMATS: dict[str, Accepts] = {
    "bsonobjectid": _by(f"{_HEX}{{24}}"),
    "byte": _by("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"),
    "cidr": _is_cidr,
    "creditcard": _is_credit_card,
    "date": lambda text: full_date(text) is not None,
    "datetime": _is_date_time,
    "duration": lambda text: duration_nanos(text) is not None,
    "email": _is_email,
    "hexcolor": _by(f"#?(?:{_HEX}{{3}}|{_HEX}{{6}})"),
    "hostname": _is_hostname,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "k8slongname": lambda text: not names.dns1123_subdomain(text),
    "k8sshortname": lambda text: not names.dns1123_label(text),
    "mac": _is_mac,
    "password": lambda text: True,
    "rgbcolor": _by(rf"rgb\({_COLOR},{_COLOR},{_COLOR}\)"),
    "ssn": lambda text: len(text) == 11 and _is_ssn(text),
    "uri": _is_uri,
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89abAB]"),
    "uuid5": _uuid("5", "[89abAB]"),
}
