"""The wire format's pure parts: the descriptor set, requests, answers and events, without a runtime."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tiphys.kubelet.runtimes.cri import answers, requests, wire
from tiphys.kubelet.runtimes.cri.events import subscription_filters, translate
from tiphys.kubelet.runtimes.cri.execution import process_spec
from tiphys.kubelet.runtimes.interface import (
    ContainerConfig,
    ContainerEvent,
    ContainerUser,
    DNSConfig,
    Mount,
    PortMapping,
    RegistryAuth,
    Resources,
    SandboxConfig,
)
from tiphys.kubelet.runtimes.security import ContainerSecurity, SandboxSecurity, SeccompProfile

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_NANOSECONDS = int(NOON.timestamp()) * 10**9


def test_a_sandbox_config_says_everything() -> None:
    message = requests.sandbox_config(
        SandboxConfig(
            "web",
            "argo",
            "u-1",
            attempt=2,
            hostname="web",
            log_directory="/logs",
            cgroup_parent="/t/pod",
            dns=DNSConfig(("10.96.0.10",), ("argo.svc.cluster.local",), ("ndots:5",)),
            port_mappings=(PortMapping(80, 8080, "UDP", "127.0.0.1"),),
            share_process_namespace=True,
            sysctls={"net.core.somaxconn": "1"},
            security=SandboxSecurity(run_as_user=0, run_as_group=3, supplemental_groups=(4, 5)),
            resources=Resources(hugepage_limits_bytes={"2MB": 1 << 21}),
        )
    )
    assert (
        message.metadata.name,
        message.metadata.namespace,
        message.metadata.uid,
        message.metadata.attempt,
    ) == (
        "web",
        "argo",
        "u-1",
        2,
    )
    assert list(message.dns_config.searches) == ["argo.svc.cluster.local"]
    [port] = message.port_mappings
    assert (port.protocol, port.container_port, port.host_port, port.host_ip) == (1, 80, 8080, "127.0.0.1")
    security = message.linux.security_context
    assert security.namespace_options.pid == requests.POD
    assert security.HasField("run_as_user")
    assert (security.run_as_user.value, list(security.supplemental_groups)) == (0, [4, 5])
    assert [(h.page_size, h.limit) for h in message.linux.resources.hugepage_limits] == [("2MB", 1 << 21)]


def test_without_dns_or_user_nothing_is_said_of_them() -> None:
    message = requests.sandbox_config(SandboxConfig("p", "n", "u"))
    assert not message.HasField("dns_config")
    assert not message.linux.security_context.HasField("run_as_user")


def test_with_the_nodes_network_there_is_no_hostname() -> None:
    config = SandboxConfig("p", "n", "u", hostname="p", host_network=True)
    assert requests.sandbox_config(config).hostname == ""


@pytest.mark.parametrize(
    ("fields", "target", "expected"),
    [
        ({}, "", (requests.POD, requests.CONTAINER, requests.POD)),
        ({"share_process_namespace": True}, "", (requests.POD, requests.POD, requests.POD)),
        ({"host_network": True, "host_ipc": True}, "", (requests.NODE, requests.CONTAINER, requests.NODE)),
        ({"host_pid": True}, "c", (requests.POD, requests.NODE, requests.POD)),
        ({}, "c", (requests.POD, requests.TARGET, requests.POD)),
        ({"share_process_namespace": True}, "c", (requests.POD, requests.POD, requests.POD)),
    ],
)
def test_which_namespaces_are_shared(
    fields: dict[str, Any], target: str, expected: tuple[int, int, int]
) -> None:
    options = requests.namespaces(SandboxConfig("p", "n", "u", **fields), target)
    assert (options["network"], options["pid"], options["ipc"]) == expected
    assert options["target_id"] == (target if expected[1] == requests.TARGET else "")


def test_who_leaves_out_the_images_groups_says_so() -> None:
    sandbox = SandboxConfig("p", "n", "u", security=SandboxSecurity(is_strict_about_groups=True))
    container = ContainerConfig("c", "busybox", security=ContainerSecurity(is_strict_about_groups=True))
    strict = requests.sandbox_config(sandbox).linux.security_context.supplemental_groups_policy
    assert strict == requests.STRICT
    message = requests.container_config(container, sandbox)
    assert message.linux.security_context.supplemental_groups_policy == requests.STRICT
    plain = requests.container_config(ContainerConfig("c", "busybox"), sandbox)
    assert plain.linux.security_context.supplemental_groups_policy == requests.MERGE


def test_a_container_tells_as_whom_it_runs_if_the_runtime_knows() -> None:
    status = wire.cri("ContainerStatus")()
    assert answers.container_status(status).user is None
    status.user.linux.uid = 0
    assert answers.container_status(status).user == ContainerUser(0, 0)
    status.user.linux.gid = 3
    status.user.linux.supplemental_groups.extend([3, 4])
    assert answers.container_status(status).user == ContainerUser(0, 3, (3, 4))


def test_a_container_config_says_everything() -> None:
    message = requests.container_config(
        ContainerConfig(
            "main",
            "busybox",
            command=("sh",),
            args=("-c", "true"),
            env=(("A", "å"), ("A", "b")),
            mounts=(Mount("/in", "/out", read_only=True, propagation="Bidirectional"),),
            resources=Resources(cpu_quota_microseconds=5000, unified={"memory.high": "1"}),
            security=ContainerSecurity(
                privileged=True,
                add_capabilities=("NET_ADMIN",),
                seccomp=SeccompProfile("Localhost", "/profiles/x.json"),
            ),
        ),
        SandboxConfig("p", "n", "u"),
    )
    assert [(e.key, e.value) for e in message.envs] == [("A", "å".encode()), ("A", b"b")]
    [mount] = message.mounts
    assert (mount.container_path, mount.host_path, mount.readonly, mount.propagation) == (
        "/in",
        "/out",
        True,
        2,
    )
    assert (message.linux.resources.cpu_quota, dict(message.linux.resources.unified)) == (
        5000,
        {"memory.high": "1"},
    )
    security = message.linux.security_context
    assert (security.privileged, list(security.capabilities.add_capabilities)) == (True, ["NET_ADMIN"])
    assert (security.seccomp.profile_type, security.seccomp.localhost_ref) == (2, "/profiles/x.json")


def test_a_password_is_not_printed() -> None:
    auth = RegistryAuth("jason", "fleece", auth="ZmxlZWNl", identity_token="t0k3n", registry_token="t0k3n")
    assert not any(secret in repr(auth) for secret in ("fleece", "ZmxlZWNl", "t0k3n"))
    assert requests.auth_config(auth)["password"] == "fleece"


@pytest.mark.parametrize(
    ("state", "exit_code", "told", "reason"),
    [
        (2, 137, "OOMKilled", "OOMKilled"),
        (2, 7, "OOMKilled", "Error"),
        (2, 0, "OOMKilled", "Completed"),
        (1, 0, "OOMKilled", ""),
        (2, 137, "Error", "Error"),
        (2, 128, "StartError", "StartError"),
        (3, 255, "Unknown", "Unknown"),
    ],
)
def test_only_a_killed_container_ran_out_of_memory(
    state: int, exit_code: int, told: str, reason: str
) -> None:
    status = answers.container_status(
        wire.cri("ContainerStatus")(state=state, exit_code=exit_code, reason=told)
    )
    assert (status.reason, status.exit_code) == (reason, exit_code)


def test_times_that_are_not_yet_are_none() -> None:
    status = answers.container_status(wire.cri("ContainerStatus")(created_at=NOON_NANOSECONDS))
    assert (status.created_at, status.started_at, status.finished_at) == (NOON, None, None)


def test_all_addresses_of_a_pod_in_order() -> None:
    message = wire.cri("PodSandboxStatus")(network={"ip": "10.0.0.1", "additional_ips": [{"ip": "fd00::1"}]})
    assert answers.sandbox_status(message).ips == ("10.0.0.1", "fd00::1")


def test_a_user_of_an_image_may_be_zero_or_a_name_or_nobody() -> None:
    image = wire.cri("Image")
    assert answers.image(image(uid={"value": 0})).user == 0
    assert answers.image(image(username="www")).user is None


def envelope(topic: str, kind: str, **fields: Any) -> Any:
    payload = wire.message(f"containerd.services.events.v1.{kind}")(**fields).SerializeToString()
    timestamp = {"seconds": int(NOON.timestamp())}
    return wire.message("containerd.services.events.v1.Envelope")(
        topic=topic, event={"value": payload}, timestamp=timestamp
    )


def test_events_in_the_kubelets_words() -> None:
    at = {"seconds": int(NOON.timestamp())}
    exit = envelope("/tasks/exit", "TaskExit", container_id="c", id="c", exit_status=3, exited_at=at)
    assert translate(exit) == ContainerEvent("c", "exited", NOON, 3)
    assert translate(envelope("/tasks/start", "TaskEvent", container_id="c")) == ContainerEvent(
        "c", "started", NOON
    )
    assert translate(envelope("/tasks/oom", "TaskEvent", container_id="c")) == ContainerEvent(
        "c", "oom", NOON
    )
    assert translate(envelope("/containers/delete", "ContainerDelete", id="c")) == ContainerEvent(
        "c", "deleted", NOON
    )


def test_the_end_of_an_execed_process_is_no_event() -> None:
    assert translate(envelope("/tasks/exit", "TaskExit", container_id="c", id="exec-1")) is None


def test_filters_keep_to_one_namespace() -> None:
    assert all(text.startswith("namespace==k8s.io,topic") for text in subscription_filters("k8s.io"))


def test_an_execed_process_differs_in_command_and_terminal_only() -> None:
    container = {"args": ["sleep"], "env": ["TERM=dumb", "A=b"], "user": {"uid": 7}, "terminal": False}
    assert process_spec(container, ["ls"], tty=False) == (
        b'{"args": ["ls"], "env": ["TERM=dumb", "A=b"], "user": {"uid": 7}, "terminal": false}'
    )
    assert b'"env": ["A=b", "TERM=xterm"]' in process_spec(container, ["ls"], tty=True)
