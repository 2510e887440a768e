"""Names of properties as CEL identifiers, and back (apiserver `pkg/cel/escaping.go`).

A property may be called `namespace` or `foo-bar`, which no expression could select. Kubernetes escapes such names:
`self.__namespace__`, `self.foo__dash__bar`.
"""

from __future__ import annotations

import re

RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)

_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_UNESCAPES = {"underscores": "__", "dot": ".", "dash": "-", "slash": "/"}
_is_name = re.compile(r"[A-Za-z_./-][A-Za-z0-9_./-]*").fullmatch
_special = re.compile(r"__|[-./]")
_escaped = re.compile(r"__([^_]+)__")


def escape(name: str) -> str | None:
    """The identifier that selects the property `name`, or None when no expression can."""
    if name in RESERVED:
        return f"__{name}__"
    if not _is_name(name):
        return None
    return _special.sub(lambda match: _ESCAPES[match[0]], name)


def unescape(identifier: str) -> str | None:
    """The property that `identifier` selects, or None when the identifier has an unknown escape."""
    good = True

    def replace(match: re.Match[str]) -> str:
        nonlocal good
        word = match[1]
        if word in _UNESCAPES:
            return _UNESCAPES[word]
        # A keyword is escaped as a whole name only.
        good = good and word in RESERVED and len(match[0]) == len(identifier)
        return word

    name = _escaped.sub(replace, identifier)
    return name if good else None
