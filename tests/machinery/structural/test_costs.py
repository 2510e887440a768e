"""What rules could cost, by upstream's own table (apiextensions-apiserver `schema/cel/compilation_test.go`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tiphys.machinery.structural.declarations import declare
from tiphys.machinery.structural.rules import TYPE_NAME, compile_rules

Schema = dict[str, Any]
Make = Callable[[int | None], Schema]


def primitive(kind: str) -> Schema:
    if kind == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    if kind in ("date", "date-time", "duration", "byte"):
        return {"type": "string", "format": kind}
    return {"type": kind}


def limited(schema: Schema, word: str, limit: int | None) -> Schema:
    return schema if limit is None else {**schema, word: limit}


def array(items: Schema | str) -> Make:
    item = primitive(items) if isinstance(items, str) else items
    return lambda most: limited({"type": "array", "items": item}, "maxItems", most)


def mapping(values: Schema | str) -> Make:
    value = primitive(values) if isinstance(values, str) else values
    return lambda most: limited({"type": "object", "additionalProperties": value}, "maxProperties", most)


def text(**more: Any) -> Make:
    return lambda most: limited({"type": "string", **more}, "maxLength", most)


PAIR: Schema = {
    "type": "object",
    "properties": {"required": {"type": "string"}, "optional": {"type": "string"}},
    "required": ["required"],
}


def nested_values(most: int | None) -> Schema:
    return limited({"type": "object", "additionalProperties": text()(most)}, "maxProperties", most)


def nested_all(most: int | None) -> Schema:
    inner = limited(PAIR, "maxProperties", most)
    return limited({"type": "array", "items": mapping(inner)(most)}, "maxItems", most)


def nested_one(most: int | None) -> Schema:
    return {"type": "array", "items": mapping(PAIR)(most)}


def texts_in_array(most: int | None) -> Schema:
    return limited({"type": "array", "items": text()(most)}, "maxItems", most)


def replacement(most: int | None) -> Schema:
    return {"type": "object", "properties": {"str": text()(most), "before": text()(2), "after": text()(4)}}


def splitting(most: int | None) -> Schema:
    return {"type": "object", "properties": {"str": text()(most), "separator": text()(most)}}


EACH = "self.all(x, true)"
HAS = "has(self.x)"
ANY = -1

# schema, rule, cost without a limit, limit, cost with it
CASES: list[tuple[Make, str, int, int, int]] = [
    (array("number"), EACH, 4718591, 10, 32),
    (array("string"), EACH, 3145727, 20, 62),
    (array("boolean"), EACH, 1887437, 5, 17),
    (array({"type": "array", "items": {"type": "number"}}), EACH, 3145727, 100, 302),
    (array(PAIR), EACH, 555128, 50, 152),
    (mapping("number"), EACH, 1348169, 10, 32),
    (mapping("number"), HAS, 1, 100, 1),
    (mapping("string"), EACH, 1179647, 3, 11),
    (mapping("boolean"), EACH, 943718, 100, 302),
    (text(), "self.contains('test')", 314574, 10, 5),
    (text(), "self.startsWith('test')", 2, 15, 2),
    (text(), "self.endsWith('test')", 2, 30, 2),
    (text(), 'size(self + "hello") > size("hello")', 314578, 4, 7),
    (array("number"), "self[1] == 0.0", 2, 5000, 2),
    (array("string"), "self[1] == self[1]", 314577, 8, 314577),
    (array("number"), "self.all(x, self.all(y, true))", ANY, 10, 352),
    (array("number"), "self.all(x, self.all(y, self.all(z, true)))", ANY, 10, 3552),
    (text(), 'self.matches("x")', 314574, 50, 22),
    (text(), '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
    (text(), 'self.matches("")', 1, 100, 1),
    (nested_values, "self.all(x, x.contains(self[x]))", 2752507, 10, 72),
    (array("number"), "self[3] == 0.0", 2, 0, 2),
    (mapping("number"), 'self["x"] == 0.0', 2, 0, 2),
    (text(), 'self == "x"', 2, 0, 1),
    (text(format="byte"), 'self == b"x"', 2, 0, 1),
    (array("number"), "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
    (nested_all, 'self.all(x, x["y"].required == "z")', 7340027, 10, 72),
    (nested_one, 'self.all(x, x["y"].required == "z")', 7340027, 10, 7340027),
    (array("int-or-string"), EACH, 4718591, 10, 32),
    (array("int-or-string"), "self[0] == 5", 3, 10, 3),
    (array("boolean"), "self[0] == false", 2, 25, 2),
    (array(PAIR), "self[0] == null", 2, 422, 2),
    (array({"type": "array", "items": {"type": "number"}}), "self[0][0] == -1.0", 3, 51, 3),
    (
        array({"type": "object", "additionalProperties": {"type": "number"}}),
        "self.all(x, x.y == 25.2)",
        6291452,
        12,
        74,
    ),
    (array({"type": "object", "additionalProperties": {"type": "number"}}), "self[0].x > 2.0", 4, 3000, 4),
    (array("duration"), EACH, 2359295, 5, 17),
    (array("duration"), "self[0].getHours() == 2", 4, 525, 4),
    (array("date"), EACH, 725936, 15, 47),
    (array("date"), "self[2].getDayOfMonth() == 13", 4, 42, 4),
    (array("date-time"), EACH, 428963, 25, 77),
    (array("date-time"), "self[2].getMinutes() == 45", 4, 99, 4),
    (mapping("int-or-string"), EACH, 1348169, 15, 47),
    (mapping(PAIR), EACH, 428963, 20, 62),
    (mapping({"type": "object", "additionalProperties": {"type": "number"}}), EACH, 1179647, 10, 32),
    (mapping({"type": "array", "items": {"type": "number"}}), EACH, 1179647, 25, 77),
    (mapping("duration"), EACH, 1048577, 5, 17),
    (mapping("date"), EACH, 524288, 10, 32),
    (mapping("date-time"), EACH, 349526, 25, 77),
    (text(), "self.find('[0-9]+') == ''", 629147, 10, 11),
    (texts_in_array, "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
    (texts_in_array, "self.isSorted() == true", 329854432052, 10, 52),
    (replacement, "self.str.replace(self.before, self.after) == 'does not matter'", 629154, 4, 12),
    (splitting, "self.str.split(self.separator) == []", 629160, 10, 22),
    (text(), "self.lowerAscii() == 'lower!'", 314575, 10, 6),
    (mapping("integer"), "oldSelf.size() == self.size()", 5, 10, 5),
    (mapping("date-time"), 'self["a"] == self["b"]', 8, 7, 8),
    (mapping("duration"), 'self["c"] == self["d"]', 8, 42, 8),
    (text(enum=["A", "B", "C", "LongValue"]), "self.contains('A')", 2, 1000, 401),
]


def cost(schema: Schema, rule: str) -> int:
    declared = declare(schema, TYPE_NAME, is_resource=False)
    assert declared is not None
    [compiled] = compile_rules({**schema, "x-kubernetes-validations": [{"rule": rule}]}, declared)
    assert compiled.error == ""
    assert compiled.program is not None
    return compiled.program.estimated_cost().high


@pytest.mark.parametrize(("make", "rule", "unlimited", "limit", "with_limit"), CASES)
def test_costs(make: Make, rule: str, unlimited: int, limit: int, with_limit: int) -> None:
    if unlimited != ANY:
        assert cost(make(None), rule) == unlimited
    assert cost(make(limit), rule) == with_limit
