"""ConfigMaps and Secrets."""

from __future__ import annotations

from typing import Any

from tiphys.api.resource import Object
from tiphys.api.validation import Errors, by_rule, immutable
from tiphys.machinery import names
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.meta import annotations as annotations_of

SIZE_LIMIT_BYTES = 1024 * 1024
_DATA = Path("data")
_BINARY = Path("binaryData")
_FROZEN = "field is immutable when `immutable` is set"
_ACCOUNT_ANNOTATION = "kubernetes.io/service-account.name"
_REDACTED = "<secret contents redacted>"


def config_map(new: Object, old: Object | None) -> Errors:
    text, binary = new.get("data") or {}, new.get("binaryData") or {}
    errors = _unfrozen(new, old, "data", "binaryData")
    size = 0
    for key, value in text.items():
        if names.config_map_key(key):
            errors += by_rule(names.config_map_key, key, _DATA.key(key))
        if key in binary:
            errors.append(FieldError.invalid(_DATA.key(key), key, "duplicate of key present in binaryData"))
        size += len(value) if value.isascii() else len(value.encode())
    for key, value in binary.items():
        errors += by_rule(names.config_map_key, key, _BINARY.key(key))
        size += _decoded_size(value)
    if size > SIZE_LIMIT_BYTES:
        errors.append(FieldError.too_long(Path(""), SIZE_LIMIT_BYTES))
    return errors


def _unfrozen(new: Object, old: Object | None, *fields: str) -> Errors:
    """Nothing of an immutable object changes, least of all that it is immutable."""
    if old is None or not old.get("immutable"):
        return []
    errors = [] if new.get("immutable") else [FieldError.forbidden(Path("immutable"), _FROZEN)]
    changed = [field for field in fields if (new.get(field) or {}) != (old.get(field) or {})]
    return errors + [FieldError.forbidden(Path(field), _FROZEN) for field in changed]


def _decoded_size(base64: str) -> int:
    return len(base64) // 4 * 3 - base64[-2:].count("=")


def secret(new: Object, old: Object | None) -> Errors:
    errors = _unfrozen(new, old, "data")
    if old is not None:
        errors += immutable(new.get("type"), old.get("type"), Path("type"))
    data = new.get("data") or {}
    size = 0
    for key, value in data.items():
        errors += by_rule(names.config_map_key, key, _DATA.key(key))
        size += _decoded_size(value)
    if size > SIZE_LIMIT_BYTES:
        errors.append(FieldError.too_long(_DATA, SIZE_LIMIT_BYTES))
    return errors + _typed_secret(new, data)


def _typed_secret(obj: Object, data: dict[str, str]) -> Errors:
    """What a secret of a known type must contain."""
    match obj.get("type"):
        case "kubernetes.io/service-account-token":
            if not annotations_of(obj).get(_ACCOUNT_ANNOTATION):
                return [FieldError.required(Path("metadata", "annotations").key(_ACCOUNT_ANNOTATION))]
        case "kubernetes.io/dockercfg":
            return _json_entry(data, ".dockercfg")
        case "kubernetes.io/dockerconfigjson":
            return _json_entry(data, ".dockerconfigjson")
        case "kubernetes.io/basic-auth":
            if "username" not in data and "password" not in data:
                return _missing(data, "username", "password")
        case "kubernetes.io/ssh-auth":
            if not data.get("ssh-privatekey"):
                return [FieldError.required(_DATA.key("ssh-privatekey"))]
        case "kubernetes.io/tls":
            return _missing(data, "tls.crt", "tls.key")
    return []


def _missing(data: dict[str, str], *keys: str) -> Errors:
    return [FieldError.required(_DATA.key(key)) for key in keys if key not in data]


def _json_entry(data: dict[str, str], key: str) -> Errors:
    import json
    from base64 import b64decode

    if key not in data:
        return [FieldError.required(_DATA.key(key))]
    try:
        value: Any = json.loads(b64decode(data[key]))
    except ValueError:
        return [FieldError.invalid(_DATA.key(key), _REDACTED, _json_fault(b64decode(data[key])))]
    if isinstance(value, dict):
        return []
    return [
        FieldError.invalid(
            _DATA.key(key), _REDACTED, "json: cannot unmarshal into Go value of type map[string]interface {}"
        )
    ]


def _json_fault(text: bytes) -> str:
    return "unexpected end of JSON input" if not text.strip() else "invalid character in JSON"
