"""How long rules take, for whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.machinery.frozen import frozen


@frozen
class Timing:
    """`compiled` and `evaluated` are told seconds by `now`: of all rules at one place of a schema, and of all rules of an object."""

    now: Callable[[], float]
    compiled: Callable[[float], None]
    evaluated: Callable[[float], None]
