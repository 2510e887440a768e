"""Named formats: `format.dns1123Label().validate(name)` (apiserver `pkg/cel/library/format.go`)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date

from tiphys.machinery import names
from tiphys.machinery.cel.charges import NOMINAL, VALIDATE, fixed
from tiphys.machinery.cel.declarations import Overload, function
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.library.urls import parse_request_uri
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.cel.values import NONE, Optional

Validate = Callable[[str], list[str]]

_is_uuid = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE | re.ASCII
).fullmatch
_is_date_time = re.compile(
    r"[0-9]{4}-(0[1-9]|1[012])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)"
    r"(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])",
).fullmatch
_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


class Format:
    """A rule for text. `regex_size`: how long the pattern is that it counts as."""

    __slots__ = ("name", "regex_size", "validate")

    def __init__(self, name: str, validate: Validate, regex_size: int) -> None:
        self.name = name
        self.validate = validate
        self.regex_size = regex_size


def _prefix(rule: names.Validator) -> Validate:
    validate = names.object_name(rule)
    return lambda text: validate(text, prefix=True)


def _uri(text: str) -> list[str]:
    try:
        parse_request_uri(text)
    except ValueError as error:
        return [str(error)]
    return []


def _simple(accepts: Callable[[str], object], message: str) -> Validate:
    return lambda text: [] if accepts(text) else [message]


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def _is_real_date(text: str) -> bool:
    try:
        return bool(_is_date(text) and date.fromisoformat(text))
    except ValueError:
        return False


FORMATS: dict[str, Format] = {
    "dns1123Label": Format("DNS1123Label", names.dns1123_label, 30),
    "dns1123Subdomain": Format("DNS1123Subdomain", names.dns1123_subdomain, 60),
    "dns1035Label": Format("DNS1035Label", names.dns1035_label, 30),
    "qualifiedName": Format("QualifiedName", names.qualified_name, 60),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _prefix(names.dns1123_label), 30),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _prefix(names.dns1123_subdomain), 60),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _prefix(names.dns1035_label), 30),
    "labelValue": Format("LabelValue", names.label_value, 40),
    "uri": Format("URI", _uri, 128),
    "uuid": Format("uuid", _simple(_is_uuid, "does not match the UUID format"), 75),
    "byte": Format("byte", _simple(_is_base64, "invalid base64"), 100),
    "date": Format("date", _simple(_is_real_date, "invalid date"), 128),
    "datetime": Format("datetime", _simple(_is_date_time, "invalid datetime"), 128),
}


def named(name: str) -> Optional:
    found = FORMATS.get(name)
    return NONE if found is None else Optional(found)


def validate(rule: Format, text: str) -> Optional:
    messages = rule.validate(text)
    return Optional(messages) if messages else NONE


FORMAT_TYPE = opaque("kubernetes.NamedFormat", Format)
_TYPES = {"Format": FORMAT_TYPE}


def _constant(name: str, rule: Format) -> Overload:
    return function(f"format.{name}() -> Format", lambda: rule, NOMINAL, known=_TYPES)


NAMED_FORMATS = Library(
    "format",
    (
        function("format.named(string) -> optional(Format)", named, fixed(1), known=_TYPES),
        function("Format.validate(string) -> optional(list(string))", validate, VALIDATE, known=_TYPES),
        *(_constant(name, rule) for name, rule in FORMATS.items()),
    ),
    {"kubernetes.NamedFormat": FORMAT_TYPE},
)
