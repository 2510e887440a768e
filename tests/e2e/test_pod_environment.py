"""What containers are told by their environment, and what stands in their /etc: made at once, read one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import Cluster
from pod_world import BUSYBOX, Object, PodWorld, pod

pytestmark = pytest.mark.real

PREFIXES = ("1-.p:", "p_", "~!@#%^&*()+[]{};'<>/?|`,")
"""Any printable character but the one that ends a name."""


def config(kind: str, name: str, **data: str) -> Object:
    field = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: data}


def printing(name: str, *env: Object, **own: Any) -> Object:
    """Without a shell, which would leave out names that are none for it."""
    return pod(name, own={"command": ["env"], "env": list(env), **own})


def value(name: str, text: str) -> Object:
    return {"name": name, "value": text}


def source(name: str, **of: Any) -> Object:
    return {"name": name, "valueFrom": of}


def field(name: str, path: str) -> Object:
    return source(name, fieldRef={"fieldPath": path})


def amount(name: str, resource: str) -> Object:
    return source(name, resourceFieldRef={"resource": resource})


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "fooservice"},
    "spec": {"selector": {"app": "none"}, "ports": [{"port": 8765, "targetPort": 8080}]},
}
AMOUNTS = [amount(name, name.replace("_", ".")) for name in ("limits_cpu", "limits_memory")]
REQUESTS = [amount(name, name.replace("_", ".")) for name in ("requests_cpu", "requests_memory")]
INIT = {"name": "init", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent"}
FILE = {"volumeName": "v", "path": "config.env"}
MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
WRITES_FILE = ["sh", "-c", "printf \"# made by init\\nDB='one\\ntwo'\\nOTHER='o'\\n\" > /v/config.env"]

CONFIGS = [
    config("ConfigMap", "cfg", data1="value-1", data2="value-2"),
    config("Secret", "sec", data1="value-1", data2="value-2"),
    SERVICE,
]
PODS = [
    printing("map-key", source("CONFIG_DATA_1", configMapKeyRef={"name": "cfg", "key": "data1"})),
    printing("secret-key", source("SECRET_DATA", secretKeyRef={"name": "sec", "key": "data1"})),
    printing(
        "map-all",
        envFrom=[{"configMapRef": {"name": "cfg"}}, {"prefix": "p_", "configMapRef": {"name": "cfg"}}],
    ),
    printing(
        "secret-all", envFrom=[{"secretRef": {"name": "sec"}}, {"prefix": "p_", "secretRef": {"name": "sec"}}]
    ),
    printing(
        "map-prefixes", envFrom=[{"prefix": each, "configMapRef": {"name": "cfg"}} for each in PREFIXES]
    ),
    printing(
        "secret-prefixes", envFrom=[{"prefix": each, "secretRef": {"name": "sec"}} for each in PREFIXES]
    ),
    printing(
        "fields",
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        field("HOST_IP", "status.hostIP"),
        field("HOST_IPS", "status.hostIPs"),
        field("POD_UID", "metadata.uid"),
    ),
    printing(
        "amounts",
        *AMOUNTS,
        *REQUESTS,
        resources={
            "requests": {"cpu": "250m", "memory": "32Mi"},
            "limits": {"cpu": "1250m", "memory": "64Mi"},
        },
    ),
    printing("default-amounts", *AMOUNTS),
    printing("composed", value("FOO", "foo-value"), value("FOOBAR", "$(FOO);;$$(FOO);;$(BAR)")),
    printing("in-command", value("TEST_VAR", "test-value"), command=["sh", "-c", 'echo "$(TEST_VAR)"']),
    printing(
        "in-args",
        value("TEST_VAR", "test-value"),
        command=["sh", "-c"],
        args=["echo '$(TEST_VAR) $$(TEST_VAR)'"],
    ),
    pod(
        "from-file",
        "env; ls /v; true",
        own={"env": [source("DB", fileKeyRef={**FILE, "key": "DB"})]},
        volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[{**INIT, **MOUNT, "command": WRITES_FILE}],
    ),
    pod(
        "aliases",
        "cat /etc/hosts",
        hostAliases=[{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}],
    ),
    pod("named", "hostname; cat /etc/hosts", hostname="own", subdomain="sub", setHostnameAsFQDN=True),
    pod("overridden", "hostname", hostnameOverride="any.name.example"),
    pod(
        "resolver",
        "cat /etc/resolv.conf",
        dnsPolicy="None",
        dnsConfig={
            "nameservers": ["192.0.2.1"],
            "searches": ["one.example", "two.example"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        },
    ),
    pod(
        "cluster-resolver",
        "cat /etc/resolv.conf",
        dnsConfig={"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]},
    ),
    pod(
        "shared-processes",
        "until pidof sleep; do usleep 100000; done; ps; kill $(pidof sleep)",
        shareProcessNamespace=True,
    ),
    pod("nodes-network", "cat /etc/hosts; hostname", hostNetwork=True),
]
SHARED = next(each for each in PODS if each["metadata"]["name"] == "shared-processes")
SHARED["spec"]["containers"].append({**INIT, "name": "other", "command": ["sleep", "987"]})


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    for world in PodWorld.beside_others(cluster, "pod-environment"):
        world.create(*CONFIGS)
        world.create(*PODS)
        yield world


def variables(world: PodWorld, name: str) -> dict[str, str]:
    found = (line.partition("=") for line in world.output(name).splitlines())
    return {name: text for name, _, text in found}


# Configuration


@pytest.mark.conformance("ConfigMap should be consumable via environment variable [NodeConformance]")
def test_a_key_of_a_config_map(world: PodWorld) -> None:
    assert variables(world, "map-key")["CONFIG_DATA_1"] == "value-1"


@pytest.mark.conformance("Secrets should be consumable from pods in env vars [NodeConformance]")
def test_a_key_of_a_secret(world: PodWorld) -> None:
    assert variables(world, "secret-key")["SECRET_DATA"] == "value-1"


@pytest.mark.conformance("ConfigMap should be consumable via the environment [NodeConformance]")
def test_all_of_a_config_map(world: PodWorld) -> None:
    expected = {"data1": "value-1", "data2": "value-2", "p_data1": "value-1", "p_data2": "value-2"}
    assert expected.items() <= variables(world, "map-all").items()


@pytest.mark.conformance("Secrets should be consumable via the environment [NodeConformance]")
def test_all_of_a_secret(world: PodWorld) -> None:
    expected = {"data1": "value-1", "data2": "value-2", "p_data1": "value-1", "p_data2": "value-2"}
    assert expected.items() <= variables(world, "secret-all").items()


@pytest.mark.conformance("ConfigMap should be consumable as environment variable names with various prefixes")
def test_prefixes_of_a_config_map(world: PodWorld) -> None:
    expected = {f"{prefix}data{n}": f"value-{n}" for prefix in PREFIXES for n in (1, 2)}
    assert expected.items() <= variables(world, "map-prefixes").items()


@pytest.mark.conformance(
    "Secrets should be consumable as environment variable names variable names with various prefixes"
)
def test_prefixes_of_a_secret(world: PodWorld) -> None:
    expected = {f"{prefix}data{n}": f"value-{n}" for prefix in PREFIXES for n in (1, 2)}
    assert expected.items() <= variables(world, "secret-prefixes").items()


def test_a_file_that_an_init_container_left(world: PodWorld) -> None:
    said = world.output("from-file")
    assert "DB=one\ntwo\n" in said
    assert "ls: /v: No such file or directory" in said, "the volume itself is not mounted"


# The pod itself


@pytest.mark.conformance(
    "Downward API should provide pod name, namespace and IP address as env vars [NodeConformance]"
)
@pytest.mark.conformance("Downward API should provide host IP as an env var [NodeConformance]")
@pytest.mark.conformance("Downward API should provide hostIPs as an env var [NodeConformance]")
@pytest.mark.conformance("Downward API should provide pod UID as env vars [NodeConformance]")
def test_fields_of_the_pod(world: PodWorld) -> None:
    found, made = variables(world, "fields"), world.pod("fields")
    assert found["POD_NAME"] == "fields"
    assert found["POD_NAMESPACE"] == world.namespace
    assert found["POD_IP"] == made["status"]["podIP"]
    assert found["HOST_IP"] == made["status"]["hostIP"]
    assert found["HOST_IPS"] == ",".join(entry["ip"] for entry in made["status"]["hostIPs"])
    assert found["POD_UID"] == made["metadata"]["uid"]


@pytest.mark.conformance(
    "Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars [NodeConformance]"
)
def test_what_a_container_asks_for(world: PodWorld) -> None:
    found = variables(world, "amounts")
    assert (found["limits_cpu"], found["requests_cpu"]) == ("2", "1")
    assert (found["limits_memory"], found["requests_memory"]) == (str(64 << 20), str(32 << 20))


@pytest.mark.conformance(
    "Downward API should provide default limits.cpu/memory from node allocatable [NodeConformance]"
)
def test_limits_that_are_not_set_are_what_the_node_has(world: PodWorld) -> None:
    found = variables(world, "default-amounts")
    [node] = world.cluster.get("nodes")["items"]
    allocatable = node["status"]["allocatable"]
    assert found["limits_cpu"] == allocatable["cpu"]
    memory = allocatable["memory"]
    assert int(found["limits_memory"]) == (int(memory[:-2]) << 10 if memory.endswith("Ki") else int(memory))


@pytest.mark.conformance("Pods should contain environment variables for services [NodeConformance]")
def test_services_of_the_namespace(world: PodWorld) -> None:
    found = variables(world, "composed")
    address = world.cluster.get("service", "fooservice", "-n", world.namespace)["spec"]["clusterIP"]
    assert found["FOOSERVICE_SERVICE_HOST"] == found["FOOSERVICE_PORT_8765_TCP_ADDR"] == address
    assert found["FOOSERVICE_SERVICE_PORT"] == found["FOOSERVICE_PORT_8765_TCP_PORT"] == "8765"
    assert found["FOOSERVICE_PORT"] == found["FOOSERVICE_PORT_8765_TCP"] == f"tcp://{address}:8765"
    assert found["FOOSERVICE_PORT_8765_TCP_PROTO"] == "tcp"


# Expansion


@pytest.mark.conformance(
    "Variable Expansion should allow composing env vars into new env vars [NodeConformance]"
)
def test_variables_of_variables(world: PodWorld) -> None:
    assert variables(world, "composed")["FOOBAR"] == "foo-value;;$(FOO);;$(BAR)"


@pytest.mark.conformance(
    "Variable Expansion should allow substituting values in a container's command [NodeConformance]"
)
def test_variables_in_a_command(world: PodWorld) -> None:
    assert world.output("in-command") == "test-value\n"


@pytest.mark.conformance(
    "Variable Expansion should allow substituting values in a container's args [NodeConformance]"
)
def test_variables_in_arguments(world: PodWorld) -> None:
    assert world.output("in-args") == "test-value $(TEST_VAR)\n"


# /etc


@pytest.mark.conformance(
    "Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts [NodeConformance]"
)
def test_host_aliases(world: PodWorld) -> None:
    said = world.output("aliases")
    assert "# Entries added by HostAliases.\n123.45.67.89\tfoo\tbar\n" in said


def test_names(world: PodWorld) -> None:
    name = f"own.sub.{world.namespace}.svc.cluster.local"
    said, made = world.output("named"), world.pod("named")
    assert said.startswith(f"{name}\n# Kubernetes-managed hosts file.\n")
    assert f"{made['status']['podIP']}\t{name}\town\n" in said
    assert world.output("overridden") == "any.name.example\n"


def test_resolvers(world: PodWorld) -> None:
    said = world.output("resolver")
    assert "nameserver 192.0.2.1\n" in said
    assert "search one.example two.example\n" in said
    assert "options ndots:2 edns0\n" in said
    cluster = world.output("cluster-resolver")
    assert f"search {world.namespace}.svc.cluster.local svc.cluster.local cluster.local" in cluster
    servers = [line.split()[1] for line in cluster.splitlines() if line.startswith("nameserver")]
    assert servers == ["10.96.0.10", "192.0.2.1", "192.0.2.2"]
    assert world.until_event("cluster-resolver", "DNSConfigForming") == (
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        f"the applied nameserver line is: {' '.join(servers)}"
    )


def test_namespaces_that_are_shared(world: PodWorld) -> None:
    assert "/pause" in world.until_log("shared-processes", "main", "sleep 987")
    made = world.until("shared-processes", lambda pod: pod["status"]["phase"] == "Failed")
    codes = {
        entry["name"]: entry["state"]["terminated"]["exitCode"]
        for entry in made["status"]["containerStatuses"]
    }
    assert codes == {"main": 0, "other": 143}
    said = world.output("nodes-network")
    assert said.startswith("# Kubernetes-managed hosts file (host network).\n")
    status = world.pod("nodes-network")["status"]
    assert status["podIP"] == status["hostIP"]


@pytest.mark.conformance(
    "KubeletManagedEtcHosts should test kubelet managed /etc/hosts file [NodeConformance]"
)
def test_who_manages_the_hosts_file(world: PodWorld) -> None:
    managed = "# Kubernetes-managed hosts file.\n"
    own = {"volumeMounts": [{"name": "v", "mountPath": "/etc/hosts"}]}
    volume = {"name": "v", "hostPath": {"path": "/etc/hosts", "type": "File"}}
    world.create(pod("own-hosts", "cat /etc/hosts", own=own, volumes=[volume]))
    assert managed in world.output("aliases")
    assert managed not in world.output("own-hosts")
    assert managed not in world.output("nodes-network")
