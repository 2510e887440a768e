"""Field selectors: grammar, escaping, matching."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.machinery.selectors import (
    EVERY_FIELD,
    FieldRequirement,
    FieldSelector,
    SelectorError,
    parse_field_selector,
)
from tiphys.machinery.selectors.fields import escape_value, unescape_value


@pytest.mark.parametrize(
    ("text", "requirements"),
    [
        ("a=b", [("a", "=", "b")]),
        ("a==b", [("a", "=", "b")]),
        ("a!=b", [("a", "!=", "b")]),
        ("a=", [("a", "=", "")]),
        (",b=2,,a=1,", [("a", "=", "1"), ("b", "=", "2")]),
        (
            "spec.nodeName=node-1,status.phase!=Running",
            [("spec.nodeName", "=", "node-1"), ("status.phase", "!=", "Running")],
        ),
        ("a=b\\,c", [("a", "=", "b,c")]),
        ("a=b\\=c\\\\", [("a", "=", "b=c\\")]),
        ("a=!", [("a", "=", "!")]),
    ],
)
def test_parsing(text: str, requirements: list[tuple[str, str, str]]) -> None:
    assert list(parse_field_selector(text).requirements) == requirements


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("a=1,b", "invalid selector: 'a=1,b'; can't understand 'b'"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
    ],
)
def test_parse_errors(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_field_selector(text)
    assert str(caught.value) == message


def test_matching_asks_for_each_field() -> None:
    pod = {"spec.nodeName": "node-1", "status.phase": "Running"}
    get = lambda field: pod.get(field, "")  # noqa: E731
    assert parse_field_selector("spec.nodeName=node-1").matches(get)
    assert not parse_field_selector("spec.nodeName=node-1,status.phase!=Running").matches(get)
    assert parse_field_selector("metadata.name=").matches(get)
    assert EVERY_FIELD.matches(get)
    assert parse_field_selector("") is EVERY_FIELD
    assert EVERY_FIELD.selects_everything


def test_exact_values_serve_as_keys_of_an_index() -> None:
    selector = parse_field_selector("a=1,b!=2")
    assert (selector.exact("a"), selector.exact("b"), selector.exact("c")) == ("1", None, None)


@given(st.text())
def test_escaping_is_undone(value: str) -> None:
    assert unescape_value(escape_value(value)) == value


FIELDS = st.from_regex(r"[a-z]{1,4}(\.[a-z]{1,4})?", fullmatch=True)
REQUIREMENTS = st.builds(
    FieldRequirement, FIELDS, st.sampled_from(["=", "!="]), st.text("ab=,\\!", max_size=4)
)


@given(st.sets(REQUIREMENTS, max_size=3))
def test_what_is_written_reads_as_the_same(requirements: set[FieldRequirement]) -> None:
    selector = FieldSelector(requirements)
    assert set(parse_field_selector(str(selector)).requirements) == requirements
