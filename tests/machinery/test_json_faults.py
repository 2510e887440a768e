"""Texts that are no JSON are complained about in Go's words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.json_faults import UNEXPECTED_END, json_fault

FAULTS = {
    "": UNEXPECTED_END,
    "  ": UNEXPECTED_END,
    "{": UNEXPECTED_END,
    '{"a"': UNEXPECTED_END,
    '{"a":': UNEXPECTED_END,
    '{"a":1': UNEXPECTED_END,
    "[1,": UNEXPECTED_END,
    '"a': UNEXPECTED_END,
    '"\\u12': UNEXPECTED_END,
    "-": UNEXPECTED_END,
    "1.": UNEXPECTED_END,
    "1e": UNEXPECTED_END,
    "tru": UNEXPECTED_END,
    "{a}": "invalid character 'a' looking for beginning of object key string",
    '{"a":1,}': "invalid character '}' looking for beginning of object key string",
    "{,}": "invalid character ',' looking for beginning of object key string",
    '{"a" 1}': "invalid character '1' after object key",
    '{"a":1 "b"}': "invalid character '\"' after object key:value pair",
    '{"a":1]': "invalid character ']' after object key:value pair",
    "[1 2]": "invalid character '2' after array element",
    "[1,]": "invalid character ']' looking for beginning of value",
    "[,1]": "invalid character ',' looking for beginning of value",
    "[01]": "invalid character '1' after array element",
    "{}}": "invalid character '}' after top-level value",
    "1 x": "invalid character 'x' after top-level value",
    "nope": "invalid character 'o' in literal null (expecting 'u')",
    "truth": "invalid character 't' in literal true (expecting 'e')",
    "'a'": "invalid character '\\'' looking for beginning of value",
    "-a": "invalid character 'a' in numeric literal",
    "1.x": "invalid character 'x' after decimal point in numeric literal",
    "1ex": "invalid character 'x' in exponent of numeric literal",
    "1e+x": "invalid character 'x' in exponent of numeric literal",
    '"a\nb"': "invalid character '\\n' in string literal",
    '"\\x"': "invalid character 'x' in string escape code",
    '"\\u12g4"': "invalid character 'g' in \\u hexadecimal character escape",
    "\x00": "invalid character '\\x00' looking for beginning of value",
    "\u00e9": "invalid character 'Ã' looking for beginning of value",
    '{"metadata":{"labels":{"a":}}}': "invalid character '}' looking for beginning of value",
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.items())
def test_the_first_fault(text: str, fault: str) -> None:
    assert json_fault(text.encode()) == fault


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=values, indent=st.none() | st.integers(0, 3), escaped=st.booleans())
def test_json_has_none(value: object, indent: int | None, escaped: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    assert json_fault(text.encode("utf-8", "surrogatepass")) == ""


@given(text=st.text(st.sampled_from('{}[]:,"\\ \n0123.eE+-truefalsn'), max_size=12))
def test_there_is_one_wherever_another_parser_finds_one(text: str) -> None:
    try:
        json.loads(text)
        is_json = True
    except json.JSONDecodeError:
        is_json = False
    assert (json_fault(text.encode()) == "") is is_json


def test_depth_costs_nothing() -> None:
    assert json_fault(b"[" * 100_000) == UNEXPECTED_END
    assert json_fault(b"[" * 100_000 + b"]" * 100_000) == ""
