"""In-place resizes of real containers: what the API says of them, and what their control groups do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from e2e_cluster import Cluster
from pod_world import BUSYBOX, Object, PodWorld

from tiphys.kubelet.resources import cpu_quota_microseconds, cpu_shares
from tiphys.machinery.quantity import parse

pytestmark = pytest.mark.real

FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"
READ = """
cd /sys/fs/cgroup
if test -e cpu.max; then cat cpu.max cpu.weight memory.max
else cat cpu/cpu.cfs_quota_us cpu/cpu.shares memory/memory.limit_in_bytes; fi
"""
UNLIMITED = ("-1", "9223372036854771712", "max")


def both(cpu: str, memory: str) -> Object:
    return {kind: {"cpu": cpu, "memory": memory} for kind in ("limits", "requests")}


def amounts(requests: Object | None = None, limits: Object | None = None) -> Object:
    given = {"requests": requests, "limits": limits}
    return {kind: each for kind, each in given.items() if each}


def resizable(name: str, *resources: Object, policies: dict[str, str] | None = None, **spec: Any) -> Object:
    policy = [{"resourceName": key, "restartPolicy": value} for key, value in (policies or {}).items()]
    containers = [
        {
            "name": f"c{number}",
            "image": BUSYBOX,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", FOREVER],
            "resources": each,
            **({"resizePolicy": policy} if policy else {}),
        }
        for number, each in enumerate(resources, 1)
    ]
    whole = {
        "containers": containers,
        "terminationGracePeriodSeconds": 1,
        "restartPolicy": "OnFailure",
        **spec,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


UP = (both("30m", "40Mi"), both("30m", "40Mi"), both("20m", "24Mi"))
DOWN = (both("25m", "36Mi"), both("15m", "24Mi"), both("15m", "24Mi"))
MIXED = (both("30m", "32Mi"), both("15m", "40Mi"), both("30m", "40Mi"))
BEFORE = (both("20m", "32Mi"),) * 3
SIX: tuple[Object, ...] = (
    amounts({"cpu": "20m", "memory": "24Mi"}, {"cpu": "30m", "memory": "32Mi"}),
    amounts({"cpu": "20m", "memory": "24Mi"}),
    amounts({"cpu": "20m"}),
    amounts({"memory": "24Mi"}),
    amounts({"cpu": "20m"}, {"cpu": "30m"}),
    {},
)
SIX_AFTER = (
    amounts({"cpu": "25m", "memory": "32Mi"}, {"cpu": "35m", "memory": "40Mi"}),
    amounts({"cpu": "15m", "memory": "32Mi"}, {"cpu": "40m"}),
    amounts({"cpu": "10m", "memory": "16Mi"}),
    amounts({"memory": "16Mi", "cpu": "20m"}),
    amounts({"cpu": "10m"}, {"cpu": "20m"}),
    amounts({"cpu": "10m"}),
)
RESTART = {"cpu": "NotRequired", "memory": "RestartContainer"}
PODS = [
    resizable("up", *BEFORE),
    resizable("down", *BEFORE),
    resizable("mixed", *BEFORE),
    resizable("six", *SIX),
    resizable("equivalent", amounts({"cpu": "2m"}, {"cpu": "10m"})),
    resizable("replaced", amounts({"cpu": "20m"}, {"cpu": "30m"})),
    resizable("restarted", both("20m", "32Mi"), policies=RESTART),
    resizable("greedy", both("20m", "32Mi")),
    resizable("busy", both("100m", "64Mi")),
    resizable("whole", {}, resources=both("100m", "64Mi")),
]


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    for world in PodWorld.beside_others(cluster, "pod-resize"):
        world.create(*PODS)
        yield world


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def resize(world: PodWorld, name: str, after: Sequence[Object]) -> None:
    containers = [{"name": f"c{number}", "resources": each} for number, each in enumerate(after, 1)]
    patch = json.dumps({"spec": {"containers": containers}})
    world.kubectl("patch", "pod", name, "--subresource=resize", "-p", patch)


def has(after: Sequence[Object], generation: int = 2) -> Any:
    def is_so(pod: Object) -> bool:
        status = pod["status"]
        conditions = {each["type"] for each in status["conditions"]}
        return bool(
            [entry.get("resources") for entry in status["containerStatuses"]] == list(after)
            and status["observedGeneration"] == generation
            and not conditions & {"PodResizePending", "PodResizeInProgress"}
        )

    return is_so


def enforced(world: PodWorld, name: str, container: str) -> list[str]:
    """CPU quota, CPU shares (or weight) and memory limit."""
    return world.kubectl("exec", name, "-c", container, "--", "sh", "-c", READ).stdout.splitlines()


def check_enforced(world: PodWorld, name: str, after: Sequence[Object]) -> None:
    for number, resources in enumerate(after, 1):
        quota, shares, memory = enforced(world, name, f"c{number}")
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        if quota.endswith(" 100000"):
            continue
        milli = parse(requests.get("cpu") or limits.get("cpu") or "0").milli
        assert shares == str(cpu_shares(milli)), (name, number)
        wanted = str(cpu_quota_microseconds(parse(limits["cpu"]).milli)) if "cpu" in limits else "-1"
        assert quota == wanted, (name, number)
        if "memory" in limits:
            assert memory == str(parse(limits["memory"]).value), (name, number)
        else:
            assert memory in UNLIMITED, (name, number)


def is_resized(world: PodWorld, name: str, before: Sequence[Object], after: Sequence[Object]) -> Object:
    world.until(name, is_ready)
    check_enforced(world, name, before)
    resize(world, name, after)
    made = world.until(name, has(after))
    assert [container["resources"] for container in made["spec"]["containers"]] == list(after)
    check_enforced(world, name, after)
    assert {entry["restartCount"] for entry in made["status"]["containerStatuses"]} == {0}
    return made


@pytest.mark.conformance(
    "Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase cpu & mem on c1, c2, decrease cpu & mem on c3 - net increase [MinimumKubeletVersion:1.34]"
)
def test_a_net_increase(world: PodWorld) -> None:
    is_resized(world, "up", BEFORE, UP)
    assert world.until_event("up", "ResizeStarted").startswith("Pod resize started: {")
    assert world.until_event("up", "ResizeCompleted").startswith("Pod resize completed: {")


@pytest.mark.conformance(
    "Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase cpu & mem on c1, decrease cpu & mem on c2, c3 - net decrease [MinimumKubeletVersion:1.34]"
)
def test_a_net_decrease(world: PodWorld) -> None:
    is_resized(world, "down", BEFORE, DOWN)


@pytest.mark.conformance(
    "Pod InPlace Resize Container guaranteed pods with multiple containers 3 containers - increase: CPU (c1,c3), memory (c2, c3) ; decrease: CPU (c2) [MinimumKubeletVersion:1.34]"
)
def test_more_and_less_at_once(world: PodWorld) -> None:
    is_resized(world, "mixed", BEFORE, MIXED)


@pytest.mark.conformance(
    "Pod InPlace Resize Container burstable pods - extended 6 containers - various operations performed (including adding limits and requests) [MinimumKubeletVersion:1.34]"
)
def test_amounts_that_are_added(world: PodWorld) -> None:
    is_resized(world, "six", SIX, SIX_AFTER)


@pytest.mark.conformance(
    "Pod InPlace Resize Container burstable pods - extended resize with equivalents [MinimumKubeletVersion:1.34]"
)
def test_amounts_that_are_the_same_for_the_kernel(world: PodWorld) -> None:
    is_resized(
        world,
        "equivalent",
        [amounts({"cpu": "2m"}, {"cpu": "10m"})],
        [amounts({"cpu": "1m"}, {"cpu": "5m"})],
    )


@pytest.mark.conformance(
    "Pod InPlace Resize Container resize pod via the replace endpoint [MinimumKubeletVersion:1.34]"
)
def test_a_replacement(world: PodWorld) -> None:
    whole = world.until("replaced", is_ready)
    after = [amounts({"cpu": "10m"}, {"cpu": "20m"})]
    whole["spec"]["containers"][0]["resources"] = after[0]
    world.kubectl("replace", "--subresource=resize", "-f", "-", input=json.dumps(whole))
    world.until("replaced", has(after))
    check_enforced(world, "replaced", after)
    seen = world.cluster.get("pod", "replaced", "--subresource=resize", "-n", world.namespace)
    assert seen == world.pod("replaced")


def test_a_restart_where_the_policy_wants_one(world: PodWorld) -> None:
    world.until("restarted", is_ready)
    after = [both("20m", "48Mi")]
    resize(world, "restarted", after)
    made = world.until("restarted", lambda pod: has(after)(pod) and is_ready(pod))
    assert made["status"]["containerStatuses"][0]["restartCount"] == 1
    check_enforced(world, "restarted", after)
    assert ("Killing", "Container c1 resize requires restart") in world.events("restarted")


def test_more_than_there_is(world: PodWorld) -> None:
    world.until("greedy", is_ready)
    resize(world, "greedy", [both("4000", "32Mi")])

    def is_refused(pod: Object) -> Object | None:
        found = [each for each in pod["status"]["conditions"] if each["type"] == "PodResizePending"]
        return found[0] if found else None

    made = world.until("greedy", is_refused)
    found = is_refused(made)
    assert found is not None
    assert (found["status"], found["reason"], found["observedGeneration"]) == ("True", "Infeasible", 2)
    assert found["message"].startswith(
        "Node didn't have enough capacity: cpu, requested: 4000000, capacity: "
    )
    assert made["status"]["containerStatuses"][0]["resources"] == both("20m", "32Mi")
    resize(world, "greedy", [both("30m", "32Mi")])
    world.until("greedy", has([both("30m", "32Mi")], generation=3))


def test_less_memory_than_is_used(world: PodWorld) -> None:
    world.until("busy", is_ready)
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=40 2>/dev/null"
    world.kubectl("exec", "busy", "--", "sh", "-c", script)
    resize(world, "busy", [both("100m", "16Mi")])

    def has_failed(pod: Object) -> bool:
        conditions = pod["status"]["conditions"]
        return any(
            each["type"] == "PodResizeInProgress" and each.get("reason") == "Error" for each in conditions
        )

    made = world.until("busy", has_failed)
    assert is_ready(made)
    assert made["status"]["containerStatuses"][0]["resources"] == both("100m", "64Mi")
    assert world.until_event("busy", "ResizeError").startswith("Pod resize error: {")
    world.kubectl("exec", "busy", "--", "rm", "/dev/shm/x")
    world.until("busy", has([both("100m", "16Mi")]))


def test_a_pod_as_a_whole(world: PodWorld) -> None:
    made = world.until("whole", is_ready)
    assert made["status"]["resources"] == both("100m", "64Mi")
    patch = json.dumps({"spec": {"resources": both("150m", "96Mi")}})
    world.kubectl("patch", "pod", "whole", "--subresource=resize", "-p", patch)
    made = world.until("whole", lambda pod: pod["status"].get("resources") == both("150m", "96Mi"))
    assert made["status"]["allocatedResources"] == {"cpu": "150m", "memory": "96Mi"}
