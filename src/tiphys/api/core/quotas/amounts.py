"""Amounts of several resources at once, as quotas reckon with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.machinery.quantity import ZERO, Quantity, from_value, parse

Amounts = dict[str, Quantity]
ONE = from_value(1)


def read(values: Mapping[str, Any] | None) -> Amounts:
    return {name: parse(text) for name, text in values.items()} if values else {}


def written(amounts: Amounts) -> dict[str, str]:
    return {name: str(amount) for name, amount in amounts.items()}


def added(first: Amounts, second: Amounts) -> Amounts:
    """A quantity is shown in the way of the first one that is not zero."""
    total = dict(first)
    for name, amount in second.items():
        total[name] = total[name] + amount if name in total else amount
    return total


def increase(after: Amounts, before: Amounts) -> Amounts:
    """What is more than before; nothing is given back."""
    return {
        name: amount - before.get(name, ZERO)
        for name, amount in after.items()
        if amount > before.get(name, ZERO)
    }


def of(amounts: Amounts, names: Iterable[str]) -> Amounts:
    return {name: amounts[name] for name in names if name in amounts}


def listed(amounts: Amounts) -> str:
    """`cpu=1,pods=2`: as messages show them."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))
