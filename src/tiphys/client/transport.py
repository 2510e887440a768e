"""How a client reaches an API server: one small interface, two ways (HTTPS, or a call inside the process).

The choice is made by whoever starts a component, never by the component. Objects that come out of `list` and `watch`
are read-only: inside one process they are the API server's own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import orjson

from tiphys.api.resource import Resource
from tiphys.machinery.errors import StatusError

Object = dict[str, Any]
Query = Mapping[str, str]

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"
ERROR = "ERROR"


class WatchEvent(NamedTuple):
    """One change. A BOOKMARK's object has nothing but a resourceVersion; an ERROR never gets here: it is raised."""

    type: str
    object: Object


class Listing(NamedTuple):
    """What a list found, and the resourceVersion to watch from."""

    items: list[Object]
    resource_version: str


class Transport(Protocol):
    """Raises StatusError for every answer that is not a success, and OSError when there is no answer."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Object | Sequence[Any] | None = None,
        content_type: str = JSON,
        timeout_seconds: float | None = None,
    ) -> Object:
        """One request with a JSON answer; a StatusError when it is not a 2xx."""

    async def list(
        self, resource: Resource, namespace: str | None = None, *, query: Query | None = None
    ) -> Listing:
        """All objects (None: of all namespaces) at one resourceVersion. The items carry apiVersion and kind."""

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        query: Query | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """What happened after `resource_version`, in order, until the server ends it (then the generator returns).

        Raises a StatusError with code 410 when that version is too old. Close the generator to end the watch.
        """

    async def close(self) -> None:
        """Ends every connection."""


def resource_path(
    resource: Resource, namespace: str | None = None, name: str = "", subresource: str = ""
) -> str:
    """The path of a collection, of an object, or of what lies below it. `namespace` None or "": all of them."""
    prefix = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    parts = [prefix]
    if resource.namespaced and namespace:
        parts += ["namespaces", quote(namespace, safe="")]
    parts.append(resource.plural)
    if name:
        # A ClusterRole is named "system:node": a colon stays, as client-go leaves it.
        parts.append(quote(name, safe=":"))
    if subresource:
        parts.append(subresource)
    return "/".join(parts)


def target(path: str, query: Query | None) -> str:
    """A path with its query, as it stands on the request line."""
    return f"{path}?{urlencode(query)}" if query else path


def decode_answer(status: int, content: bytes, method: str) -> Object:
    """The object of a 2xx; otherwise the StatusError that the server sent, or one made of what it said."""
    try:
        answer = orjson.loads(content) if content else {}
    except orjson.JSONDecodeError:
        answer = None
    if 200 <= status < 300:
        if not isinstance(answer, dict):
            raise StatusError(
                500, "InternalError", f"the server answered {status} with something else than an object"
            )
        return answer
    if isinstance(answer, dict) and answer.get("kind") == "Status":
        raise StatusError.from_status({"code": status, **answer})
    raise StatusError(
        status, "Unknown", content.decode(errors="replace") or f"the server answered {method} with {status}"
    )
