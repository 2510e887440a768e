"""The admission chain: the list of rules that every write passes, read from top to bottom.

First every plugin may change the object, then (after defaults and the kind's own validation) every plugin may refuse it. The
names and the order are upstream's; docs/decisions/0007-admission.md says which are there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.default_toleration_seconds import DefaultTolerationSeconds
from tiphys.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from tiphys.apiserver.admission.priority import Priority
from tiphys.apiserver.admission.service_account import ServiceAccount
from tiphys.apiserver.admission.taint_nodes_by_condition import TaintNodesByCondition

PLUGINS: tuple[Callable[[], Any], ...] = (
    NamespaceLifecycle,
    ServiceAccount,
    TaintNodesByCondition,
    Priority,
    DefaultTolerationSeconds,
)


class Chain:
    """The plugins that are switched on, in order."""

    def __init__(self, plugins: Sequence[Any] | None = None) -> None:
        chosen = [make() for make in PLUGINS] if plugins is None else plugins
        self._mutating = [plugin.admit for plugin in chosen if hasattr(plugin, "admit")]
        self._validating = [plugin.validate for plugin in chosen if hasattr(plugin, "validate")]

    async def admit(self, attributes: Attributes) -> None:
        await _run(self._mutating, attributes)

    async def validate(self, attributes: Attributes) -> None:
        await _run(self._validating, attributes)


async def _run(
    steps: Sequence[Callable[[Attributes], Awaitable[None] | None]], attributes: Attributes
) -> None:
    for step in steps:
        waiting = step(attributes)
        if waiting is not None:
            await waiting
