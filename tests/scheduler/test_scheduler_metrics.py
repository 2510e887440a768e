"""What the scheduler counts of its tries."""

from tiphys.machinery.metrics import Registry
from tiphys.scheduler.metrics import SCHEDULED, UNSCHEDULABLE, SchedulerMetrics


def test_tries_by_result() -> None:
    registry = Registry()
    metrics = SchedulerMetrics(
        registry, "default-scheduler", lambda: {"active": 3, "backoff": 0, "unschedulable": 1}
    )
    metrics.decided(0.002)
    metrics.tried(UNSCHEDULABLE, 0.003)
    metrics.tried(SCHEDULED, 0.005, tries=2)
    lines = set(registry.render().decode().splitlines())
    assert {
        'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1',
        'scheduler_schedule_attempts_total{profile="default-scheduler",result="unschedulable"} 1',
        'scheduler_scheduling_attempt_duration_seconds_sum{profile="default-scheduler",result="scheduled"} 0.005',
        "scheduler_scheduling_algorithm_duration_seconds_sum 0.002",
        'scheduler_pod_scheduling_attempts_bucket{le="1"} 0',
        'scheduler_pod_scheduling_attempts_bucket{le="2"} 1',
        'scheduler_pending_pods{queue="active"} 3',
        'scheduler_pending_pods{queue="unschedulable"} 1',
    } <= lines
