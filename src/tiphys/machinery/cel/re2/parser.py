"""Patterns to trees, in the syntax of Go's `regexp/syntax` (RE2's), with its messages."""

from __future__ import annotations

import re

from tiphys.machinery.cel.re2.classes import PERL, POSIX, any_case, unicode_class
from tiphys.machinery.cel.re2.tree import (
    ANY,
    EMPTY,
    HIGHEST,
    Assertion,
    Chars,
    Choice,
    PatternError,
    Ranges,
    Repeat,
    Sequence,
    Tree,
    complement,
    union,
)

REPEAT_LIMIT = 1000
NESTING_LIMIT = 150
# Positions of the pattern once every counted repetition is written out.
SIZE_LIMIT = 10_000

_NEWLINE: Ranges = ((0x0A, 0x0A),)
_counted = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}", re.ASCII)
_group = re.compile(r"\(\?(?:P?<([A-Za-z0-9_]+)>|([imsU]*(?:-[imsU]+)?)([:)]))", re.ASCII)
_unicode = re.compile(r"\\[pP](?:\{(\^?)([A-Za-z_]+)\}|([A-Za-z]))", re.ASCII)
_code = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|x\{([0-9a-fA-F]+)\}|([1-7][0-7]{1,2}|0[0-7]{0,2})|(.))", re.DOTALL
)
_posix = re.compile(r"\[:(\^?)([a-z]+):\]")
_CONTROLS = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_ASSERTIONS = {"A": "begin", "z": "end", "b": "word", "B": "not_word"}


def parse(text: str) -> Tree:
    parser = _Parser(text)
    tree = parser.choice(0)
    if parser.position < len(text):
        raise PatternError("unexpected )", text)
    if _size(tree) > SIZE_LIMIT:
        raise PatternError("expression too large", text)
    return tree


def _size(tree: Tree) -> int:
    if isinstance(tree, Sequence | Choice):
        return 1 + sum(map(_size, tree.items))
    if isinstance(tree, Repeat):
        return _size(tree.item) * max(tree.low, tree.high or 0, 1) + 1
    return 1


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.flags: frozenset[str] = frozenset()
        self.names: set[str] = set()

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def take(self, expected: str) -> bool:
        if not self.text.startswith(expected, self.position):
            return False
        self.position += len(expected)
        return True

    def choice(self, depth: int) -> Tree:
        if depth > NESTING_LIMIT:
            raise PatternError("expression nests too deeply", self.text)
        items = [self.sequence(depth)]
        while self.take("|"):
            items.append(self.sequence(depth))
        return items[0] if len(items) == 1 else Choice(tuple(items))

    def sequence(self, depth: int) -> Tree:
        items: list[Tree] = []
        while self.peek() and self.peek() not in "|)":
            item = self.atom(depth)
            if item is not None:
                items.append(self.repeated(item))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def repeated(self, item: Tree) -> Tree:
        first = self.position
        bounds = self.bounds()
        if bounds is None:
            return item
        greedy = self.take("?") == ("U" in self.flags)
        end = self.position
        if self.bounds() is not None:
            raise PatternError("invalid nested repetition operator", self.text[first : self.position])
        self.position = end
        return Repeat(item, bounds[0], bounds[1], greedy)

    def bounds(self) -> tuple[int, int | None] | None:
        """The repetition that stands here, if one does."""
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self.take(sign):
                return low, high
        found = _counted.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        if max(len(found[1]), len(found[3] or "")) > 4:
            raise PatternError("invalid repeat count", found[0])
        least = int(found[1])
        most = least if not found[2] else int(found[3]) if found[3] else None
        if least > REPEAT_LIMIT or (most is not None and not least <= most <= REPEAT_LIMIT):
            raise PatternError("invalid repeat count", found[0])
        return least, most

    def atom(self, depth: int) -> Tree | None:
        """One item; None for what only sets flags."""
        character = self.peek()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return Chars(self.folded(self.bracket()))
        if character == "\\":
            return self.escape()
        if character in "*+?" or (character == "{" and _counted.match(self.text, self.position)):
            found = _counted.match(self.text, self.position)
            raise PatternError("missing argument to repetition operator", found[0] if found else character)
        self.position += 1
        if character == ".":
            return Chars(ANY if "s" in self.flags else complement(_NEWLINE))
        if character == "^":
            return Assertion("line_begin" if "m" in self.flags else "begin")
        if character == "$":
            return Assertion("line_end" if "m" in self.flags else "end")
        return self.character(ord(character))

    def character(self, code: int) -> Tree:
        return Chars(self.folded(((code, code),)))

    def folded(self, ranges: Ranges) -> Ranges:
        return any_case(ranges) if "i" in self.flags else ranges

    def group(self, depth: int) -> Tree | None:
        start, outer = self.position, self.flags
        if self.take("(?"):
            found = _group.match(self.text, start)
            if found is None:
                raise self.bad_group(start)
            self.position = found.end()
            if found[1] is None:
                self.flags = _changed(outer, found[2])
                if found[3] == ")":
                    return None
            elif found[1] in self.names:
                raise PatternError("duplicate capture group name", found[1])
            else:
                self.names.add(found[1])
        else:
            self.position += 1
        inside = self.choice(depth + 1)
        if not self.take(")"):
            raise PatternError("missing closing )", self.text)
        self.flags = outer
        return inside

    def bad_group(self, start: int) -> PatternError:
        rest = self.text[start:]
        named = re.match(r"\(\?P?<[^>]*>?", rest)
        if named and not rest.startswith(("(?<=", "(?<!")):
            return PatternError("invalid named capture", named[0])
        bad = re.match(r"\(\?[imsU-]*.?", rest, re.DOTALL)
        return PatternError("invalid or unsupported Perl syntax", bad[0] if bad else rest)

    # Escapes

    def escape(self) -> Tree:
        following = self.text[self.position + 1 : self.position + 2]
        if following in _ASSERTIONS and following:
            self.position += 2
            return Assertion(_ASSERTIONS[following])
        if following == "Q":
            return self.quoted()
        ranges = self.class_escape()
        if ranges is not None:
            return Chars(self.folded(ranges))
        return self.character(self.code_escape())

    def quoted(self) -> Tree:
        end = self.text.find("\\E", self.position)
        literal = self.text[self.position + 2 : end if end >= 0 else len(self.text)]
        self.position = end + 2 if end >= 0 else len(self.text)
        items = tuple(self.character(ord(each)) for each in literal)
        return items[0] if len(items) == 1 else Sequence(items) if items else EMPTY

    def class_escape(self) -> Ranges | None:
        """`\\d`, `\\pL`… if one stands here."""
        following = self.text[self.position + 1 : self.position + 2]
        if following in PERL and following:
            self.position += 2
            return PERL[following]
        if following not in ("p", "P"):
            return None
        found = _unicode.match(self.text, self.position)
        ranges = None if found is None else unicode_class(found[2] or found[3])
        if found is None or ranges is None:
            part = found[0] if found else self.text[self.position : self.position + 3]
            raise PatternError("invalid character class range", part)
        self.position = found.end()
        return complement(ranges) if (following == "P") != bool(found[1]) else ranges

    def code_escape(self) -> int:
        """The code point of an escaped character."""
        start = self.position
        found = _code.match(self.text, start)
        if found is None:
            raise PatternError("trailing backslash at end of expression")
        self.position = found.end()
        if found[1] or found[2]:
            code = int((found[1] or found[2])[:9], 16)
        elif found[3]:
            code = int(found[3], 8)
        elif found[4] in _CONTROLS:
            code = _CONTROLS[found[4]]
        elif found[4].isascii() and not found[4].isalnum():
            code = ord(found[4])
        else:
            code = HIGHEST + 1
        if code > HIGHEST:
            raise PatternError("invalid escape sequence", found[0])
        return code

    # [...]

    def bracket(self) -> Ranges:
        start = self.position
        self.position += 1
        negated = self.take("^")
        sets: list[Ranges] = []
        while not (sets and self.peek() == "]"):
            if not self.peek():
                raise PatternError("missing closing ]", self.text[start:])
            sets.append(self.bracket_item(start))
        self.position += 1
        ranges = union(*sets)
        if negated:
            return complement(self.folded(ranges))
        return ranges

    def bracket_item(self, start: int) -> Ranges:
        posix = _posix.match(self.text, self.position)
        if posix is not None:
            if posix[2] not in POSIX:
                raise PatternError("invalid character class range", posix[0])
            self.position = posix.end()
            return complement(POSIX[posix[2]]) if posix[1] else POSIX[posix[2]]
        if self.peek() == "\\":
            ranges = self.class_escape()
            if ranges is not None:
                return ranges
        first = self.position
        low = self.bracket_character(start)
        if self.peek() != "-" or self.text[self.position + 1 : self.position + 2] in ("]", ""):
            return ((low, low),)
        self.position += 1
        high = self.bracket_character(start)
        if high < low:
            raise PatternError("invalid character class range", self.text[first : self.position])
        return ((low, high),)

    def bracket_character(self, start: int) -> int:
        if not self.peek():
            raise PatternError("missing closing ]", self.text[start:])
        if self.peek() == "\\":
            return self.code_escape()
        self.position += 1
        return ord(self.text[self.position - 1])


def _changed(flags: frozenset[str], change: str) -> frozenset[str]:
    on, _, off = change.partition("-")
    return (flags | set(on)) - set(off)
