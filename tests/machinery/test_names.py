"""Names: upstream's rules in upstream's words."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery import names
from tiphys.machinery.names import Validator

LABEL_MESSAGE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
    "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_MESSAGE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
KEY_MESSAGE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
    "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (names.dns1123_label, ["a", "0", "a-b", "1-1", "a" * 63]),
        (names.dns1123_subdomain, ["a", "a.b", "a-b.c-d.0", "a" * 253]),
        (names.dns1035_label, ["a", "a1", "a-1", "a" * 63]),
        (names.wildcard_dns1123_subdomain, ["*.example.com", "*.a"]),
        (names.path_segment_name, ["a", "A:b", "system:node", "", "..."]),
        (names.qualified_name, ["a", "A.b_c-d", "example.com/a", "a" * 63, f"{'a' * 253}/x"]),
        (names.label_value, ["", "a", "A.b_c-d", "a" * 63]),
        (names.port_name, ["http", "a-b", "0a", "a" * 15]),
        (names.config_map_key, ["a", "A_b.c-d", ".hidden", "a" * 253]),
        (names.env_var_name, ["A", "a.b", "with space", "0", "-"]),
        (names.c_identifier, ["A", "_1", "MyReason"]),
        (names.http_header_name, ["X-Header"]),
        (names.percent, ["0%", "150%"]),
    ],
)
def test_good_names(rule: Validator, good: list[str]) -> None:
    assert {name: rule(name) for name in good} == {name: [] for name in good}


@pytest.mark.parametrize(
    ("rule", "value", "messages"),
    [
        (names.dns1123_label, "", [LABEL_MESSAGE]),
        (names.dns1123_label, "A", [LABEL_MESSAGE]),
        (names.dns1123_label, "-a", [LABEL_MESSAGE]),
        (names.dns1123_label, "a\n", [LABEL_MESSAGE]),
        (names.dns1123_label, "a.b", ["must not contain dots"]),
        (names.dns1123_label, "a" * 64, ["must be no more than 63 characters"]),
        (names.dns1123_label, "A" * 64, ["must be no more than 63 characters", LABEL_MESSAGE]),
        (names.dns1123_subdomain, "a..b", [SUBDOMAIN_MESSAGE]),
        (names.dns1123_subdomain, "Web", [SUBDOMAIN_MESSAGE]),
        (names.dns1123_subdomain, "a" * 254, ["must be no more than 253 characters"]),
        (
            names.dns1035_label,
            "1a",
            [
                "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
                "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
                "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
            ],
        ),
        (names.path_segment_name, "..", ["may not be '..'"]),
        (names.path_segment_name, "a/b%c", ["may not contain '/'", "may not contain '%'"]),
        (names.qualified_name, "", ["name part must be non-empty", f"name part {KEY_MESSAGE}"]),
        (names.qualified_name, "/a", ["prefix part must be non-empty"]),
        (names.qualified_name, "A.com/a", [f"prefix part {SUBDOMAIN_MESSAGE}"]),
        (names.qualified_name, "a" * 64, ["name part must be no more than 63 bytes"]),
        (
            names.qualified_name,
            "a/b/c",
            [
                f"a valid label key {KEY_MESSAGE} with an optional DNS subdomain prefix and '/' "
                "(e.g. 'example.com/MyName')"
            ],
        ),
        (
            names.label_value,
            "a b",
            [
                "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
                "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
                "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ],
        ),
        (names.label_value, "a" * 64, ["must be no more than 63 bytes"]),
        (
            names.port_name,
            "",
            [
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "must contain at least one letter (a-z)",
            ],
        ),
        (names.port_name, "80", ["must contain at least one letter (a-z)"]),
        (names.port_name, "a--b", ["must not contain consecutive hyphens"]),
        (names.port_name, "-a", ["must not begin or end with a hyphen"]),
        (names.port_name, "a" * 16, ["must be no more than 15 characters"]),
        (
            names.config_map_key,
            "a/b",
            [
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            ],
        ),
        (names.config_map_key, "..", ["must not be '..'"]),
        (names.config_map_key, "..a", ["must not start with '..'"]),
        (names.env_var_name, "", ["environment variable name must be non-empty"]),
        (
            names.env_var_name,
            "A=B",
            [
                "a valid environment variable name must consist only of printable ASCII characters other than '='"
            ],
        ),
        (
            names.percent,
            "5",
            [
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                "regex used for validation is '[0-9]+%')"
            ],
        ),
    ],
)
def test_bad_names(rule: Validator, value: str, messages: list[str]) -> None:
    assert rule(value) == messages


def test_numbers_in_range() -> None:
    assert names.port_number(1) == names.port_number(65535) == []
    assert names.port_number(0) == ["must be between 1 and 65535, inclusive"]
    assert names.user_id(-1) == ["must be between 0 and 4294967295, inclusive"]
    assert names.in_range(3, 1, 3) == []


def test_a_generate_name_may_end_in_a_dash() -> None:
    rule = names.object_name(names.dns1123_subdomain)
    assert rule("web-", prefix=True) == []
    assert rule("web-") == [SUBDOMAIN_MESSAGE]
    assert rule("-", prefix=True) == [SUBDOMAIN_MESSAGE]
    assert rule("Web-", prefix=True) == [SUBDOMAIN_MESSAGE]
    assert names.path_segment_name("..", prefix=True) == []


def test_generated_names_repeat_with_their_seed_and_fit_a_label() -> None:
    assert names.simple_generate("web-", Random(1)) == names.simple_generate("web-", Random(1))
    name = names.simple_generate("a" * 100, Random(2))
    assert len(name) == 63
    assert name.startswith("a" * 58)
    assert not names.dns1123_label(name)


@given(st.text(st.characters(codec="ascii"), min_size=1), st.randoms(use_true_random=False))
def test_generated_suffixes_spell_no_words(base: str, random: Random) -> None:
    name = names.simple_generate(base, random)
    assert name[:-5] == base[:58]
    assert set(name[-5:]) <= set(names.SAFE_ALPHABET)


def test_suffixes_drawn_together_are_as_many_different_ones() -> None:
    suffixes = names.Suffixes(Random(1))
    drawn = [suffixes.take() for _ in range(200 * names.SUFFIXES_AT_ONCE + 1)]
    assert len(set(drawn)) > len(drawn) - 30
    assert {len(each) for each in drawn} == {5}
    letters = Counter("".join(drawn))
    assert set(letters) == set(names.SAFE_ALPHABET)
    # Each letter comes equally often, but for what is left to chance: 2,370 times, give or take 48.
    assert max(letters.values()) - min(letters.values()) < 300


def test_safe_encode_maps_every_character() -> None:
    assert names.safe_encode("0123456789") == "456789bcdf"
