"""Whether the defaults of a schema would themselves be valid (upstream's `schema/defaulting/validation.go`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.fields import aggregate
from tiphys.machinery.schema import DecodeError, Struct
from tiphys.machinery.structural import values
from tiphys.machinery.structural.correlation import Schema, same
from tiphys.machinery.structural.embedded import embedded_in, resource_errors
from tiphys.machinery.structural.evaluation import evaluate, rules_of
from tiphys.machinery.structural.pruning import (
    META_FIELDS,
    MetadataReader,
    Pruner,
    copied,
    is_embedded,
    item_schema,
    properties_of,
)

Errors = list[FieldError]
Surround = Callable[[Any], Any]

_TYPE_META = {"apiVersion": "validation/v1", "kind": "Validation"}


def default_errors(schema: Schema, path: Path, object_meta: Struct, *, require_pruned: bool = True) -> Errors:
    """Of the defaults of a whole custom resource."""
    checking = _Checking(object_meta, require_pruned=require_pruned)
    return checking.visit(
        {**schema, "x-kubernetes-embedded-resource": True}, path, _resource, inside_meta=False
    )


def _resource(fields: Any) -> Any:
    """The whole resource around some of its fields."""
    return {**_TYPE_META, **fields} if isinstance(fields, dict) else fields


def _field(surround: Surround, name: str, value: Any) -> Any:
    return surround({name: value})


class _Checking:
    def __init__(self, object_meta: Struct, *, require_pruned: bool) -> None:
        self.object_meta = object_meta
        self.require_pruned = require_pruned

    def visit(self, schema: Schema, path: Path, surround: Surround, *, inside_meta: bool) -> Errors:
        if is_embedded(schema):
            inside_meta, surround = False, _resource
        errors: Errors = []
        if schema.get("default") is not None:
            here = path.child("default")
            errors = self.in_metadata(schema, here, surround) if inside_meta else self.plain(schema, here)
        # No default may stand in additionalProperties of metadata; elsewhere there is nothing to check them against.
        items = item_schema(schema)
        if items is not None:
            errors += self.visit(
                items, path.child("items"), lambda value: surround([value]), inside_meta=inside_meta
            )
        for name, each in properties_of(schema).items():
            meta = inside_meta or (is_embedded(schema) and name in META_FIELDS)
            here = path.child("properties").key(name)
            errors += self.visit(each, here, partial(_field, surround, name), inside_meta=meta)
        return errors

    def in_metadata(self, schema: Schema, path: Path, surround: Surround) -> Errors:
        default = schema["default"]
        resource = surround(copied(default))
        must = "must result in valid metadata"
        try:
            MetadataReader(self.object_meta).coerce(resource, {}, Path(), embedded=True)
        except DecodeError as error:
            return [FieldError.invalid(path, default, f"{must}: {error}")]
        if errors := resource_errors(resource, Path()):
            return [FieldError.invalid(path, default, f"{must}: {aggregate(errors)}")]
        return values.validate(default, schema, path=path)

    def plain(self, schema: Schema, path: Path) -> Errors:
        default = schema["default"]
        errors: Errors = []
        if self.require_pruned:
            pruned = copied(default)
            Pruner().prune(pruned, schema, embedded=is_embedded(schema))
            if not same(pruned, copied(default)):
                errors.append(FieldError.invalid(path, default, "must not have unknown fields"))
        return errors + self.value(schema, default, path)

    def value(self, schema: Schema, default: Any, path: Path) -> Errors:
        try:
            MetadataReader(self.object_meta).coerce(
                copied(default), schema, Path(), embedded=is_embedded(schema)
            )
        except DecodeError as error:
            return [FieldError.invalid(path, default, str(error))]
        embedded = embedded_in(schema)
        if embedded is not None and (errors := embedded.errors(default, path)):
            return errors
        if errors := values.validate(default, schema, path=path):
            return errors
        rules = rules_of(schema)
        return [] if rules is None else evaluate(rules, default, default, path=path)
