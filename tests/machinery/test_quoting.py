"""Text as Go prints it."""

import pytest

from tiphys.machinery.quoting import (
    format_duration,
    format_float,
    format_value,
    go_json,
    go_print,
    quote,
)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("web", '"web"'),
        ("", '""'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a\\b", '"a\\\\b"'),
        ("line\nend\ttab", '"line\\nend\\ttab"'),
        ("\x00\x7f", '"\\x00\\x7f"'),
        ("é \u200b", '"é \\u200b"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_quote(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (100000.0, "100000"),
        (1e6, "1e+06"),
        (123456789.0, "1.23456789e+08"),
        (0.0001, "0.0001"),
        (0.000015, "1.5e-05"),
        (-2.25, "-2.25"),
        (1e21, "1e+21"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Inf"),
    ],
)
def test_floats_have_the_shortest_digits_and_an_early_exponent(value: float, text: str) -> None:
    assert format_float(value) == text


def test_json_sorts_keys_and_escapes_html() -> None:
    assert go_json({"b": "<&>", "a": [1, None, True]}) == '{"a":[1,null,true],"b":"\\u003c\\u0026\\u003e"}'


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", '"x"'), (3, "3"), (True, "true"), (1.5, "1.5"), (None, "null"), ([], "[]"), ({"a": 1}, '{"a":1}')],
)
def test_values_in_messages(value: object, text: str) -> None:
    assert format_value(value) == text


def test_print_of_nested_values() -> None:
    assert go_print({"b": ["x", 1, None], "a": {"c": True}}) == "map[a:map[c:true] b:[x 1 <nil>]]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (10, "10s"),
        (160, "2m40s"),
        (300, "5m0s"),
        (3600, "1h0m0s"),
        (1.5, "1.5s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (1e-6, "1µs"),
        (-5, "-5s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
