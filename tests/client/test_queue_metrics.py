"""What is counted of a work queue."""

from tiphys.client.queue_metrics import WorkQueueMetrics
from tiphys.client.workqueue import WorkQueue
from tiphys.machinery.metrics import Registry
from tiphys.testing.clock import FakeClock


async def test_a_key_from_its_addition_to_its_end() -> None:
    clock, registry = FakeClock(), Registry()
    queue: WorkQueue[str] = WorkQueue(clock, metrics=WorkQueueMetrics(registry, clock).of("deployment"))

    def values() -> dict[str, float]:
        lines = registry.render().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#") and "_bucket" not in line)
        return {
            name.replace('{name="deployment"}', "").removeprefix("workqueue_"): float(value)
            for name, _, value in pairs
        }

    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert (values()["adds_total"], values()["depth"]) == (2, 2)
    await clock.advance(2)
    assert await queue.get() == "a"
    await clock.advance(3)
    assert (
        values()["depth"],
        values()["unfinished_work_seconds"],
        values()["longest_running_processor_seconds"],
    ) == (1, 3, 3)
    assert (values()["queue_duration_seconds_sum"], values()["queue_duration_seconds_count"]) == (2, 1)
    queue.add_rate_limited("a")
    queue.done("a")
    assert (values()["work_duration_seconds_sum"], values()["retries_total"]) == (3, 1)
    assert values()["unfinished_work_seconds"] == 0
    await clock.advance(1)
    assert values()["adds_total"] == 3
