"""nftables rules as data: a table's sets, chains and elements, and the text that makes a table so, from nothing or from what it was.

Pure. One text is one transaction of `nft -f -`: no packet ever meets half of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from tiphys.machinery.frozen import frozen

TABLE = "ip tiphys-proxy"
_ELEMENTS_IN_A_LINE = 200


@frozen
class Ruleset:
    """`sets`: name → what nft calls it and how it is declared, ("map", "type …"). `chains`: name → (declaration, or empty; rules).
    `elements`: name of a set → key → value, empty in what is no map."""

    sets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    elements: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def merged(parts: Iterable[Ruleset]) -> Ruleset:
    """What two parts claim belongs to the first of them."""
    sets: dict[str, tuple[str, str]] = {}
    chains: dict[str, tuple[str, tuple[str, ...]]] = {}
    elements: dict[str, dict[str, str]] = {}
    for part in parts:
        sets = {**part.sets, **sets} if part.sets else sets
        for name, chain in part.chains.items():
            chains.setdefault(name, chain)
        for name, own in part.elements.items():
            known = elements.setdefault(name, {})
            for key, value in own.items():
                known.setdefault(key, value)
    return Ruleset(sets, chains, elements)


def whole(ruleset: Ruleset) -> str:
    """The table anew, whatever of that name is there."""
    lines = [f"add table {TABLE}", f"delete table {TABLE}", f"add table {TABLE}"]
    return "\n".join([*lines, *_difference(Ruleset(), ruleset)]) + "\n"


def changes(old: Ruleset, new: Ruleset) -> str:
    """From one to the other; empty when they are the same."""
    lines = list(_difference(old, new))
    return "\n".join(lines) + "\n" if lines else ""


def _difference(old: Ruleset, new: Ruleset) -> Iterator[str]:
    """In an order in which nothing is used before it is there, nor removed while it is used."""
    for name, (kind, declaration) in new.sets.items():
        if name not in old.sets:
            yield f"add {kind} {TABLE} {name} {{ {declaration}; }}"
    for name, (declaration, _) in new.chains.items():
        if name not in old.chains:
            yield f"add chain {TABLE} {name}" + (f" {{ {declaration}; }}" if declaration else "")
    for name in old.elements:
        if name in new.sets:
            gone = [
                key
                for key, value in old.elements[name].items()
                if new.elements.get(name, {}).get(key) != value
            ]
            yield from _lines("delete", name, gone)
    for name, (_, rules) in old.chains.items():
        if rules and new.chains.get(name, ("", ()))[1] != rules:
            yield f"flush chain {TABLE} {name}"
    for name, (_, rules) in new.chains.items():
        if old.chains.get(name, ("", ()))[1] != rules:
            yield from (f"add rule {TABLE} {name} {rule}" for rule in rules)
    for name, elements in new.elements.items():
        before = old.elements.get(name, {}) if name in old.sets else {}
        come = [(key, value) for key, value in elements.items() if before.get(key) != value]
        yield from _lines("add", name, [f"{key} : {value}" if value else key for key, value in come])
    yield from (f"delete chain {TABLE} {name}" for name in old.chains if name not in new.chains)
    yield from (f"delete {old.sets[name][0]} {TABLE} {name}" for name in old.sets if name not in new.sets)


def _lines(verb: str, name: str, elements: list[str]) -> Iterator[str]:
    for start in range(0, len(elements), _ELEMENTS_IN_A_LINE):
        some = ", ".join(elements[start : start + _ELEMENTS_IN_A_LINE])
        yield f"{verb} element {TABLE} {name} {{ {some} }}"
