"""What the kernel is told of pods' resources, and what it does about those that take more; on the real containerd."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from fake_plugin import FakePlugin
from real_world import FOREVER, PATIENCE_SECONDS, RealWorld

from tiphys.client.resources import EVENTS, PODS
from tiphys.client.transport import Object
from tiphys.cluster.images import PAUSE_IMAGE
from tiphys.kubelet.collection.images import ImageCollector
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.files import Files
from tiphys.kubelet.images.build import ImageSource, Layer, write_archive
from tiphys.kubelet.images.load import ImageLoader
from tiphys.kubelet.managers.cpusets import CPUSet, parse
from tiphys.machinery import meta

if TYPE_CHECKING:
    from conftest import RealNode

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

PIDS = 40
FOR_PODS_MIB = 500
"""All memory that pods get together: so little that one of them can use it up."""
LOOK_SECONDS = 0.5


def configuration() -> KubeletConfiguration:
    words = Path("/proc/meminfo").read_text().split()
    reserved = int(words[words.index("MemTotal:") + 1]) // 1024 - FOR_PODS_MIB
    return KubeletConfiguration.parse(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "podPidsLimit": PIDS,
            "systemReserved": {"memory": f"{reserved}Mi", "cpu": "500m"},
            "cpuManagerPolicy": "static",
            "cpuManagerReconcilePeriod": "500ms",
            "evictionHard": {"allocatableMemory.available": "200Mi"},
            "imageGCHighThresholdPercent": 100,
        }
    )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(real_node: RealNode) -> AsyncIterator[RealWorld]:
    # A node keeps the policy of its CPUs: this one is another than that of the tests beside.
    directory = real_node.directory / "kubelet-of-resources"
    directory.mkdir(exist_ok=True)
    runtime = real_node.containerd.runtime()
    world = RealWorld(runtime, Files(directory), real_node.cgroup, configuration(), LOOK_SECONDS)
    await world.start()
    yield world
    for pod in world.api.objects(PODS):
        await world.delete(meta.name(pod), grace_seconds=1)
    await world.stop()
    await runtime.close()


def is_ready(pod: Object) -> bool:
    return meta.is_condition_true(meta.conditions(pod), "Ready")


def resources(**amounts: str) -> Object:
    return {"resources": {"requests": amounts, "limits": amounts}}


async def container_group(world: RealWorld, name: str) -> str:
    """The path of the main container's control group in each hierarchy."""
    pod = await world.until(name, is_ready)
    id = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    [group] = Path("/sys/fs/cgroup/memory").glob(f"tiphys-test-*/**/*{id}*")
    return str(group.relative_to("/sys/fs/cgroup/memory"))


def setting(controller: str, group: str, file: str) -> str:
    return Path("/sys/fs/cgroup", controller, group, file).read_text().strip()


def oom_score(group: str) -> str:
    pid = setting("memory", group, "cgroup.procs").split()[0]
    return Path("/proc", pid, "oom_score_adj").read_text().strip()


async def test_a_pod_that_asks_for_a_whole_cpu_has_it_alone(world: RealWorld) -> None:
    everything = parse(Path("/sys/devices/system/cpu/online").read_text())
    world.create("shares", FOREVER)
    shares = await container_group(world, "shares")
    assert cpus(shares) == everything
    world.create("own", FOREVER, resources(cpu="1", memory="32Mi"))
    own = await container_group(world, "own")
    assert len(cpus(own)) == 1
    for group in (own, str(Path(own).parent)):
        assert setting("cpu", group, "cpu.cfs_quota_us") == "-1"
    await until_it_may_use(shares, everything - cpus(own))
    kept = json.loads((world.files.directory / "cpu_manager_state").read_text())
    assert parse(kept["defaultCpuSet"]) == everything - cpus(own)
    await world.delete("own", grace_seconds=1)
    await until_it_may_use(shares, everything)
    await world.delete("shares", grace_seconds=1)


def cpus(group: str) -> CPUSet:
    return parse(setting("cpuset", group, "cpuset.cpus"))


async def until_it_may_use(group: str, wanted: CPUSet) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while cpus(group) != wanted:
            await asyncio.sleep(0.05)


async def test_each_class_of_pods_has_its_place_its_weight_and_its_limits(world: RealWorld) -> None:
    world.create("guaranteed", FOREVER, resources(cpu="500m", memory="64Mi"))
    world.create("burstable", FOREVER, {"resources": {"requests": {"cpu": "250m"}}})
    world.create("besteffort", FOREVER)
    guaranteed = await container_group(world, "guaranteed")
    pod = str(Path(guaranteed).parent)
    assert Path(pod).parent.name == "kubepods"
    for group in (guaranteed, pod):
        assert setting("cpu", group, "cpu.shares") == "512"
        assert setting("cpu", group, "cpu.cfs_quota_us") == "50000"
        assert setting("memory", group, "memory.limit_in_bytes") == str(64 << 20)
    assert setting("pids", pod, "pids.max") == str(PIDS)
    assert setting("pids", str(Path(pod).parent), "pids.max").isdigit()
    assert int(setting("memory", str(Path(pod).parent), "memory.limit_in_bytes")) >> 20 == FOR_PODS_MIB
    burstable = await container_group(world, "burstable")
    assert Path(burstable).parent.parent.name == "burstable"
    assert setting("cpu", burstable, "cpu.shares") == "256"
    assert setting("cpu", burstable, "cpu.cfs_quota_us") == "-1"
    assert setting("cpu", str(Path(burstable).parent.parent), "cpu.shares") == "256"
    besteffort = await container_group(world, "besteffort")
    assert Path(besteffort).parent.parent.name == "besteffort"
    for group in (besteffort, str(Path(besteffort).parent), str(Path(besteffort).parent.parent)):
        assert setting("cpu", group, "cpu.shares") == "2"
    assert [oom_score(group) for group in (burstable, besteffort)] == ["999", "1000"]
    [enforced] = [
        event for event in world.api.objects(EVENTS) if event["reason"] == "NodeAllocatableEnforced"
    ]
    assert enforced["involvedObject"]["kind"] == "Node"


async def test_a_limit_of_the_whole_pod_is_no_limit_of_its_containers_alone(world: RealWorld) -> None:
    whole = {"requests": {"memory": "32Mi", "cpu": "100m"}, "limits": {"memory": "96Mi", "cpu": "200m"}}
    world.create("whole", FOREVER, resources=whole)
    group = await container_group(world, "whole")
    assert setting("memory", str(Path(group).parent), "memory.limit_in_bytes") == str(96 << 20)
    assert setting("cpu", str(Path(group).parent), "cpu.cfs_quota_us") == "20000"


async def test_a_fork_bomb_stays_within_its_pod(world: RealWorld) -> None:
    world.create("bomb", "for i in $(seq 100); do sleep 1000 & done; wait", restartPolicy="Never")
    world.create("neighbour", FOREVER)
    pod = await world.until("bomb", has_begun)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "can't fork" not in await world.log(pod):
            await asyncio.sleep(0.02)
    [group] = Path("/sys/fs/cgroup/pids").glob(f"tiphys-test-*/**/pod{meta.uid(pod)}")
    assert int((group / "pids.current").read_text()) <= PIDS
    await world.until("neighbour", is_ready)


def has_begun(pod: Object) -> bool:
    entries = pod["status"].get("containerStatuses") or [{"state": {"waiting": {}}}]
    return "waiting" not in entries[0]["state"]


TOY = "example.com/toy"


async def test_devices_of_a_plugin_are_in_the_container(world: RealWorld) -> None:
    plugin = FakePlugin(world.files.directory / "device-plugins")
    await plugin.start(toy1=True, toy2=True)
    await world.until_node(lambda node: (node["status"]["allocatable"].get(TOY)) == "2")
    world.create(
        "plays", f"ls -l /dev/toy1; echo $TOYS; ls /toys; {FOREVER}", resources(**{TOY: "1", "cpu": "1m"})
    )
    pod = await world.until("plays", is_ready)
    [status] = pod["status"]["containerStatuses"]
    healthy = [{"name": TOY, "resources": [{"resourceID": "toy1", "health": "Healthy"}]}]
    assert status["allocatedResourcesStatus"] == healthy
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "kubelet.sock" not in (log := await world.log(pod)):
            await asyncio.sleep(0.01)
    listed, toys, *_ = log.splitlines()
    assert listed.startswith("crw")
    assert toys == "toy1"
    world.create("waits", FOREVER, resources(**{TOY: "2", "cpu": "1m"}))
    refused = await world.until("waits", lambda pod: pod["status"]["phase"] == "Failed")
    assert refused["status"]["reason"] == "UnexpectedAdmissionError"
    plugin.set_health(toy1=False, toy2=True)
    await world.until_node(lambda node: (node["status"]["allocatable"].get(TOY)) == "1")
    await world.until("plays", lambda pod: "Unhealthy" in str(pod["status"]["containerStatuses"]))
    await plugin.stop()
    await world.until_node(lambda node: (node["status"]["allocatable"].get(TOY)) == "0")


UNUSED = "docker.io/library/unused:1"


async def test_images_that_nothing_uses_go_and_others_stay(world: RealWorld, real_node: RealNode) -> None:
    archive = world.files.directory / "unused.tar"
    write_archive(archive, [ImageSource((UNUSED,), (Layer(files={"x": (b"x" * 5000, 0o644)}),), {})])
    loader = ImageLoader(real_node.containerd.socket)
    await loader.import_archive(archive)
    host = world.kubelet.host
    collector = ImageCollector(
        host.runtime,
        host.meter,
        KubeletConfiguration(),
        host.clock,
        record=host.record_node,
        pinned=(PAUSE_IMAGE,),
    )
    world.create("uses", FOREVER)
    await world.until("uses", has_begun)
    await collector.remove_unused()
    tags = {tag for image in await host.runtime.list_images() for tag in image.repo_tags}
    assert UNUSED not in tags
    assert {"docker.io/library/busybox:latest", PAUSE_IMAGE} <= tags
    # It was imported: the node's registry mirror can still bring it back.
    assert UNUSED in {image.name for image in await loader.images()}
    await loader.remove(UNUSED)
    await loader.close()


EVICTED = "Evicted"


def eviction(pod: Object) -> str:
    status = pod["status"]
    return str(status.get("message")) if status.get("reason") == EVICTED else ""


async def test_of_pods_that_use_up_the_memory_the_greedy_one_goes(world: RealWorld) -> None:
    eat = "(head -c 350m /dev/zero; sleep 1000) | tail"
    world.create("greedy", eat, {"resources": {"requests": {"memory": "20Mi"}}})
    world.create("modest", FOREVER, resources(cpu="100m", memory="100Mi"))
    pod = await world.until("greedy", lambda pod: bool(eviction(pod)))
    assert pod["status"]["phase"] == "Failed"
    assert eviction(pod).startswith(
        "The node was low on resource: memory. Threshold quantity: 200Mi, available: "
    )
    assert "request is 20Mi, has larger consumption of memory. " in eviction(pod)
    target = meta.find_condition(meta.conditions(pod), "DisruptionTarget")
    assert target is not None
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert target["message"] == eviction(pod)
    event = await world.event("greedy", EVICTED)
    assert event["message"] == eviction(pod)
    assert event["metadata"]["annotations"]["offending_containers"] == "main"
    await world.until_node(lambda node: has_condition(node, "MemoryPressure"))
    assert is_ready(await world.until("modest", is_ready))
    world.create("late", FOREVER)
    late = await world.until("late", lambda pod: bool(eviction(pod)))
    assert eviction(late) == "Pod was rejected: The node had condition: [MemoryPressure]. "


def has_condition(node: Object, type: str) -> bool:
    return meta.is_condition_true(meta.conditions(node), type)


async def test_pods_over_their_limits_on_the_disk_go(world: RealWorld) -> None:
    write = "head -c 20m /dev/zero > {}/file; sleep 1000"
    # Best-effort pods are not taken while the node is short of memory.
    little = {"resources": {"requests": {"cpu": "1m"}}}
    world.create(
        "volume",
        write.format("/data"),
        {**little, "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        volumes=[{"name": "data", "emptyDir": {"sizeLimit": "10Mi"}}],
    )
    world.create("layer", write.format("/tmp"), resources(**{"ephemeral-storage": "10Mi", "cpu": "1m"}))
    volume = await world.until("volume", lambda pod: bool(eviction(pod)))
    assert eviction(volume) == 'Usage of EmptyDir volume "data" exceeds the limit "10Mi". '
    layer = await world.until("layer", lambda pod: bool(eviction(pod)))
    assert eviction(layer) == "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "
    assert meta.find_condition(meta.conditions(layer), "DisruptionTarget") is None
