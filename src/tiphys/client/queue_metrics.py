"""What is counted of work queues: workqueue_*, by the name of the queue."""

from __future__ import annotations

from collections.abc import Hashable

from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry, exponential

_SECONDS = exponential(1e-8, 10, 12)
_NAME = ("name",)


class WorkQueueMetrics:
    """The families; `of(name)` are those of one queue."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self.clock = clock
        counter, gauge, histogram = registry.counter, registry.gauge, registry.histogram
        self.adds = counter("workqueue_adds_total", "Keys that were added.", _NAME)
        self.depth = gauge("workqueue_depth", "Keys that wait for a worker now.", _NAME)
        self.waited = histogram(
            "workqueue_queue_duration_seconds", "How long keys waited for a worker.", _SECONDS, _NAME
        )
        self.worked = histogram(
            "workqueue_work_duration_seconds", "How long workers took for keys.", _SECONDS, _NAME
        )
        self.retries = counter(
            "workqueue_retries_total", "Keys that were added again after a failure.", _NAME
        )
        self.unfinished = gauge(
            "workqueue_unfinished_work_seconds",
            "Time that has been spent on keys that workers have now; growth means that some are stuck.",
            _NAME,
        )
        self.longest = gauge(
            "workqueue_longest_running_processor_seconds",
            "Time that has been spent on the key that a worker has had longest.",
            _NAME,
        )
        self._queues: dict[str, QueueMetrics] = {}
        registry.before_scrape(self._collect)

    def of(self, name: str) -> QueueMetrics:
        """Of the queue of that name; one that is made again goes on where it was."""
        return QueueMetrics(self, name)

    def use(self, queue: QueueMetrics) -> None:
        self._queues[queue.name] = queue

    def _collect(self) -> None:
        now = self.clock.monotonic()
        for name, queue in self._queues.items():
            running = [now - since for since in queue.taken_at.values()]
            self.depth.set(len(queue.added_at), name)
            self.unfinished.set(sum(running), name)
            self.longest.set(max(running, default=0), name)


class QueueMetrics:
    """Of one queue: it says what happens to its keys."""

    def __init__(self, families: WorkQueueMetrics, name: str) -> None:
        self.name = name
        self.added_at: dict[Hashable, float] = {}
        self.taken_at: dict[Hashable, float] = {}
        self._clock = families.clock
        self._adds = families.adds.labels(name)
        self._retries = families.retries.labels(name)
        self._waited = families.waited.labels(name)
        self._worked = families.worked.labels(name)
        families.use(self)

    def added(self, key: Hashable) -> None:
        self._adds.value += 1
        self.added_at[key] = self._clock.monotonic()

    def taken(self, key: Hashable) -> None:
        now = self._clock.monotonic()
        since = self.added_at.pop(key, None)
        if since is not None:
            self._waited.observe(now - since)
        self.taken_at[key] = now

    def done(self, key: Hashable) -> None:
        since = self.taken_at.pop(key, None)
        if since is not None:
            self._worked.observe(self._clock.monotonic() - since)

    def retried(self) -> None:
        self._retries.value += 1
