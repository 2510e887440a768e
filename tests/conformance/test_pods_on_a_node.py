"""What the suite asks of pods on a node: their environment, their last words, what runs before, beside and after them.

One cluster with real containers; all pods are made at once, and each test looks at its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import kubernetes.client
import kubernetes.config
import pytest
from e2e_cluster import running, wait_for
from pod_world import BUSYBOX, PATIENCE_SECONDS, Object, PodWorld, pod

pytestmark = pytest.mark.real

UPDATES = 500
DATA = {"data-1": "value-1", "data_2": "value-2"}
SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.2; done"


def container(name: str, script: str, **fields: Any) -> Object:
    command = ["sh", "-c", script]
    return {"name": name, "image": BUSYBOX, "imagePullPolicy": "IfNotPresent", "command": command, **fields}


def reading(kind: str, **key: str) -> Object:
    return {"env": [{"name": "FOUND", "valueFrom": {f"{kind}KeyRef": key}}]}


def field(**paths: str) -> Object:
    return {
        "env": [
            {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()
        ]
    }


def amounts(**fields: Any) -> Object:
    names = ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory")
    env = [
        {"name": name.upper().replace(".", "_"), "valueFrom": {"resourceFieldRef": {"resource": name}}}
        for name in names
    ]
    return {"env": env, **fields}


def last_words(name: str, script: str, **own: Any) -> Object:
    own = {"terminationMessagePolicy": "FallbackToLogsOnError", **own}
    return pod(name, script, own={"terminationMessagePath": "/dev/termination-log", **own})


def with_init(name: str, first: str, policy: str) -> Object:
    """Two init containers, and a main one that goes on where the pod is restarted for ever."""
    main = SLEEP if policy == "Always" else "echo main"
    init = [container("init1", first), container("init2", "true")]
    return pod(name, main, initContainers=init, restartPolicy=policy)


def hooked(name: str, hook: str, action: Object, script: str = SLEEP) -> Object:
    return pod(name, script, own={"lifecycle": {hook: action}}, terminationGracePeriodSeconds=15)


SENT = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}, "data": DATA},
    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "told"}, "stringData": DATA},
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "fooservice"},
        "spec": {"ports": [{"port": 8765, "targetPort": 8080}], "selector": {"name": "server"}},
    },
]
BOTH = [{"cpu": "250m", "memory": "32Mi"}, {"cpu": "1250m", "memory": "64Mi"}]
RECEIVER = pod("receiver", "exec httpd -f -vv -p 8080 2>&1", restartPolicy="Always")


def telling(name: str, own: Object) -> Object:
    """Prints its environment; not by a shell, which keeps names for itself that it could not use."""
    return pod(name, own={**own, "command": ["env"]})


def from_all(kind: str) -> Object:
    whole = {f"{kind}Ref": {"name": "told"}}
    return {"envFrom": [whole, {"prefix": "p-", **whole}, {"prefix": "p_", **whole}]}


def pods(receiver: str) -> list[Object]:
    def call(what: str) -> Object:
        return {"httpGet": {"host": receiver, "port": 8080, "path": f"/{what}"}}

    def say(what: str) -> Object:
        return {"exec": {"command": ["wget", "-q", "-O", "-", f"http://{receiver}:8080/{what}"]}}

    composed = [{"name": "FOO", "value": "foo-value"}, {"name": "BAR", "value": "bar-value"}]
    composed.append({"name": "FOOBAR", "value": "$(FOO);;$(BAR)"})
    word = [{"name": "WORD", "value": "test-value"}]
    return [
        # Environment
        telling("map-key", reading("configMap", name="told", key="data-1")),
        telling("secret-key", reading("secret", name="told", key="data-1")),
        telling("map-whole", from_all("configMap")),
        telling("secret-whole", from_all("secret")),
        telling("who", field(NAME="metadata.name", NAMESPACE="metadata.namespace", IP="status.podIP")),
        telling("where", field(HOST="status.hostIP", HOSTS="status.hostIPs", ID="metadata.uid")),
        telling("amounts", amounts(resources={"requests": BOTH[0], "limits": BOTH[1]})),
        telling("unlimited", amounts()),
        telling("composed", {"env": composed}),
        pod("in-args", own={"env": word, "command": ["sh", "-c"], "args": ["echo $(WORD) $$(WORD)"]}),
        pod("in-command", own={"env": word, "command": ["sh", "-c", "echo $(WORD)"]}),
        telling("services", {}),
        # Last words
        last_words("silent", "echo DONE"),
        last_words("from-file", "printf OK > /dev/termination-log; echo DONE"),
        last_words("from-log", "printf DONE; exit 1"),
        last_words(
            "own-path",
            "printf DONE > /dev/termination-custom-log",
            terminationMessagePath="/dev/termination-custom-log",
            securityContext={"runAsUser": 1000},
        ),
        # Ends
        pod("again-and-again", "exit 1", restartPolicy="Always"),
        pod("until-it-works", VISITS.format(exit="test $n -ge 2"), restartPolicy="OnFailure", **KEEPING),
        pod("only-once", "exit 1"),
        pod("fails-always", "false", restartPolicy="Always"),
        pod("prints", "echo 'Hello World'; echo 'Hello Error' >&2"),
        # Before the others
        with_init("init-never", "true", "Never"),
        with_init("init-always", "true", "Always"),
        with_init("init-fails", "false", "Never"),
        with_init("init-fails-always", "false", "Always"),
        # Hooks
        hooked("started-says", "postStart", say("poststart-exec")),
        hooked("started-calls", "postStart", call("poststart-http")),
        hooked("stopping-says", "preStop", say("prestop-exec")),
        hooked("stopping-calls", "preStop", call("prestop-http")),
        # Others
        pod("aliases", "cat /etc/hosts", hostAliases=[{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]),
        pod("debugged", SLEEP, restartPolicy="Always"),
        pod("late", SLEEP, restartPolicy="Always"),
        pod("changed", SLEEP, restartPolicy="Always"),
    ]


VISITS = "echo x >> /kept/visits; n=$(wc -l < /kept/visits); {exit}"
KEEPING: Object = {"volumes": [{"name": "kept", "emptyDir": {}}]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodWorld]:
    for cluster in running(tmp_path_factory.mktemp("pods"), "pods"):
        world = PodWorld(cluster)
        world.wait_for_account()
        world.create(RECEIVER, *SENT)
        receiver = world.until("receiver", lambda pod: is_ready(pod))["status"]["podIP"]
        made = pods(receiver)
        for each in made:
            if each["metadata"]["name"] == "until-it-works":
                each["spec"]["containers"][0]["volumeMounts"] = [{"name": "kept", "mountPath": "/kept"}]
        world.create(*made)
        yield world


def is_ready(pod: Object) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", ())
    )


def is_over(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def environment(world: PodWorld, name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in world.output(name).splitlines() if "=" in line)


def status_of(pod: Object, kind: str = "containerStatuses") -> list[Object]:
    found: list[Object] = pod["status"].get(kind) or []
    return found


# Environment


@pytest.mark.conformance("ConfigMap should be consumable via environment variable [NodeConformance]")
@pytest.mark.conformance("Secrets should be consumable from pods in env vars [NodeConformance]")
@pytest.mark.parametrize("name", ["map-key", "secret-key"])
def test_one_key_becomes_a_variable(world: PodWorld, name: str) -> None:
    assert environment(world, name)["FOUND"] == "value-1"


@pytest.mark.conformance("ConfigMap should be consumable via the environment [NodeConformance]")
@pytest.mark.conformance("ConfigMap should be consumable as environment variable names with various prefixes")
@pytest.mark.conformance("Secrets should be consumable via the environment [NodeConformance]")
@pytest.mark.conformance(
    "Secrets should be consumable as environment variable names variable names with various prefixes"
)
@pytest.mark.parametrize("name", ["map-whole", "secret-whole"])
def test_all_keys_become_variables(world: PodWorld, name: str) -> None:
    found = environment(world, name)
    wanted = {f"{prefix}{key}": value for prefix in ("", "p-", "p_") for key, value in DATA.items()}
    assert found.items() >= wanted.items()


@pytest.mark.conformance(
    "Downward API should provide pod name, namespace and IP address as env vars [NodeConformance]"
)
def test_a_pod_knows_who_it_is(world: PodWorld) -> None:
    found = environment(world, "who")
    assert (found["NAME"], found["NAMESPACE"]) == ("who", "default")
    assert found["IP"] == world.pod("who")["status"]["podIP"]


@pytest.mark.conformance("Downward API should provide host IP as an env var [NodeConformance]")
@pytest.mark.conformance("Downward API should provide hostIPs as an env var [NodeConformance]")
@pytest.mark.conformance("Downward API should provide pod UID as env vars [NodeConformance]")
@pytest.mark.conformance("Pods should get a host IP [NodeConformance]")
def test_a_pod_knows_its_node_and_its_uid(world: PodWorld) -> None:
    found, seen = environment(world, "where"), world.pod("where")
    assert found["ID"] == seen["metadata"]["uid"]
    assert found["HOST"] == seen["status"]["hostIP"] != ""
    assert found["HOSTS"] == ",".join(each["ip"] for each in seen["status"]["hostIPs"])


@pytest.mark.conformance(
    "Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars [NodeConformance]"
)
def test_a_container_knows_what_it_may_use(world: PodWorld) -> None:
    found = environment(world, "amounts")
    assert (found["LIMITS_CPU"], found["REQUESTS_CPU"]) == ("2", "1")
    assert (found["LIMITS_MEMORY"], found["REQUESTS_MEMORY"]) == (str(64 << 20), str(32 << 20))


@pytest.mark.conformance(
    "Downward API should provide default limits.cpu/memory from node allocatable [NodeConformance]"
)
def test_without_a_limit_it_is_the_nodes(world: PodWorld) -> None:
    found, node = environment(world, "unlimited"), world.cluster.get("nodes")["items"][0]
    assert found["LIMITS_CPU"] == node["status"]["allocatable"]["cpu"]
    assert int(found["LIMITS_MEMORY"]) >> 10 == int(
        node["status"]["allocatable"]["memory"].removesuffix("Ki")
    )


@pytest.mark.conformance(
    "Variable Expansion should allow composing env vars into new env vars [NodeConformance]"
)
@pytest.mark.conformance(
    "Variable Expansion should allow substituting values in a container's args [NodeConformance]"
)
@pytest.mark.conformance(
    "Variable Expansion should allow substituting values in a container's command [NodeConformance]"
)
def test_variables_stand_for_their_values(world: PodWorld) -> None:
    assert environment(world, "composed")["FOOBAR"] == "foo-value;;bar-value"
    assert "test-value" in world.output("in-args").split()
    assert world.output("in-command").split()[0] == "test-value"


@pytest.mark.conformance("Pods should contain environment variables for services [NodeConformance]")
def test_services_are_variables(world: PodWorld) -> None:
    address = world.cluster.get("service", "fooservice")["spec"]["clusterIP"]
    wanted = {
        "FOOSERVICE_SERVICE_HOST": address,
        "FOOSERVICE_SERVICE_PORT": "8765",
        "FOOSERVICE_PORT": f"tcp://{address}:8765",
        "FOOSERVICE_PORT_8765_TCP": f"tcp://{address}:8765",
        "FOOSERVICE_PORT_8765_TCP_PROTO": "tcp",
        "FOOSERVICE_PORT_8765_TCP_PORT": "8765",
        "FOOSERVICE_PORT_8765_TCP_ADDR": address,
    }
    assert environment(world, "services").items() >= wanted.items()


# Last words and ends


@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message from log output if TerminationMessagePolicy FallbackToLogsOnError is set [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Runtime blackbox test on terminated container should report termination message if TerminationMessagePath is set as non-root user and at a non-default path [NodeConformance]"
)
@pytest.mark.parametrize(
    ("name", "words"), [("silent", ""), ("from-file", "OK"), ("from-log", "DONE"), ("own-path", "DONE")]
)
def test_last_words(world: PodWorld, name: str, words: str) -> None:
    (status,) = status_of(world.until(name, is_over))
    assert status["state"]["terminated"].get("message", "") == words


@pytest.mark.conformance(
    "Container Runtime blackbox test when starting a container that exits should run with the expected status [NodeConformance]"
)
def test_who_is_started_again(world: PodWorld) -> None:
    once = world.until("only-once", is_over)
    assert (once["status"]["phase"], status_of(once)[0]["restartCount"]) == ("Failed", 0)
    works = world.until("until-it-works", is_over)
    assert (works["status"]["phase"], status_of(works)[0]["restartCount"]) == ("Succeeded", 1)
    again = world.until(
        "again-and-again", lambda pod: any(each["restartCount"] >= 2 for each in status_of(pod))
    )
    assert again["status"]["phase"] == "Running"


@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command in a pod should print the output to logs [NodeConformance]"
)
def test_what_it_prints_is_in_its_log(world: PodWorld) -> None:
    assert set(world.output("prints").splitlines()) == {"Hello World", "Hello Error"}


@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason [NodeConformance]"
)
@pytest.mark.conformance(
    "Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete [NodeConformance]"
)
def test_what_always_fails_has_a_reason_and_can_be_deleted(world: PodWorld) -> None:
    def ended(pod: Object) -> Object:
        (status,) = status_of(pod) or [{}]
        state = status.get("lastState") or status.get("state") or {}
        found: Object = state.get("terminated") or {}
        return found

    found = ended(world.until("fails-always", ended))
    assert (found["reason"], found["exitCode"]) == ("Error", 1)
    world.cluster.kubectl("delete", "pod", "fails-always")
    assert world.cluster.kubectl("get", "pod", "fails-always", check=False).returncode == 1


# Before the others


@pytest.mark.conformance(
    "InitContainer [NodeConformance] should invoke init containers on a RestartNever pod"
)
def test_init_containers_of_a_pod_that_ends(world: PodWorld) -> None:
    found = world.until("init-never", is_over)
    assert found["status"]["phase"] == "Succeeded"
    initialized(found)


@pytest.mark.conformance(
    "InitContainer [NodeConformance] should invoke init containers on a RestartAlways pod"
)
def test_init_containers_of_a_pod_that_goes_on(world: PodWorld) -> None:
    initialized(world.until("init-always", is_ready))


def initialized(pod: Object) -> None:
    conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
    assert conditions["Initialized"] == "True"
    statuses = status_of(pod, "initContainerStatuses")
    assert [each["state"]["terminated"]["exitCode"] for each in statuses] == [0, 0]
    first, second = (each["state"]["terminated"] for each in statuses)
    assert first["finishedAt"] <= second["startedAt"]


@pytest.mark.conformance(
    "InitContainer [NodeConformance] should not start app containers and fail the pod if init containers fail on a RestartNever pod"
)
def test_an_init_container_that_fails_ends_the_pod(world: PodWorld) -> None:
    found = world.until("init-fails", is_over)
    assert found["status"]["phase"] == "Failed"
    first, second = status_of(found, "initContainerStatuses")
    assert first["state"]["terminated"]["exitCode"] == 1
    assert second["state"]["waiting"]["reason"] == "PodInitializing"
    assert status_of(found)[0]["state"]["waiting"]["reason"] == "PodInitializing"


@pytest.mark.conformance(
    "InitContainer [NodeConformance] should not start app containers if init containers fail on a RestartAlways pod"
)
def test_an_init_container_that_fails_is_tried_again(world: PodWorld) -> None:
    def tried(pod: Object) -> bool:
        return any(each["restartCount"] >= 2 for each in status_of(pod, "initContainerStatuses"))

    found = world.until("init-fails-always", tried)
    assert found["status"]["phase"] == "Pending"
    (main,) = status_of(found)
    assert main["state"] == {"waiting": {"reason": "PodInitializing"}}
    reasons = {each["type"]: (each["status"], each.get("reason")) for each in found["status"]["conditions"]}
    assert reasons["Initialized"] == ("False", "ContainersNotInitialized")


# Hooks


def asked(world: PodWorld, what: str) -> bool:
    return f"/{what}" in world.cluster.kubectl("logs", "receiver").stdout


@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec hook properly [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http hook properly [NodeConformance]"
)
@pytest.mark.parametrize(
    ("name", "what"), [("started-says", "poststart-exec"), ("started-calls", "poststart-http")]
)
def test_something_happens_after_the_start(world: PodWorld, name: str, what: str) -> None:
    wait_for(lambda: asked(world, what), f"{what} is asked for", seconds=PATIENCE_SECONDS)


@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly [NodeConformance]"
)
@pytest.mark.conformance(
    "Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http hook properly [NodeConformance]"
)
@pytest.mark.conformance("PreStop should call prestop when killing a pod")
@pytest.mark.parametrize(
    ("name", "what"), [("stopping-says", "prestop-exec"), ("stopping-calls", "prestop-http")]
)
def test_something_happens_before_the_end(world: PodWorld, name: str, what: str) -> None:
    world.until(name, is_ready)
    assert not asked(world, what)
    world.cluster.kubectl("delete", "pod", name)
    assert asked(world, what)


# Others


@pytest.mark.conformance(
    "Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts [NodeConformance]"
)
def test_aliases_of_hosts(world: PodWorld) -> None:
    assert ["123.45.67.89", "foo", "bar"] in [line.split() for line in world.output("aliases").splitlines()]


@pytest.mark.conformance(
    "Ephemeral Containers [NodeConformance] will start an ephemeral container in an existing pod"
)
@pytest.mark.conformance(
    "Ephemeral Containers [NodeConformance] should update the ephemeral containers in an existing pod"
)
def test_containers_that_join_later(world: PodWorld) -> None:
    world.until("debugged", is_ready)
    for number in (1, 2):
        found = world.pod("debugged")
        more = [
            *found["spec"].get("ephemeralContainers", ()),
            container(f"debugger-{number}", f"echo polo{number}; {SLEEP}"),
        ]
        patch = json.dumps({"spec": {"ephemeralContainers": more}})
        world.cluster.kubectl("patch", "pod", "debugged", "--subresource=ephemeralcontainers", "-p", patch)

        def runs(pod: Object, number: int = number) -> bool:
            statuses = status_of(pod, "ephemeralContainerStatuses")
            return len(statuses) == number and all("running" in each["state"] for each in statuses)

        found = world.until("debugged", runs)
        assert len(found["spec"]["ephemeralContainers"]) == number
        said = f"debugger-{number}"
        wait_for(
            lambda said=said: world.cluster.kubectl("logs", "debugged", "-c", said).stdout, said, seconds=60
        )
    assert is_ready(world.pod("debugged"))


@pytest.mark.conformance("Pods should allow activeDeadlineSeconds to be updated [NodeConformance]")
def test_a_deadline_that_comes_later(world: PodWorld) -> None:
    world.until("late", is_ready)
    world.cluster.kubectl("patch", "pod", "late", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
    found = world.until("late", is_over)
    assert (found["status"]["phase"], found["status"]["reason"]) == ("Failed", "DeadlineExceeded")
    assert found["status"]["message"] == "Pod was active on the node longer than the specified deadline"


@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation pod generation should start at 1 and increment per update [MinimumKubeletVersion:1.34]"
)
@pytest.mark.conformance(
    "Pods Extended (pod generation) Pod Generation issue 500 podspec updates and verify generation and observedGeneration eventually converge [MinimumKubeletVersion:1.34]"
)
def test_the_node_says_which_pod_it_has_seen(world: PodWorld) -> None:
    found = world.until("changed", is_ready)
    assert (found["metadata"]["generation"], found["status"]["observedGeneration"]) == (1, 1)
    world.cluster.kubectl("label", "pod", "changed", "more=yes")
    assert world.pod("changed")["metadata"]["generation"] == 1
    api = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(kubeconfig_of(world)))
    for number in range(1, UPDATES):
        api.patch_namespaced_pod("changed", "default", {"spec": {"activeDeadlineSeconds": 100_000 - number}})
    assert world.pod("changed")["metadata"]["generation"] == UPDATES

    def is_seen(pod: Object) -> bool:
        seen = {each["observedGeneration"] for each in pod["status"]["conditions"]}
        return seen | {pod["status"]["observedGeneration"]} == {UPDATES}

    world.until("changed", is_seen)


def kubeconfig_of(world: PodWorld) -> str:
    return str(world.cluster.status()["kubeconfig"])
