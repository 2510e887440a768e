"""Links of a page that comes from behind a path of ours, turned so that they lead through us again.

Which attributes hold a URL is HTML's table (https://html.spec.whatwg.org/multipage/indices.html#attributes-3), as far as
upstream's proxy knows it.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES = {
    "a": "href", "applet": "codebase", "area": "href", "audio": "src", "base": "href", "blockquote": "cite",
    "body": "background", "button": "formaction", "command": "icon", "del": "cite", "embed": "src", "form": "action",
    "frame": "longdesc src", "head": "profile", "html": "manifest", "iframe": "longdesc src",
    "img": "longdesc src usemap", "input": "src usemap formaction", "ins": "cite", "link": "href",
    "object": "classid codebase data usemap", "q": "cite", "script": "src", "source": "src", "video": "poster src",
}  # fmt: skip
_TAG = re.compile(rb"<([a-zA-Z]+)(\s[^<>]*)>")
_ATTRIBUTE = re.compile(rb"""([a-zA-Z-]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


class Links:
    """`source`: the host and port that the page comes from; `asked`: the host that its reader asked; `prefix`: what
    stands before the page's own paths there."""

    def __init__(self, source: str, asked: str, prefix: str) -> None:
        self._hosts = {"", source, asked}
        self._prefix = prefix

    def rewrite(self, headers: list[tuple[str, str]], page: bytes) -> bytes:
        """Changes the redirect in `headers`, and gives the page with its links changed."""
        for position, (name, value) in enumerate(headers):
            if name == "location":
                headers[position] = (name, self.turned(value))
        return _TAG.sub(self._tag, page)

    def turned(self, url: str) -> str:
        """A URL that is on the same host and begins at its root, below the prefix; any other as it is."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return url
        if parts.netloc not in self._hosts or not parts.path.startswith("/"):
            return url
        if parts.path.startswith(f"{self._prefix}/"):
            return url
        return urlunsplit(("", "", self._prefix + parts.path, parts.query, parts.fragment))

    def _tag(self, tag: re.Match[bytes]) -> bytes:
        wanted = _ATTRIBUTES.get(tag[1].decode().lower(), "").split()
        if not wanted:
            return tag[0]

        def attribute(found: re.Match[bytes]) -> bytes:
            if found[1].decode().lower() not in wanted:
                return found[0]
            value = found[3]
            mark = value[:1] if value[:1] in (b'"', b"'") else b""
            inner = value.strip(mark) if mark else value
            turned = self.turned(inner.decode(errors="surrogateescape"))
            return found[1] + found[2] + mark + turned.encode(errors="surrogateescape") + mark

        return b"<%b%b>" % (tag[1], _ATTRIBUTE.sub(attribute, tag[2]))
