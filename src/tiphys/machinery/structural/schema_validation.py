"""What is wrong with one schema of a CustomResourceDefinition and all below it, word by word and rule by rule.

Upstream's `ValidateCustomResourceDefinitionOpenAPISchema`. Rules are compiled only where the schema itself has no fault:
types cannot be made of a faulty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import Verbatim, go_json
from tiphys.machinery.structural.correlation import Schema
from tiphys.machinery.structural.costs import RULE_LIMIT, TotalCost, multiplied, times, too_costly
from tiphys.machinery.structural.declarations import declare, most_often
from tiphys.machinery.structural.fieldpaths import FieldPathError, resolve
from tiphys.machinery.structural.pruning import META_FIELDS, is_embedded, properties_of
from tiphys.machinery.structural.rules import TYPE_NAME, Compiled, compile_rules

Errors = list[FieldError]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_UNSUPPORTED = ("additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_NO_TYPE_INFORMATION = (
    "internal error: failed to construct type information for x-kubernetes-validations rules: "
    "unable to convert structural schema to CEL declarations"
)


@frozen
class Options:
    """Which rules hold: all of them, unless the old definition broke one already."""

    require_valid_types: bool = True
    require_pruned_defaults: bool = True
    require_atomic_sets: bool = True
    require_map_keys: bool = True


@frozen
class Context:
    """Where in a schema we are."""

    is_root: bool = True
    forbids_defaults: bool = False
    reason: str = ""
    inside_metadata: bool = False
    uncorrelatable: Path | None = None
    """The first place above whose values cannot be told apart between two revisions: no rule there sees the old one."""
    evaluates: bool = True
    """False inside of junctors, where rules are not evaluated."""
    count: int | None = 1
    """How many such values an object can have; None: nobody knows."""

    def below(self, **changes: Any) -> Context:
        return replace(self, is_root=False, **changes)

    def uncorrelated(self, path: Path) -> Context:
        return self if self.uncorrelatable is not None else replace(self, uncorrelatable=path)


@dataclass(slots=True)
class _Found:
    schema: Errors = field(default_factory=list)
    rules: Errors = field(default_factory=list)


class SchemaChecker:
    """`total` sums up what rules could cost; None: the schema is faulty, and its rules are left alone."""

    def __init__(self, options: Options, total: TotalCost | None, *, suppress_cost: bool) -> None:
        self.options = options
        self.total = total
        self.suppress_cost = suppress_cost

    def errors(self, schema: Schema, path: Path, context: Context) -> Errors:
        found = self.visit(schema, path, context)
        return found.schema + found.rules

    def visit(self, schema: Schema, path: Path, context: Context) -> _Found:
        found = _Found(self.words(schema, path, context))
        self.children(schema, path, context, found)
        found.schema += self.extensions(schema, path)
        rules = schema.get("x-kubernetes-validations") or ()
        for position, rule in enumerate(rules):
            here = path.child("x-kubernetes-validations").index(position)
            found.schema += _rule_errors(schema, rule, here)
        if rules and not found.schema and self.total is not None and context.evaluates:
            found.rules += self.rules(schema, path, context, self.total)
        return found

    # Words that may not be there

    def words(self, schema: Schema, path: Path, context: Context) -> Errors:
        errors = self.type_errors(schema, path) if self.options.require_valid_types else []
        if schema.get("default") is not None and context.forbids_defaults:
            detail = f"must not be set {context.reason}"
            errors.append(FieldError.forbidden(path.child("default"), detail))
        for word in ("id", *_UNSUPPORTED):
            if schema.get(word) or (word == "additionalItems" and schema.get(word) is not None):
                errors.append(FieldError.forbidden(path.child(word), f"{word} is not supported"))
        if schema.get("type") == "null":
            detail = "type cannot be set to null, use nullable as an alternative"
            errors.append(FieldError.forbidden(path.child("type"), detail))
        if isinstance(schema.get("items"), list) and schema["items"]:
            detail = "items must be a schema object and not an array"
            errors.append(FieldError.forbidden(path.child("items"), detail))
        if context.inside_metadata and is_embedded(schema):
            detail = "must not be used inside of resource meta"
            errors.append(FieldError.forbidden(path.child("x-kubernetes-embedded-resource"), detail))
        if schema.get("uniqueItems"):
            detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            errors.append(FieldError.forbidden(path.child("uniqueItems"), detail))
        more = schema.get("additionalProperties")
        if more is not None and more is not True and properties_of(schema):
            detail = "additionalProperties and properties are mutual exclusive"
            errors.append(FieldError.forbidden(path.child("additionalProperties"), detail))
        return errors

    @staticmethod
    def type_errors(schema: Schema, path: Path) -> Errors:
        kind = schema.get("type")
        return (
            [FieldError.not_supported(path.child("type"), kind, _TYPES)]
            if kind and kind not in _TYPES
            else []
        )

    # Below

    def children(self, schema: Schema, path: Path, context: Context, found: _Found) -> None:
        count = multiplied(context.count, schema)
        more, items = schema.get("additionalProperties"), schema.get("items")
        if isinstance(more, Mapping):
            below = context.below(count=count)
            if context.inside_metadata:
                reason = "inside additionalProperties applying to object metadata"
                below = replace(below, forbids_defaults=True, reason=reason)
            self.add(found, more, path.child("additionalProperties"), below)
        for name, each in properties_of(schema).items():
            here = path.child("properties").key(name)
            self.add(found, each, here, self.property_context(schema, name, path, context, count))
        plain = context.below(evaluates=False)
        if schema.get("not") is not None:
            self.add(found, schema["not"], path.child("not"), plain)
        for word in ("allOf", "oneOf", "anyOf"):
            for position, each in enumerate(schema.get(word) or ()):
                self.add(found, each, path.child(word).index(position), plain)
        for name, each in (schema.get("definitions") or {}).items():
            self.add(found, each, path.child("definitions").key(name), plain)
        below = context.below(count=count)
        if schema.get("x-kubernetes-list-type") != "map":
            below = below.uncorrelated(path)
        if isinstance(items, Mapping):
            self.add(found, items, path.child("items"), below)
        for position, each in enumerate(items if isinstance(items, list) else ()):
            self.add(found, each, path.child("items").index(position), below)
        for name, each in (schema.get("dependencies") or {}).items():
            if isinstance(each, Mapping):
                self.add(found, each, path.child("dependencies").key(name), plain)

    def property_context(
        self, schema: Schema, name: str, path: Path, context: Context, count: int | None
    ) -> Context:
        below = context.below(count=count)
        if schema.get("x-kubernetes-map-type") not in (None, "granular", "atomic"):
            below = below.uncorrelated(path)
        if (context.is_root or is_embedded(schema)) and name in META_FIELDS:
            below = replace(below, inside_metadata=True)
            if context.is_root:
                below = replace(below, forbids_defaults=True, reason=f"in top-level {name}")
        return below

    def add(self, found: _Found, schema: Schema, path: Path, context: Context) -> None:
        below = self.visit(schema, path, context)
        found.schema += below.schema
        found.rules += below.rules

    # Extensions

    def extensions(self, schema: Schema, path: Path) -> Errors:
        errors: Errors = []
        word = "x-kubernetes-preserve-unknown-fields"
        if schema.get(word) is False:
            errors.append(FieldError.invalid(path.child(word), False, "must be true or undefined"))
        map_type, list_type = schema.get("x-kubernetes-map-type"), schema.get("x-kubernetes-list-type")
        if map_type is not None:
            errors += _must_be("object", "x-kubernetes-map-type", schema, path)
            if map_type not in ("atomic", "granular"):
                here = path.child("x-kubernetes-map-type")
                errors.append(FieldError.not_supported(here, map_type, ("atomic", "granular")))
        if list_type is not None:
            wrong = _must_be("array", "x-kubernetes-list-type", schema, path)
            if not wrong and self.options.require_atomic_sets:
                wrong = self.set_errors(schema, path)
            errors += wrong
            if list_type not in ("atomic", "set", "map"):
                here = path.child("x-kubernetes-list-type")
                errors.append(FieldError.not_supported(here, list_type, ("atomic", "set", "map")))
        errors += _list_map_errors(schema, path)
        if self.options.require_map_keys:
            errors += self.map_key_errors(schema, path)
        return errors

    @staticmethod
    def set_errors(schema: Schema, path: Path) -> Errors:
        """The items of a set are compared as a whole."""
        items = schema.get("items")
        if schema.get("x-kubernetes-list-type") != "set" or not isinstance(items, Mapping):
            return []
        detail = "must be atomic as item of a list with x-kubernetes-list-type=set"
        list_type, here = items.get("x-kubernetes-list-type"), path.child("items")
        if items.get("type") == "array" and list_type not in (None, "atomic"):
            return [FieldError.invalid(here.child("x-kubernetes-list-type"), list_type, detail)]
        if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
            return [FieldError.invalid(here.child("x-kubernetes-map-type"), list_type, detail)]
        return []

    @staticmethod
    def map_key_errors(schema: Schema, path: Path) -> Errors:
        """Every item has its keys, and is there."""
        items, list_type = schema.get("items"), schema.get("x-kubernetes-list-type")
        if not isinstance(items, Mapping) or list_type not in ("set", "map"):
            return []
        errors: Errors = []
        here = path.child("items")
        if items.get("nullable"):
            detail = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
            errors.append(FieldError.forbidden(here.child("nullable"), detail))
        if list_type != "map":
            return errors
        required = items.get("required") or ()
        for key in schema.get("x-kubernetes-list-map-keys") or ():
            known, place = properties_of(items).get(key), here.child("properties").key(key)
            if known is None:
                continue
            why = "this property is in x-kubernetes-list-map-keys, so it"
            if key not in required and known.get("default") is None:
                detail = f"{why} must have a default or be a required property"
                errors.append(FieldError.required(place.child("default"), detail))
            if known.get("nullable"):
                errors.append(FieldError.forbidden(place.child("nullable"), f"{why} cannot be nullable"))
        return errors

    # Rules

    def rules(self, schema: Schema, path: Path, context: Context, total: TotalCost) -> Errors:
        where = path.child("x-kubernetes-validations")
        declared = declare(schema, TYPE_NAME, is_resource=context.is_root or is_embedded(schema))
        if declared is None:
            return [FieldError.internal(where, _NO_TYPE_INFORMATION)]
        errors: Errors = []
        count = context.count if context.count is not None else most_often(declared.least_bytes)
        for position, compiled in enumerate(compile_rules(schema, declared)):
            here = where.index(position)
            errors += self.rule_cost(compiled, here.child("rule"), count, total)
            errors += self.message(compiled, here.child("messageExpression"), total)
            errors += _old_self_errors(compiled, here, context)
        return errors

    def rule_cost(self, compiled: Compiled, path: Path, count: int, total: TotalCost) -> Errors:
        errors: Errors = []
        cost = 0
        if compiled.program is not None:
            cost = times(compiled.program.estimated_cost().high, count)
        if cost > RULE_LIMIT and not self.suppress_cost:
            errors.append(FieldError.forbidden(path, too_costly("estimated rule cost", cost, RULE_LIMIT)))
        total.observe(path, cost)
        if compiled.error:
            errors.append(FieldError.invalid(path, _as_go(compiled.rule), compiled.error))
        return errors

    def message(self, compiled: Compiled, path: Path, total: TotalCost) -> Errors:
        if compiled.message_error:
            return [FieldError.invalid(path, _as_go(compiled.rule), compiled.message_error)]
        if compiled.message is None:
            return []
        cost = compiled.message.estimated_cost().high
        total.observe(path, cost)
        if cost <= RULE_LIMIT or self.suppress_cost:
            return []
        return [FieldError.forbidden(path, too_costly("estimated messageExpression cost", cost, RULE_LIMIT))]


def _must_be(kind: str, word: str, schema: Schema, path: Path) -> Errors:
    given, here = schema.get("type") or "", path.child("type")
    detail = f"must be {kind} if {word} is specified"
    if given == kind:
        return []
    return [FieldError.invalid(here, given, detail) if given else FieldError.required(here, detail)]


def _list_map_errors(schema: Schema, path: Path) -> Errors:
    keys, list_type = schema.get("x-kubernetes-list-map-keys") or [], schema.get("x-kubernetes-list-type")
    type_here, keys_here = path.child("x-kubernetes-list-type"), path.child("x-kubernetes-list-map-keys")
    errors: Errors = []
    if keys and list_type != "map":
        detail = "must be map if x-kubernetes-list-map-keys is non-empty"
        if list_type is None:
            errors.append(FieldError.required(type_here, detail))
        else:
            errors.append(FieldError.invalid(type_here, list_type, detail))
    if list_type != "map":
        return errors
    if not keys:
        detail = "must not be empty if x-kubernetes-list-type is map"
        errors.append(FieldError.required(keys_here, detail))
    items = schema.get("items")
    if items is None:
        detail = "must have a schema if x-kubernetes-list-type is map"
        return [*errors, FieldError.required(path.child("items"), detail)]
    if not isinstance(items, Mapping):
        detail = "must only have a single schema if x-kubernetes-list-type is map"
        return [*errors, FieldError.invalid(path.child("items"), items, detail)]
    if items.get("type") != "object":
        detail = "must be object if parent array's x-kubernetes-list-type is map"
        here = path.child("items", "type")
        return [*errors, FieldError.invalid(here, items.get("type") or "", detail)]
    return errors + _key_errors(keys, items, path)


def _key_errors(keys: list[str], items: Schema, path: Path) -> Errors:
    errors: Errors = []
    here = path.child("x-kubernetes-list-map-keys")
    for position, key in enumerate(keys):
        known = properties_of(items).get(key)
        if known is None:
            errors.append(FieldError.invalid(here, keys, "entries must all be names of item properties"))
        elif known.get("type") in ("array", "object"):
            detail = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            place = path.child("items", "properties").key(key).child("type")
            errors.append(FieldError.invalid(place, items.get("type"), detail))
        if key in keys[:position]:
            errors.append(FieldError.invalid(here, keys, "must not contain duplicate entries"))
    return errors


def _has_line_breaks(text: str) -> bool:
    return "\n" in text or "\r" in text


def _rule_errors(schema: Schema, rule: Mapping[str, Any], path: Path) -> Errors:
    errors: Errors = []
    text, message = rule.get("rule") or "", rule.get("message") or ""
    if not text.strip():
        errors.append(FieldError.required(path.child("rule"), "rule is not specified"))
    elif message and not message.strip():
        detail = "message must be non-empty if specified"
        errors.append(FieldError.invalid(path.child("message"), message, detail))
    elif _has_line_breaks(message.strip()):
        detail = "message must not contain line breaks"
        errors.append(FieldError.invalid(path.child("message"), message, detail))
    elif _has_line_breaks(text.strip()) and not message.strip():
        detail = "message must be specified if rule contains line breaks"
        errors.append(FieldError.required(path.child("message"), detail))
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        detail = "messageExpression must be non-empty if specified"
        errors.append(FieldError.required(path.child("messageExpression"), detail))
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        errors.append(FieldError.not_supported(path.child("reason"), reason, _REASONS))
    return errors + _field_path_errors(schema, rule.get("fieldPath") or "", path.child("fieldPath"))


def _field_path_errors(schema: Schema, text: str, path: Path) -> Errors:
    if not text:
        return []
    errors: Errors = []
    if not text.strip():
        errors.append(FieldError.invalid(path, text, "fieldPath must be non-empty if specified"))
    if _has_line_breaks(text):
        errors.append(FieldError.invalid(path, text, "fieldPath must not contain line breaks"))
    try:
        resolve(text, schema)
    except FieldPathError:
        errors.append(FieldError.invalid(path, text, "fieldPath must be a valid path"))
    return errors


def _old_self_errors(compiled: Compiled, path: Path, context: Context) -> Errors:
    optional = compiled.rule.get("optionalOldSelf")
    if compiled.uses_old_self:
        if context.uncorrelatable is None:
            return []
        detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {context.uncorrelatable}"
        return [FieldError.invalid(path.child("rule"), compiled.rule["rule"], detail)]
    if optional is None:
        return []
    detail = "may not be set if oldSelf is not used in rule"
    return [FieldError.invalid(path.child("optionalOldSelf"), optional, detail)]


_RULE_FIELDS = ("rule", "message", "messageExpression", "reason", "fieldPath", "optionalOldSelf")


def _as_go(rule: Mapping[str, Any]) -> Verbatim:
    """The rule as upstream's internal type, which has no names of JSON, is written."""
    empty = {"reason": None, "optionalOldSelf": None}
    shown = (
        f'"{name[0].upper()}{name[1:]}":{go_json(rule.get(name, empty.get(name, "")))}'
        for name in _RULE_FIELDS
    )
    return Verbatim("{" + ",".join(shown) + "}")
