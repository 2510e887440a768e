"""URLs (apiserver `pkg/cel/library/urls.go`), parsed as Go's `net/url` does."""

from __future__ import annotations

import re
from urllib.parse import quote as percent_quote
from urllib.parse import unquote, unquote_plus

from tiphys.machinery.cel.charges import fixed, traversal
from tiphys.machinery.cel.declarations import function
from tiphys.machinery.cel.errors import CelRuntimeError
from tiphys.machinery.cel.library.form import Library
from tiphys.machinery.cel.types import opaque
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):").match
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL).search
_port = re.compile(r"(?::[0-9]*)?").fullmatch
_bad_host = re.compile(r"[\x00-\x20\"<>^`{|}\\]").search
_bad_userinfo = re.compile(r"[^A-Za-z0-9\-._:~!$&'()*+,;=%@]").search
# What may stand in a path as it is.
_PATH_SAFE = "$&+,/:;=@-_.~"
_encoded_path = re.compile(r"[A-Za-z0-9\-_.~!$&'()*+,;=:@/\[\]%]*").fullmatch


@frozen
class URL:
    scheme: str
    host: str
    path: str
    query: str
    opaque: str
    userinfo: str
    fragment: str


def parse_request_uri(text: str) -> URL:
    """An absolute URL or absolute path. ValueError, worded as Go words it."""
    try:
        return _parse(text, request=True)
    except ValueError as error:
        raise ValueError(f"parse {quote(text)}: {error}") from None


def _parse(text: str, *, request: bool, fragment: str = "") -> URL:
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("net/url: invalid control character in URL")
    if not text and request:
        raise ValueError("empty url")
    found = _scheme(text)
    if text.startswith(":"):
        raise ValueError("missing protocol scheme")
    scheme = found[1].lower() if found else ""
    rest, _, query = text[found.end() if found else 0 :].partition("?")
    if not rest.startswith("/"):
        if scheme:
            return URL(scheme, "", "", query, rest, "", fragment)
        if request and rest != "*":
            raise ValueError("invalid URI for request")
    host = userinfo = ""
    if (scheme or (not request and not rest.startswith("///"))) and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        host, userinfo = _authority(authority)
    _check_escapes(rest)
    return URL(scheme, host, rest, query, "", userinfo, fragment)


def _authority(text: str) -> tuple[str, str]:
    userinfo, _, host = text.rpartition("@")
    if _bad_userinfo(userinfo):
        raise ValueError("net/url: invalid userinfo")
    _check_escapes(userinfo)
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise ValueError("missing ']' in host")
        _check_port(host[end + 1 :])
    elif ":" in host:
        _check_port(host[host.rindex(":") :])
    bad = _bad_host(host)
    if bad:
        raise ValueError(f"invalid character {quote(bad[0])} in host name")
    _check_escapes(host)
    return unquote(host), userinfo


def _check_port(text: str) -> None:
    if not _port(text):
        raise ValueError(f"invalid port {quote(text)} after host")


def _check_escapes(text: str) -> None:
    bad = _bad_escape(text)
    if bad:
        raise ValueError(f"invalid URL escape {quote(bad[0])}")


def to_url(text: str) -> URL:
    try:
        parse_request_uri(text)
        # Once more, as a URL that may have a fragment.
        head, _, fragment = text.partition("#")
        return _parse(head, request=False, fragment=fragment)
    except ValueError as error:
        raise CelRuntimeError(f"URL parse error during conversion from string: {error}") from None


def is_url(text: str) -> bool:
    try:
        parse_request_uri(text)
    except ValueError:
        return False
    return True


def hostname(url: URL) -> str:
    host = url.host
    if host.startswith("["):
        return host[1 : host.rfind("]")]
    return host.rpartition(":")[0] if ":" in host else host


def port(url: URL) -> str:
    behind = url.host[url.host.rfind("]") + 1 :]
    return behind.rpartition(":")[2] if ":" in behind else ""


def escaped_path(url: URL) -> str:
    if url.path == "*" or _encoded_path(url.path):
        return url.path
    return percent_quote(unquote(url.path), safe=_PATH_SAFE)


def query(url: URL) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for part in url.query.split("&"):
        if not part or ";" in part or _bad_escape(part):
            continue
        name, _, value = part.partition("=")
        values.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return values


URL_TYPE = opaque("kubernetes.URL", URL)
_TYPES = {"URL": URL_TYPE}

URLS = Library(
    "kubernetes.urls",
    tuple(
        function(signature, implementation, charge, known=_TYPES)
        for signature, implementation, charge in (
            ("url(string) -> URL", to_url, traversal(same_size=True)),
            ("isURL(string) -> bool", is_url, fixed(1)),
            ("URL.getScheme() -> string", lambda url: url.scheme, fixed(1)),
            ("URL.getHost() -> string", lambda url: url.host, fixed(1)),
            ("URL.getHostname() -> string", hostname, fixed(1)),
            ("URL.getPort() -> string", port, fixed(1)),
            ("URL.getEscapedPath() -> string", escaped_path, fixed(1)),
            ("URL.getQuery() -> map(string, list(string))", query, fixed(1)),
        )
    ),
    {"kubernetes.URL": URL_TYPE},
)
