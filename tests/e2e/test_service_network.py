"""Services of a real cluster: what pods, and whoever is on the node, find behind a Service's address, as pods come, go and change their minds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from e2e_cluster import Cluster, wait_for
from pod_world import BUSYBOX, PATIENCE_SECONDS, Object, PodWorld, pod
from weather import component, kill

from tiphys.cluster.namespaces import find_node

pytestmark = pytest.mark.real

SERVE = "mkdir /w; hostname > /w/index.html; touch /w/ready; exec httpd -f -p 8080 -h /w"
ASK = "for i in $(seq {times}); do timeout 20 wget -qO- {url} 2>&1; done; true"


def service(name: str, app: str = "web", **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": ports, **spec},
    }


def deployment(name: str, replicas: int) -> Object:
    container = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", SERVE],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "http"},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
    }
    labels = {"app": name}
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "automountServiceAccountToken": False,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    for world in PodWorld.beside_others(cluster, "services"):
        world.create(
            deployment("web", 2),
            service("web", type="NodePort"),
            service("sticky", sessionAffinity="ClientIP"),
            service("nobody", "nobody"),
            service("headless", clusterIP="None"),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "elsewhere"},
                "spec": {"type": "ExternalName", "externalName": "www.example.com"},
            },
            pod("client", "sleep 100000"),
        )
        world.kubectl("rollout", "status", "deployment", "web", "--timeout=300s", timeout=320)
        world.until("client", lambda made: made["status"]["phase"] == "Running")
        yield world


def address(world: PodWorld, name: str) -> str:
    return str(world.cluster.get("service", name, "-n", world.namespace)["spec"]["clusterIP"])


def ask(world: PodWorld, url: str, times: int = 1) -> list[str]:
    """What the client pod is told there."""
    script = ASK.format(times=times, url=url)
    return world.kubectl("exec", "client", "--", "sh", "-c", script).stdout.splitlines()


def pods(world: PodWorld) -> set[str]:
    found = world.cluster.get("pods", "-l", "app=web", "-n", world.namespace)["items"]
    return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}


def until_asked(world: PodWorld, url: str, wanted: set[str]) -> None:
    """Until many answers in a row come from all of these, and from no other."""
    wait_for(
        lambda: set(ask(world, url, 12)) == wanted, f"{wanted} answer at {url}", seconds=PATIENCE_SECONDS
    )


def is_refused(world: PodWorld, url: str) -> bool:
    return any("Connection refused" in said for said in ask(world, url))


def on_the_node(world: PodWorld, script: str) -> str:
    name = world.cluster.name
    node = find_node(world.cluster.home / "tiphys" / name / "nodes" / f"{name}-node-1")
    assert node is not None
    command = [*node.enter, "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def test_a_pod_reaches_all_pods_of_a_service(world: PodWorld) -> None:
    until_asked(world, f"http://{address(world, 'web')}/", pods(world))


def test_a_node_port_from_the_node(world: PodWorld) -> None:
    found = world.cluster.get("service", "web", "-n", world.namespace)["spec"]["ports"]
    [node] = world.cluster.get("nodes")["items"]
    [ip] = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    url = f"http://{ip}:{found[0]['nodePort']}/"
    script = ASK.format(times=12, url=url).replace("wget", "busybox wget")
    wait_for(lambda: set(on_the_node(world, script).splitlines()) == pods(world), f"all answer at {url}")
    until_asked(world, url, pods(world))


def test_a_pod_reaches_the_api_server_by_its_service(world: PodWorld) -> None:
    script = "timeout 20 nc $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null && echo reached"
    command = ("exec", "client", "--", "sh", "-c", script)
    wait_for(lambda: world.kubectl(*command, check=False).stdout == "reached\n", "it is reached")


def test_a_client_stays_with_the_pod_that_it_had(world: PodWorld) -> None:
    url = f"http://{address(world, 'sticky')}/"
    wait_for(lambda: (said := set(ask(world, url))) and said <= pods(world), "somebody answers")
    assert len(set(ask(world, url, 30))) == 1


def test_where_nobody_is_a_connection_is_refused(world: PodWorld) -> None:
    url = f"http://{address(world, 'nobody')}/"
    wait_for(lambda: is_refused(world, url), "it is refused")
    port = f"http://{address(world, 'web')}:81/"
    assert is_refused(world, port)


def test_a_service_is_reached_by_its_name(world: PodWorld) -> None:
    for name in ("web", "web.services", "web.services.svc", "web.services.svc.cluster.local"):
        until_asked(world, f"http://{name}/", pods(world))


def look_up(world: PodWorld, *words: str) -> str:
    return world.kubectl("exec", "client", "--", "nslookup", *words, check=False).stdout


def test_other_names(world: PodWorld) -> None:
    zone = "services.svc.cluster.local"
    found = world.cluster.get("pods", "-l", "app=web", "-n", world.namespace)["items"]
    addresses = {each["status"]["podIP"] for each in found}
    said = wait_for(
        lambda: addresses <= set((told := look_up(world, f"headless.{zone}.")).split()) and told,
        "all its pods",
    )
    assert "Server:\t\t10.96.0.10" in said
    dashed = min(addresses).replace(".", "-")
    assert f"Address: {min(addresses)}\n" in look_up(world, f"{dashed}.services.pod.cluster.local.")
    assert f"name = web.{zone}" in look_up(world, address(world, "web"))
    assert "canonical name = www.example.com" in look_up(world, "-type=cname", f"elsewhere.{zone}.")
    port = look_up(world, "-type=srv", f"_http._tcp.web.{zone}.")
    assert f"service = 0 100 80 web.{zone}" in port
    assert "NXDOMAIN" in look_up(world, f"nonsense.{zone}.")
    # No name of this cluster, whose names are longer, and of no other.
    assert "NXDOMAIN" in look_up(world, "kubernetes.default")
    assert "SERVFAIL" not in look_up(world, "web")
    # The node of this test has no way to the world, and so to no other name server.
    assert "SERVFAIL" in look_up(world, "www.example.com.")


def test_what_proxy_and_names_say_of_themselves(world: PodWorld) -> None:
    [node] = world.cluster.get("nodes")["items"]
    [ip] = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    get = "timeout 20 busybox wget -qO- http://{}"
    said = json.loads(on_the_node(world, get.format(f"{ip}:10256/healthz")))
    assert set(said) == {"lastUpdated", "currentTime", "nodeEligible"}
    counted = on_the_node(world, get.format("127.0.0.1:10249/metrics"))
    assert 'kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} ' in counted
    look_up(world, f"web.{world.namespace}.svc.cluster.local")
    names = "\n".join(ask(world, "http://kube-dns.kube-system:9153/metrics"))
    assert 'coredns_dns_responses_total{plugin="kubernetes",rcode="NOERROR"' in names
    assert ask(world, "http://kube-dns.kube-system:9153/ready") == ["OK"]


def test_a_killed_proxy_comes_back_and_knows_what_happened(world: PodWorld) -> None:
    kill(component(world.cluster, "network"))
    for name in pods(world):
        world.kubectl("delete", "pod", name)
    world.kubectl("rollout", "status", "deployment", "web", "--timeout=300s", timeout=320)
    until_asked(world, "http://web/", pods(world))


def test_endpoints_follow_their_pods(world: PodWorld) -> None:
    """The last one here: it ends with no Service."""
    url = f"http://{address(world, 'web')}/"
    unready, other = sorted(pods(world))
    world.kubectl("exec", unready, "--", "rm", "/w/ready")
    until_asked(world, url, {other})
    world.kubectl("exec", unready, "--", "touch", "/w/ready")
    until_asked(world, url, {unready, other})
    world.kubectl("scale", "deployment", "web", "--replicas=1")
    wait_for(lambda: len(pods(world)) == 1, "one pod is left")
    until_asked(world, url, pods(world))
    world.kubectl("delete", "service", "web")
    wait_for(lambda: is_refused(world, url), "it is refused")
    wait_for(lambda: not behind(world, "web"), "its endpoints are gone")


def behind(world: PodWorld, name: str) -> list[Object]:
    """Its EndpointSlices and Endpoints."""
    found = world.cluster.get("endpointslices,endpoints", "-n", world.namespace)["items"]
    return [each for each in found if each["metadata"]["name"].startswith(name)]
