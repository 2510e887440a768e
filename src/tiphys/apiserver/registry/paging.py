"""Options of list and watch requests, and the continue token: what was asked, and whether it makes sense together."""

from __future__ import annotations

import base64
import binascii
import re

import orjson

from tiphys.apiserver.requests import query_bool, query_integer
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError, Path
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupKind
from tiphys.machinery.json_faults import json_fault

_LIST_OPTIONS = GroupKind("meta.k8s.io", "ListOptions")
_MATCHES = ("Exact", "NotOlderThan")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9_-]")

TOO_OLD_TO_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted "
    "between the time the first chunk was returned and now may show up in the list."
)


@frozen
class ListOptions:
    """`revision` is None when the client named none; 0 means "any state will do"."""

    revision: int | None = None
    match: str = ""
    limit: int = 0
    start_after: str = ""
    """Key below the resource's prefix, from a continue token; "" at the beginning."""
    continue_revision: int = 0
    """The revision of the first page; -1: the client takes an inconsistent rest."""
    timeout_seconds: int | None = None
    bookmarks: bool = False
    send_initial_events: bool | None = None

    @property
    def exact(self) -> bool:
        """Whether a list must be of `revision` and of no other; with a limit it is unless the client says otherwise."""
        return self.match == "Exact" or bool(not self.match and self.limit and self.revision)


def read_options(query: dict[str, list[str]], *, watch: bool) -> ListOptions:
    """Reads and checks. Raises 400 for what cannot be read and 422 for what does not go together."""
    if not query:
        return ListOptions()
    text = query.get("resourceVersion", ("",))[0]
    match = query.get("resourceVersionMatch", ("",))[0]
    token = query.get("continue", ("",))[0]
    initial = query_bool(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    found = _disagreements(text, match, token, initial=initial, watch=watch)
    if found:
        raise errors.invalid(_LIST_OPTIONS, "", found)
    options = ListOptions(
        revision=revision_of(text),
        match=match,
        limit=max(query_integer(query, "limit") or 0, 0),
        timeout_seconds=query_integer(query, "timeoutSeconds"),
        bookmarks=query_bool(query, "allowWatchBookmarks"),
        send_initial_events=initial,
    )
    return _with_token(options, token, text) if token and not watch else options


def _with_token(options: ListOptions, token: str, revision_text: str) -> ListOptions:
    revision, start = decode_token(token)
    if revision_text and revision_text != "0":
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    return ListOptions(
        limit=options.limit,
        timeout_seconds=options.timeout_seconds,
        start_after=start,
        continue_revision=revision,
    )


def _disagreements(
    revision: str, match: str, token: str, *, initial: bool | None, watch: bool
) -> list[FieldError]:
    match_path, initial_path = Path("resourceVersionMatch"), Path("sendInitialEvents")
    found = []
    if initial is not None:
        if not watch:
            found.append(FieldError.forbidden(initial_path, "sendInitialEvents is forbidden for list"))
        elif match != "NotOlderThan":
            text = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            found.append(FieldError.forbidden(match_path, text))
    if not match:
        return found
    if watch and initial is None:
        found.append(
            FieldError.forbidden(
                match_path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        )
    elif not watch and not revision:
        found.append(
            FieldError.forbidden(
                match_path, "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        )
    if token:
        found.append(
            FieldError.forbidden(match_path, "resourceVersionMatch is forbidden when continue is provided")
        )
    if match not in _MATCHES:
        found.append(FieldError.not_supported(match_path, match, _MATCHES))
    elif match == "Exact" and revision == "0":
        found.append(
            FieldError.forbidden(
                match_path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            )
        )
    return found


def revision_of(text: str) -> int | None:
    """A resourceVersion that a client names; None for none. Raises 422 for what is not one."""
    if not text:
        return None
    problem, digits = "", text.lstrip("0") or "0"
    if not text.isascii() or not text.isdigit():
        problem = "invalid syntax"
    elif len(digits) > 20 or int(digits) >= 1 << 64:
        problem = "value out of range"
    if problem:
        error = FieldError.invalid(
            Path("resourceVersion"), text, f'strconv.ParseUint: parsing "{text}": {problem}'
        )
        raise errors.invalid(_LIST_OPTIONS, "", [error])
    return int(digits)


def encode_token(revision: int, start_after: str) -> str:
    """The continue token: upstream's shape, so that tools that look into it see what they know."""
    body = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": start_after + "\0"})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def decode_token(token: str) -> tuple[int, str]:
    """(revision, key to start after). Raises 400 for anything that is not a token."""
    try:
        body = orjson.loads(_from_base64(token))
    except orjson.JSONDecodeError as error:
        raise _bad_token(json_fault(_from_base64(token)) or error.msg) from None
    if not isinstance(body, dict) or body.get("v") != "meta.k8s.io/v1":
        raise _bad_token("server does not recognize this encoded version")
    revision, start = body.get("rv", 0), body.get("start", "")
    if not isinstance(revision, int) or not revision:
        raise _bad_token("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        raise _bad_token("encoded start key empty (version meta.k8s.io/v1)")
    if start.startswith("/") or ".." in start.split("/"):
        raise _bad_token(start)
    return revision, start.removesuffix("\0")


def _from_base64(token: str) -> bytes:
    """Strictly: the decoder of the library leaves out what it does not know."""
    stranger = _NOT_BASE64.search(token)
    position = stranger.start() if stranger else len(token)
    try:
        if stranger is None:
            return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error:
        pass
    raise _bad_token(f"illegal base64 data at input byte {position}")


def _bad_token(problem: str) -> errors.StatusError:
    return errors.bad_request(f"invalid continue token: continue key is not valid: {problem}")
