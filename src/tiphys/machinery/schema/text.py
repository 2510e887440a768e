"""Reads `.types` text: the blocks of one group and version. docs/decisions/0006-types-files.md shows the form.

A file is cut into blocks when it is first needed, and a block is read when its type is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tiphys.machinery.frozen import frozen
from tiphys.machinery.schema.model import (
    Field,
    ListOf,
    MapOf,
    Reference,
    Scalar,
    ScalarKind,
    Struct,
    Type,
    Union,
)

# Begins with the line break, which is found many times faster than `^` in texts that are mostly descriptions.
_HEAD = re.compile(r"\n(object|type)[ \t]+(\S+)[ \t]*(.*)")
_ROW = re.compile(r"[ \t]+(\d+)\s+(\S+)\s+([^\s!?]+)([!?]?)(?=\s|$)\s*(.*)")
_SCALARS = {kind.value: Scalar(kind) for kind in ScalarKind}
_LIST_TYPES = ("set", "atomic")
_DESCRIPTION = " -- "


class TypesError(ValueError):
    """A `.types` text breaks the form. The message names file and line."""


@frozen
class Block:
    """One block, not yet read: its head, its rows, and where it stands."""

    source: str
    line: int
    keyword: str
    name: str
    attributes: str
    body: str


def split_blocks(source: str, text: str) -> dict[str, Block]:
    """The blocks of a text by name. `source` is "core/v1"; it becomes a part of every type's name."""
    text = "\n" + text
    heads = list(_HEAD.finditer(text))
    if _has_content(text[: heads[0].start()] if heads else text):
        raise TypesError(f"{source}.types line 1: a file begins with `object Name` or `type Name`")
    blocks: dict[str, Block] = {}
    line, position = 0, 0
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        line, position = line + text.count("\n", position, head.end()), head.end()
        keyword, name, attributes = head.groups()
        if name in blocks:
            raise TypesError(f"{source}.types line {line}: {name} is there twice")
        end = following.start() if following is not None else len(text)
        blocks[name] = Block(source, line, keyword, name, attributes, text[head.end() + 1 : end])
    return blocks


def _has_content(text: str) -> bool:
    return any(line.strip() and not line.startswith("#") for line in text.splitlines())


def read_block(block: Block, find: Callable[[str], Struct]) -> Struct:
    """The struct of a block. `find` looks other structs up, when they are first needed."""
    attributes, description = _cut_description(block.attributes)
    flags = attributes.split()
    for flag in flags:
        if flag not in ("atomic", "any"):
            raise _error(block, block.line, f"unknown attribute {flag!r}")
    fields: list[Field] = []
    unions: list[Union] = []
    for line, row in _rows(block):
        if row.split(maxsplit=1)[0] == "union":
            unions.append(_read_union(row))
        else:
            fields.append(_read_field(block, line, row, find))
    return Struct(
        name=f"{block.source}.{block.name}",
        own_fields=tuple(fields),
        is_object=block.keyword == "object",
        is_any="any" in flags,
        map_type="atomic" if "atomic" in flags else "",
        unions=tuple(unions),
        description=description,
    )


def _rows(block: Block) -> Iterator[tuple[int, str]]:
    for line, row in enumerate(block.body.splitlines(), block.line + 1):
        if row.strip() and not row.lstrip().startswith("#"):
            yield line, row


def _error(block: Block, line: int, message: str) -> TypesError:
    return TypesError(f"{block.source}.types line {line}: {block.name}: {message}")


def _cut_description(text: str) -> tuple[str, str]:
    attributes, _, description = f" {text} ".partition(_DESCRIPTION)
    return attributes.strip(), description.strip()


def _read_union(row: str) -> Union:
    """`union type exempt=Exempt limited=Limited`; `-` in place of a discriminator: there is none."""
    _, discriminator, *members = row.split()
    pairs = (member.partition("=") for member in members)
    return Union("" if discriminator == "-" else discriminator, {name: value for name, _, value in pairs})


def _read_field(block: Block, line: int, row: str, find: Callable[[str], Struct]) -> Field:
    match = _ROW.fullmatch(row)
    if match is None:
        raise _error(block, line, f"not `<number> <name> <type> <attributes>`: {row.strip()!r}")
    number, name, type_text, marker, rest = match.groups()
    attributes, description = _cut_description(rest)
    try:
        type_ = _read_type(type_text, block.source, find)
        # To Go, bytes are a list too.
        options = _read_attributes(attributes, is_list=type_text.startswith("[") or type_text == "bytes")
    except ValueError as error:
        raise _error(block, line, str(error)) from None
    return Field(
        name="" if name == "*" else name,
        number=int(number),
        type=type_,
        required=marker == "!",
        pointer=marker == "?",
        description=description,
        **options,
    )


def _read_type(text: str, source: str, find: Callable[[str], Struct]) -> Type:
    if text in _SCALARS:
        return _SCALARS[text]
    if text[:1] == "[" and text[-1:] == "]":
        return ListOf(_read_type(text[1:-1], source, find))
    if text[:1] == "{" and text[-1:] == "}":
        return MapOf(_read_type(text[1:-1], source, find))
    _, dot, name = text.rpartition(".")
    if not name[:1].isupper() or not name.isalnum():
        raise ValueError(f"unknown type {text!r}")
    return Reference(text if dot else f"{source}.{name}", find)


def _read_attributes(text: str, *, is_list: bool) -> dict[str, Any]:
    """The keyword arguments of Field that the words at the end of a row stand for."""
    options: dict[str, Any] = {}
    strategies: list[str] = []
    for word in text.split():
        name, equals, value = word.partition("=")
        if is_list and name == "map" and equals:
            options.update(list_type="map", map_keys=tuple(value.split(",")))
        elif is_list and word in _LIST_TYPES:
            options["list_type"] = word
        elif not is_list and word in ("atomic", "granular"):
            options["map_type"] = word
        elif name == "merge":
            strategies.append("merge")
            options["merge_key"] = value
        elif word in ("retainKeys", "replace"):
            strategies.append(word)
        elif word == "always":
            options["always"] = True
        else:
            raise ValueError(f"unknown attribute {word!r}")
    return {**options, "patch_strategies": tuple(sorted(strategies))}
