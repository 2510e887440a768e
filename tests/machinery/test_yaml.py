"""YAML as Kubernetes reads it, and what it may not do to its reader."""

from typing import Any

import pytest

from tiphys.machinery import yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes", {"a": True}),
        ("a: off", {"a": False}),
        ("a: 010", {"a": 8}),
        ("a: 2026-01-01", {"a": "2026-01-01"}),
        ("a: 2026-01-01T00:00:00Z", {"a": "2026-01-01T00:00:00Z"}),
        ("a: y\nb: N", {"a": True, "b": False}),
        ("a: yep", {"a": "yep"}),
        ("1: a\non: b\n~: c", {"1": "a", "true": "b", "~": "c"}),
        ("a: ~", {"a": None}),
        ("a: !!binary aGk=", {"a": "hi"}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 1:30.5", {"a": "1:30.5"}),
        ("a: 99999999999999999999999", {"a": 1e23}),
        ("a: 0x1F", {"a": 31}),
        ("- 1\n- [2, {b: 3}]", [1, [2, {"b": 3}]]),
        ("base: &b {x: 1}\nnew: {<<: *b, z: 2}", {"base": {"x": 1}, "new": {"x": 1, "z": 2}}),
        ("", None),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert yaml.load(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", 'line 2: key "a" already set in map'),
        ("a: b: c", "mapping values are not allowed"),
        ("? [a]\n: b", "a key that is not a scalar"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("a: &x [*x]", "recursive"),
        ("a: .inf", "unsupported value"),
        ("a: !!bool x", "is no boolean"),
        ("a: !!int x", "invalid literal"),
        ("a: !!set {b}", "could not determine a constructor"),
        ("a: *nowhere", "undefined alias"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(yaml.YAMLError, match=message.replace("(", r"\(")):
        yaml.load(text)


@pytest.mark.parametrize("open_and_close", [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")])
@pytest.mark.parametrize("depth", [201, 3_000, 200_000])
def test_depth_is_bounded(open_and_close: tuple[str, str], depth: int) -> None:
    before, after = open_and_close
    with pytest.raises(yaml.YAMLError, match="max depth"):
        yaml.load(before * depth + "x" + after * depth)


def test_depth_by_aliases_is_bounded() -> None:
    steps = ["a0: &a0 [x]"] + [f"a{step}: &a{step} [*a{step - 1}]" for step in range(1, 300)]
    with pytest.raises(yaml.YAMLError, match="max depth"):
        yaml.load("\n".join(steps))


def test_as_deep_as_allowed() -> None:
    value = yaml.load("[" * 200 + "]" * 200)
    for _ in range(199):
        (value,) = value
    assert value == []


def test_aliases_cannot_stand_for_too_much() -> None:
    steps = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    steps += [f"a{step}: &a{step} [{','.join([f'*a{step - 1}'] * 9)}]" for step in range(1, 9)]
    with pytest.raises(yaml.YAMLError, match="excessive aliasing"):
        yaml.load("\n".join(steps))


def test_dump_puts_keys_in_order() -> None:
    written = yaml.dump({"b": {"d": 1, "c": 2}, "a": ["ü", True]})
    assert written == "a:\n- ü\n- true\nb:\n  c: 2\n  d: 1\n".encode()
