"""The language, as the CEL specification has it: expressions and their values, expressions and how they fail."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tiphys.machinery.cel import DYN, CelError, CelRuntimeError, Environment, UInt
from tiphys.machinery.cel.equality import equals

ENVIRONMENT = Environment({"x": DYN, "items": DYN, "entries": DYN, "nothing": DYN})
BINDINGS: dict[str, Any] = {
    "x": 3,
    "items": [1, 2, 3],
    "entries": {"a": 1, "b": {"c": [True, None]}},
    "nothing": None,
}

VALUES: dict[str, Any] = {
    # Literals
    "42": 42,
    "0x2A": 42,
    "-0x2a": -42,
    "42u": UInt(42),
    "0xFFu": UInt(255),
    "1.5": 1.5,
    ".5e1": 5.0,
    "-2e-3": -0.002,
    "true": True,
    "null": None,
    r"'it\'s'": "it's",
    r'"\u00e9\x41\101\t\\"': "éAA\t\\",
    r"r'\d'": "\\d",
    "'''a\nb'''": "a\nb",
    r"'\U0001F431'": "🐱",
    r"b'\xff\000a'": b"\xff\x00a",
    "b'é'": "é".encode(),
    "[1, 2,]": [1, 2],
    "{'a': 1, 'b': 2,}": {"a": 1, "b": 2},
    "// a comment\n1 // and another": 1,
    # Arithmetic
    "1 + 2 * 3 - 4": 3,
    "7 / 2": 3,
    "-7 / 2": -3,
    "-7 % 3": -1,
    "7 % -3": 1,
    "7u / 2u": UInt(3),
    "7.0 / 2.0": 3.5,
    "1.0 / 0.0": math.inf,
    "-(-3)": 3,
    "'a' + 'b'": "ab",
    "b'a' + b'b'": b"ab",
    "[1] + [2]": [1, 2],
    "9223372036854775806 + 1": 2**63 - 1,
    # Comparison
    "1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3": True,
    "'a' < 'b' && b'a' < b'b' && false < true": True,
    "dyn(1) == 1.0 && 1u == dyn(1) && dyn(1.0) == 1u": True,
    "1 < 1.5 && 2u > 1 && 1.5 < 2u": True,
    "9007199254740993 > 9007199254740992.0": True,
    "dyn(1) == dyn('1')": False,
    "dyn(true) == dyn(1)": False,
    "0.0 == -0.0": True,
    "dyn(0.0 / 0.0) == dyn(0.0 / 0.0)": False,
    "[1, 2] == [1, 2] && [1] != [1, 2]": True,
    "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}": True,
    "{1: 'x'} == dyn({1u: 'x'})": True,
    "[[1], [2]] == dyn([[1.0], [2.0]])": True,
    "timestamp('2020-01-01T00:00:00Z') < timestamp('2020-01-01T00:00:00.000000001Z')": True,
    "duration('60s') == duration('1m')": True,
    "type(1) == int && type([]) == list && type(type(1)) == type": True,
    # Logic: what fails does not count where the other side decides
    "1 / 0 > 1 || true": True,
    "true || 1 / 0 > 1": True,
    "false && 1 / 0 > 1": False,
    "1 / 0 > 1 && false": False,
    "true ? 1 : 1 / 0": 1,
    "false ? 1 / 0 : 2": 2,
    "!true || !false": True,
    "true ? 1 : false ? 2 : 3": 1,
    # Access
    "items[1]": 2,
    "items[dyn(1.0)] == items[dyn(1u)]": True,
    "entries.a": 1,
    "entries['b'].c[0]": True,
    "entries.b['c'][1]": None,
    "{1: 'x'}[dyn(1.0)]": "x",
    "has(entries.b.c) && !has(entries.z) && !has(entries.b.z)": True,
    "'a' in entries && !('z' in entries) && 2 in items && !(5 in items)": True,
    "size(items) + entries.size() + 'é☺'.size() + size(b'abc')": 10,
    # Macros
    "items.all(i, i > 0)": True,
    "items.exists(i, i == 2) && !items.exists(i, i == 9)": True,
    "items.exists_one(i, i > 2) && !items.exists_one(i, i > 1)": True,
    "items.map(i, i * i)": [1, 4, 9],
    "items.map(i, i > 1, i * 10)": [20, 30],
    "items.filter(i, i % 2 == 1)": [1, 3],
    "entries.map(k, k).exists(k, k == 'b')": True,
    "entries.all(k, k in ['a', 'b'])": True,
    "[].all(i, false) && ![].exists(i, true)": True,
    # An element that fails does not count where another decides.
    "[1, 0].exists(i, 2 / i > 1)": True,
    "![1, 0, 5].all(i, 2 / i > 1)": True,
    "items.map(i, items.filter(j, j < i).size())": [0, 1, 2],
    "[[1, 2], [3]].all(l, l.all(i, i > 0))": True,
    # Macros of two variables
    "items.all(i, v, v == i + 1)": True,
    "entries.exists(k, v, k == 'a' && v == dyn(1))": True,
    "items.existsOne(i, v, i == 0)": True,
    "items.transformList(i, v, i * v)": [0, 2, 6],
    "items.transformList(i, v, v > 1, v)": [2, 3],
    "{'a': 1, 'b': 2}.transformMap(k, v, v * 2)": {"a": 2, "b": 4},
    "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)": {"b": 2},
    "{'a': 1}.transformMapEntry(k, v, {v: k})": {1: "a"},
    "cel.bind(a, 2 + 3, a * a)": 25,
    # Optionals
    "optional.of(1).hasValue() && !optional.none().hasValue()": True,
    "optional.of(1).value()": 1,
    "optional.none().orValue(2)": 2,
    "optional.none().or(optional.of(3)).value()": 3,
    "optional.ofNonZeroValue(0).hasValue()": False,
    "entries.?z.orValue('none')": "none",
    "entries.?b.c[0].orValue(false)": True,
    "items[?9].hasValue()": False,
    "entries[?'a'].value()": 1,
    "optional.of(2).optMap(v, v * 2).value()": 4,
    "optional.of(2).optFlatMap(v, v > 1 ? optional.of(v) : optional.none()).value()": 2,
    "[1, ?optional.none(), ?optional.of(3)]": [1, 3],
    "{'a': 1, ?'b': optional.none(), ?'c': optional.of(3)}": {"a": 1, "c": 3},
    "has(entries.?b.c)": True,
    # Conversions
    "int('-5') + int(5u) + int(5.9) + int(-5.9)": 0,
    "uint('5')": UInt(5),
    "double('1.5') + double(2)": 3.5,
    "string(1) + string(1u) + string(1.5) + string(true) + string(b'x')": "111.5truex",
    "string(1e100)": "1e+100",
    "bytes('é')": "é".encode(),
    "bool('true') && !bool('False')": True,
    "int(timestamp('1970-01-01T00:01:00Z'))": 60,
    "string(duration('1h1m'))": "3660s",
    "string(timestamp('2020-01-01T00:00:00.5Z'))": "2020-01-01T00:00:00.5Z",
    "timestamp(60) == timestamp('1970-01-01T00:01:00Z')": True,
    # Times
    "timestamp('2020-02-28T00:00:00Z') + duration('24h') == timestamp('2020-02-29T00:00:00Z')": True,
    "timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z') == duration('24h')": True,
    "timestamp('2023-12-25T00:01:02.345Z').getFullYear()": 2023,
    "timestamp('2023-12-25T00:01:02.345Z').getMonth()": 11,
    "timestamp('2023-12-25T00:01:02.345Z').getDayOfMonth()": 24,
    "timestamp('2023-12-25T00:01:02.345Z').getDate()": 25,
    "timestamp('2023-12-25T00:01:02.345Z').getDayOfYear()": 358,
    "timestamp('2023-12-25T00:01:02.345Z').getDayOfWeek()": 1,
    "timestamp('2023-12-25T00:01:02.345Z').getMilliseconds()": 345,
    "timestamp('2023-12-25T00:00:00Z').getHours('America/New_York')": 19,
    "timestamp('2023-12-25T00:00:00Z').getMinutes('+05:30')": 30,
    "duration('3730s').getHours() + duration('3730s').getMinutes()": 63,
    # Text
    "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')": True,
    r"'a1'.matches('^[a-z]\\d$') && matches('xay', 'a')": True,
    "nothing == null": True,
}


@pytest.mark.parametrize("text", VALUES)
def test_a_value(text: str) -> None:
    value, wanted = ENVIRONMENT.compile(text).evaluate(BINDINGS), VALUES[text]
    assert equals(value, wanted)
    assert value.__class__ is wanted.__class__


FAILURES = {
    "1 / 0": "division by zero",
    "1 % 0": "modulus by zero",
    "9223372036854775807 + 1": "integer overflow",
    "-9223372036854775807 - 2": "integer overflow",
    "9223372036854775807 * 2": "integer overflow",
    "-9223372036854775808 / -1": "integer overflow",
    "-(-9223372036854775808)": "integer overflow",
    "1u - 2u": "unsigned integer overflow",
    "int(1e100)": "integer overflow",
    "uint(-1)": "unsigned integer overflow",
    "int('x')": "type conversion error from 'string' to 'int'",
    "items[3]": "index out of bounds: 3",
    "items[-1]": "index out of bounds: -1",
    "entries.z": "no such key: z",
    "entries['z']": "no such key: z",
    "x.y": "no such overload",
    "nothing.a": "no such overload",
    "x + 'a'": "no such overload",
    "!x": "no such overload",
    "x ? 1 : 2": "no such overload",
    "dyn('a') && true": "no such overload",
    "dyn({'a': 1, 'b': 2})['c']": "no such key: c",
    "{dyn('a'): 1, dyn('a'): 2}": "Failed with repeated key: a",
    "optional.none().value()": "optional.none() dereference",
    "[1, 0].all(i, 2 / i > 1)": "division by zero",
    "timestamp('9999-12-31T23:59:59Z') + duration('1s')": "timestamp overflow",
    "'a'.matches(x == 3 ? '(' : '')": "error parsing regexp: missing closing ): `(`",
}


@pytest.mark.parametrize("text", FAILURES)
def test_a_failure(text: str) -> None:
    with pytest.raises(CelRuntimeError) as caught:
        ENVIRONMENT.compile(text).evaluate(BINDINGS)
    assert str(caught.value) == FAILURES[text]


ERRORS = {
    "1 +": "1:4: Syntax error: mismatched input '<EOF>' expecting",
    "unknown": "1:1: undeclared reference to 'unknown' (in container '')",
    "unknown(1)": "1:8: undeclared reference to 'unknown' (in container '')",
    "1 + 'a'": "1:3: found no matching overload for '_+_' applied to '(int, string)'",
    "'a'.size(1)": "1:9: found no matching overload for 'size' applied to 'string.(int)'",
    "[1, 'a']": "1:5: expected type 'int' but found 'string'",
    "{'a': 1, 'b': 'c'}": "1:15: expected type 'int' but found 'string'",
    "1.a": "1:2: type 'int' does not support field selection",
    "'a'.map(x)": "1:8: undeclared reference to 'map' (in container '')",
    "1 ? 2 : 3": "1:3: found no matching overload for '_?_:_' applied to '(int, int, int)'",
    "1 && true": "1:3: found no matching overload for '_&&_' applied to '(int, bool)'",
    "has(x)": "1:5: invalid argument to has() macro",
    "[1].all(1, true)": "1:9: argument must be a simple name",
    "9223372036854775808": "1:1: invalid int literal",
    "'abc": "1:1: Syntax error: token recognition error at: ''abc'",
    "'a'.matches('(')": "1:13: invalid matches argument",
    "duration('x')": "1:10: invalid duration argument",
    "for": "1:1: reserved identifier: for",
}


@pytest.mark.parametrize("text", ERRORS)
def test_an_error(text: str) -> None:
    with pytest.raises(CelError) as caught:
        ENVIRONMENT.compile(text)
    assert str(caught.value).splitlines()[0].startswith(f"ERROR: <input>:{ERRORS[text]}")
