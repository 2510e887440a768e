"""What a request asks for, read from its method, path and query alone.

The rules are upstream's RequestInfo: `/api/v1/namespaces/{ns}/pods/{name}/log` is verb `get` on resource `pods`, subresource
`log`. Everything that decides about a request (authorization, audit, fairness, routing) looks at this and not at the path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tiphys.machinery import errors
from tiphys.machinery.selectors import SelectorError, parse_field_selector

_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
# Below /namespaces/{name} these are subresources of the namespace itself, not resources in it.
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_OF_MANY = frozenset({"list", "watch", "deletecollection"})
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LARGEST = (1 << 63) - 1
_DIGITS = 19
_FALSE = frozenset({"", "0", "f", "F", "false", "FALSE", "False"})


@dataclass(slots=True)
class RequestInfo:
    """`verb` is an API verb for resource requests, the lower-case HTTP method for the other paths."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    """What a list, watch or deletecollection asks for, as it was sent."""
    parts: tuple[str, ...] = ()
    """The path below the group version, from the resource on: what a proxy subresource passes through."""


def query_bool(query: dict[str, list[str]], name: str) -> bool:
    """A boolean parameter as upstream reads one: present and neither "0" nor "false"; without a value it is true."""
    values = query.get(name)
    if values is None:
        return False
    return values[0] == "" or values[0] not in _FALSE


def query_integer(query: dict[str, list[str]], name: str) -> int | None:
    """A number of 64 bits; None when there is none. Raises 400, in the words of Go, which is stricter than Python."""
    text = query.get(name, ("",))[0]
    if not text:
        return None
    if _INTEGER.fullmatch(text) is None:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    digits = text.lstrip("+-0") or "0"
    value = int(digits) if len(digits) <= _DIGITS else _LARGEST + 2
    value = -value if text.startswith("-") else value
    if not -_LARGEST - 1 <= value <= _LARGEST:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def read_request(method: str, path: str, query: dict[str, list[str]]) -> RequestInfo:
    """The RequestInfo of a request; `is_resource` is False for /healthz, /apis, /openapi and the like."""
    parts = path.split("/")
    if parts[0] or parts.count("") > 1:
        parts = ["", *[part for part in parts if part]]
    if len(parts) > 3 and parts[1] == "api":
        group, version, rest = "", parts[2], parts[3:]
    elif len(parts) > 4 and parts[1] == "apis":
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        return RequestInfo(path, method.lower())
    if rest[0] == "watch" and len(rest) > 1:
        # The old /watch/ prefix; a name below it narrows the watch to one object.
        return _resource(path, "watch" if method in ("GET", "HEAD") else "", group, version, rest[1:])
    info = _resource(path, _VERBS.get(method, ""), group, version, rest)
    if not info.name and info.verb == "get":
        info.verb = "watch" if query_bool(query, "watch") else "list"
    elif not info.name and info.verb == "delete":
        info.verb = "deletecollection"
    if query and info.verb in _OF_MANY and ("fieldSelector" in query or "labelSelector" in query):
        info.field_selector = query.get("fieldSelector", ("",))[0]
        info.label_selector = query.get("labelSelector", ("",))[0]
        info.name = info.name or _selected_name(info.field_selector)
    return info


def _resource(path: str, verb: str, group: str, version: str, rest: list[str]) -> RequestInfo:
    """`rest`: the path below the group version, the namespace included."""
    namespace = ""
    depth = len(rest)
    if depth > 1 and rest[0] == "namespaces":
        namespace = rest[1]
        if depth > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
            depth -= 2
    name = rest[1] if depth > 1 else ""
    subresource = rest[2] if depth > 2 else ""
    return RequestInfo(
        path, verb, True, group, version, namespace, rest[0], subresource, name, "", "", tuple(rest)
    )


def _selected_name(selector: str) -> str:
    """The one name that a field selector lets through, so that it can be allowed by name; "" for any other selector."""
    try:
        return parse_field_selector(selector).exact("metadata.name") or ""
    except SelectorError:
        return ""  # refused later, by who reads the options
