"""What the chain does to one sort of request: found once, and then only done. How long it took is counted for many at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from tiphys.apiserver.admission.attributes import Attributes
from tiphys.machinery.metrics import PENDING_LIMIT

if TYPE_CHECKING:
    from tiphys.apiserver.object_metrics import AdmissionMetrics

Does = Callable[[Attributes], Awaitable[None] | None]


class Plan:
    """`plugins`: each with what it does, in order; None for one that has nothing to say about such requests."""

    __slots__ = ("_every", "_metrics", "_names", "_passed", "limit", "retired", "rows", "steps", "unasked")

    def __init__(
        self, kind: str, operation: str, plugins: Sequence[tuple[str, Does | None]], metrics: AdmissionMetrics
    ) -> None:
        self.steps = tuple(does for _, does in plugins if does is not None)
        self.rows: list[list[float]] = []
        """When each run began, and when each of its steps was over, of runs that are not counted yet."""
        self.unasked = 0
        """Runs in which nobody had anything to say, that are not counted yet."""
        self.limit = PENDING_LIMIT
        self.retired = False
        self._metrics = metrics
        self._names = kind, operation
        self._every = [
            (name, does is not None, metrics.plugin.labels(name, operation, "false", kind))
            for name, does in plugins
        ]
        self._passed = metrics.step.labels(operation, "false", kind)

    def fold(self) -> None:
        """Counts the runs so far. Plugins that had nothing to say took no time."""
        unasked, self.unasked = self.unasked, 0
        if unasked:
            for _, _, took in self._every:
                took.add(0.0, unasked)
            self._passed.add(0.0, unasked)
        rows, self.rows = self.rows, []
        if not rows:
            return
        moments = list(zip(*rows, strict=True))
        position = 0
        for _, is_asked, took in self._every:
            if is_asked:
                took.observe_all(map(sub, moments[position + 1], moments[position]))
                position += 1
            else:
                took.add(0.0, len(rows))
        self._passed.observe_all(map(sub, moments[-1], moments[0]))

    def refused(self, moments: list[float], now: float) -> None:
        """Counts a run that was ended by the step after those that are over."""
        kind, operation = self._names
        position = 0
        for name, is_asked, took in self._every:
            if not is_asked:
                took.add(0.0, 1)
                continue
            if position + 1 == len(moments):
                self._metrics.plugin.observe(now - moments[-1], name, operation, "true", kind)
                break
            took.observe(moments[position + 1] - moments[position])
            position += 1
        self._metrics.step.observe(now - moments[0], operation, "true", kind)

    def pass_by(self) -> Awaitable[None]:
        """In place of a run, where there are no steps."""
        self.unasked += 1
        if self.retired:
            self.fold()
        return NOTHING

    def retire(self) -> None:
        """Another plan takes its place: what still runs by this one is counted as soon as it is over."""
        self.retired, self.limit = True, 1
        self.fold()
        self._metrics.plans.pop(self, None)


class Plans(NamedTuple):
    """For both rounds of a request."""

    admit: Plan
    validate: Plan


class _Nothing:
    """Nothing to wait for: awaiting it runs no code at all, since an empty iterator is over at once."""

    __await__ = partial(iter, ())


NOTHING: Awaitable[None] = _Nothing()


async def run(plan: Plan, attributes: Attributes) -> None:
    """One round of the plugins, and one more when a webhook or policy has changed what those before it saw."""
    now = attributes.call.server.clock.monotonic
    moments = [now()]
    try:
        for does in plan.steps:
            waiting = does(attributes)
            if waiting is not None:
                await waiting
            moments.append(now())
    except BaseException:
        plan.refused(moments, now())
        raise
    rows = plan.rows
    rows.append(moments)
    if len(rows) >= plan.limit:
        plan.fold()
    if attributes.wants_again and not attributes.again:
        attributes.again = True
        await run(plan, attributes)
