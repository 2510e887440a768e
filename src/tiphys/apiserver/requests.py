"""What a request asks for, read from its method, path and query alone.

The rules are upstream's RequestInfo: `/api/v1/namespaces/{ns}/pods/{name}/log` is verb `get` on resource `pods`, subresource
`log`. Everything that decides about a request (authorization, audit, fairness, routing) looks at this and not at the path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

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
PATHS_LIMIT = 1024
PATH_LIMIT_CHARACTERS = 256
"""So many paths, and none longer, are remembered: who asks is not known yet."""
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
    place = _known_place(path) if len(path) <= PATH_LIMIT_CHARACTERS else _place(path)
    if place is None:
        return RequestInfo(path, method.lower())
    if place.is_old_watch:
        return RequestInfo(path, "watch" if method in ("GET", "HEAD") else "", True, *place.names)
    info = RequestInfo(path, _VERBS.get(method, ""), True, *place.names)
    if info.name:
        return info
    if info.verb == "get":
        info.verb = "watch" if query_bool(query, "watch") else "list"
    elif info.verb == "delete":
        info.verb = "deletecollection"
    if query and info.verb in _OF_MANY and ("fieldSelector" in query or "labelSelector" in query):
        info.field_selector = query.get("fieldSelector", ("",))[0]
        info.label_selector = query.get("labelSelector", ("",))[0]
        info.name = _selected_name(info.field_selector)
    return info


class _Place(NamedTuple):
    """What a path says of a resource. `names`: as RequestInfo has them, from the group to the parts."""

    is_old_watch: bool
    names: tuple[str, str, str, str, str, str, str, str, tuple[str, ...]]


def _place(path: str) -> _Place | None:
    parts = [part for part in path.split("/") if part]
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return None
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) < 4:
        return None
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    # The old /watch/ prefix; a name below it narrows the watch to one object.
    is_old_watch = rest[0] == "watch" and len(rest) > 1
    if is_old_watch:
        del rest[0]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            del rest[:2]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    return _Place(is_old_watch, (group, version, namespace, rest[0], subresource, name, "", "", tuple(rest)))


# Collections, leases and statuses are asked for again and again.
_known_place = lru_cache(maxsize=PATHS_LIMIT)(_place)


def _selected_name(selector: str) -> str:
    """The one name that a field selector lets through, so that it can be allowed by name; "" for any other selector."""
    try:
        return parse_field_selector(selector).exact("metadata.name") or ""
    except SelectorError:
        return ""  # refused later, by who reads the options
