"""Random structural schemas, and values that mostly fit them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Schema = dict[str, Any]

NAMES = st.sampled_from(["a", "b", "c", "kind", "metadata"])
TEXTS = st.sampled_from(["", "a", "ab", "abc", "B", "1", "é☺", "2026-01-01", "10.0.0.1", "1h", "x" * 12])
NUMBERS = st.one_of(st.integers(-3, 12), st.sampled_from([0.5, 1.5, -2.5, 2.0, 2**60, 2**63, 1e30]))
SCALARS: st.SearchStrategy[Any] = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=8,
)
BOUNDS = st.integers(0, 4)
PATTERNS = st.sampled_from(["^a", "b$", "^[a-z]*$", r"^\d+$", r"^(a|\w)[^b\s]{1,3}", r"\pL", "(", ""])
FORMATS = st.sampled_from(["date", "ipv4", "duration", "int32", "unheard-of"])


@st.composite
def value_rules(draw: st.DrawFn, depth: int = 1) -> Schema:
    """What may stand in a junctor: demands without types."""
    made: Schema = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "maxLength": BOUNDS,
                "minLength": BOUNDS,
                "pattern": PATTERNS,
                "format": FORMATS,
                "maximum": NUMBERS,
                "minimum": NUMBERS,
                "exclusiveMaximum": st.booleans(),
                "exclusiveMinimum": st.booleans(),
                "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
                "enum": st.lists(
                    st.one_of(TEXTS, st.integers(0, 3), st.none(), st.just(1.5)), min_size=1, max_size=3
                ),
                "maxItems": BOUNDS,
                "minItems": BOUNDS,
                "maxProperties": BOUNDS,
                "minProperties": BOUNDS,
                "required": st.lists(NAMES, max_size=2, unique=True),
            },
        )
    )
    # A few demands at a time: most of what is drawn at random fits nothing.
    made = {word: made[word] for word in list(made)[: draw(st.integers(0, 3))]}
    if depth:
        for word in draw(st.lists(st.sampled_from(["allOf", "anyOf", "oneOf"]), max_size=1)):
            made[word] = draw(st.lists(value_rules(depth=depth - 1), min_size=1, max_size=3))
        if draw(st.integers(0, 5)) == 0:
            made["not"] = draw(value_rules(depth=depth - 1))
        if draw(st.integers(0, 3)) == 0:
            made["properties"] = draw(st.dictionaries(NAMES, value_rules(depth=0), max_size=2))
    return made


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Schema:
    kinds = ["string", "integer", "number", "boolean", "int-or-string", "anything"]
    kind = draw(st.sampled_from(kinds if not depth else [*kinds, "object", "object", "map", "array", "open"]))
    made: Schema = draw(value_rules()) if draw(st.booleans()) else {}
    made.pop("properties", None)
    if kind == "int-or-string":
        made["x-kubernetes-int-or-string"] = True
    elif kind == "anything":
        made["x-kubernetes-preserve-unknown-fields"] = True
    elif kind in ("object", "open"):
        made |= {
            "type": "object",
            "properties": draw(st.dictionaries(NAMES, schemas(depth=depth - 1), max_size=3)),
        }
        if kind == "open":
            made["x-kubernetes-preserve-unknown-fields"] = True
        if draw(st.integers(0, 6)) == 0:
            # Of what every resource has, a schema that is accepted says nothing else.
            made["x-kubernetes-embedded-resource"] = True
            for name in ("kind", "metadata"):
                made["properties"].pop(name, None)
    elif kind == "map":
        made |= {"type": "object", "additionalProperties": draw(schemas(depth=depth - 1) | st.booleans())}
    elif kind == "array":
        made |= {"type": "array", "items": draw(schemas(depth=depth - 1))}
        if draw(st.booleans()):
            made["x-kubernetes-list-type"] = draw(st.sampled_from(["set", "map", "atomic"]))
            made["x-kubernetes-list-map-keys"] = ["a"]
    else:
        made["type"] = kind
    if draw(st.integers(0, 3)) == 0:
        made["nullable"] = True
    if draw(st.integers(0, 3)) == 0:
        made["default"] = draw(fitting(made).filter(lambda value: value is not None))
    return made


def fitting(schema: Schema) -> st.SearchStrategy[Any]:
    """Values of the right types; not always, and their limits do not matter."""
    kind, properties = schema.get("type"), schema.get("properties") or {}
    if kind == "object":
        fields = {name: fitting(each) for name, each in properties.items()}
        known: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=fields)
        more = schema.get("additionalProperties")
        if isinstance(more, dict):
            known = st.dictionaries(NAMES, fitting(more), max_size=3)
        right = known | st.builds(
            lambda one, other: {**other, **one}, known, st.dictionaries(NAMES, SCALARS, max_size=1)
        )
    elif kind == "array":
        right = st.lists(fitting(schema.get("items") or {}), max_size=3)
    elif kind == "string":
        right = TEXTS
    elif kind == "integer":
        right = st.integers(-3, 12)
    elif kind == "number":
        right = NUMBERS
    elif kind == "boolean":
        right = st.booleans()
    else:
        right = ANYTHING
    return st.one_of(right, right, right, right, ANYTHING)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Schema, dict[str, Any]]:
    """A schema of a whole custom resource, and an object."""
    schema = {
        "type": "object",
        "properties": draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "spec": schemas(),
                    "status": schemas(depth=1),
                    "metadata": st.just({"type": "object"}),
                },
            )
        ),
    }
    value = {"apiVersion": "example.com/v1", "kind": "A", "metadata": {"name": "a"}}
    fields = draw(fitting({**schema, "properties": {**schema["properties"]}}))
    if isinstance(fields, dict):
        value = {**fields, **value}
    return schema, value
