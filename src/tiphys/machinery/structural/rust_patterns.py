"""Patterns that Rust's `regex` matches as RE2 does, so that a gate need not call Python for each string.

Both are of one family, and what nearly all schemas use means the same in both; it is written here without the words
that do not (`\\d` knows other digits in Rust, `&&` in a class is an intersection). The rest is refused.
"""

from __future__ import annotations

import re

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": "\t\n\f\r "}
_PLAIN = r"[A-Za-z0-9 _/:,@%=;\"'!#<>&~`-]"
_ESCAPED = r"\\[-./+*?|()\[\]{}$^:@#%&_~]"
_IN_CLASS = r"[A-Za-z0-9 _/:,@%=;\"'!#<>.+*?|(){}$]"
_ITEM = (
    rf"(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|{_IN_CLASS}(?!-[^\]])|{_ESCAPED}(?!-[^\]])|\\[dws](?!-[^\]]))"
)
_TOKEN = re.compile(
    rf"""(?P<same>{_PLAIN}|{_ESCAPED}|\((?:\?:|(?!\?))|[)|]|[\^$](?![*+?{{]))
    |(?P<any>\.)
    |\\(?P<word>[dws])
    |\[(?P<negated>\^?)(?P<first>-?)(?P<items>{_ITEM}*)(?P<last>-?)\]
    |(?P<repeated>(?:[*+?]|\{{[0-9]+(?:,[0-9]*)?\}})\??)
    """.replace("\n    ", ""),
)
_IN_ITEMS = re.compile(r"\\(.)|(.)", re.DOTALL)


def as_rust(pattern: str) -> str | None:
    """The same for Rust, of a pattern that is a valid one for RE2; None if it may mean something else there."""
    made: list[str] = []
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            return None
        position = token.end()
        if token["same"] or token["repeated"]:
            made.append(_same(token[0]))
        elif token["any"]:
            made.append("[^\n]")
        elif token["word"]:
            made.append(f"[{_CLASSES[token['word']]}]")
        else:
            items = _IN_ITEMS.sub(_item, token["items"])
            dash = r"\-" if token["first"] or token["last"] else ""
            if not items and not dash:
                return None
            made.append(f"[{token['negated']}{items}{dash}]")
    return "".join(made)


def _same(text: str) -> str:
    # Only what is special needs its backslash, and `\_` or `\/` is not even a word of Rust's.
    if text[0] == "\\" and text[1] in "-/:@#%&_~":
        return text[1]
    return text


def _item(match: re.Match[str]) -> str:
    if match[1] in _CLASSES:
        return _CLASSES[match[1]]
    if match[1]:
        return match[1] if match[1] in "/:@#%_" else f"\\{match[1]}"
    # `&` and `~` are special when doubled.
    return f"\\{match[2]}" if match[2] in "&~" else match[2]
