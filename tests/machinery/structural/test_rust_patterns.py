"""Patterns that Rust may match in the place of RE2: what they match is the same."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft4Validator, RegexOptions

from tiphys.machinery.cel.re2 import PatternError, compile_pattern
from tiphys.machinery.structural.rust_patterns import as_rust

PARTS = st.sampled_from(
    [
        *"abAZ09-.+*?|()[]^$\\{},&~_:/ \n",
        r"\d",
        r"\w",
        r"\s",
        r"\.",
        "[a-z]",
        "[^a]",
        "{1,3}",
        r"[\w.-]",
        "(?:",
        "é",
        r"\-",
        r"[^\s/]",
        "[-a]",
        "[a-]",
        r"\b",
        r"\pL",
        "(?i)",
        r"\<",
        "[a&&b]",
    ]
)
# Digits, letters, spaces and line ends that one of the two might know and the other not.
TEXTS = [
    "",
    "a",
    "b",
    "ab",
    "A",
    "0",
    "-",
    "a-b",
    "a.b",
    ".",
    "\n",
    "a\n",
    "é",
    "٣",
    "ſ",
    "a&b",
    "~",
    "_",
    "\\",
]
TEXTS += [" ", "\t", "\v", "\x85", "\u212a", "\u2028", "aaaa", "<a", "&"]


@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=8).map("".join))
def test_both_match_the_same_texts(pattern: str) -> None:
    try:
        ours = compile_pattern(pattern)
    except PatternError:
        return
    translated = as_rust(pattern)
    if translated is None:
        return
    rust = Draft4Validator({"pattern": translated}, pattern_options=RegexOptions())
    assert [rust.is_valid(text) for text in TEXTS] == [ours.matches(text) for text in TEXTS]


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
        r"^(\d+|\d+%|[^\s/]+)$",
        r"^arn:aws[-a-z]*:[^:]*:\d{12}$",
        r"^.*$",
    ],
)
def test_what_schemas_use_needs_no_python(pattern: str) -> None:
    assert as_rust(pattern) is not None


@pytest.mark.parametrize(
    "pattern", [r"\pL", r"(?i)a", r"\bword", r"[a&&b]", r"\<a", "é", "[[:alpha:]]", r"\Aa\z"]
)
def test_what_may_mean_something_else_is_left_to_re2(pattern: str) -> None:
    assert as_rust(pattern) is None
