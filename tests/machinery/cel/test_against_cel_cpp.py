"""cel-cpp as an oracle: what both compile gives the same value, or fails, in both.

Only the language itself is compared: Kubernetes' library is not cel-cpp's. Differences that are known: cel-go, whose
ways we follow, converts between durations and integers, looks up keys of any type, and compares numbers of two types.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cel_expr_python import cel
from cel_expr_python.ext import ext_optional
from hypothesis import given, settings
from hypothesis import strategies as st

from tiphys.machinery.cel import (
    DYN,
    CelError,
    CelRuntimeError,
    Duration,
    Environment,
    Optional,
    Timestamp,
    UInt,
)

ORACLE = cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=[ext_optional.ExtOptional()])
OURS = Environment({"self": DYN})
BINDINGS: dict[str, Any] = {
    "self": {"n": 3, "f": 1.5, "s": "aé", "l": [3, 1], "m": {"a": 1, "b": 2}, "any": {"a": [1, "x", None]}}
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNKNOWN_THERE = ("duration(int", "int(duration)", "duration(null", "@in", "(duration)", "duration(int64)")


def micros(span: timedelta) -> int:
    return (span.days * 86400 + span.seconds) * 10**6 + span.microseconds


def shown(value: Any) -> Any:
    """A value in a form in which both can be compared."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, UInt | int):
        return int(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, datetime):
        return "time", micros(value - _EPOCH)
    if isinstance(value, Timestamp):
        return "time", value.nanos // 1000
    if isinstance(value, timedelta):
        return "span", micros(value)
    if isinstance(value, Duration):
        return "span", value.nanos // 1000
    if isinstance(value, dict):
        return sorted((repr(shown(key)), shown(each)) for key, each in value.items())
    return (
        [shown(each) for each in value] if isinstance(value, list | tuple) else type(value).__name__.lower()
    )


def theirs(text: str) -> tuple[str, Any]:
    try:
        program = ORACLE.compile(text)
    except Exception:
        return "no expression", None
    try:
        value = program.eval(data=BINDINGS)
    except Exception as error:
        return "failure", str(error)
    if value.type() == cel.Type.ERROR:
        return "failure", str(value.value())
    return "value", shown(value.plain_value())


def ours(text: str) -> tuple[str, Any]:
    try:
        program = OURS.compile(text)
    except CelError:
        return "no expression", None
    try:
        value = program.evaluate(BINDINGS)
    except CelRuntimeError as error:
        return "failure", str(error)
    return "value", "optional" if isinstance(value, Optional) else shown(value)


def agree(text: str) -> bool:
    one, other = theirs(text), ours(text)
    if "no expression" in (one[0], other[0]):
        # Ours wants lists of one type and sound literals; theirs knows fewer functions.
        return True
    if one[0] == "failure" and any(known in one[1] for known in _UNKNOWN_THERE):
        return True
    return one[0] == other[0] and (one[0] == "failure" or one[1] == other[1])


FIXED = [
    *("1 + 2 * 3", "7 / -2", "-7 % 3", "1.0 / 0.0", "-1.0 / 0.0", "0.1 + 0.2", "1 / 0", "1 % 0", "2.5 * 2.0"),
    *("9223372036854775807 + 1", "-9223372036854775808 - 1", "1u - 2u", "18446744073709551615u + 1u"),
    *("-(-9223372036854775808)", "9223372036854775807 * 2", "-9223372036854775808 / -1"),
    *("dyn(1) == 1.0", "dyn(1u) == 1", "dyn([1]) == [1.0]", "dyn({'a': 1}) == {'a': 1.0}", "dyn('1') == 1"),
    *("dyn(0.0 / 0.0) == dyn(0.0 / 0.0)", "[0.0 / 0.0] == [0.0 / 0.0]", "0.0 == -0.0", "null == dyn(null)"),
    *(
        "'a' < 'b'",
        "'é' > 'z'",
        "b'\\xff' > b'\\x00'",
        "false < true",
        "'a' + 'b'",
        "b'a' + b'b'",
        "[1] + [2]",
    ),
    *(
        "1 / 0 > 0 || true",
        "false && 1 / 0 > 0",
        "1 / 0 > 0 && false",
        "1 / 0 > 0 || false",
        "true ? 1 : 1 / 0",
    ),
    *(
        "self.n",
        "self.missing",
        "self['m'].a",
        "self.l[0]",
        "self.l[2]",
        "self.l[-1]",
        "self.any.a[2]",
        "self.l['x']",
    ),
    *("has(self.m)", "has(self.zz)", "has(self.m.zz)", "'a' in self.m", "3 in self.l", "'x' in self.any.a"),
    *(
        "self.l.all(x, x > 0)",
        "self.l.exists(x, x == 1)",
        "self.l.exists_one(x, x > 2)",
        "self.m.all(k, k != 'z')",
    ),
    *(
        "self.l.map(x, x * 2)",
        "self.l.filter(x, x > 1)",
        "self.l.map(x, x > 1, x)",
        "self.m.exists(k, self.m[k] == 2)",
    ),
    *(
        "[1, 0].exists(x, 1 / x > 0)",
        "[0, 1].exists(x, 1 / x > 0)",
        "[1, 0].all(x, 1 / x > 0)",
        "[].all(x, 1 / 0 > 0)",
    ),
    *("size('aé☺')", "size(b'aé')", "size(self.l)", "size(self.m)", "'aé'.size()"),
    *(
        "int('12')",
        "int('x')",
        "int(1.9)",
        "int(-1.9)",
        "int(1e30)",
        "uint(-1)",
        "uint('3')",
        "double('1e3')",
    ),
    *(
        "string(1)",
        "string(1u)",
        "string(1.5)",
        "string(true)",
        "string(b'a')",
        "string(b'\\xff')",
        "bytes('é')",
    ),
    *("bool('true')", "bool('x')", "type(1) == int", "type('') == string", "type(dyn(1.0)) == double"),
    *(
        "timestamp('2020-01-01T00:00:00Z').getFullYear()",
        "timestamp('2020-02-30T00:00:00Z')",
        "timestamp('x')",
    ),
    *(
        "timestamp('2020-12-31T23:59:59Z') + duration('1s')",
        "duration('1h30m')",
        "duration('1x')",
        "duration('-1.5s')",
    ),
    *(
        "timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z')",
        "duration('1h') - duration('1m')",
    ),
    *("timestamp('2020-01-01T00:00:00Z').getDayOfWeek()", "timestamp('2020-03-01T00:00:00Z').getDayOfYear()"),
    *(
        "timestamp('2020-01-01T00:00:00Z').getHours('-03:30')",
        "timestamp('2020-07-01T00:00:00Z').getHours('Europe/Paris')",
    ),
    *(
        "int(timestamp('2020-01-01T00:00:00Z'))",
        "string(timestamp('2020-01-01T00:00:00Z'))",
        "duration('90s').getMinutes()",
    ),
    *(
        "'abc'.matches('b+')",
        "'abc'.matches('^b')",
        "'abc'.contains('')",
        "'abc'.startsWith('ab')",
        "'abc'.endsWith('bc')",
    ),
    *("optional.of(1).value()", "optional.none().orValue(2)", "self.?n.orValue(0)", "self.?zz.orValue(0)"),
    *(
        "[?optional.none(), 1]",
        "{?'a': optional.of(1)}",
        "optional.of(2).optMap(x, x * 2).value()",
        "self.l[?5].hasValue()",
    ),
    *("{'a': 1}['a']", "{1: 'a'}[dyn(1.0)]", "{true: 1}[true]", "{'a': 1, 'a': 2}", "[1, 2][dyn(1u)]"),
]


@pytest.mark.parametrize("text", FIXED)
def test_fixed_expressions(text: str) -> None:
    assert agree(text), f"cel-cpp: {theirs(text)}, ours: {ours(text)}"


LEAVES = st.sampled_from(
    [
        *("self", "self.n", "self.f", "self.s", "self.l", "self.m", "self.any", "self.any.a", "self.zz"),
        *("0", "1", "-1", "7", "9223372036854775807", "1u", "0u", "0.0", "1.5", "-2.0", "1e300"),
        *(
            "true",
            "false",
            "null",
            "''",
            "'a'",
            "'aé☺'",
            "b'\\xff'",
            "[]",
            "{}",
            "[1, 2]",
            "['a']",
            "{'a': 1}",
        ),
        *("duration('1h')", "timestamp('2020-01-01T00:00:00Z')", "dyn(1)", "dyn('x')", "dyn([1, 'a'])"),
    ]
)
BINARY = st.sampled_from(["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"])
METHODS = st.sampled_from(
    ["size()", "contains('a')", "startsWith('a')", "matches('a|b')", "getFullYear()", "getHours()", "a", "zz"]
)
FUNCTIONS = st.sampled_from(["int", "uint", "double", "string", "bytes", "bool", "dyn", "size", "!", "-"])
MACROS = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, BINARY, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}.{}".format, inner, METHODS),
        st.builds("{}({})".format, FUNCTIONS, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("dyn([{}, {}])".format, inner, inner),
        st.builds("{}.{}(x, {})".format, inner, MACROS, inner),
        st.builds("{}.{}(x, x == {})".format, inner, MACROS, inner),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(LEAVES, grown, max_leaves=8))
def test_random_expressions(text: str) -> None:
    assert agree(text), f"cel-cpp: {theirs(text)}, ours: {ours(text)}"
