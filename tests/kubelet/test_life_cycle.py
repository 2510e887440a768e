"""Lives of pods that are more than coming up and going: restarts by rules, deadlines, order, what was forgotten, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import PODS
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock

Object = dict[str, Any]


class Stubborn(SimulatedRuntime):
    """Does not stop sandboxes as often as it is told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.refusals = 0

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RuntimeFailure("network plugin is not ready")
        await super().stop_sandbox(sandbox_id)


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    world.runtime = Stubborn(world.clock)
    await world.start()
    yield world
    await world.stop()


def container(name: str, **more: Any) -> Object:
    return {"name": name, "image": "busybox", "imagePullPolicy": "IfNotPresent", **more}


def statuses(world: NodeWorld, field: str = "containerStatuses") -> dict[str, Object]:
    return {entry["name"]: entry for entry in world.pod()["status"][field]}


def end(world: NodeWorld, name: str, exit_code: int) -> None:
    [id] = world.runtime.running_containers("default", "web", name)
    world.runtime.end_container(id, exit_code)


def told(world: NodeWorld, reason: str) -> list[str]:
    return [message for found, message in world.events() if found == reason]


RESTART_ALL = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]


async def test_all_containers_are_restarted_in_their_sandbox(world: NodeWorld) -> None:
    world.create(
        {
            "restartPolicy": "Never",
            "initContainers": [
                container("init", command=["true"]),
                container("proxy", restartPolicy="Always"),
            ],
            "containers": [container("main"), container("watcher", restartPolicyRules=RESTART_ALL)],
        }
    )
    await world.settle()
    [sandbox] = await world.runtime.list_sandboxes()
    assert meta.find_condition(meta.conditions(world.pod()), "AllContainersRestarting")["status"] == "False"  # type: ignore[index]
    for restarts, seconds in ((1, 0.1), (2, 10.0)):
        end(world, "watcher", 42)
        await world.settle()
        if seconds > 1:
            found = meta.find_condition(meta.conditions(world.pod()), "AllContainersRestarting")
            assert found is not None
            assert found["reason"] == "RestartAllContainersStarted"
            assert statuses(world)["watcher"]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        await world.settle(seconds)
        assert [box.id for box in await world.runtime.list_sandboxes()] == [sandbox.id]
        counts = {
            name: entry["restartCount"]
            for field in ("initContainerStatuses", "containerStatuses")
            for name, entry in statuses(world, field).items()
        }
        assert counts == dict.fromkeys(("init", "proxy", "main", "watcher"), restarts)
        status = world.pod()["status"]
        assert status["phase"] == "Running"
        assert statuses(world)["watcher"]["lastState"]["terminated"]["exitCode"] == 42
        assert all("running" in entry["state"] for entry in status["containerStatuses"])
        assert meta.find_condition(status["conditions"], "AllContainersRestarting")["status"] == "False"  # type: ignore[index]
    end(world, "watcher", 1)
    end(world, "main", 0)
    await world.settle()
    assert world.pod()["status"]["phase"] == "Failed"


async def test_a_container_with_rules_of_its_own_in_a_pod_that_never_restarts(world: NodeWorld) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [0, 7]}}]
    world.create(
        {
            "restartPolicy": "Never",
            "containers": [container("main", restartPolicy="Never", restartPolicyRules=rules)],
        }
    )
    await world.settle()
    end(world, "main", 3)
    await world.settle()
    assert statuses(world)["main"]["restartCount"] == 1
    assert world.pod()["status"]["phase"] == "Running"
    end(world, "main", 7)
    await world.settle()
    assert world.pod()["status"]["phase"] == "Failed"


async def test_an_init_container_that_a_rule_restarts_fails_no_pod(world: NodeWorld) -> None:
    rules = [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]
    init = container("init", restartPolicy="Never", restartPolicyRules=rules)
    world.create({"restartPolicy": "Never", "initContainers": [init], "containers": [container("main")]})
    await world.settle()
    end(world, "init", 1)
    await world.settle()
    assert world.pod()["status"]["phase"] == "Pending"
    assert statuses(world, "initContainerStatuses")["init"]["restartCount"] == 1
    end(world, "init", 0)
    await world.settle()
    assert world.pod()["status"]["phase"] == "Running"


async def test_a_deadline_may_come_later_and_is_told(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    await world.client.patch(PODS, "web", {"spec": {"activeDeadlineSeconds": 5}}, "default")
    await world.settle(6)
    status = world.pod()["status"]
    message = "Pod was active on the node longer than the specified deadline"
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", message)
    assert told(world, "DeadlineExceeded") == [message]


async def test_a_sandbox_that_does_not_stop_is_told(world: NodeWorld) -> None:
    uid = meta.uid(world.create())
    await world.settle()
    assert isinstance(world.runtime, Stubborn)
    world.runtime.refusals = 1
    await world.client.delete(PODS, "web", "default")
    await world.settle(3)
    assert world.pods() == []
    [message] = told(world, "FailedKillPod")
    assert message == (
        f'error killing pod: failed to "KillPodSandbox" for "{uid}" with KillPodSandboxError: '
        '"rpc error: code = Unknown desc = network plugin is not ready"'
    )


async def test_events_come_in_the_order_of_the_containers(world: NodeWorld) -> None:
    world.create({"containers": [container("one"), container("two", image="other")]})
    await world.settle()
    reasons = [reason for reason, _ in world.events()]
    assert reasons == ["Pulling", "Pulled", "Created", "Started"] * 2


async def test_a_container_that_vanished_counts_as_one_that_failed(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    [id] = world.runtime.running_containers("default", "web", "main")
    await world.runtime.remove_container(id)
    await world.settle()
    entry = statuses(world)["main"]
    assert entry["restartCount"] == 1
    assert entry["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert world.pod()["status"]["phase"] == "Running"


async def test_statuses_are_in_the_order_of_names(world: NodeWorld) -> None:
    world.create({"containers": [container(name) for name in ("web", "db", "log")]})
    await world.settle()
    assert list(statuses(world)) == ["db", "log", "web"]


async def test_all_termination_messages_of_a_pod_have_12_kibibytes_together(world: NodeWorld) -> None:
    names = [f"c{number}" for number in range(4)]
    world.create({"restartPolicy": "Never", "containers": [container(name) for name in names]})
    await world.settle()
    uid = meta.uid(world.pod())
    worker = world.kubelet.worker(uid)
    assert worker is not None
    worker.view._last_words = lambda status: "x" * 4096
    for name in names:
        end(world, name, 0)
    await world.settle()
    assert [len(entry["state"]["terminated"]["message"]) for entry in statuses(world).values()] == [3072] * 4


async def test_init_containers_run_again_in_a_new_sandbox_although_the_api_takes_them_for_done(
    world: NodeWorld,
) -> None:
    init = container("init", command=["sleep", "3"])
    world.create({"restartPolicy": "OnFailure", "initContainers": [init], "containers": [container("main")]})
    await world.settle(4)
    assert world.pod()["status"]["phase"] == "Running"
    [sandbox] = await world.runtime.list_sandboxes()
    await world.runtime.stop_sandbox(sandbox.id)
    for _ in range(8):
        await world.settle(1)
        assert "terminated" in statuses(world, "initContainerStatuses")["init"]["state"]
    assert statuses(world, "initContainerStatuses")["init"]["restartCount"] == 1
    assert "running" in statuses(world)["main"]["state"]


async def test_a_sandbox_that_is_replaced_is_told(world: NodeWorld) -> None:
    world.create()
    await world.settle()
    [sandbox] = await world.runtime.list_sandboxes()
    await world.runtime.stop_sandbox(sandbox.id)
    await world.settle(20)
    assert told(world, "SandboxChanged") == ["Pod sandbox changed, it will be killed and re-created."]
    await world.client.delete(PODS, "web", "default")
    await world.settle()
    assert world.pods() == []
    assert len(told(world, "SandboxChanged")) == 1


async def test_crash_loops_wait_no_longer_than_the_node_says() -> None:
    settings = KubeletConfiguration(crash_loop_back_off={"maxContainerRestartPeriod": "2s"})
    world = NodeWorld(configuration=settings)
    await world.start()
    world.create({"containers": [container("main", command=["false"])]})
    await world.settle()
    message = statuses(world)["main"]["state"]["waiting"]["message"]
    assert message == "back-off 2s restarting failed container=main pod=web_default(uid-3)"
    await world.settle(30)
    assert statuses(world)["main"]["restartCount"] > 10
    await world.stop()


async def test_another_image_ends_the_crash_loop(world: NodeWorld) -> None:
    world.create({"containers": [container("main", command=["false"])]})
    await world.settle(1)
    assert statuses(world)["main"]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    fixed = {**container("main"), "image": "busybox:2"}
    world.api.put(PODS, {**world.pod(), "spec": {**world.pod()["spec"], "containers": [fixed]}})
    await world.settle(1)
    assert "running" in statuses(world)["main"]["state"]


async def test_all_conditions_say_which_generation_they_are_about(world: NodeWorld) -> None:
    world.create(generation=3)
    await world.settle()
    found = {each["type"]: each.get("observedGeneration") for each in meta.conditions(world.pod())}
    assert found == dict.fromkeys(found, 3)
    assert "PodScheduled" in found


async def test_claims_of_devices_are_kept_in_the_status_and_hinder_nothing(world: NodeWorld) -> None:
    claims = [{"name": "gpu"}]
    world.create(
        {
            "resourceClaims": [{"name": "gpu", "resourceClaimName": "one"}],
            "containers": [container("main", resources={"claims": claims})],
        }
    )
    await world.settle()
    assert world.pod()["status"]["phase"] == "Running"
    assert statuses(world)["main"]["resources"] == {"claims": claims}
