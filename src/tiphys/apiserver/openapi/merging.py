"""A v2 document of another server as part of ours: what belongs to one group version, under names that nobody here has.

As kube-openapi's aggregator: two definitions of one name are one if they say the same; else the newcomer's gets a suffix, `_v2`
and so on, wherever it is referred to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from tiphys.apiserver.openapi.v2 import Document, Piece

KINDS = "x-kubernetes-group-version-kind"


def select(spec: Document, prefix: str) -> Piece:
    """The paths below a prefix ("/apis/wardle.example.com/v1alpha1/") and all that they refer to."""
    paths = {path: item for path, item in (spec.get("paths") or {}).items() if path.startswith(prefix)}
    kept: dict[str, Document] = {"definitions": {}, "parameters": {}}
    waiting = list(references(paths))
    while waiting:
        _, section, name = waiting.pop().split("/", 2)
        found = (spec.get(section) or {}).get(name)
        if section in kept and found is not None and name not in kept[section]:
            kept[section][name] = found
            waiting += references(found)
    return Piece(paths, kept["definitions"], kept["parameters"])


def references(value: Any) -> Iterator[str]:
    """Every local reference below a value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref" and isinstance(inner, str):  # a property of that name is no reference
                if inner.startswith("#/") and inner.count("/") >= 2:
                    yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def beside(piece: Piece, definitions: Mapping[str, bytes], parameters: Mapping[str, bytes]) -> Piece:
    """The piece without what is there already, and with new names for what is there but says something else."""
    renamed: dict[str, str] = {}
    sections = {"definitions": (piece.definitions, definitions), "parameters": (piece.parameters, parameters)}
    kept: dict[str, dict[str, str]] = {}
    for section, (own, taken) in sections.items():
        kept[section] = {}
        for name, value in own.items():
            new = _free_name(name, value, {**taken, **{other: b"" for other in own if other != name}}, taken)
            if new is None:
                continue
            kept[section][name] = new
            if new != name:
                renamed[f"#/{section}/{name}"] = f"#/{section}/{new}"

    def moved(value: Any) -> Any:
        return (
            with_references(value, lambda reference: renamed.get(reference, reference)) if renamed else value
        )

    return Piece(
        moved(piece.paths),
        {new: moved(piece.definitions[name]) for name, new in kept["definitions"].items()},
        {new: moved(piece.parameters[name]) for name, new in kept["parameters"].items()},
    )


def _free_name(
    name: str, value: Document, occupied: Mapping[str, bytes], taken: Mapping[str, bytes]
) -> str | None:
    """A name for a definition; None when what stands under its name says the same."""
    if name in taken and _said(orjson.loads(taken[name])) == _said(value):
        return None
    candidate, number = name, 1
    while candidate in occupied:
        number += 1
        candidate = f"{name}_v{number}"
    return candidate


def _said(value: Document) -> bytes:
    """What a definition says, beyond which kinds it is the body of."""
    without = {key: inner for key, inner in value.items() if key != KINDS}
    return orjson.dumps(without, option=orjson.OPT_SORT_KEYS)


def with_references(value: Any, change: Callable[[str], str]) -> Any:
    """The value with other references."""
    if isinstance(value, dict):
        return {
            key: change(inner) if key == "$ref" and isinstance(inner, str) else with_references(inner, change)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [with_references(inner, change) for inner in value]
    return value
