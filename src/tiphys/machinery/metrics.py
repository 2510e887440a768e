"""Numbers that components tell Prometheus: counters, gauges and histograms under upstream's names.

A Registry is made by whoever puts a process together and given to what has something to count; each component declares
its families in one class (`RequestMetrics`, `WorkQueueMetrics`…), so that the same registry serves many of them and a test
has its own. Everything runs on one event loop: a count is an addition and takes no lock.

    served = registry.counter("apiserver_request_total", "Requests that were answered.", ("verb", "code"))
    served.labels("GET", "200").value += 1

The text is Prometheus' exposition format 0.0.4; families and series are sorted, as client_golang sorts them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf, isinf, isnan

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
ALPHA, BETA, STABLE = "ALPHA", "BETA", "STABLE"
INTERNAL = ""
"""The stability of families that are not Kubernetes' own, such as process_*."""
Labels = tuple[str, ...]
PENDING_LIMIT = 64
"""Observations of one series that are kept as they came, before they are counted together."""


def exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Bounds of buckets, each `factor` times the one before."""
    return tuple(start * factor**power for power in range(count))


class Value:
    """One series of a counter or gauge. Add to `value` directly."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def samples(self, name: str, labels: str) -> Iterator[str]:
        yield f"{name}{{{labels}}} {number(self.value)}" if labels else f"{name} {number(self.value)}"


class Buckets:
    """One series of a histogram.

    To observe is to note the number down; which bucket it belongs to is found out for many at a time (`fold`), or when somebody
    reads. What observes for every request adds to `pending` itself, and folds when there are PENDING_LIMIT of them.
    """

    __slots__ = ("_counts", "_sum", "bounds", "pending")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.pending: list[float] = []
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        pending = self.pending
        pending.append(value)
        if len(pending) >= PENDING_LIMIT:
            self.fold()

    def observe_all(self, values: Iterable[float]) -> None:
        self.pending += values
        self.fold()

    def add(self, value: float, weight: int) -> None:
        """As `weight` observations of one value."""
        self._counts[bisect_left(self.bounds, value)] += weight
        self._sum += value * weight

    def fold(self) -> None:
        """Counts what has been noted: sorted, it takes one look for each bucket and not for each number."""
        pending, counts = self.pending, self._counts
        self._sum = sum(pending, self._sum)
        pending.sort()
        counted = 0
        for position, bound in enumerate(self.bounds):
            through = bisect_right(pending, bound, counted)
            counts[position] += through - counted
            counted = through
            if counted == len(pending):
                break
        else:
            counts[-1] += len(pending) - counted
        pending.clear()

    @property
    def counts(self) -> list[int]:
        """How many fell into each bucket, the last being for all that is beyond the bounds."""
        if self.pending:
            self.fold()
        return self._counts

    @property
    def sum(self) -> float:
        if self.pending:
            self.fold()
        return self._sum

    @property
    def count(self) -> int:
        return sum(self.counts)

    def samples(self, name: str, labels: str) -> Iterator[str]:
        before, comma = 0, "," if labels else ""
        for bound, count in zip((*self.bounds, inf), self.counts, strict=True):
            before += count
            yield f'{name}_bucket{{{labels}{comma}le="{number(bound)}"}} {before}'
        of = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{of} {number(self.sum)}"
        yield f"{name}_count{of} {before}"


class Family:
    """All series of one name."""

    kind = ""

    def __init__(self, name: str, text: str, names: Labels, stability: str) -> None:
        self.name = name
        self.text = text
        self.label_names = names
        self.stability = stability
        # The text sorts labels by name; the code gives them in the order in which it declared them.
        self._order = sorted(range(len(names)), key=names.__getitem__)

    def render(self) -> Iterator[str]:
        series = self._series()
        if not series:
            return
        help_text = f"[{self.stability}] {self.text}" if self.stability else self.text
        yield f"# HELP {self.name} {help_text}"
        yield f"# TYPE {self.name} {self.kind}"
        named = [(self._labels(values), one) for values, one in series]
        for labels, one in sorted(named, key=lambda pair: pair[0]):
            yield from one.samples(self.name, labels)

    def _labels(self, values: Labels) -> str:
        return ",".join(f'{self.label_names[at]}="{_escape(values[at])}"' for at in self._order)

    def _series(self) -> Sequence[tuple[Labels, Value | Buckets]]:
        raise NotImplementedError

    def clear(self) -> None:
        """Forgets every series."""
        raise NotImplementedError


class Counter(Family):
    kind = "counter"

    def __init__(self, name: str, text: str, names: Labels, stability: str) -> None:
        super().__init__(name, text, names, stability)
        self._values: dict[Labels, Value] = {}
        if not names:
            self._values[()] = Value()

    def labels(self, *values: str) -> Value:
        """The series of these values, in the order of the declaration; keep it where it is counted often."""
        known = self._values.get(values)
        if known is None:
            assert len(values) == len(self.label_names), f"{self.name} has the labels {self.label_names}"
            known = self._values[values] = Value()
        return known

    def inc(self, *values: str) -> None:
        self.labels(*values).value += 1

    def remove(self, *values: str) -> None:
        self._values.pop(values, None)

    def clear(self) -> None:
        self._values.clear()

    def _series(self) -> Sequence[tuple[Labels, Value | Buckets]]:
        return list(self._values.items())


class Gauge(Counter):
    kind = "gauge"

    def set(self, value: float, *values: str) -> None:
        self.labels(*values).value = value


class Histogram(Family):
    kind = "histogram"

    def __init__(
        self, name: str, text: str, names: Labels, stability: str, bounds: tuple[float, ...]
    ) -> None:
        super().__init__(name, text, names, stability)
        self.bounds = bounds
        self._values: dict[Labels, Buckets] = {}
        if not names:
            self._values[()] = Buckets(bounds)

    def labels(self, *values: str) -> Buckets:
        known = self._values.get(values)
        if known is None:
            assert len(values) == len(self.label_names), f"{self.name} has the labels {self.label_names}"
            known = self._values[values] = Buckets(self.bounds)
        return known

    def observe(self, value: float, *values: str) -> None:
        self.labels(*values).observe(value)

    def remove(self, *values: str) -> None:
        self._values.pop(values, None)

    def clear(self) -> None:
        self._values.clear()

    def _series(self) -> Sequence[tuple[Labels, Value | Buckets]]:
        return list(self._values.items())


class Registry:
    """The families of one process. Asking twice for one name gives the same family."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._before_scrape: list[Callable[[], None]] = []

    def counter(self, name: str, text: str, labels: Labels = (), *, stability: str = ALPHA) -> Counter:
        found = self._families.get(name)
        if found is None:
            found = self._families[name] = Counter(name, text, labels, stability)
        assert isinstance(found, Counter)
        return found

    def gauge(self, name: str, text: str, labels: Labels = (), *, stability: str = ALPHA) -> Gauge:
        found = self._families.get(name)
        if found is None:
            found = self._families[name] = Gauge(name, text, labels, stability)
        assert isinstance(found, Gauge)
        return found

    def histogram(
        self,
        name: str,
        text: str,
        bounds: tuple[float, ...],
        labels: Labels = (),
        *,
        stability: str = ALPHA,
    ) -> Histogram:
        found = self._families.get(name)
        if found is None:
            found = self._families[name] = Histogram(name, text, labels, stability, bounds)
        assert isinstance(found, Histogram)
        return found

    def before_scrape(self, collect: Callable[[], None]) -> None:
        """Has `collect` called before each rendering: for gauges that are cheaper to look up than to keep."""
        self._before_scrape.append(collect)

    @property
    def families(self) -> Iterable[Family]:
        return self._families.values()

    def render(self) -> bytes:
        for collect in self._before_scrape:
            collect()
        lines = [line for name in sorted(self._families) for line in self._families[name].render()]
        return "\n".join([*lines, ""]).encode() if lines else b""


def number(value: float) -> str:
    """A number as Go's shortest `%g` writes it: 0.005, 5, 1e+06, +Inf."""
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if isnan(value):
        return "NaN"
    if value == int(value) and abs(value) < 1000000:
        return str(int(value))
    mantissa = exponent = ""
    for precision in range(17):  # the shortest that reads back as the same number
        mantissa, _, exponent = f"{value:.{precision}e}".partition("e")
        if float(f"{mantissa}e{exponent}") == value:
            break
    if -4 <= int(exponent) < 6:
        return f"{value!r}"
    return f"{mantissa}e{exponent}"


def _escape(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text
