"""Two fast checks, made of a schema: for which objects reading changes nothing, and which are valid.

jsonschema-rs answers within microseconds. The answer False only means: look closer, so what is written here may be too
strict but never too lax. It must be exact only below `not` and `oneOf`, where more failures could mean fewer faults;
what cannot be said exactly there is refused altogether (`_UNSURE`).

Draft 4 is used because it tells 1 from 1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tiphys.machinery.cel.re2 import PatternError, compile_pattern
from tiphys.machinery.schema import Struct
from tiphys.machinery.schema.gate import strict_schema
from tiphys.machinery.structural import formats
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.pruning import is_embedded, item_schema, properties_of
from tiphys.machinery.structural.rust_patterns import as_rust

JSONSchema = dict[str, Any]
Passes = Callable[[Any], bool]

_NOTHING: JSONSchema = {"not": {}}
_NULL: JSONSchema = {"type": "null"}
_INT64: JSONSchema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_FRACTION: JSONSchema = {"type": "number", "not": {"multipleOf": 1}}
_STRING: JSONSchema = {"type": "string"}
# Numbers in the form in which they are stored, to any depth.
_ANY_NAME = "any-value"
_ANY: JSONSchema = {"$ref": f"#/definitions/{_ANY_NAME}"}
_DEFINITIONS: JSONSchema = {
    _ANY_NAME: {
        "anyOf": [
            {"type": ["string", "boolean", "null"]},
            _INT64,
            {"type": "object", "additionalProperties": _ANY},
            {"type": "array", "items": _ANY},
            _FRACTION,
        ]
    }
}
_NO_CHOICE = "\x00 no choice"
_SCALARS: dict[str, list[JSONSchema]] = {
    "string": [_STRING],
    "boolean": [{"type": "boolean"}],
    "integer": [_INT64],
    "number": [_INT64, _FRACTION],
}
_OPEN_SCALARS: list[JSONSchema] = [{"type": ["string", "boolean"]}, _INT64, _FRACTION]


class _UnsureError(Exception):
    """A schema that cannot be said exactly."""


def _compile(schema: JSONSchema, callbacks: Mapping[str, Callable[[str], bool]]) -> Passes:
    # Imported when first needed: it costs more than the whole rest of this package.
    from jsonschema_rs import Draft4Validator, RegexOptions

    options = RegexOptions()
    validator = Draft4Validator(
        schema, formats=dict(callbacks), validate_formats=True, pattern_options=options
    )
    is_valid = validator.is_valid

    def passes(value: Any) -> bool:
        try:
            return bool(is_valid(value))
        except ValueError:  # nested too deeply, or a number out of every range
            return False

    return passes


# Reading


def reading_gate(schema: Schema | None, object_meta: Struct, *, prunes: bool = True) -> Passes:
    """Holds for objects that reading would not change: all fields known, no needless nulls, canonical metadata."""
    metadata = strict_schema(object_meta)
    definitions = {**metadata.pop("definitions"), **_DEFINITIONS}
    reading = _Reading(metadata, prunes=prunes)
    made = {**reading.object_of(schema or {}, is_resource=True), "type": "object", "definitions": definitions}
    return _compile(made, {})


class _Reading:
    def __init__(self, metadata: JSONSchema, *, prunes: bool) -> None:
        self.metadata = metadata
        self.prunes = prunes

    def value_of(self, schema: Schema | None) -> JSONSchema:
        if schema is None:
            # Nothing is known: objects are emptied.
            return {"anyOf": _OPEN_SCALARS} if self.prunes else _ANY
        kind, open_ = schema.get("type"), bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        if schema.get("x-kubernetes-int-or-string"):
            choices: list[JSONSchema] = [_STRING, _INT64]
        elif kind in _SCALARS:
            choices = _SCALARS[kind]
        elif kind == "object":
            choices = [self.object_of(schema, is_resource=is_embedded(schema))]
        elif kind == "array":
            items = item_schema(schema)
            choices = [{"type": "array", "items": _ANY if items is None and open_ else self.value_of(items)}]
        else:
            return _ANY if open_ and not _has_fields(schema) else _NOTHING
        if schema.get("nullable"):
            choices = [*choices, _NULL]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}

    def object_of(self, schema: Schema, *, is_resource: bool) -> JSONSchema:
        open_ = bool(schema.get("x-kubernetes-preserve-unknown-fields")) or not self.prunes
        fields = {name: self.value_of(each) for name, each in properties_of(schema).items()}
        if is_resource:
            fields |= {"apiVersion": _STRING, "kind": _STRING, "metadata": self.metadata}
        more = schema.get("additionalProperties")
        others: Any = _ANY if open_ else False
        if isinstance(more, Mapping):
            others = self.value_of(more)
        elif more is not None:
            others = self.value_of(None)
        return {"type": "object", "properties": fields, "additionalProperties": others}


def _has_fields(schema: Schema) -> bool:
    return any(schema.get(word) is not None for word in ("properties", "additionalProperties", "items"))


# Values


def value_gate(schema: Schema) -> Passes:
    """Holds for values in which `values.validate` finds no fault."""
    try:
        return _value_gate(schema, rust=True)
    except ValueError:  # a pattern that is too large for Rust, or of a kind that nobody thought of
        return _value_gate(schema, rust=False)


def _value_gate(schema: Schema, *, rust: bool) -> Passes:
    translation = _Values(rust=rust)
    return _compile(translation.part(schema, exact=False), translation.callbacks)


class _Values:
    """Translates what a schema demands of values. Python matches the patterns that Rust would read in another way."""

    def __init__(self, *, rust: bool) -> None:
        self.rust = rust
        self.callbacks: dict[str, Callable[[str], bool]] = {}
        self.named: dict[tuple[str, str], str] = {}

    def callback(self, kind: str, text: str, accepts: Callable[[str], bool]) -> JSONSchema:
        name = self.named.setdefault((kind, text), f"tiphys-{len(self.named)}")
        self.callbacks[name] = accepts
        return {"format": name}

    def translate(self, schema: Schema, *, exact: bool) -> JSONSchema:
        made: JSONSchema = {}
        conditions: list[JSONSchema] = []
        self._type(schema, made, exact=exact)
        self._limits(schema, made, conditions, exact=exact)
        self._text(schema, made, conditions, exact=exact)
        self._fields(schema, made, exact=exact)
        if schema.get("enum"):
            made["enum"] = _choices(schema["enum"], exact=exact)
        conditions += self._junctors(schema, exact=exact)
        if conditions:
            made["allOf"] = conditions
        may_be_null = schema.get("nullable") or not _has_type(schema)
        # Of a null, only type and enum are looked at.
        return {"anyOf": [_NULL, made]} if conditions and may_be_null and not schema.get("enum") else made

    def sure(self, schema: Schema) -> JSONSchema:
        """The exact translation, or one that nothing passes."""
        return self.translate(schema, exact=True)

    def _type(self, schema: Schema, made: JSONSchema, *, exact: bool) -> None:
        has_format = formats.known(schema.get("format")) is not None
        if exact and has_format:
            raise _UnsureError
        if schema.get("x-kubernetes-int-or-string"):
            types = ["integer", "string"]
        elif schema.get("type"):
            types = [schema["type"]]
        elif has_format:
            # Other values have no such format, and that is a fault; a null has no type to be compared.
            made["type"] = ["string", "null"]
            return
        else:
            return
        made["type"] = [*types, "null"] if schema.get("nullable") else types

    def _limits(self, schema: Schema, made: JSONSchema, conditions: list[JSONSchema], *, exact: bool) -> None:
        for word in ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties"):
            limit = schema.get(word)
            if limit is not None and limit >= 0:
                made[word] = limit
            elif limit is not None and word.startswith("max"):
                raise _UnsureError  # nothing is so small, and Rust knows no such limit
        for word, exclusive in (("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")):
            limit = schema.get(word)
            if limit is None:
                continue
            # Whole numbers are compared with the whole part of a limit.
            if limit != int(limit) and (exact or schema.get(exclusive)):
                raise _UnsureError
            made[word] = limit
            if schema.get(exclusive):
                made[exclusive] = True
        factor = schema.get("multipleOf")
        if factor is not None:
            if exact or factor != int(factor) or factor < 1:
                raise _UnsureError
            made["multipleOf"] = int(factor)
            # Beyond this, no float is a multiple of anything.
            conditions.append({"minimum": 1 - 2**53, "maximum": 2**53 - 1})
        if schema.get("uniqueItems"):
            raise _UnsureError

    def _text(self, schema: Schema, made: JSONSchema, conditions: list[JSONSchema], *, exact: bool) -> None:
        pattern, accepts = schema.get("pattern"), formats.known(schema.get("format"))
        wanted = []
        if accepts is not None:
            wanted.append(self.callback("format", schema["format"], accepts))
        if pattern:
            try:
                matches = compile_pattern(pattern).matches
            except PatternError:
                raise _UnsureError from None
            same = as_rust(pattern) if self.rust else None
            wanted.append({"pattern": same} if same else self.callback("pattern", pattern, matches))
        if len(wanted) == 1:
            made |= wanted[0]
        else:
            conditions += wanted

    def _fields(self, schema: Schema, made: JSONSchema, *, exact: bool) -> None:
        if schema.get("required"):
            made["required"] = list(dict.fromkeys(schema["required"]))
        properties = {name: self.part(each, exact=exact) for name, each in properties_of(schema).items()}
        # What demands nothing need not be looked at.
        if useful := {name: each for name, each in properties.items() if each}:
            made["properties"] = useful
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            if demand := self.part(more, exact=exact):
                made["additionalProperties"] = demand
                made["properties"] = properties
        elif more is False:
            made["additionalProperties"] = False
            made["properties"] = properties
        items = item_schema(schema)
        if items is not None and (demand := self.part(items, exact=exact)):
            made["items"] = demand

    def part(self, schema: Schema, *, exact: bool) -> JSONSchema:
        """A schema below another one. One that cannot be said lets nothing pass, where that is no lie."""
        try:
            return self.translate(schema, exact=exact)
        except _UnsureError:
            if exact:
                raise
            return _NOTHING

    def _junctors(self, schema: Schema, *, exact: bool) -> list[JSONSchema]:
        conditions: list[JSONSchema] = [self.part(each, exact=exact) for each in schema.get("allOf") or ()]
        if schema.get("anyOf"):
            conditions.append({"anyOf": [self.part(each, exact=exact) for each in schema["anyOf"]]})
        if schema.get("oneOf"):
            conditions.append({"oneOf": [self.sure(each) for each in schema["oneOf"]]})
        if schema.get("not") is not None:
            conditions.append({"not": self.sure(schema["not"])})
        return conditions


def _has_type(schema: Schema) -> bool:
    return bool(schema.get("type") or schema.get("x-kubernetes-int-or-string"))


def _choices(choices: list[Any], *, exact: bool) -> list[Any]:
    scalars = (str, bool) if exact else (str, bool, int)
    if exact and not all(isinstance(each, scalars) for each in choices):
        raise _UnsureError
    # A null is never one of the choices. An enum must have one, so nothing is another that no request can have.
    once = {(type(each), each): each for each in choices if isinstance(each, scalars)}
    return list(once.values()) or [_NO_CHOICE]
