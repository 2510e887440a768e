"""What the suite asks of security contexts, runtime classes, sysctls, /etc/hosts and images' own commands, and more of the same.

One cluster with real containers; all pods are made at once, and each test looks at its own.
"""

from __future__ import annotations

import json
import platform
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import running
from pod_world import BUSYBOX, Object, PodWorld, fields_of, pod

from tiphys.cluster import pause
from tiphys.cluster.images import host_busybox
from tiphys.kubelet.images.build import ImageSource, Layer, write_archive

pytestmark = pytest.mark.real

NO_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


def secured(name: str, script: str, context: Object, **of_pod: Any) -> Object:
    """With a security context of the container."""
    return pod(name, script, own={"securityContext": context}, **of_pod)


def effective_user() -> bytes:
    """A program whose exit code is the low byte of the user as whom it runs: geteuid(), and exit_group() with what that says."""
    if platform.machine() == "x86_64":
        return pause.program(62, bytes.fromhex("b86b000000 0f05 89c7 b8e7000000 0f05"))
    return pause.program(183, struct.pack("<IIII", 0xD28015E8, 0xD4000001, 0xD2800BC8, 0xD4000001))


def runtime_class(name: str, handler: str, **fields: Any) -> Object:
    metadata = {"name": name}
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": metadata,
        "handler": handler,
        **fields,
    }


KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
}
FALLS_ILL = "mkdir /www; touch /www/healthz; httpd -p 8080 -h /www; sleep 2; rm /www/healthz; sleep 600"
STATUS = "grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status"
IDS = "id -u; id -g; id -G"
FILES = "cat /proc/sys/kernel/shm_rmid_forced; cat /proc/sys/net/ipv4/ip_local_port_range"
HOSTS = {"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}
MOUNTED = {"volumeMounts": [{"name": "hosts", "mountPath": "/etc/hosts"}]}

PODS = [
    # Users and groups
    secured("as-nobody", "id -u", {"runAsUser": 65534}),
    pod("pod-ids", IDS, securityContext={"runAsUser": 1001, "runAsGroup": 2002}),
    secured("own-ids", IDS, {"runAsUser": 1001, "runAsGroup": 2002}, securityContext={"runAsUser": 7}),
    pod("group-alone", IDS, securityContext={"runAsGroup": 2002}),
    pod(
        "groups",
        IDS,
        securityContext={
            "runAsUser": 1000,
            "runAsGroup": 3000,
            "fsGroup": 2000,
            "supplementalGroups": [4, 5],
        },
    ),
    pod("image-user", IDS, own={"image": "localhost/numbered:1"}),
    pod("image-name", IDS, own={"image": "localhost/named:1"}),
    secured("root-image", "true", {"runAsNonRoot": True}),
    secured("root-user", "true", {"runAsNonRoot": True, "runAsUser": 0}),
    pod("name-image", "true", own={"image": "localhost/named:1", "securityContext": {"runAsNonRoot": True}}),
    pod(
        "number-image",
        "id -u",
        own={"image": "localhost/numbered:1", "securityContext": {"runAsNonRoot": True}},
    ),
    # Powers
    secured("unprivileged", "ip link add br7 type bridge || true", {"privileged": False}),
    secured(
        "privileged", "ip link add br7 type bridge && test -e /dev/kmsg && echo mighty", {"privileged": True}
    ),
    *(
        pod(
            name,
            f"id -u; /bin/effective-user; echo $?; {STATUS}",
            own={"image": "localhost/setuid:1", "securityContext": {"runAsUser": 1000, **context}},
        )
        for name, context in (
            ("no-escalation", {"allowPrivilegeEscalation": False}),
            ("escalation", {"allowPrivilegeEscalation": True}),
            ("escalation-unsaid", {}),
        )
    ),
    secured("powerless", f"{STATUS}; chown 1:1 /tmp || true", {"capabilities": {"drop": ["ALL"]}}),
    secured(
        "net-admin",
        "ip link add br7 type bridge && echo made; chown 1:1 /tmp || true",
        {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}},
    ),
    # Files
    secured("writes", "touch checkfile && echo written", {"readOnlyRootFilesystem": False}),
    secured("reads-only", "echo test > /file || echo refused", {"readOnlyRootFilesystem": True}),
    pod("masked", "cat /proc/keys | wc -c; echo 1 2>/dev/null > /proc/sys/kernel/domainname || echo refused"),
    # Profiles
    secured("seccomp-default", STATUS, {"seccompProfile": {"type": "RuntimeDefault"}}),
    secured("seccomp-none", STATUS, {"seccompProfile": {"type": "Unconfined"}}),
    secured(
        "seccomp-own",
        "mkdir /x || echo refused",
        {"seccompProfile": {"type": "Localhost", "localhostProfile": "no-mkdir.json"}},
    ),
    secured(
        "seccomp-missing",
        "true",
        {"seccompProfile": {"type": "Localhost", "localhostProfile": "nowhere.json"}},
    ),
    secured("apparmor", "true", {"appArmorProfile": {"type": "RuntimeDefault"}}),
    secured("selinux", "echo runs", {"seLinuxOptions": {"level": "s0:c1,c2"}}),
    pod("strict", "true", securityContext={"supplementalGroupsPolicy": "Strict"}),
    pod("own-users", "true", hostUsers=False),
    # Sysctls
    pod(
        "sysctls",
        FILES,
        securityContext={
            "sysctls": [
                {"name": "kernel.shm_rmid_forced", "value": "1"},
                {"name": "net.ipv4.ip_local_port_range", "value": "2000 3000"},
            ]
        },
    ),
    pod("unsafe", "true", securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "10000"}]}),
    # Runtime classes
    pod("of-runc", "echo runs", runtimeClassName="other"),
    pod("heavy", "echo runs", runtimeClassName="heavy"),
    pod("unheard-of", "true", runtimeClassName="unheard-of"),
    # Commands
    pod("defaults", own={"image": "localhost/entry:1"}),
    pod("arguments", own={"image": "localhost/entry:1", "args": ["override", "arguments"]}),
    pod("entrypoint", own={"image": "localhost/entry:1", "command": ["/bin/echo", "command"]}),
    pod("both", own={"image": "localhost/entry:1", "command": ["/bin/echo", "-n"], "args": ["all"]}),
    # Hosts
    {
        **pod("hosts", volumes=[HOSTS]),
        "spec": {
            **pod("hosts", volumes=[HOSTS])["spec"],
            "containers": [
                {"name": name, "image": BUSYBOX, "command": ["cat", "/etc/hosts"], **more}
                for name, more in (("first", {}), ("second", {}), ("third", MOUNTED))
            ],
        },
    },
    pod("hosts-of-node", "cat /etc/hosts", hostNetwork=True),
    # Restarts
    pod(
        "falls-ill",
        FALLS_ILL,
        own={
            "livenessProbe": {
                "httpGet": {"path": "/healthz", "port": 8080},
                "initialDelaySeconds": 1,
                "periodSeconds": 1,
                "failureThreshold": 1,
                "timeoutSeconds": 10,
            }
        },
        restartPolicy="Always",
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodWorld]:
    home = tmp_path_factory.mktemp("security")
    busybox = host_busybox()
    sources = {
        "localhost/entry:1": {"Entrypoint": ["/bin/echo", "entry"], "Cmd": ["cmd"]},
        "localhost/numbered:1": {"User": "1234:5678"},
        "localhost/named:1": {"User": "nobody"},
    }
    program = Layer(files={"bin/effective-user": (effective_user(), 0o4755)})
    archive = home / "images.tar"
    write_archive(
        archive,
        [
            ImageSource((name,), busybox.layers, {**busybox.config, **config})
            for name, config in sources.items()
        ]
        + [ImageSource(("localhost/setuid:1",), (*busybox.layers, program), busybox.config)],
    )
    (home / "kubelet.yaml").write_text(json.dumps(KUBELET))
    for cluster in running(home, "secure", "--kubelet-config", str(home / "kubelet.yaml")):
        cluster.tiphys("image", "import", str(archive), "--name", "secure")
        world = PodWorld(cluster)
        profiles = world.kubelet_directory / "seccomp"
        profiles.mkdir()
        (profiles / "no-mkdir.json").write_text(json.dumps(NO_MKDIR))
        world.create(
            runtime_class("other", "runc"),
            runtime_class("unheard-of", "unheard-of"),
            runtime_class("heavy", "crun", overhead={"podFixed": {"cpu": "50m", "memory": "8Mi"}}),
        )
        world.wait_for_account()
        world.create(*PODS)
        yield world


# Users and groups


@pytest.mark.conformance(
    "Security Context When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly] [NodeConformance]"
)
def test_a_container_runs_as_the_user_that_it_names(world: PodWorld) -> None:
    assert world.output("as-nobody") == "65534\n"


@pytest.mark.conformance(
    "Security Context should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly]"
)
def test_users_and_groups_of_a_pod(world: PodWorld) -> None:
    assert world.output("pod-ids").split() == ["1001", "2002", "2002"]
    assert world.output("group-alone").split() == ["0", "2002", "2002"]


@pytest.mark.conformance(
    "Security Context should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup [LinuxOnly]"
)
def test_users_and_groups_of_a_container(world: PodWorld) -> None:
    assert world.output("own-ids").split() == ["1001", "2002", "2002"]


def test_more_groups_and_the_one_of_the_volumes(world: PodWorld) -> None:
    user, group, *groups = world.output("groups").split()
    assert (user, group) == ("1000", "3000")
    assert sorted(groups) == ["2000", "3000", "4", "5"]


def test_the_images_own_user(world: PodWorld) -> None:
    """Of "1234:5678" the user alone: the group is the one that the image's own files give him, or root's."""
    assert world.output("image-user").split()[0] == "1234"
    assert world.output("image-name").split()[:2] == ["65534", "65534"]
    assert world.output("number-image") == "1234\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("root-image", "container has runAsNonRoot and image will run as root"),
        ("root-user", "container's runAsUser breaks non-root policy"),
        (
            "name-image",
            "container has runAsNonRoot and image has non-numeric user (nobody), cannot verify user is non-root",
        ),
    ],
)
def test_whoever_must_not_be_root_does_not_run_as_root(world: PodWorld, name: str, message: str) -> None:
    def waiting(pod: Object) -> Object:
        entries = pod["status"].get("containerStatuses") or [{"state": {}}]
        found: Object = entries[0]["state"].get("waiting") or {}
        return found

    found = world.until(name, lambda pod: waiting(pod).get("reason") == "CreateContainerConfigError")
    uid = found["metadata"]["uid"]
    told = f'{message} (pod: "{name}_default({uid})", container: main)'
    assert waiting(found)["message"] == told
    world.until_told(name, "Failed", f"Error: {told}")


# Powers


@pytest.mark.conformance(
    "Security Context When creating a pod with privileged should run the container as unprivileged when false [LinuxOnly] [NodeConformance]"
)
def test_without_privileges(world: PodWorld) -> None:
    assert "Operation not permitted" in world.output("unprivileged")


def test_with_privileges(world: PodWorld) -> None:
    assert world.output("privileged") == "mighty\n"


@pytest.mark.conformance(
    "Security Context when creating containers with AllowPrivilegeEscalation should not allow privilege escalation when false [LinuxOnly] [NodeConformance]"
)
def test_a_program_of_root_that_everybody_may_run_makes_nobody_root(world: PodWorld) -> None:
    assert escalated(world, "no-escalation") == ("1000", str(1000 % 256), "1")


def test_escalation_is_allowed_unless_somebody_forbids_it(world: PodWorld) -> None:
    assert escalated(world, "escalation") == ("1000", "0", "0")
    assert escalated(world, "escalation-unsaid") == ("1000", "0", "0")


def escalated(world: PodWorld, name: str) -> tuple[str, str, str]:
    """The user of the pod, that of the setuid program in it, and the kernel's word for it."""
    user, of_program, status = world.output(name).split("\n", 2)
    return user, of_program, fields_of(status)["NoNewPrivs"]


def test_capabilities(world: PodWorld) -> None:
    powerless = world.output("powerless")
    assert int(fields_of(powerless)["CapEff"], 16) == 0
    assert "Operation not permitted" in powerless
    said = world.output("net-admin").splitlines()
    assert "made" in said
    assert "chown: /tmp: Operation not permitted" in said


# Files


@pytest.mark.conformance(
    "Security Context When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false [NodeConformance]"
)
def test_a_root_that_can_be_written(world: PodWorld) -> None:
    assert world.output("writes") == "written\n"


@pytest.mark.conformance(
    "Kubelet when scheduling a read only busybox container should not write to root filesystem [LinuxOnly] [NodeConformance]"
)
def test_a_root_that_cannot_be_written(world: PodWorld) -> None:
    said = world.output("reads-only")
    assert "Read-only file system" in said
    assert "refused" in said


def test_what_of_proc_is_hidden(world: PodWorld) -> None:
    said = world.output("masked").splitlines()
    assert "0" in said
    assert "refused" in said


# Profiles


def test_seccomp(world: PodWorld) -> None:
    assert fields_of(world.output("seccomp-default"))["Seccomp"] == "2"
    assert fields_of(world.output("seccomp-none"))["Seccomp"] == "0"
    assert fields_of(world.output("escalation"))["Seccomp"] == "0"
    assert "refused" in world.output("seccomp-own").splitlines()
    assert "nowhere.json" in world.until_event("seccomp-missing", "Failed")


def test_selinux_options_where_there_is_none(world: PodWorld) -> None:
    assert world.output("selinux") == "runs\n"


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("apparmor", "AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"),
        ("unsafe", "SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        (
            "strict",
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
    ],
)
def test_what_the_node_refuses(world: PodWorld, name: str, reason: str, message: str) -> None:
    found = world.until(name, lambda pod: pod["status"]["phase"] == "Failed")
    assert (found["status"]["reason"], found["status"]["message"]) == (reason, f"Pod was rejected: {message}")
    assert world.until_event(name, reason) == message
    shown = world.cluster.kubectl("get", "pod", name, "--no-headers").stdout.split()
    assert shown[:4] == [name, "0/1", reason, "0"]


def test_users_of_its_own_are_not_to_be_had(world: PodWorld) -> None:
    told = world.until_event("own-users", "FailedCreatePodSandBox")
    assert "can't set `spec.hostUsers: false`" in told


# Sysctls


@pytest.mark.conformance(
    "Sysctls [LinuxOnly] [NodeConformance] should support sysctls [Environment:NotInUserNS]"
)
def test_sysctls(world: PodWorld) -> None:
    assert world.output("sysctls").split() == ["1", "2000", "3000"]


@pytest.mark.conformance("Sysctls [LinuxOnly] [NodeConformance] should reject invalid sysctls")
def test_names_that_are_no_sysctls(world: PodWorld) -> None:
    names = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."]
    wrong = pod("wrong", "true", securityContext={"sysctls": [{"name": n, "value": "1"} for n in names]})
    result = world.cluster.kubectl("create", "-f", "-", input=json.dumps(wrong), check=False)
    assert result.returncode != 0
    assert 'Invalid value: "foo-"' in result.stderr
    assert 'Invalid value: "bar.."' in result.stderr
    assert "safe-and-unsafe" not in result.stderr
    assert "kernel.shmmax" not in result.stderr


# Runtime classes


@pytest.mark.conformance(
    "RuntimeClass should schedule a Pod requesting a RuntimeClass without PodOverhead [NodeConformance]"
)
def test_a_pod_runs_by_the_handler_of_its_class(world: PodWorld) -> None:
    assert world.output("of-runc") == "runs\n"
    assert "overhead" not in world.pod("of-runc")["spec"]


@pytest.mark.conformance(
    "RuntimeClass should schedule a Pod requesting a RuntimeClass and initialize its Overhead [NodeConformance]"
)
def test_a_class_costs_what_it_says(world: PodWorld) -> None:
    assert world.output("heavy") == "runs\n"
    assert world.pod("heavy")["spec"]["overhead"] == {"cpu": "50m", "memory": "8Mi"}


@pytest.mark.conformance("RuntimeClass should support RuntimeClasses API operations")
def test_classes_take_every_verb(world: PodWorld) -> None:
    kubectl, chosen = world.cluster.kubectl, ("runtimeclasses", "--selector", "test=verbs")
    listed = json.loads(kubectl("get", "--raw", "/apis/node.k8s.io/v1").stdout)["resources"]
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= {
        verb for resource in listed if resource["name"] == "runtimeclasses" for verb in resource["verbs"]
    }
    made = [runtime_class(f"verbs-{number}", "anything") for number in range(3)]
    world.create(*({**each, "metadata": {**each["metadata"], "labels": {"test": "verbs"}}} for each in made))
    assert len(world.cluster.get(*chosen)["items"]) == 3
    kubectl(
        "patch", "runtimeclass", "verbs-0", "--patch", '{"metadata": {"annotations": {"patched": "true"}}}'
    )
    current = world.cluster.get("runtimeclass", "verbs-0")
    current["metadata"]["annotations"]["updated"] = "true"
    kubectl("replace", "-f", "-", input=json.dumps(current))
    assert world.cluster.get("runtimeclass", "verbs-0")["metadata"]["annotations"] == {
        "patched": "true",
        "updated": "true",
    }
    watched = kubectl("get", *chosen, "--watch", "--output-watch-events", "--request-timeout=2s", check=False)
    assert watched.stdout.count("ADDED") == 3
    kubectl("delete", "runtimeclass", "verbs-0")
    assert len(world.cluster.get(*chosen)["items"]) == 2
    kubectl("delete", "--raw", "/apis/node.k8s.io/v1/runtimeclasses?labelSelector=test%3Dverbs")
    assert world.cluster.get(*chosen)["items"] == []


@pytest.mark.conformance(
    "RuntimeClass should reject a Pod requesting a non-existent RuntimeClass [NodeConformance]"
)
def test_a_class_that_is_not_there(world: PodWorld) -> None:
    refused = pod("refused", "true", runtimeClassName="nonexistent")
    result = world.cluster.kubectl("create", "-f", "-", input=json.dumps(refused), check=False)
    assert 'pod rejected: RuntimeClass "nonexistent" not found' in result.stderr


@pytest.mark.conformance(
    "RuntimeClass should reject a Pod requesting a deleted RuntimeClass [NodeConformance]"
)
def test_a_class_that_was_deleted(world: PodWorld) -> None:
    world.create(runtime_class("short-lived", "runc"))
    world.cluster.kubectl("delete", "runtimeclass", "short-lived")
    refused = pod("refused", "true", runtimeClassName="short-lived")
    result = world.cluster.kubectl("create", "-f", "-", input=json.dumps(refused), check=False)
    assert 'pod rejected: RuntimeClass "short-lived" not found' in result.stderr


def test_a_handler_that_nobody_knows(world: PodWorld) -> None:
    told = world.until_event("unheard-of", "FailedCreatePodSandBox")
    assert told == (
        "Failed to create pod sandbox: rpc error: code = Unknown desc = "
        'failed to get sandbox runtime: no runtime for "unheard-of" is configured'
    )


# Commands


@pytest.mark.conformance(
    "Containers should use the image defaults if command and args are blank [NodeConformance]"
)
def test_the_images_command(world: PodWorld) -> None:
    assert world.output("defaults") == "entry cmd\n"


@pytest.mark.conformance(
    "Containers should be able to override the image's default arguments (container cmd) [NodeConformance]"
)
def test_other_arguments(world: PodWorld) -> None:
    assert world.output("arguments") == "entry override arguments\n"


@pytest.mark.conformance(
    "Containers should be able to override the image's default command (container entrypoint) [NodeConformance]"
)
def test_another_command(world: PodWorld) -> None:
    assert world.output("entrypoint") == "command\n"


@pytest.mark.conformance(
    "Containers should be able to override the image's default command and arguments [NodeConformance]"
)
def test_another_command_and_other_arguments(world: PodWorld) -> None:
    assert world.output("both") == "all"


# Hosts


@pytest.mark.conformance(
    "KubeletManagedEtcHosts should test kubelet managed /etc/hosts file [NodeConformance]"
)
def test_hosts(world: PodWorld) -> None:
    managed = "# Kubernetes-managed hosts file."
    world.until("hosts", lambda pod: pod["status"]["phase"] == "Succeeded")
    said = {
        name: world.cluster.kubectl("logs", "hosts", "-c", name).stdout
        for name in ("first", "second", "third")
    }
    assert {name: managed in text for name, text in said.items()} == {
        "first": True,
        "second": True,
        "third": False,
    }
    assert managed not in world.output("hosts-of-node")


# Restarts


@pytest.mark.conformance(
    "Probing container should have monotonically increasing restart count [NodeConformance]"
)
def test_restarts_add_up(world: PodWorld) -> None:
    seen = [0]

    def has_restarted_five_times(pod: Object) -> bool:
        entries = pod["status"].get("containerStatuses") or [{"restartCount": 0}]
        seen.append(entries[0]["restartCount"])
        assert seen == sorted(seen), "restarts only become more"
        return seen[-1] >= 5

    entry = world.until("falls-ill", has_restarted_five_times)["status"]["containerStatuses"][0]
    # Each time it was ended for what its probe said.
    assert entry["lastState"]["terminated"]["exitCode"] in (137, 143)
    failed = "Liveness probe failed: HTTP probe failed with statuscode: 404"
    world.until_told("falls-ill", "Unhealthy", failed)
    world.until_told("falls-ill", "Killing", "Container main failed liveness probe, will be restarted")
