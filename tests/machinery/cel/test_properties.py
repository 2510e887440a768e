"""What holds for every expression."""

from typing import Any

import pytest
from cel_expressions import expressions
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.machinery.cel import (
    BOOL,
    DYN,
    INT,
    STRING,
    CelError,
    CelRuntimeError,
    Environment,
    list_of,
    map_of,
    object_type,
)
from tiphys.machinery.cel.equality import equals

PIECES = [
    "",
    "(",
    ")",
    "[",
    "]",
    ".",
    "?.",
    "[?",
    ",",
    "'",
    "self",
    "null",
    "-",
    "1u",
    "b'a'",
    "{",
    "}",
    ":",
    "|| ",
    "0x",
]
PIECES += [
    ".map(x, x)",
    ".all(self, self)",
    "has(self.n)",
    "optional.of(",
    ".orValue(",
    "9223372036854775808",
    "1e999",
]
PIECES += [
    "dyn(",
    "type(",
    "duration('1s')",
    "timestamp(0)",
    "quantity('1k')",
    "cel.bind(",
    "semver('1.0.0')",
    "self.any",
]
SELF = object_type("Object", {"n": INT, "s": STRING, "l": list_of(INT), "m": map_of(STRING, INT), "any": DYN})
TYPED = Environment({"self": SELF, "i": INT})
DYNAMIC = Environment({"self": DYN, "i": DYN})
BINDINGS: dict[str, Any] = {
    "self": {"n": 3, "s": "aé", "l": [3, 1], "m": {"a": 1, "b": 2}, "any": {"a": [1, "x", None]}},
    "i": 5,
}


def outcome(environment: Environment, text: str) -> tuple[str, Any]:
    """How it goes; whatever is raised but CEL's own errors fails the test."""
    try:
        program = environment.compile(text)
    except CelError as error:
        return "no expression", (error.line, error.column)
    try:
        value, cost = program.evaluate_with_cost(BINDINGS)
    except CelRuntimeError:
        return "error", None
    # Upstream takes comparing declared numbers for free when it estimates, but not when it counts.
    assert environment is TYPED or cost <= program.estimated_cost().high
    return "value", value


@settings(max_examples=300, deadline=None)
@given(expressions)
def test_nothing_but_its_own_errors_is_raised(text: str) -> None:
    first, second = outcome(TYPED, text), outcome(TYPED, text)
    assert first[0] == second[0]


@settings(max_examples=200, deadline=None)
@given(expressions)
def test_types_that_are_known_change_no_value(text: str) -> None:
    """What compiles with types gives the same value, or the same failure, without them."""
    typed = outcome(TYPED, text)
    if typed[0] == "no expression":
        return
    dynamic = outcome(DYNAMIC, text)
    assert dynamic[0] == typed[0], text
    if typed[1] == typed[1]:
        assert equals(typed[1], dynamic[1]), text


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text("()[]{}.?:&|!-+*/%<>=,'\"\\abrux019 \n", max_size=40))
def test_any_text_is_an_expression_or_a_compile_error(text: str) -> None:
    outcome(TYPED, text)


@settings(max_examples=300, deadline=None)
@given(expressions, st.data())
def test_a_damaged_expression_is_an_expression_or_a_compile_error(text: str, data: st.DataObject) -> None:
    """Closer to what people write than any text: this reaches what checks types, and what evaluates."""
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 3))
        text = text[:place] + data.draw(st.sampled_from(PIECES)) + text[place + length :]
    outcome(TYPED, text)
    outcome(DYNAMIC, text)


TERMS = st.sampled_from(["t", "f", "1/0 > 0", "e.missing", "e.x", "has(e.x)", "true", "false"])
CHAINS = st.recursive(
    TERMS,
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||"]), inner),
    max_leaves=8,
)
LOGIC = Environment({"t": BOOL, "f": BOOL, "e": DYN})
LOGIC_BINDINGS = {"t": True, "f": False, "e": {"x": True}}


def decide(text: str) -> bool | None:
    """True, false, or None for an error."""
    try:
        value = LOGIC.compile(text).evaluate(LOGIC_BINDINGS)
    except CelRuntimeError:
        return None
    assert value is True or value is False
    return value


@settings(max_examples=200, deadline=None)
@given(CHAINS, CHAINS)
def test_errors_are_a_third_value(one: str, other: str) -> None:
    left, right = decide(one), decide(other)
    conjunction = False if False in (left, right) else None if None in (left, right) else True
    disjunction = True if True in (left, right) else None if None in (left, right) else False
    assert decide(f"{one} && {other}") is conjunction
    assert decide(f"{one} || {other}") is disjunction
    assert decide(f"!({one})") is (None if left is None else not left)
    assert decide(f"[{one}, {other}].all(x, x)") is (conjunction if None not in (left, right) else None)
    assert decide(f"[1, 2].all(x, x == 1 ? ({one}) : ({other}))") is conjunction
    assert decide(f"[1, 2].exists(x, x == 1 ? ({one}) : ({other}))") is disjunction


INTS = st.integers(-(2**63), 2**63 - 1)
ARITHMETIC = Environment({"a": INT, "b": INT})


@given(INTS, INTS)
def test_integers_are_exact_or_an_error(a: int, b: int) -> None:
    for sign, expected in (("+", a + b), ("-", a - b), ("*", a * b)):
        program = ARITHMETIC.compile(f"a {sign} b")
        if -(2**63) <= expected < 2**63:
            assert program.evaluate({"a": a, "b": b}) == expected
        else:
            with pytest.raises(CelRuntimeError, match=r"^integer overflow$"):
                program.evaluate({"a": a, "b": b})
    if b not in (0, -1):
        quotient, rest = (ARITHMETIC.compile(f"a {sign} b").evaluate({"a": a, "b": b}) for sign in "/%")
        assert quotient * b + rest == a
        assert abs(rest) < abs(b)
