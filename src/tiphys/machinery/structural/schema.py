"""What a CustomResourceDefinition's schema means for the objects of one version: the fields of a kind made at run time.

Everything is made when it is first needed: a schema that no object was ever read by is no more than a reference to the
JSON in the definition.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from tiphys.machinery.apply.shapes import Granular
from tiphys.machinery.apply.structural import shape_of_schema
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.schema import CheckResult, DecodeError, Struct
from tiphys.machinery.schema.checking import may_repeat_names
from tiphys.machinery.schema.decoding import COMPLAINT_LIMIT, Pairs
from tiphys.machinery.structural import pruning, values
from tiphys.machinery.structural.correlation import Correlated, Schema
from tiphys.machinery.structural.defaulting import Defaults
from tiphys.machinery.structural.embedded import Embedded, embedded_in
from tiphys.machinery.structural.evaluation import Rules, evaluate, rules_of
from tiphys.machinery.structural.gates import Passes, reading_gate, value_gate
from tiphys.machinery.structural.listtypes import ListTypes, list_types_of
from tiphys.machinery.timing import Timing

Object = dict[str, Any]
Warn = Callable[[str], None]

_ROOT = Path()
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
_TOO_DEEP = "json: exceeded max depth"


class StructuralSchema:
    """Made once for each version of a CustomResourceDefinition; never changes. A `Schema` of `api/resource.py`."""

    struct = None
    patch = None

    def __init__(
        self,
        schema: Schema | None,
        object_meta: Struct,
        *,
        preserve_unknown_fields: bool,
        timing: Timing | None = None,
    ) -> None:
        self.schema = schema
        self._timing = timing
        self.object_meta = object_meta
        self.preserve_unknown_fields = preserve_unknown_fields

    @classmethod
    def of(
        cls,
        schema: Schema | None,
        *,
        object_meta: Struct,
        preserve_unknown_fields: bool = False,
        timing: Timing | None = None,
    ) -> StructuralSchema:
        """`schema` is the openAPIV3Schema as it is stored, and is not changed; `object_meta` the type of all metadata."""
        return cls(schema, object_meta, preserve_unknown_fields=preserve_unknown_fields, timing=timing)

    @cached_property
    def shape(self) -> Granular:
        """How appliers own the parts of an object."""
        from tiphys.machinery.apply import shape_of

        return shape_of_schema(self.schema, shape_of(self.object_meta))

    # Reading

    def check(self, obj: Any, *, duplicates_source: bytes | None = None) -> CheckResult:
        """The object in the form in which it is stored, without unknown fields, and a complaint for each of them.

        The given object itself when nothing had to be changed; it is never changed. DecodeError: kind, apiVersion or
        metadata have a wrong type. Other values may have any: `validate` finds them.
        `duplicates_source`: the JSON that `obj` was read from, as for `machinery.schema.check`.
        """
        repeated = duplicates_source is not None and may_repeat_names(duplicates_source, obj)
        if not repeated and self._reads(obj):
            return CheckResult(obj)
        try:
            complaints: list[str] = []
            if repeated and duplicates_source is not None:
                document = json.loads(duplicates_source, object_pairs_hook=Pairs)
                complaints = [f'duplicate field "{path}"' for path in pruning.duplicate_fields(document)]
            read, unknown = self._read(obj)
        except RecursionError:
            raise DecodeError(_TOO_DEEP) from None
        complaints += [f'unknown field "{path}"' for path in unknown]
        return CheckResult(read, tuple(dict.fromkeys(complaints))[:COMPLAINT_LIMIT])

    def from_store(self, obj: Object) -> Object:
        """What an object in the store is to its readers: pruned and with the defaults of today's schema, metadata
        that cannot be read left out. The object itself when that is all the same to it."""
        if self._reads(obj) and not self._lacks_defaults(obj):
            return obj
        read, _ = self._read(obj, tolerant=True)
        self.default(read)
        return read

    def _lacks_defaults(self, obj: Object) -> bool:
        if self._defaults.is_empty():
            return False
        filled = pruning.copied(obj)
        self.default(filled)
        return bool(filled != obj)

    def _read(self, obj: Any, *, tolerant: bool = False) -> tuple[Object, list[str]]:
        if not isinstance(obj, dict):
            raise DecodeError("json: cannot unmarshal into an object")
        if error := pruning.type_meta_error(obj):
            raise DecodeError(error)
        read: Object = pruning.copied(obj)
        reader = pruning.MetadataReader(self.object_meta, tolerant=tolerant)
        metadata = reader.read(read["metadata"]) if "metadata" in read else None
        root_unknown, reader.unknown = reader.unknown, []
        pruner = pruning.Pruner()
        if not self.preserve_unknown_fields:
            pruner.prune(read, self.schema, embedded=True)
            pruning.drop_nulls(read, self.schema)
        reader.coerce(read, self.schema, _ROOT)
        if metadata is not None:
            read["metadata"] = metadata
        return read, [*root_unknown, *sorted(pruner.unknown), *sorted(reader.unknown)]

    @cached_property
    def _reads(self) -> Passes:
        return reading_gate(self.schema, self.object_meta, prunes=not self.preserve_unknown_fields)

    # Defaults

    def default(self, obj: Object) -> None:
        """Fills in the defaults, in place."""
        self._defaults.fill(obj)

    @cached_property
    def _defaults(self) -> Defaults:
        return Defaults(self.schema or {})

    # Validation

    def validate(
        self, obj: Object, old: Object | None = None, *, warn: Warn | None = None
    ) -> list[FieldError]:
        """Everything that is wrong with an object, beyond its metadata. `old` is what it replaces: what was wrong there
        and did not change is forgiven, rules that compare see both. `warn` is told of forgiven rules."""
        if self.schema is None:
            return []
        correlated = None if old is None else Correlated(obj, old, self.schema)
        errors: list[FieldError] = []
        if not self._valid(obj):
            errors += values.validate(obj, self.schema, correlated=correlated)
        if self._embedded is not None:
            errors += self._embedded.errors(obj, _ROOT)
        return self._finish(errors, obj, old, correlated, warn)

    def validate_status(self, obj: Object, old: Object, *, warn: Warn | None = None) -> list[FieldError]:
        """What an update of the status subresource checks: the values of the status alone, but all rules."""
        if self.schema is None:
            return []
        correlated = Correlated(obj, old, self.schema)
        errors: list[FieldError] = []
        schema = pruning.properties_of(self.schema).get("status")
        if schema is not None and "status" in obj and not self._valid_status(obj["status"]):
            status = correlated.key("status")
            errors += values.validate(obj["status"], schema, path=Path("status"), correlated=status)
        return self._finish(errors, obj, old, correlated, warn)

    def _finish(
        self,
        errors: list[FieldError],
        obj: Object,
        old: Object | None,
        correlated: Correlated | None,
        warn: Warn | None,
    ) -> list[FieldError]:
        if self._lists is not None:
            repeated = self._lists.errors(obj, _ROOT)
            if repeated and (old is None or not self._lists.errors(old, _ROOT)):
                errors += repeated
        if self._rules is None:
            return errors
        if any(error.kind in values.BLOCKING for error in errors):
            return [*errors, FieldError.invalid(_ROOT, None, _UNCHECKED)]
        return errors + evaluate(self._rules, obj, old, correlated=correlated, warn=warn)

    @cached_property
    def _valid(self) -> Passes:
        return value_gate(self.schema or {})

    @cached_property
    def _valid_status(self) -> Passes:
        return value_gate(pruning.properties_of(self.schema).get("status") or {})

    @cached_property
    def _embedded(self) -> Embedded | None:
        # The root itself is the registry's.
        return embedded_in({**(self.schema or {}), "x-kubernetes-embedded-resource": False})

    @cached_property
    def _lists(self) -> ListTypes | None:
        return list_types_of(self.schema or {})

    @cached_property
    def _rules(self) -> Rules | None:
        return rules_of(self.schema or {}, is_resource=True, timing=self._timing)
