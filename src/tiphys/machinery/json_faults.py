"""What is wrong with a text that is no JSON, in the words of Go's decoder (`encoding/json`). Asked once another parser has refused it."""

from __future__ import annotations

import re

from tiphys.machinery.quoting import quote

UNEXPECTED_END = "unexpected end of JSON input"
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_WHOLE_PART = re.compile(r"-?(0|[1-9][0-9]*)")
_DIGITS = re.compile(r"[0-9]+")
_LITERALS = {"t": "true", "f": "false", "n": "null"}
_AFTER = {"{": "after object key:value pair", "[": "after array element"}
_CLOSING = {"{": "}", "[": "]"}


class _FaultError(Exception):
    """Its text is the fault."""


def json_fault(data: bytes) -> str:
    """The first fault. "": Go's decoder sees none; it minds neither bytes that are no UTF-8 nor halves of surrogate pairs."""
    try:
        _Scanner(data.decode("latin-1")).scan()  # it goes by bytes
    except _FaultError as fault:
        return str(fault)
    return ""


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._open: list[str] = []

    def scan(self) -> None:
        is_over = self._value()
        while self._open:
            kind = self._open[-1]
            if self._peek() == _CLOSING[kind]:
                self._open.pop()
                self._at += 1
                is_over = True
                continue
            if is_over:
                if self._peek() != ",":
                    self._refuse(_AFTER[kind])
                self._at += 1
                if self._peek() == _CLOSING[kind]:
                    self._refuse(_before(kind))
            if kind == "{":
                self._key()
            is_over = self._value()
        self._space()
        if self._at < len(self._text):
            self._refuse("after top-level value")

    def _value(self) -> bool:
        """Whether it is over; else it has only been opened."""
        character = self._peek()
        if character in _CLOSING:
            self._open.append(character)
            self._at += 1
            return False
        if character == '"':
            self._string()
        elif character in _LITERALS:
            self._literal(_LITERALS[character])
        elif character == "-" or character in "0123456789":
            self._number()
        else:
            self._refuse("looking for beginning of value")
        return True

    def _key(self) -> None:
        if self._peek() != '"':
            self._refuse(_before("{"))
        self._string()
        if self._peek() != ":":
            self._refuse("after object key")
        self._at += 1

    def _string(self) -> None:
        self._at += 1
        while True:
            self._skip(_PLAIN)
            character = self._here()
            self._at += 1
            if character == '"':
                return
            if character != "\\":
                self._at -= 1
                self._refuse("in string literal")
            if self._here() not in 'bfnrt\\/"u':
                self._refuse("in string escape code")
            digits = 4 if self._here() == "u" else 0
            self._at += 1
            for _ in range(digits):
                if self._here() not in "0123456789abcdefABCDEF":
                    self._refuse("in \\u hexadecimal character escape")
                self._at += 1

    def _literal(self, word: str) -> None:
        for wanted in word:
            if self._here() != wanted:
                self._refuse(f"in literal {word} (expecting {_quoted(wanted)})")
            self._at += 1

    def _number(self) -> None:
        if not self._skip(_WHOLE_PART):
            self._at += 1
            self._here()
            self._refuse("in numeric literal")
        if self._text.startswith(".", self._at):
            self._at += 1
            self._here()
            if not self._skip(_DIGITS):
                self._refuse("after decimal point in numeric literal")
        if self._text[self._at : self._at + 1] in ("e", "E"):
            self._at += 1
            if self._here() in "+-":
                self._at += 1
                self._here()
            if not self._skip(_DIGITS):
                self._refuse("in exponent of numeric literal")

    # Reading

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        """Whether something was there."""
        found = pattern.match(self._text, self._at)
        if found is None or not found.group():
            return False
        self._at = found.end()
        return True

    def _space(self) -> None:
        self._skip(_SPACE)

    def _here(self) -> str:
        if self._at >= len(self._text):
            raise _FaultError(UNEXPECTED_END)
        return self._text[self._at]

    def _peek(self) -> str:
        """The next character that is no white space."""
        self._space()
        return self._here()

    def _refuse(self, context: str) -> None:
        raise _FaultError(f"invalid character {_quoted(self._here())} {context}")


def _before(kind: str) -> str:
    return "looking for beginning of object key string" if kind == "{" else "looking for beginning of value"


def _quoted(character: str) -> str:
    if character == "'":
        return "'\\''"
    return "'\"'" if character == '"' else f"'{quote(character)[1:-1]}'"
