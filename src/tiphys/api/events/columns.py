"""Events print the same in both groups."""

from __future__ import annotations

from tiphys.api.core.columns import objects
from tiphys.api.events.conversion import to_core
from tiphys.api.resource import Table

EVENT = Table(objects.EVENT.columns, lambda obj, now: objects.EVENT.cells(to_core(obj), now))
