"""What a control plane costs that has nothing to do: without pods, and with some that run."""

from __future__ import annotations

from bench.cluster import Cluster, Ours
from bench.processes import Cost, idle_costs
from bench.table import Beside, Figure, Row, once
from bench.upstream import Upstream

SETTLE_SECONDS = 5.0
SECONDS = 30.0
PODS = 10
PROGRAMS = ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager")

Costs = dict[str, Cost]


@once
def idle(subject: Ours | Upstream) -> Costs:
    with subject.control_plane() as pids:
        return idle_costs(pids, settle_seconds=SETTLE_SECONDS, seconds=SECONDS)


@once
def with_pods(ours: Ours) -> Costs:
    """Of all processes of a node and its control plane, while its pods sleep."""
    with ours.cluster() as made:
        made.up()
        run_pods(made, PODS)
        return idle_costs(made.pids(), settle_seconds=SETTLE_SECONDS, seconds=SECONDS)


def run_pods(made: Cluster, count: int) -> None:
    def kubectl(*arguments: str) -> None:
        made.tiphys("kubectl", "--name", made.name, *arguments)

    kubectl("create", "deployment", "idle", "--image=busybox", f"--replicas={count}", "--", "sleep", "3600")
    kubectl("rollout", "status", "deployment/idle", "--timeout=120s")


def memory(costs: Costs) -> Figure:
    """Of the control plane; what stands on nodes is told beside it."""
    return Figure(
        sum(cost.resident_mib for name, cost in costs.items() if is_control_plane(name)),
        ", ".join(f"{short(name)} {cost.resident_mib:.0f}" for name, cost in beside(costs).items()),
    )


def cpu(costs: Costs) -> Figure:
    return Figure(
        sum(cost.cpu_percent for name, cost in costs.items() if is_control_plane(name)),
        ", ".join(f"{short(name)} {cost.cpu_percent:.1f}" for name, cost in beside(costs).items()),
    )


def is_control_plane(name: str) -> bool:
    return not name.startswith(("kubelet", "containerd"))


def beside(costs: Costs) -> Costs:
    """What the sum does not say."""
    parts = {name: cost for name, cost in costs.items() if not is_control_plane(name)}
    return parts or (costs if len(costs) > 1 else {})


def short(name: str) -> str:
    return name.partition("-bench")[0].removeprefix("kube-")


ROWS = [
    Row(
        "control plane, idle: resident memory",
        "MiB",
        lambda ours: memory(idle(ours)),
        goal=120,
        beside=Beside(lambda upstream: memory(idle(upstream)), PROGRAMS),
    ),
    Row(
        f"control plane, idle {SECONDS:.0f} s: CPU",
        "% of a core",
        lambda ours: cpu(idle(ours)),
        goal=1.0,
        beside=Beside(lambda upstream: cpu(idle(upstream)), PROGRAMS),
    ),
    Row(
        f"control plane, {PODS} pods run: resident memory",
        "MiB",
        lambda ours: memory(with_pods(ours)),
        goal=120,
        needs_containers=True,
    ),
    Row(
        f"control plane, {PODS} pods run, {SECONDS:.0f} s: CPU",
        "% of a core",
        lambda ours: cpu(with_pods(ours)),
        goal=1.0,
        needs_containers=True,
    ),
]
