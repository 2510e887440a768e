"""What a node refuses to run, and in which words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from node_world import NodeWorld

from tiphys.client.resources import PODS, RUNTIMECLASSES
from tiphys.kubelet.admission import Abilities, Rejection, rejection
from tiphys.kubelet.sysctls import SAFE, dotted, pattern_problem

BARE = Abilities()
LENIENT = Abilities(unsafe_sysctls=("kernel.msg*", "net.core.somaxconn"))
ABLE = Abilities(has_apparmor=True, supplemental_groups_policy=True)


def pod(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "labels": labels or {}},
        "spec": {"containers": [{"name": "main", **spec.pop("container", {})}], **spec},
    }


def with_sysctls(*names: str, **spec: Any) -> dict[str, Any]:
    return pod(securityContext={"sysctls": [{"name": name, "value": "1"} for name in names]}, **spec)


PROFILE = {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}


@pytest.mark.parametrize(
    ("given", "reason", "message"),
    [
        (
            with_sysctls("net.ipv4.tcp_syncookies", "kernel.msgmax"),
            "SysctlForbidden",
            'forbidden sysctl: "kernel.msgmax" not allowlisted',
        ),
        (
            with_sysctls("net/ipv4/tcp_syncookies", hostNetwork=True),
            "SysctlForbidden",
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
        ),
        (
            with_sysctls("kernel.shm_rmid_forced", hostIPC=True),
            "SysctlForbidden",
            'forbidden sysctl: "kernel.shm_rmid_forced" not allowed with host ipc enabled',
        ),
        (pod(container=PROFILE), "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"),
        (
            pod(os={"name": "windows"}),
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ),
        (
            pod({"kubernetes.io/os": "windows"}),
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ),
        (
            pod(securityContext={"supplementalGroupsPolicy": "Strict"}),
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
    ],
)
def test_refused(given: dict[str, Any], reason: str, message: str) -> None:
    assert rejection(given, BARE) == Rejection(reason, message)


@pytest.mark.parametrize(
    ("given", "abilities"),
    [
        (pod(), BARE),
        (with_sysctls(*SAFE), BARE),
        (with_sysctls("kernel.shm_rmid_forced", hostNetwork=True), BARE),
        (with_sysctls("kernel.msgmax", "net.core.somaxconn"), LENIENT),
        (pod(container=PROFILE), ABLE),
        (pod(securityContext={"appArmorProfile": {"type": "Unconfined"}}), BARE),
        (pod(os={"name": "linux"}), BARE),
        (pod(securityContext={"supplementalGroupsPolicy": "Strict"}), ABLE),
        (pod(securityContext={"supplementalGroupsPolicy": "Merge"}), BARE),
    ],
)
def test_taken(given: dict[str, Any], abilities: Abilities) -> None:
    assert rejection(given, abilities) is None


def test_what_is_not_a_pods_own_cannot_be_allowed() -> None:
    assert pattern_problem("kernel.msg*") == pattern_problem("net/core/somaxconn") == ""
    assert pattern_problem("vm.*") == 'the sysctls "vm.*" are not known to be namespaced'
    assert (
        pattern_problem("kernel.semaphore") == 'the sysctl "kernel.semaphore" are not known to be namespaced'
    )


def test_two_spellings_of_a_sysctl() -> None:
    assert dotted("net/ipv4/conf/eth0.1/x") == "net.ipv4.conf.eth0/1.x"
    assert dotted("net.ipv4.conf.eth0/1.x") == "net.ipv4.conf.eth0/1.x"


@pytest.fixture
async def world() -> AsyncIterator[NodeWorld]:
    world = NodeWorld()
    await world.start()
    yield world
    await world.stop()


async def test_a_refused_pod_fails_with_an_event_and_nothing_is_made(world: NodeWorld) -> None:
    world.create({"os": {"name": "windows"}})
    await world.settle()
    status = world.pod()["status"]
    message = "Failed to admit pod as the OS field doesn't match node OS"
    assert (status["phase"], status["reason"]) == ("Failed", "PodOSNotSupported")
    assert status["message"] == f"Pod was rejected: {message}"
    assert "containerStatuses" not in status
    assert world.events() == [("PodOSNotSupported", message)]
    assert await world.runtime.list_sandboxes() == []


async def test_what_runs_is_not_asked_again(world: NodeWorld) -> None:
    world.create()
    await world.settle(1)
    await world.stop()
    running = world.pod()
    world.api.put(PODS, {**running, "spec": {**running["spec"], "os": {"name": "windows"}}})
    await world.start()
    assert world.pod()["status"]["phase"] == "Running"
    [container] = await world.runtime.list_containers()
    assert container.state == "Running"


async def test_a_class_of_containers_that_is_not_there(world: NodeWorld) -> None:
    world.create({"runtimeClassName": "gone"})
    await world.settle()
    message = 'Failed to create pod sandbox: runtimeclass.node.k8s.io "gone" not found'
    assert ("FailedCreatePodSandBox", message) in world.events()
    world.api.put(
        RUNTIMECLASSES,
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "gone"},
            "handler": "runc",
        },
    )
    await world.settle(2)
    assert world.pod()["status"]["phase"] == "Running"
    [sandbox] = await world.runtime.list_sandboxes()
    assert sandbox.runtime_handler == "runc"
