"""What is wrong with the schemas of a CustomResourceDefinition.

Upstream's `apis/apiextensions/validation/validation.go`. A definition that was accepted once stays acceptable: where a
rule came later, it does not hold for what broke it before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.schema import Struct
from tiphys.machinery.structural.correlation import Schema, same
from tiphys.machinery.structural.costs import TotalCost
from tiphys.machinery.structural.defaults_validation import default_errors
from tiphys.machinery.structural.schema_validation import Context, Options, SchemaChecker
from tiphys.machinery.structural.structurality import children, structural_errors, unsupported

Errors = list[FieldError]

# In the order in which upstream's struct has them, with the names by which its message calls them.
_FIELDS = (
    ("id", "ID"),
    ("$schema", "Schema"),
    ("$ref", "Ref"),
    ("description", "Description"),
    ("type", "Type"),
    ("nullable", "Nullable"),
    ("format", "Format"),
    ("title", "Title"),
    ("default", "Default"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("enum", "Enum"),
    ("maxProperties", "MaxProperties"),
    ("minProperties", "MinProperties"),
    ("required", "Required"),
    ("items", "Items"),
    ("allOf", "AllOf"),
    ("oneOf", "OneOf"),
    ("anyOf", "AnyOf"),
    ("not", "Not"),
    ("properties", "Properties"),
    ("additionalProperties", "AdditionalProperties"),
    ("patternProperties", "PatternProperties"),
    ("dependencies", "Dependencies"),
    ("additionalItems", "AdditionalItems"),
    ("definitions", "Definitions"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-embedded-resource", "XEmbeddedResource"),
    ("x-kubernetes-int-or-string", "XIntOrString"),
    ("x-kubernetes-list-map-keys", "XListMapKeys"),
    ("x-kubernetes-list-type", "XListType"),
    ("x-kubernetes-map-type", "XMapType"),
    ("x-kubernetes-validations", "XValidations"),
)
_ROOT_FIELDS = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
]


def schema_errors(
    spec: Mapping[str, Any], old_spec: Mapping[str, Any] | None, *, object_meta: Struct
) -> Errors:
    """Of all versions. `spec` and `old_spec` are those of CustomResourceDefinitions."""
    versions = spec.get("versions") or []
    schemas = [_schema_of(version) for version in versions]
    options = _options(old_spec)
    old = {each.get("name"): each for each in (old_spec or {}).get("versions") or ()}
    errors: Errors = []
    shared = bool(versions) and _is_shared(versions)
    with_status = [((each.get("subresources") or {}).get("status")) is not None for each in versions]
    for position, (version, schema) in enumerate(zip(versions, schemas, strict=True)):
        if schema is None:
            continue
        before = old.get(version.get("name"))
        unchanged = before is not None and same(version.get("schema"), before.get("schema"))
        path = (
            Path("spec", "validation") if shared else Path("spec", "versions").index(position).child("schema")
        )
        has_status = any(with_status) if shared else with_status[position]
        checking = _Definition(options, object_meta, suppress_cost=unchanged, has_status=has_status)
        errors += checking.errors(schema, path.child("openAPIV3Schema"))
        if shared:
            break
    return errors


def non_structural_reasons(schema: Schema, path: Path | None = None) -> Errors:
    """Why a schema is not structural. ValueError: it has something in it that no structural schema can have."""
    if text := unsupported(schema):
        raise ValueError(text)
    return structural_errors(schema, path or Path())


def _schema_of(version: Mapping[str, Any]) -> Schema | None:
    schema: Schema | None = (version.get("schema") or {}).get("openAPIV3Schema")
    return schema


def _is_shared(versions: list[Any]) -> bool:
    """Upstream moves a schema that all versions have to `spec.validation`, and complains of it there."""
    first = versions[0].get("schema")
    return all(same(version.get("schema"), first) for version in versions[1:])


@frozen
class _Definition:
    options: Options
    object_meta: Struct
    suppress_cost: bool
    has_status: bool

    def errors(self, schema: Schema, path: Path) -> Errors:
        errors = _root_errors(schema, path) if self.has_status else []
        if schema.get("nullable"):
            here = Path(f"{path}.nullable")
            errors.append(FieldError.forbidden(here, "nullable cannot be true at the root"))
        late: Errors = []
        total: TotalCost | None = None
        if text := unsupported(schema):
            late = [FieldError.invalid(path, "", text)]
        elif (found := structural_errors(schema, path)) or (
            found := default_errors(
                schema, path, self.object_meta, require_pruned=self.options.require_pruned_defaults
            )
        ):
            errors += found
        else:
            total = TotalCost()
        checker = SchemaChecker(self.options, total, suppress_cost=self.suppress_cost)
        errors += checker.errors(schema, path, Context())
        if not errors:
            errors = late
        return errors if total is None else errors + total.errors(path)


def _root_errors(schema: Schema, path: Path) -> Errors:
    """With the status apart, a rule of the whole object would be lost: only some words may stand at the root."""
    for word, name in _FIELDS:
        value = schema.get(word)
        if not _is_set(word, value):
            continue
        if name == "Type":
            if value != "object":
                detail = (
                    'only "object" is allowed as the type at the root of the schema '
                    "if the status subresource is enabled"
                )
                return [FieldError.invalid(Path(f"{path}.type"), value, detail)]
        elif name not in _ROOT_FIELDS:
            detail = (
                f"only [{' '.join(_ROOT_FIELDS)}] fields are allowed at the root of the schema "
                "if the status subresource is enabled"
            )
            return [FieldError.invalid(path, dict(schema), detail)]
    return []


def _is_set(word: str, value: Any) -> bool:
    if value is False:
        return word in ("x-kubernetes-preserve-unknown-fields", "additionalProperties")
    return value is not None and value != "" and value != [] and value != {}


# What was accepted before may stay.


def _options(old_spec: Mapping[str, Any] | None) -> Options:
    if old_spec is None:
        return Options()
    schemas = [schema for version in old_spec.get("versions") or () if (schema := _schema_of(version))]
    return Options(
        require_valid_types=not _any(schemas, _has_invalid_type),
        require_pruned_defaults=not any(map(_has_unpruned_defaults, schemas)),
        require_atomic_sets=not _any(schemas, _has_granular_set),
        require_map_keys=not _any(schemas, _has_unfit_keys),
    )


def _any(schemas: list[Schema], holds: Callable[[Schema], bool]) -> bool:
    waiting = list(schemas)
    while waiting:
        each = waiting.pop()
        if holds(each):
            return True
        waiting += children(each)
    return False


def _has_invalid_type(schema: Schema) -> bool:
    return bool(SchemaChecker.type_errors(schema, Path()))


def _has_granular_set(schema: Schema) -> bool:
    return bool(SchemaChecker.set_errors(schema, Path()))


def _has_unfit_keys(schema: Schema) -> bool:
    return bool(SchemaChecker.map_key_errors(schema, Path()))


def _has_unpruned_defaults(schema: Schema) -> bool:
    from tiphys.machinery.structural.defaulting import pruned_default

    return _any(
        [schema],
        lambda each: each.get("default") is not None and not same(pruned_default(each), each["default"]),
    )
