"""Request bodies: JSON, YAML or protobuf in, a checked object out.

What the schema says about a body is said here and only here: unknown and duplicate fields (`fieldValidation`), wrong types,
and the kind that the path expects. Messages are upstream's.
"""

from __future__ import annotations

from typing import Any

import orjson

from tiphys.api.resource import Object
from tiphys.api.types import TYPES
from tiphys.apiserver.call import Call
from tiphys.machinery import errors, yaml
from tiphys.machinery.gvk import GroupKind, GroupVersionKind
from tiphys.machinery.protobuf import decode_envelope
from tiphys.machinery.schema import DecodeError, check

JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_YAMLS = frozenset({"application/yaml", "text/yaml", "application/x-yaml"})
ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def content_type(call: Call) -> str:
    return call.request.headers.get("content-type", "").partition(";")[0].strip().lower()


def read_object(call: Call, kind: GroupVersionKind, type_name: str) -> Object:
    """The object in the body of a request, of the expected kind and in canonical form. Raises 400, 415."""
    media = content_type(call)
    body = call.request.body
    if media in ("", JSON):
        obj = parse_json(body)
        source: bytes | None = body
    elif media in _YAMLS:
        obj, source = parse_yaml(body), None
    elif media == PROTOBUF:
        return _read_protobuf(body, kind, type_name)
    else:
        raise errors.unsupported_media_type(ACCEPTED)
    return check_fields(call, obj, kind, type_name, source=source)


def read_options_body(call: Call, name: str) -> Object:
    """Options such as DeleteOptions from a body. They exist in every group version, so any apiVersion will do."""
    media, type_name = content_type(call), f"meta/v1.{name}"
    if media == PROTOBUF:
        obj = _decode_protobuf(call.request.body, type_name)
    elif media in ("", JSON):
        obj = parse_json(call.request.body)
    elif media in _YAMLS:
        obj = parse_yaml(call.request.body)
    else:
        raise errors.unsupported_media_type(ACCEPTED)
    if isinstance(obj, dict):
        obj.pop("apiVersion", None)
    return check_fields(call, obj, GroupVersionKind("", "v1", name), type_name)


def parse_json(body: bytes) -> Any:
    """JSON of bounded depth. Raises 400 with the parser's complaint."""
    if not body:
        raise errors.bad_request("unexpected end of JSON input")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error.msg}") from None


def parse_yaml(body: bytes) -> Any:
    try:
        return yaml.load(body)
    except yaml.YAMLError as error:
        raise errors.bad_request(str(error)) from None


def _decode_protobuf(body: bytes, type_name: str) -> Object:
    try:
        _, obj = decode_envelope(body, lambda api_version, name: TYPES.struct(type_name))
    except DecodeError as error:
        raise errors.bad_request(str(error)) from None
    return obj


def _read_protobuf(body: bytes, kind: GroupVersionKind, type_name: str) -> Object:
    obj = _decode_protobuf(body, type_name)
    expect_kind(obj, kind)
    obj["kind"], obj["apiVersion"] = kind.kind, kind.api_version
    return obj


def expect_kind(obj: Any, kind: GroupVersionKind) -> Object:
    """Refuses another apiVersion or kind than the path says (400); a body may leave both out."""
    if not isinstance(obj, dict):
        shown = "array" if isinstance(obj, list) else type(obj).__name__
        raise errors.bad_request(
            f"couldn't get version/kind; json parse error: json: cannot unmarshal {shown} into Go value of type "
            'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
        )
    given_kind, given_version = obj.get("kind"), obj.get("apiVersion")
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


def check_dry_run(wanted: list[str] | None, options: str | None) -> None:
    """Refuses (422) a `dryRun` other than "All". `options` is the kind of the request's options; None: it has none."""
    if wanted and options and set(wanted) != {"All"}:
        found = errors.FieldError.not_supported(errors.Path("dryRun"), wanted, ("All",))
        raise errors.invalid(GroupKind("meta.k8s.io", options), "", [found])


def check_fields(
    call: Call, obj: Any, kind: GroupVersionKind, type_name: str, *, source: bytes | None = None
) -> Object:
    """The canonical object of the expected kind. Unknown and duplicate fields go by the request's `fieldValidation`."""
    expect_kind(obj, kind)
    mode = call.request.query.get("fieldValidation", ("Warn",))[0] or "Warn"
    if mode not in ("Strict", "Warn", "Ignore"):
        path = errors.Path("fieldValidation")
        raise errors.invalid(
            GroupVersionKind("meta.k8s.io", "v1", "CreateOptions").group_kind,
            "",
            [errors.FieldError.not_supported(path, mode, ("Ignore", "Strict", "Warn"))],
        )
    try:
        result = check(TYPES.struct(type_name), obj, duplicates_source=None if mode == "Ignore" else source)
    except DecodeError as error:
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
        ) from None
    complaints = result.complaints
    if complaints and mode == "Strict":
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {', '.join(complaints)}"
        )
    if mode == "Warn":
        for complaint in complaints:
            call.warn(complaint)
    checked: Object = result.object
    checked["kind"], checked["apiVersion"] = kind.kind, kind.api_version
    return checked
