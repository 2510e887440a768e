"""How pods live and end on real containers: made at once, looked at one after the other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_cluster import KUBECTL, Cluster, wait_for
from pod_world import BUSYBOX, Object, PodWorld, pod

from tiphys.client import kubeconfig
from tiphys.client.client import Client
from tiphys.client.https import HTTPSTransport
from tiphys.client.resources import PODS as POD_KIND

pytestmark = pytest.mark.real

FOREVER = "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done"
OTHER = {"image": BUSYBOX, "imagePullPolicy": "IfNotPresent"}
MOUNT = {"volumeMounts": [{"name": "d", "mountPath": "/d"}]}
COUNTING = """
echo x >> /d/count
case $(wc -l < /d/count) in 1) exit 1;; 2) exit 0;; esac
sleep 1000
"""


def labelled(made: Object, **labels: str) -> Object:
    return {**made, "metadata": {**made["metadata"], "labels": labels}}


def counting(policy: str) -> Object:
    volumes = [{"name": "d", "emptyDir": {}}]
    return pod(f"restarts-{policy.lower()}", COUNTING, own=MOUNT, volumes=volumes, restartPolicy=policy)


def dying(name: str, script: str, **own: Any) -> Object:
    return pod(name, script, own={"terminationMessagePolicy": "FallbackToLogsOnError", **own})


def with_init(name: str, *commands: str, restart: str) -> Object:
    init = [
        {"name": f"init{i}", "command": ["sh", "-c", each], **OTHER} for i, each in enumerate(commands, 1)
    ]
    return pod(name, "true" if restart == "Never" else FOREVER, initContainers=init, restartPolicy=restart)


SERVER = pod("server", "httpd -f -vv -p 8080 2>&1", own={"ports": [{"containerPort": 8080}]})
SIDECAR = {"restartPolicy": "Always", **OTHER}
RESTART_ALL = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]

PODS = [
    SERVER,
    *(counting(policy) for policy in ("Always", "OnFailure", "Never")),
    dying("last-log", "echo -n DONE; exit 1"),
    dying("last-log-of-success", "echo -n DONE"),
    dying("last-file", "echo -n OK > /dev/termination-log"),
    dying(
        "last-own-file",
        "test $(id -u) = 1000 && echo -n DONE > /dev/termination-custom-log",
        terminationMessagePath="/dev/termination-custom-log",
        securityContext={"runAsUser": 1000},
    ),
    with_init("init-always", "true", "true", restart="Always"),
    with_init("init-never", "true", "true", restart="Never"),
    with_init("init-fails-always", "false", "true", restart="Always"),
    with_init("init-fails-never", "true", "false", restart="Never"),
    pod("deadline", FOREVER),
    labelled(pod("updated", FOREVER), time="one"),
    labelled(pod("removed", FOREVER), watched="yes"),
    *(labelled(pod(f"set-{number}", FOREVER), type="Testing") for number in range(3)),
    pod("fails", "exit 1", restartPolicy="Always"),
    pod(
        "guaranteed",
        FOREVER,
        own={"resources": {kind: {"cpu": "100m", "memory": "100Mi"} for kind in ("requests", "limits")}},
    ),
    pod("generation", FOREVER, terminationGracePeriodSeconds=30),
    pod("generations", FOREVER),
    pod("target", FOREVER),
    pod(
        "ordered",
        "trap 'echo main >> /d/ends; exit 0' TERM; sleep 1000 & wait; sleep 1000",
        own=MOUNT,
        volumes=[{"name": "d", "hostPath": {"path": "/run/ordered", "type": "DirectoryOrCreate"}}],
        terminationGracePeriodSeconds=30,
        initContainers=[
            {
                "name": name,
                "command": [
                    "sh",
                    "-c",
                    f"trap 'echo {name} >> /d/ends; exit 0' TERM; sleep 1000 & wait; sleep 1000",
                ],
                **SIDECAR,
                **MOUNT,
            }
            for name in ("one", "two")
        ],
    ),
    pod(
        "again",
        "while ! test -e /d/go; do usleep 100000; done; rm /d/go; exit 42",
        own={**MOUNT, "restartPolicyRules": RESTART_ALL, "restartPolicy": "Never"},
        volumes=[{"name": "d", "emptyDir": {}}],
        initContainers=[
            {"name": "first", "command": ["sh", "-c", "echo x >> /d/first"], **OTHER, **MOUNT},
            {"name": "proxy", "command": ["sh", "-c", FOREVER], **SIDECAR},
        ],
    ),
]


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    for world in PodWorld.beside_others(cluster, "pod-life"):
        world.create(*PODS)
        yield world


def is_running(pod: Object) -> bool:
    return bool(pod["status"]["phase"] == "Running")


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def has_ended(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def entry(pod: Object, kind: str = "containerStatuses", position: int = 0) -> Object:
    entries = pod["status"].get(kind) or [{"state": {}, "lastState": {}, "restartCount": 0}]
    found: Object = entries[position]
    return found


# Restarts


@pytest.mark.conformance(
    "Container Runtime blackbox test when starting a container that exits should run with the expected status [NodeConformance]"
)
def test_restart_policies(world: PodWorld) -> None:
    never = world.until("restarts-never", has_ended)
    assert (never["status"]["phase"], entry(never)["restartCount"]) == ("Failed", 0)
    assert entry(never)["state"]["terminated"]["exitCode"] == 1
    on_failure = world.until("restarts-onfailure", has_ended)
    assert (on_failure["status"]["phase"], entry(on_failure)["restartCount"]) == ("Succeeded", 1)
    always = world.until("restarts-always", lambda pod: entry(pod)["restartCount"] == 2 and is_ready(pod))
    assert always["status"]["phase"] == "Running"
    assert "running" in entry(always)["state"]


@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason [NodeConformance]"
)
@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete [NodeConformance]"
)
def test_a_command_that_always_fails(world: PodWorld) -> None:
    def has_failed(pod: Object) -> bool:
        found = entry(pod)
        ended = found["state"].get("terminated") or found["lastState"].get("terminated") or {}
        return bool(ended.get("exitCode") == 1 and ended.get("reason") == "Error")

    world.until("fails", has_failed)
    world.kubectl("delete", "pod", "fails", "--timeout=300s")


def test_restarting_all_containers(world: PodWorld) -> None:
    before = world.until("again", is_ready)
    world.kubectl("exec", "again", "-c", "main", "--", "touch", "/d/go")
    after = world.until("again", lambda pod: entry(pod)["restartCount"] == 1 and is_ready(pod))
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert entry(after)["lastState"]["terminated"]["exitCode"] == 42
    assert [entry(after, "initContainerStatuses", number)["restartCount"] for number in (0, 1)] == [1, 1]
    said = world.kubectl("exec", "again", "-c", "main", "--", "cat", "/d/first").stdout
    assert said == "x\nx\n", "the init container ran again, on the same volume"


# Last words


@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message from log output if TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message if TerminationMessagePath is set as non-root user and at a non-default path [NodeConformance]"
)
def test_last_words(world: PodWorld) -> None:
    expected = {"last-log": "DONE", "last-log-of-success": "", "last-file": "OK", "last-own-file": "DONE"}
    found = {
        name: entry(world.until(name, has_ended))["state"]["terminated"].get("message", "")
        for name in expected
    }
    assert found == expected


# Init containers


@pytest.mark.conformance(
    "InitContainer [NodeConformance] should invoke init containers on a RestartAlways pod"
)
@pytest.mark.conformance(
    "InitContainer [NodeConformance] should invoke init containers on a RestartNever pod"
)
def test_init_containers(world: PodWorld) -> None:
    for name, is_so in (("init-always", is_ready), ("init-never", has_ended)):
        made = world.until(name, is_so)
        for number in (0, 1):
            found = entry(made, "initContainerStatuses", number)
            assert found["state"]["terminated"]["exitCode"] == 0
            assert found["ready"]
        [initialized] = [each for each in made["status"]["conditions"] if each["type"] == "Initialized"]
        assert initialized["status"] == "True"
    assert made["status"]["phase"] == "Succeeded"


@pytest.mark.conformance(
    "InitContainer [NodeConformance] should not start app containers if init containers fail on a RestartAlways pod"
)
@pytest.mark.conformance(
    "InitContainer [NodeConformance] should not start app containers and fail the pod if init containers fail on a RestartNever pod"
)
def test_init_containers_that_fail(world: PodWorld) -> None:
    def has_been_tried(pod: Object) -> bool:
        return bool(entry(pod, "initContainerStatuses")["restartCount"] >= 2)

    again = world.until("init-fails-always", has_been_tried)
    assert again["status"]["phase"] == "Pending"
    assert "waiting" in entry(again, "initContainerStatuses", 1)["state"]
    once = world.until("init-fails-never", has_ended)
    assert once["status"]["phase"] == "Failed"
    assert entry(once, "initContainerStatuses", 1)["state"]["terminated"]["exitCode"] == 1
    for made in (again, once):
        assert entry(made)["state"] == {"waiting": {"reason": "PodInitializing"}}
        assert not entry(made).get("containerID"), "the app container was never there"
        [initialized] = [each for each in made["status"]["conditions"] if each["type"] == "Initialized"]
        assert (initialized["status"], initialized["reason"]) == ("False", "ContainersNotInitialized")


# Hooks


@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec hook properly [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http hook properly [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http hook properly [NodeConformance]"
)
@pytest.mark.conformance("PreStop should call prestop when killing a pod")
def test_hooks(world: PodWorld) -> None:
    server = world.until("server", is_ready)["status"]["podIP"]
    names = [f"{when.lower()}-{how}" for when in ("postStart", "preStop") for how in ("exec", "http")]
    hooks = {}
    for name in names:
        command = ["sh", "-c", f"wget -q -O /dev/null http://{server}:8080/{name} || true"]
        get = {"host": server, "port": 8080, "path": f"/{name}"}
        hook = {"exec": {"command": command}} if name.endswith("exec") else {"httpGet": get}
        hooks[name] = {"postStart" if name.startswith("post") else "preStop": hook}
    grace = {"terminationGracePeriodSeconds": 30}
    told = "wget -q -O /dev/null http://{}:8080/ended-{}"
    ending = "trap '{}; exit 0' TERM; while true; do sleep 1000 & wait $!; done"
    world.create(
        *(
            pod(name, ending.format(told.format(server, name)), own={"lifecycle": hook}, **grace)
            for name, hook in hooks.items()
        )
    )
    for name in names:
        world.until(name, is_ready)
    log = world.until_log("server", "main", "/poststart-exec")
    assert "/prestop" not in log
    world.until_log("server", "main", "/poststart-http")
    world.kubectl("delete", "pod", "--wait=false", *names)
    for name in ("prestop-exec", "prestop-http"):
        log = world.until_log("server", "main", f"/ended-{name}")
        assert 0 <= log.find(f"/{name}") < log.find(f"/ended-{name}"), "the hook comes first"
    world.kubectl("wait", "--for=delete", "--timeout=300s", *(f"pod/{name}" for name in names))


# Ephemeral containers


@pytest.mark.conformance(
    "Ephemeral Containers [NodeConformance] will start an ephemeral container in an existing pod"
)
@pytest.mark.conformance(
    "Ephemeral Containers [NodeConformance] should update the ephemeral containers in an existing pod"
)
def test_ephemeral_containers(world: PodWorld) -> None:
    world.until("target", is_ready)
    image = ("--image", BUSYBOX, "--image-pull-policy=IfNotPresent")
    script = "ps; sleep 1000"
    world.kubectl("debug", "target", "-c", "one", "--target=main", *image, "--", "sh", "-c", script)
    assert "sleep 1000 & wait" in world.until_log("target", "one", "ps"), "it sees the target's processes"
    world.kubectl("debug", "target", "-c", "two", *image, "--", "sh", "-c", FOREVER)

    def both_run(pod: Object) -> bool:
        found = pod["status"].get("ephemeralContainerStatuses") or ()
        return [each["name"] for each in found if "running" in each["state"]] == ["one", "two"]

    made = world.until("target", both_run)
    assert is_ready(made)
    assert [each["name"] for each in made["spec"]["ephemeralContainers"]] == ["one", "two"]


# Ends


@pytest.mark.conformance("Pods should allow activeDeadlineSeconds to be updated [NodeConformance]")
def test_a_deadline_that_is_set_later(world: PodWorld) -> None:
    world.until("deadline", is_running)
    world.kubectl("patch", "pod", "deadline", "-p", '{"spec":{"activeDeadlineSeconds":5}}')
    made = world.until("deadline", has_ended)
    assert (made["status"]["phase"], made["status"]["reason"]) == ("Failed", "DeadlineExceeded")


@pytest.mark.conformance("Pods should be submitted and removed [NodeConformance]")
def test_a_pod_is_seen_to_go(world: PodWorld) -> None:
    world.until("removed", is_running)
    config = world.cluster.home / "tiphys" / world.cluster.name / "kubeconfig"
    arguments = ["get", "pods", "-l", "watched=yes", "--watch", "--output-watch-events", "-o", "json"]
    with subprocess.Popen(
        [str(KUBECTL), "-n", world.namespace, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**world.cluster.environment, "KUBECONFIG": str(config)},
    ) as watcher:
        assert watcher.stdout is not None
        decoder, text = json.JSONDecoder(), ""
        seen: list[Object] = []
        while not any(event["type"] == "DELETED" for event in seen):
            text += watcher.stdout.readline()
            try:
                event, end = decoder.raw_decode(text.lstrip())
            except ValueError:
                continue
            text = text.lstrip()[end:]
            seen.append(event)
            if event["type"] == "ADDED":
                world.kubectl("delete", "pod", "removed", "--grace-period=30", "--wait=false")
        watcher.terminate()
    deleting = [event for event in seen if "deletionTimestamp" in event["object"]["metadata"]]
    assert deleting[0]["type"] == "MODIFIED"
    assert deleting[0]["object"]["metadata"]["deletionGracePeriodSeconds"] == 30
    assert world.cluster.get("pods", "-l", "watched=yes", "-n", world.namespace)["items"] == []


@pytest.mark.conformance("Pods should delete a collection of pods")
def test_a_set_of_pods_goes(world: PodWorld) -> None:
    for number in range(3):
        world.until(f"set-{number}", is_running)
    world.kubectl("delete", "pods", "-l", "type=Testing", "--timeout=300s")
    assert world.cluster.get("pods", "-l", "type=Testing", "-n", world.namespace)["items"] == []


def test_sidecars_end_after_the_others_in_reverse_order(world: PodWorld) -> None:
    world.until("ordered", is_ready)
    world.create(
        pod(
            "witness",
            "until test $(wc -l < /d/ends) = 3; do usleep 100000; done 2>&1; cat /d/ends; rm /d/ends",
            own=MOUNT,
            volumes=[{"name": "d", "hostPath": {"path": "/run/ordered"}}],
        )
    )
    world.until("witness", is_running)
    world.kubectl("delete", "pod", "ordered", "--timeout=300s")
    assert world.output("witness").split()[-3:] == ["main", "two", "one"]


# What is said of pods


@pytest.mark.conformance("Pods should be updated [NodeConformance]")
def test_labels(world: PodWorld) -> None:
    world.until("updated", is_running)
    world.kubectl("label", "pod", "updated", "time=two", "--overwrite")
    [found] = world.cluster.get("pods", "-l", "time=two", "-n", world.namespace)["items"]
    assert found["metadata"]["name"] == "updated"
    assert world.cluster.get("pods", "-l", "time=one", "-n", world.namespace)["items"] == []


@pytest.mark.conformance("Pods should get a host IP [NodeConformance]")
def test_a_host_address(world: PodWorld) -> None:
    [node] = world.cluster.get("nodes")["items"]
    addresses = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    made = world.until("updated", is_running)
    assert made["status"]["hostIP"] == addresses[0]
    assert [each["ip"] for each in made["status"]["hostIPs"]] == addresses


@pytest.mark.conformance(
    "Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu"
)
def test_a_class_of_service(world: PodWorld) -> None:
    assert world.pod("guaranteed")["status"]["qosClass"] == "Guaranteed"


@pytest.mark.conformance("Pods should patch a pod status")
@pytest.mark.conformance("Pods should run through the lifecycle of Pods and PodStatus")
def test_a_status_that_others_write(world: PodWorld) -> None:
    world.create(labelled(pod("status", FOREVER), kind="static"))
    world.until("status", is_ready)
    patch = {"metadata": {"labels": {"kind": "patched"}}, "spec": {"terminationGracePeriodSeconds": 1}}
    world.kubectl("patch", "pod", "status", "-p", json.dumps(patch))
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    patch = {"status": {"conditions": [condition]}}
    world.kubectl("patch", "pod", "status", "--subresource=status", "-p", json.dumps(patch))
    ours = [each for each in world.pod("status")["status"]["conditions"] if each["type"] == "StatusUpdate"]
    assert [(each["reason"], each["message"]) for each in ours] == [("E2E", "Set from e2e test")]
    whole = world.pod("status")
    for each in whole["status"]["conditions"]:
        if each["type"] == "StatusUpdate":
            each["message"] = "Replaced"
    world.kubectl("replace", "--subresource=status", "-f", "-", input=json.dumps(whole))
    made = world.until("status", is_ready)
    assert [each["message"] for each in made["status"]["conditions"] if each["type"] == "StatusUpdate"] == [
        "Replaced"
    ]
    assert made["metadata"]["labels"] == {"kind": "patched"}
    world.kubectl("delete", "pod", "status", "--timeout=300s")


@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update [MinimumKubeletVersion:1.34]"
)
@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation custom-set generation on new pods and graceful delete"
)
def test_generations(world: PodWorld) -> None:
    def is_at(generation: int) -> Any:
        def is_so(pod: Object) -> bool:
            conditions = {each.get("observedGeneration") for each in pod["status"]["conditions"]}
            return bool(
                pod["metadata"]["generation"] == generation
                and pod["status"].get("observedGeneration") == generation
                and conditions - {None} == {generation}
            )

        return is_so

    world.until("generation", is_running)
    world.until("generation", is_at(1))
    world.kubectl("label", "pod", "generation", "a=b")
    assert world.pod("generation")["metadata"]["generation"] == 1
    world.kubectl("patch", "pod", "generation", "-p", '{"spec":{"activeDeadlineSeconds":5000}}')
    world.until("generation", is_at(2))
    toleration = {"key": "foo", "operator": "Exists", "effect": "NoExecute"}
    tolerations = [*world.pod("generation")["spec"]["tolerations"], toleration]
    world.kubectl("patch", "pod", "generation", "-p", json.dumps({"spec": {"tolerations": tolerations}}))
    world.until("generation", is_at(3))
    custom = pod(
        "custom-generation", "trap '' TERM; sleep 1000 & wait; sleep 1000", terminationGracePeriodSeconds=60
    )
    custom["metadata"]["generation"] = 100
    world.create(custom)
    world.until("custom-generation", is_running)
    assert world.pod("custom-generation")["metadata"]["generation"] == 1
    world.kubectl("delete", "pod", "custom-generation", "--wait=false")
    assert world.pod("custom-generation")["metadata"]["generation"] == 2


@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation and observedGeneration eventually converge [MinimumKubeletVersion:1.34]"
)
async def test_many_generations(world: PodWorld) -> None:
    world.until("generations", is_running)
    transport = HTTPSTransport(kubeconfig.access(Path(world.cluster.status()["kubeconfig"])))
    client = Client(transport)
    for number in range(499):
        patch = {"spec": {"activeDeadlineSeconds": 5000 - number}}
        await client.patch(POD_KIND, "generations", patch, world.namespace)
    await transport.close()
    made = world.until("generations", lambda pod: pod["status"].get("observedGeneration") == 500)
    assert made["metadata"]["generation"] == 500


def test_events_come_in_order(world: PodWorld) -> None:
    world.until("guaranteed", is_ready)

    def reasons() -> list[str]:
        found = world.cluster.get(
            "events", "--field-selector", "involvedObject.name=guaranteed", "-n", world.namespace
        )
        return [event["reason"] for event in found["items"]]

    wait_for(lambda: sorted(reasons()) == ["Created", "Pulled", "Scheduled", "Started"], "all events")
