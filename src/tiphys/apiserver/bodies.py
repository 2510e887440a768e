"""Request bodies: JSON, YAML or protobuf in, a checked object out.

What the schema says about a body is said here and only here: unknown and duplicate fields (`fieldValidation`), wrong types,
and the kind that the path expects. Messages are upstream's.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.resource import Object, Schema
from tiphys.api.types import schema_named
from tiphys.apiserver.call import Call
from tiphys.apiserver.options import IGNORE, STRICT, WARN, field_validation
from tiphys.machinery import errors, yaml
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.json_faults import json_fault
from tiphys.machinery.protobuf import decode_envelope
from tiphys.machinery.schema import CheckResult, DecodeError, Struct
from tiphys.machinery.schema.checking import may_repeat_names
from tiphys.machinery.schema.scalars import json_kind

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_YAMLS = frozenset({"application/yaml", "text/yaml", "application/x-yaml"})
ACCEPTED = (JSON, "application/yaml", PROTOBUF)


def content_type(call: Call) -> str:
    return call.request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_object(call: Call, kind: GroupVersionKind, schema: Schema) -> Object:
    """The object in the body of a request, of the expected kind and in canonical form. Raises 400, 415."""
    media = content_type(call)
    body = call.request.body
    if media in ("", JSON):
        obj = parse_json(body)
        source: bytes | None = body
    elif media in _YAMLS:
        obj, source = parse_yaml(body), None
    elif media == PROTOBUF and schema.struct is not None:
        obj = _read_protobuf(body, kind, schema.struct)
        call.note_body(obj, is_object=True)
        return obj
    else:
        accepted = ACCEPTED if schema.struct is not None else ACCEPTED[:-1]
        raise errors.unsupported_media_type(accepted)
    call.note_body(obj, is_object=True)
    return check_fields(call, obj, kind, schema, source=source)


def read_options_body(call: Call, name: str) -> Object:
    """Options such as DeleteOptions from a body. They exist in every group version, so any apiVersion will do."""
    media, schema = content_type(call), schema_named(f"meta/v1.{name}")
    if media == PROTOBUF:
        obj = _decode_protobuf(call.request.body, schema.struct)
    elif media in ("", JSON):
        obj = parse_json(call.request.body)
    elif media in _YAMLS:
        obj = parse_yaml(call.request.body)
    else:
        raise errors.unsupported_media_type(ACCEPTED)
    if isinstance(obj, dict):
        obj.pop("apiVersion", None)
    call.note_body(obj)
    return check_fields(call, obj, GroupVersionKind("", "v1", name), schema)


def parse_json(body: bytes, *, doing: str = "couldn't get version/kind; json parse error: ") -> Any:
    """JSON of bounded depth. Raises 400 with Go's complaint behind what was being done."""
    if not body:
        raise errors.bad_request("unexpected end of JSON input")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        fault = json_fault(body) or ("exceeded max depth" if "depth" in error.msg else error.msg)
        raise errors.bad_request(f"{doing}{fault}") from None


def parse_yaml(body: bytes) -> Any:
    """The first document; nobody looks at others."""
    try:
        documents = yaml.load_all(body)
    except yaml.YAMLError as error:
        raise errors.bad_request(str(error)) from None
    return documents[0] if documents else None


def read_yaml(body: bytes) -> tuple[Any, list[str]]:
    """YAML or JSON, and which keys stand twice in one of its maps (the last one counts). Raises 400."""
    try:
        value = orjson.loads(body)
        if not may_repeat_names(body, value):
            return value, []
    except orjson.JSONDecodeError:
        pass
    try:
        return yaml.load_lenient(body)
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from None


def _decode_protobuf(body: bytes, struct: Struct) -> Object:
    try:
        _, obj = decode_envelope(body, lambda api_version, name: struct)
    except DecodeError as error:
        raise errors.bad_request(str(error)) from None
    return obj


def _read_protobuf(body: bytes, kind: GroupVersionKind, struct: Struct) -> Object:
    obj = _decode_protobuf(body, struct)
    expect_kind(obj, kind)
    obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
    return obj


def expect_kind(obj: Any, kind: GroupVersionKind) -> Object:
    """Refuses another apiVersion or kind than the path says (400); a body may leave both out."""
    if obj is None:
        obj = {}
    if not isinstance(obj, dict):
        raise errors.bad_request(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {json_kind(obj)} into Go value of type "
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    given_kind, given_version = obj.get("kind"), obj.get("apiVersion")
    if (given_version == kind.api_version and given_kind == kind.kind) or given_version is given_kind is None:
        return obj
    for field, given in (("apiVersion", given_version), ("kind", given_kind)):
        if given is not None and not isinstance(given, str):
            raise errors.bad_request(
                f"couldn't get version/kind; json parse error: json: cannot unmarshal {json_kind(given)} into Go "
                f"struct field .{field} of type string"
            )
    if given_version and given_version != kind.api_version:
        raise errors.bad_request(
            f"the API version in the data ({given_version}) does not match the expected API version ({kind.api_version})"
        )
    if given_kind and given_kind != kind.kind:
        raise errors.bad_request(
            f'{given_kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"converting ({given_kind}) to ({kind.kind}): unknown conversion"
        )
    return obj


def _forgets_owners(obj: Object) -> bool:
    """Whether the owners are an empty list: the one list whose emptiness says something."""
    metadata = obj.get("metadata")
    return isinstance(metadata, dict) and metadata.get("managedFields") == []


def check_fields(
    call: Call, obj: Any, kind: GroupVersionKind, schema: Schema, *, source: bytes | None = None
) -> Object:
    """The canonical object of the expected kind. Unknown and duplicate fields go by the request's `fieldValidation`."""
    obj = expect_kind(obj, kind)
    mode = field_validation(call)
    try:
        result = schema.check(obj, duplicates_source=None if mode == IGNORE else source)
    except DecodeError as error:
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
        ) from None
    complaints = result.complaints
    if complaints and mode == STRICT:
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {', '.join(complaints)}"
        )
    if mode == WARN:
        for complaint in complaints:
            call.warn(complaint)
    return canonical(result, obj, kind)


def canonical(result: CheckResult, obj: Object, kind: GroupVersionKind) -> Object:
    """What was made of an object that was checked."""
    checked: Object = result.object
    checked["kind"], checked["apiVersion"] = kind.kind, kind.api_version
    if checked is not obj and _forgets_owners(obj):
        checked["metadata"]["managedFields"] = []
    return checked
