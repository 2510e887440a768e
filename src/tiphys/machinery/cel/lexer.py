"""The text of an expression as tokens (langdef.md, "Syntax"; messages are those of cel-go's generated lexer)."""

from __future__ import annotations

import re
from typing import NamedTuple

from tiphys.machinery.cel.errors import CelError, Issue

# Kinds of tokens; a symbol or keyword is its own kind.
IDENTIFIER, INT, UINT, FLOAT, STRING, BYTES, END = (
    "IDENTIFIER",
    "NUM_INT",
    "NUM_UINT",
    "NUM_FLOAT",
    "STRING",
    "BYTES",
    "<EOF>",
)
KEYWORDS = frozenset({"in", "true", "false", "null"})
SIZE_LIMIT = 100_000

_ESCAPE = r"""\\(?:[abfnrtv"'\\?`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"""
_BODIES = {
    "raw": r""" [rR](?: \"{3}.*?\"{3} | '{3}.*?'{3} | "[^"\n\r]*" | '[^'\n\r]*' )""",
    "plain": rf"""(?: \"{{3}}(?:{_ESCAPE}|[^\\])*?\"{{3}} | '{{3}}(?:{_ESCAPE}|[^\\])*?'{{3}}
                | "(?:{_ESCAPE}|[^\\"\n\r])*" | '(?:{_ESCAPE}|[^\\'\n\r])*' )""",
}
_STRING = rf"(?: {_BODIES['raw']} | {_BODIES['plain']} )"
_TOKEN = re.compile(
    rf"""(?P<space>(?:[\t\ \r\n\f]+|//[^\n]*)+)
    |(?P<BYTES>[bB]{_STRING})
    |(?P<STRING>{_STRING})
    |(?P<IDENTIFIER>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<NUM_FLOAT>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    |(?P<NUM_UINT>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
    |(?P<NUM_INT>0x[0-9a-fA-F]+|[0-9]+)
    |(?P<symbol>&&|\|\||[=!<>]=|[][(){{}}.,?:<>!+*/%-])""",
    re.VERBOSE | re.DOTALL,
)
_SHORT = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_escape = re.compile(_ESCAPE, re.DOTALL)


class Token(NamedTuple):
    kind: str
    text: str
    offset: int


def place(text: str, offset: int) -> tuple[int, int]:
    """Line (from 1) and column (from 0) of an offset."""
    line = text.count("\n", 0, offset)
    return line + 1, offset - (text.rfind("\n", 0, offset) + 1)


def error_at(text: str, offset: int, message: str) -> CelError:
    return CelError([Issue(message, *place(text, offset))], text)


def error_of_whole(text: str, message: str) -> CelError:
    return CelError([Issue(message, -1, 0)], text)


def tokenize(text: str) -> list[Token]:
    """All tokens, the last one END. CelError where no token begins."""
    if len(text) > SIZE_LIMIT:
        message = f"expression code point size exceeds limit: size: {len(text)}, limit {SIZE_LIMIT}"
        raise error_of_whole(text, message)
    tokens = []
    offset, match = 0, _TOKEN.match
    while offset < len(text):
        found = match(text, offset)
        if found is None:
            raise _unrecognized(text, offset)
        kind, value = found.lastgroup or "", found[0]
        if kind != "space":
            if kind == "symbol" or value in KEYWORDS:
                kind = value
            tokens.append(Token(kind, value, offset))
        offset = found.end()
    tokens.append(Token(END, END, len(text)))
    return tokens


def _unrecognized(text: str, offset: int) -> CelError:
    return error_at(text, offset, f"Syntax error: token recognition error at: '{_bad_part(text, offset)}'")


def _bad_part(text: str, offset: int) -> str:
    """The text up to where the lexer gave up: the end of the line, or the first bad escape of a string."""
    opening = re.compile(r"[bB]?(\"{3}|'{3}|[\"'])").match(text, offset)
    if opening is None:
        return text[offset]
    position = opening.end()
    while position < len(text) and not (len(opening[1]) == 1 and text[position] in "\r\n"):
        if text[position] == "\\":
            good = _escape.match(text, position)
            if good is None:
                return text[offset : position + len(_broken_escape(text, position))]
            position = good.end()
        else:
            position += 1
    return text[offset:position]


def _broken_escape(text: str, position: int) -> str:
    """A bad escape up to the character that makes it bad."""
    found = re.compile(r"\\\\(?:[xXuU][0-9a-fA-F]*.?|[0-3][0-7]?.?|.?)", re.DOTALL).match(text, position)
    return found[0] if found else ""


def string_value(token: str) -> str:
    """What a string literal means. ValueError for a code point that cannot be."""
    body, raw = _body(token)
    return body if raw or "\\" not in body else _escape.sub(_character, body)


def bytes_value(token: str) -> bytes:
    """What a bytes literal means: characters as UTF-8, `\\x` and octal escapes as bytes. ValueError for `\\u`."""
    body, raw = _body(token[1:])
    if raw or "\\" not in body:
        return body.encode()
    parts, position = [], 0
    for found in _escape.finditer(body):
        parts += [body[position : found.start()].encode(), bytes([_byte(found[0])])]
        position = found.end()
    return b"".join([*parts, body[position:].encode()])


def _body(token: str) -> tuple[str, bool]:
    raw = token[0] in "rR"
    quoted = token[raw:]
    width = 3 if quoted[:3] in ('"""', "'''") else 1
    body = quoted[width:-width]
    # As upstream, in a long string every kind of line end counts as one \n.
    return body.replace("\r\n", "\n").replace("\r", "\n") if width == 3 else body, raw


def _code(escape: str) -> int:
    kind = escape[1]
    if kind in _SHORT:
        return _SHORT[kind]
    if kind in "xXuU":
        return int(escape[2:], 16)
    return int(escape[1:], 8) if kind.isdigit() else ord(kind)


def _character(found: re.Match[str]) -> str:
    code = _code(found[0])
    if 0xD800 <= code < 0xE000 or code > 0x10FFFF:
        raise ValueError("invalid unicode code point")
    return chr(code)


def _byte(escape: str) -> int:
    if escape[1] in "uU":
        raise ValueError("invalid escape in bytes")
    return _code(escape)
