"""Names: which ones are allowed, and how generated ones are made.

Rules and messages are upstream's (apimachinery `api/validate/content` and `util/validation`, apiserver
`storage/names`). A validator takes the text and answers with a list of messages; an empty list means it is good.
"""

import re
from collections.abc import Callable
from typing import Protocol, TypeAlias

Validator: TypeAlias = Callable[[str], list[str]]

# Generated names

# No vowels and no digits that look like letters: a generated name never spells a word.
SAFE_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_SUFFIX_LENGTH = 5
GENERATED_NAME_LIMIT = 63
SUFFIXES_AT_ONCE = 64
_BYTES_AS_LETTERS = bytes(ord(SAFE_ALPHABET[byte % len(SAFE_ALPHABET)]) for byte in range(256))
_BEYOND = bytes(range(256 - 256 % len(SAFE_ALPHABET), 256))
"""Bytes that are left out, or the first letters would come more often than the others."""


class Random(Protocol):
    """The part of `random.Random` that makes names."""

    def choices(self, population: str, *, k: int) -> list[str]: ...

    def randbytes(self, n: int) -> bytes: ...


class Suffixes:
    """Of generated names, drawn many at a time: one by one they cost several times as much."""

    __slots__ = ("_random", "_ready")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._ready: list[str] = []

    def take(self) -> str:
        if not self._ready:
            self._draw()
        return self._ready.pop()

    def _draw(self) -> None:
        length = GENERATED_SUFFIX_LENGTH
        while not self._ready:
            drawn = self._random.randbytes(SUFFIXES_AT_ONCE * length)
            letters = drawn.translate(_BYTES_AS_LETTERS, _BEYOND).decode()
            self._ready = [letters[at : at + length] for at in range(0, len(letters) - length + 1, length)]


def generated(base: str, suffix: str) -> str:
    """`generateName` plus the suffix; the base is cut to 58 so that the name stays a DNS label."""
    return base[: GENERATED_NAME_LIMIT - GENERATED_SUFFIX_LENGTH] + suffix


def simple_generate(base: str, random: Random) -> str:
    """`generateName` plus five characters."""
    return generated(base, "".join(random.choices(SAFE_ALPHABET, k=GENERATED_SUFFIX_LENGTH)))


def safe_encode(text: str) -> str:
    """Each character of `text` as one of SAFE_ALPHABET (several share one: it only makes a hash presentable)."""
    return "".join(SAFE_ALPHABET[ord(character) % len(SAFE_ALPHABET)] for character in text)


# Messages


def regex_message(rule: str, pattern: str, *examples: str) -> str:
    """`rule (e.g. 'a', or 'b', regex used for validation is '…')`, as every message about a pattern ends."""
    if not examples:
        return f"{rule} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{rule} (e.g. {listed}regex used for validation is '{pattern}')"


def too_long_message(limit: int, unit: str = "characters") -> str:
    return f"must be no more than {limit} {unit}"


def range_message(low: int, high: int) -> str:
    return f"must be between {low} and {high}, inclusive"


EMPTY = "must be non-empty"

# DNS

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + "(\\." + _LABEL + ")*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = "\\*\\." + _SUBDOMAIN
_is_label = re.compile(_LABEL).fullmatch
_is_subdomain = re.compile(_SUBDOMAIN).fullmatch
_is_label_1035 = re.compile(_LABEL_1035).fullmatch
_is_wildcard = re.compile(_WILDCARD).fullmatch

LABEL_LIMIT = 63
SUBDOMAIN_LIMIT = 253

_LABEL_MESSAGE = regex_message(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_MESSAGE = regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_LABEL_1035_MESSAGE = regex_message(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_WILDCARD_MESSAGE = regex_message(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "
    "which must consist of lower case alphanumeric characters, '-' or '.' "
    "and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)


def dns1123_label(value: str) -> list[str]:
    if len(value) <= LABEL_LIMIT and _is_label(value):
        return []
    messages = [too_long_message(LABEL_LIMIT)] if len(value) > LABEL_LIMIT else []
    if not _is_label(value):
        # A good subdomain that is no label has dots: say that instead of the whole rule.
        messages.append("must not contain dots" if _is_subdomain(value) else _LABEL_MESSAGE)
    return messages


def dns1123_subdomain(value: str) -> list[str]:
    if len(value) <= SUBDOMAIN_LIMIT and _is_subdomain(value):
        return []
    return _by_pattern(value, SUBDOMAIN_LIMIT, _is_subdomain(value), _SUBDOMAIN_MESSAGE)


def dns1035_label(value: str) -> list[str]:
    return _by_pattern(value, LABEL_LIMIT, _is_label_1035(value), _LABEL_1035_MESSAGE)


def wildcard_dns1123_subdomain(value: str) -> list[str]:
    return _by_pattern(value, SUBDOMAIN_LIMIT, _is_wildcard(value), _WILDCARD_MESSAGE)


def _by_pattern(
    value: str, limit: int, matched: re.Match[str] | None, message: str, unit: str = "characters"
) -> list[str]:
    messages = [too_long_message(limit, unit)] if len(value) > limit else []
    return messages if matched else [*messages, message]


# Names of objects. With `prefix=True` the text is a generateName: it may end in a dash.


def object_name(rule: Validator) -> Callable[..., list[str]]:
    """A validator of names and generateNames made of `rule`."""

    def validate(value: str, *, prefix: bool = False) -> list[str]:
        # As upstream: the last two characters are masked, since what is generated ends in a letter or digit.
        return rule(value[:-2] + "a" if prefix and len(value) > 1 and value[-1] == "-" else value)

    return validate


def path_segment_name(value: str, *, prefix: bool = False) -> list[str]:
    """A name that can be part of a URL: the loosest rule that any object's name has."""
    if not prefix and value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in value]


# Labels

_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_is_key = re.compile(_KEY).fullmatch
_is_value = re.compile(_VALUE).fullmatch
_KEY_MESSAGE = regex_message(
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _KEY,
    "MyName",
    "my.name",
    "123-abc",
)
_VALUE_MESSAGE = regex_message(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _VALUE,
    "MyValue",
    "my_value",
    "12345",
)


def qualified_name(value: str) -> list[str]:
    """A label's key: `name` or `dns.prefix/name`. Also the rule for annotations, resources, taints, conditions."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"a valid label key {_KEY_MESSAGE}"
            " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    messages = _prefix_part(prefix) if slash else []
    if not name:
        messages.append(f"name part {EMPTY}")
    elif len(name) > LABEL_LIMIT:
        messages.append(f"name part {too_long_message(LABEL_LIMIT, 'bytes')}")
    if not _is_key(name):
        messages.append(f"name part {_KEY_MESSAGE}")
    return messages


def _prefix_part(prefix: str) -> list[str]:
    if not prefix:
        return [f"prefix part {EMPTY}"]
    messages = _by_pattern(prefix, SUBDOMAIN_LIMIT, _is_subdomain(prefix), _SUBDOMAIN_MESSAGE, "bytes")
    return [f"prefix part {message}" for message in messages]


def label_value(value: str) -> list[str]:
    return _by_pattern(value, LABEL_LIMIT, _is_value(value), _VALUE_MESSAGE, "bytes")


# Ports

PORT_NAME_LIMIT = 15
_is_port_name = re.compile("[-a-z0-9]+").fullmatch
_letter = re.compile("[a-z]").search


def port_name(value: str) -> list[str]:
    """An IANA service name: at most 15 of a-z, 0-9 and single inner dashes, with a letter."""
    rules = (
        (len(value) <= PORT_NAME_LIMIT, too_long_message(PORT_NAME_LIMIT)),
        (
            _is_port_name(value),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (_letter(value), "must contain at least one letter (a-z)"),
        ("--" not in value, "must not contain consecutive hyphens"),
        (
            not (value.startswith("-") or value.endswith("-")),
            "must not begin or end with a hyphen",
        ),
    )
    return [message for good, message in rules if not good]


def in_range(value: int, low: int, high: int) -> list[str]:
    return [] if low <= value <= high else [range_message(low, high)]


def port_number(value: int) -> list[str]:
    return in_range(value, 1, 65535)


def user_id(value: int) -> list[str]:
    """A uid or a gid."""
    return in_range(value, 0, 0xFFFFFFFF)


# Keys and values inside objects

_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_is_config_key = re.compile(_CONFIG_KEY).fullmatch
_CONFIG_KEY_MESSAGE = regex_message(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_is_c_identifier = re.compile(_C_IDENTIFIER).fullmatch
_C_IDENTIFIER_MESSAGE = regex_message(
    "a valid C identifier must start with alphabetic character or '_', "
    "followed by a string of alphanumeric characters or '_'",
    _C_IDENTIFIER,
    "my_name",
    "MY_NAME",
    "MyName",
)
_HEADER = "[-A-Za-z0-9]+"
_is_header = re.compile(_HEADER).fullmatch
_HEADER_MESSAGE = regex_message(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"
)
_PERCENT = "[0-9]+%"
_is_percent = re.compile(_PERCENT).fullmatch
_PERCENT_MESSAGE = regex_message(
    "a valid percent string must be a numeric string followed by an ending '%'",
    _PERCENT,
    "1%",
    "93%",
)


def config_map_key(value: str) -> list[str]:
    """A key of a ConfigMap or a Secret: it becomes the name of a file."""
    messages = _by_pattern(value, SUBDOMAIN_LIMIT, _is_config_key(value), _CONFIG_KEY_MESSAGE)
    return messages + _parent_directory(value)


def _parent_directory(value: str) -> list[str]:
    if value in (".", ".."):
        return [f"must not be '{value}'"]
    return ["must not start with '..'"] if value.startswith("..") else []


def env_var_name(value: str) -> list[str]:
    """Any printable ASCII but `=` (the relaxed rule, which is the only one since v1.34)."""
    if not value:
        return [f"environment variable name {EMPTY}"]
    if value.isascii() and value.isprintable() and "=" not in value:
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


def c_identifier(value: str) -> list[str]:
    return [] if _is_c_identifier(value) else [_C_IDENTIFIER_MESSAGE]


def http_header_name(value: str) -> list[str]:
    return [] if _is_header(value) else [_HEADER_MESSAGE]


def percent(value: str) -> list[str]:
    return [] if _is_percent(value) else [_PERCENT_MESSAGE]
