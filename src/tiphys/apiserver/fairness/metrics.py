"""What fairness counts: the apiserver_flowcontrol_* families, and the series of one flow schema at one level."""

from __future__ import annotations

from tiphys.machinery.metrics import BETA, Registry

_PREFIX = "apiserver_flowcontrol_"
_LENGTHS = (0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
_SECONDS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_LEVEL = ("priority_level",)
_BOTH = ("priority_level", "flow_schema")


class FairnessMetrics:
    def __init__(self, registry: Registry) -> None:
        counter, gauge, histogram = registry.counter, registry.gauge, registry.histogram
        self.rejected = counter(
            f"{_PREFIX}rejected_requests_total",
            "Requests that were turned away.",
            (*_BOTH, "reason"),
            stability=BETA,
        )
        self.dispatched = counter(
            f"{_PREFIX}dispatched_requests_total", "Requests that were let in.", _BOTH, stability=BETA
        )
        self.queue_length = histogram(
            f"{_PREFIX}request_queue_length_after_enqueue",
            "Length of its queue as each request sees it that must wait.",
            _LENGTHS,
            _BOTH,
        )
        self.wait = histogram(
            f"{_PREFIX}request_wait_duration_seconds",
            "How long requests waited in their queue.",
            _SECONDS,
            (*_BOTH, "execute"),
            stability=BETA,
        )
        self.took = histogram(
            f"{_PREFIX}request_execution_seconds",
            "How long requests held their seats (a watch: until it had begun).",
            _SECONDS,
            (*_BOTH, "type"),
        )
        self.seats = histogram(
            f"{_PREFIX}work_estimated_seats",
            "Seats that requests were estimated to need.",
            (1.0, 2.0, 4.0, 10.0),
            _BOTH,
        )
        self.executing = gauge(
            f"{_PREFIX}current_executing_requests", "Requests that hold seats now.", _BOTH, stability=BETA
        )
        self.executing_seats = gauge(
            f"{_PREFIX}current_executing_seats", "Seats that are held now.", _BOTH, stability=BETA
        )
        self.in_queue = gauge(
            f"{_PREFIX}current_inqueue_requests", "Requests that wait now.", _BOTH, stability=BETA
        )
        self.in_queue_seats = gauge(
            f"{_PREFIX}current_inqueue_seats", "Seats that waiting requests will need.", _BOTH
        )
        self.retry_after = gauge(
            f"{_PREFIX}retry_after_seconds", "What clients that are turned away are told to wait.", _LEVEL
        )
        self._levels = {
            name: gauge(f"{_PREFIX}{name}", text, _LEVEL, stability=stability)
            for name, text, stability in _OF_LEVELS
        }

    def level(self, name: str, **values: float) -> None:
        """Sets gauges of one level."""
        for gauge, value in values.items():
            self._levels[gauge].set(value, name)

    def forget_level(self, name: str) -> None:
        for gauge in (*self._levels.values(), self.retry_after):
            gauge.remove(name)

    def series(self, level: str, schema: str) -> Series:
        return Series(self, level, schema)


_OF_LEVELS = (
    ("nominal_limit_seats", "Seats of the level's own.", BETA),
    ("lower_limit_seats", "Seats that the level never lends.", "ALPHA"),
    ("upper_limit_seats", "Most seats that the level may have, borrowed ones included.", "ALPHA"),
    ("current_limit_seats", "Seats that the level has now.", "ALPHA"),
    ("demand_seats_high_watermark", "Most seats wanted at once in the last ten seconds.", "ALPHA"),
    ("demand_seats_average", "Average of the seats wanted in the last ten seconds.", "ALPHA"),
    ("demand_seats_stdev", "Standard deviation of the seats wanted in the last ten seconds.", "ALPHA"),
    ("demand_seats_smoothed", "The seats wanted, smoothed.", "ALPHA"),
    ("current_r", "Virtual time of the level's fair queue.", "ALPHA"),
)


class Series:
    """The series of one schema at one level, found once and then added to directly."""

    __slots__ = (
        "at_once",
        "dispatched",
        "executing",
        "executing_seats",
        "in_queue",
        "in_queue_seats",
        "length",
        "names",
        "seats",
        "took",
        "waited",
        "waited_in_vain",
    )

    def __init__(self, metrics: FairnessMetrics, level: str, schema: str) -> None:
        self.names = (level, schema)
        self.at_once = 0
        self.dispatched = metrics.dispatched.labels(level, schema)
        self.executing = metrics.executing.labels(level, schema)
        self.executing_seats = metrics.executing_seats.labels(level, schema)
        self.in_queue = metrics.in_queue.labels(level, schema)
        self.in_queue_seats = metrics.in_queue_seats.labels(level, schema)
        self.length = metrics.queue_length.labels(level, schema)
        self.seats = metrics.seats.labels(level, schema)
        self.took = metrics.took.labels(level, schema, "regular")
        self.waited = metrics.wait.labels(level, schema, "true")
        self.waited_in_vain = metrics.wait.labels(level, schema, "false")

    def begin(self, seats: int, waited_seconds: float) -> None:
        """One that had to wait, or needs more than one seat, runs now."""
        self.dispatched.value += 1
        self.seats.observe(seats)
        self.waited.observe(waited_seconds)

    def collect(self) -> None:
        """Counts those that were let in at once with one seat: there `at_once` is all that is added to."""
        count, self.at_once = self.at_once, 0
        self.dispatched.value += count
        self.seats.add(1, count)
        self.waited.add(0, count)
        self.executing.value = self.executing_seats.value = 0
