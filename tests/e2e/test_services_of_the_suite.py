"""What the suite asks of Services, names and ports where real pods talk to each other, on the cluster that the session shares.

Pods serve over TCP; over UDP, for which they have no program, the test itself serves and asks from inside their networks.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e_cluster import Cluster, wait_for
from pod_world import BUSYBOX, Object, PodWorld, pod

from tiphys.cluster.namespaces import find_node
from tiphys.kubelet.runtimes.network_namespace import open_socket

pytestmark = pytest.mark.real

SERVE = "mkdir /w; hostname > /w/index.html; exec httpd -f -p {port} -h /w"
ASK = "for i in $(seq {times}); do timeout 20 wget -qO- {url} 2>&1; done; true"
PATIENCE_SECONDS = 300.0
HOST_PORT = 54323
NAMES = ("web1", "web2", "web3")


def serving(name: str, port: int = 8080, labels: Object | None = None, **spec: object) -> Object:
    made = pod(name, SERVE.format(port=port), **{"terminationGracePeriodSeconds": 0, **spec})
    made["metadata"]["labels"] = labels or {"app": "web"}
    return made


def service(name: str, **spec: object) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": ports, **spec},
    }


def slice(name: str, of: str, *addresses: str, port: int, port_name: str) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
    }


def on_port(name: str, address: str, protocol: str) -> Object:
    """A pod at a port of the node."""
    ports = [{"containerPort": 8080, "hostPort": HOST_PORT, "hostIP": address, "protocol": protocol}]
    made = serving(name, labels={"app": name})
    made["spec"]["containers"][0]["ports"] = ports
    return made


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[PodWorld]:
    for world in PodWorld.beside_others(cluster, "network"):
        own_names = {
            "nameservers": ["1.1.1.1"],
            "searches": ["resolv.conf.local"],
            "options": [{"name": "ndots", "value": "2"}],
        }
        world.create(
            *(serving(name) for name in NAMES),
            service("web"),
            service("headless", clusterIP="None"),
            serving("hosted", labels={"app": "hosted"}, hostname="querier", subdomain="sub"),
            service("sub", clusterIP="None", selector={"app": "hosted"}),
            pod("client", "sleep 100000", terminationGracePeriodSeconds=0),
            pod("own-names", "cat /etc/resolv.conf", dnsPolicy="None", dnsConfig=own_names),
            on_port("host1", "127.0.0.1", "TCP"),
            on_port("host2", node_address(world), "TCP"),
            on_port("host3", node_address(world), "UDP"),
        )
        for name in (*NAMES, "hosted", "client", "host1", "host2", "host3"):
            world.until(name, lambda made: made["status"]["phase"] == "Running")
        yield world


def node_address(world: PodWorld) -> str:
    [node] = world.cluster.get("nodes")["items"]
    [address] = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    return str(address)


def spec(world: PodWorld, name: str) -> Object:
    found: Object = world.cluster.get("service", name, "-n", world.namespace)["spec"]
    return found


def address_of(world: PodWorld, name: str) -> str:
    return str(world.pod(name)["status"]["podIP"])


def ask(world: PodWorld, url: str, times: int = 1) -> list[str]:
    """What the client is told there."""
    script = ASK.format(times=times, url=url)
    return world.kubectl("exec", "client", "--", "sh", "-c", script).stdout.splitlines()


def until_asked(world: PodWorld, url: str, *wanted: str) -> None:
    """Until many answers in a row come from all of these, and from no other."""
    wait_for(lambda: set(ask(world, url, 12)) == set(wanted), f"{wanted} at {url}", seconds=PATIENCE_SECONDS)


def until_refused(world: PodWorld, url: str) -> None:
    wait_for(lambda: "refused" in "".join(ask(world, url)), f"nobody at {url}", seconds=PATIENCE_SECONDS)


def look_up(world: PodWorld, *words: str) -> str:
    return world.kubectl("exec", "client", "--", "nslookup", *words, check=False).stdout


def until_found(world: PodWorld, text: str, *words: str) -> None:
    wait_for(lambda: text in look_up(world, *words), f"{text} for {words}", seconds=PATIENCE_SECONDS)


def change(world: PodWorld, name: str, **fields: object) -> None:
    world.kubectl("patch", "service", name, "--type=merge", "-p", json.dumps({"spec": fields}))


# Networks of pods, seen from the test


def network_of(world: PodWorld, name: str) -> Path:
    """The network namespace of a pod: that of any process in its group."""
    uid = world.pod(name)["metadata"]["uid"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (process / "cgroup").read_text():
                return process / "ns" / "net"
        except OSError:
            continue
    raise AssertionError(f"no process of {name}")


@contextmanager
def answering(world: PodWorld, name: str, port: int) -> Iterator[None]:
    """Over UDP in a pod: with its name."""
    sock = open_socket(network_of(world, name), kind=socket.SOCK_DGRAM)
    sock.setblocking(True)
    sock.settimeout(0.2)
    sock.bind(("0.0.0.0", port))
    is_over = threading.Event()

    def answer() -> None:
        while not is_over.is_set():
            try:
                _, peer = sock.recvfrom(100)
                sock.sendto(name.encode(), peer)
            except TimeoutError:
                continue

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        sock.close()


def asked_by_datagram(network: Path, host: str, port: int) -> str:
    """Whoever answers there, or "": over UDP, from inside a network, once."""
    with open_socket(network, kind=socket.SOCK_DGRAM) as sock:
        sock.setblocking(True)
        sock.settimeout(1.0)
        try:
            sock.connect((host, port))
            sock.send(b"hostname")
            return sock.recv(100).decode()
        except OSError:
            return ""


def until_answered(network: Path, host: str, port: int, wanted: str) -> None:
    wait_for(lambda: asked_by_datagram(network, host, port) == wanted, f"{wanted!r} at {host}:{port}/UDP")


def network_of_node(world: PodWorld) -> Path:
    name = world.cluster.name
    holder = world.cluster.home / "tiphys" / name / "nodes" / f"{name}-node-1"
    node = find_node(holder)
    assert node is not None
    return Path(f"/proc/{node.pid}/ns/net")


@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for intra-pod communication: http [NodeConformance]"
)
@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for node-pod communication: http [LinuxOnly] [NodeConformance]"
)
def test_pods_are_reached_from_pods_and_nodes(world: PodWorld) -> None:
    for name in NAMES:
        until_asked(world, f"http://{address_of(world, name)}:8080/", name)
        with open_socket(network_of_node(world)) as sock:
            sock.setblocking(True)
            sock.settimeout(30)
            sock.connect((address_of(world, name), 8080))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert sock.makefile("rb").read().endswith(f"{name}\n".encode())


@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for intra-pod communication: udp [NodeConformance]"
)
@pytest.mark.conformance(
    "Networking Granular Checks: Pods should function for node-pod communication: udp [LinuxOnly] [NodeConformance]"
)
def test_pods_are_reached_over_udp(world: PodWorld) -> None:
    for name in NAMES[:2]:
        with answering(world, name, 8081):
            for network in (network_of(world, "client"), network_of_node(world)):
                until_answered(network, address_of(world, name), 8081, name)


@pytest.mark.conformance("Services should be able to create a functioning NodePort service")
def test_a_service_at_a_port_of_the_node(world: PodWorld) -> None:
    world.create(service("ported", type="NodePort"))
    found = spec(world, "ported")
    at_node = f"{node_address(world)}:{found['ports'][0]['nodePort']}"
    for where in ("ported", found["clusterIP"], at_node):
        until_asked(world, f"http://{where}/", *NAMES)


@pytest.mark.conformance("Services should have session affinity work for NodePort service [LinuxOnly]")
@pytest.mark.conformance(
    "Services should have session affinity work for service with type clusterIP [LinuxOnly]"
)
@pytest.mark.conformance(
    "Services should be able to switch session affinity for NodePort service [LinuxOnly]"
)
@pytest.mark.conformance(
    "Services should be able to switch session affinity for service with type clusterIP [LinuxOnly]"
)
def test_affinity_can_be_switched(world: PodWorld) -> None:
    world.create(service("sticky", type="NodePort", sessionAffinity="ClientIP"))
    found = spec(world, "sticky")
    urls = [
        f"http://{where}/"
        for where in (found["clusterIP"], f"{node_address(world)}:{found['ports'][0]['nodePort']}")
    ]

    def stays(url: str) -> bool:
        said = set(ask(world, url, 15))
        return len(said) == 1 and said <= set(NAMES)

    for url in urls:
        wait_for(lambda url=url: stays(url), f"one answers at {url}", seconds=PATIENCE_SECONDS)
    change(world, "sticky", sessionAffinity="None")
    for url in urls:
        until_asked(world, url, *NAMES)
    change(world, "sticky", sessionAffinity="ClientIP")
    for url in urls:
        wait_for(lambda url=url: stays(url), f"one answers at {url} again", seconds=PATIENCE_SECONDS)


@pytest.mark.conformance("Services should be able to change the type from ExternalName to ClusterIP")
@pytest.mark.conformance("Services should be able to change the type from ClusterIP to ExternalName")
@pytest.mark.conformance("DNS should provide DNS for ExternalName services")
def test_from_a_name_outside_to_an_address_and_back(world: PodWorld) -> None:
    name = "outside.network.svc.cluster.local."
    world.create(service("outside", type="ExternalName", externalName="foo.example.com", selector=None))
    assert "clusterIP" not in spec(world, "outside")
    until_found(world, "canonical name = foo.example.com", "-type=cname", name)
    change(world, "outside", externalName="bar.example.com")
    until_found(world, "canonical name = bar.example.com", "-type=cname", name)
    change(world, "outside", type="ClusterIP", externalName=None, selector={"app": "web"})
    address = spec(world, "outside")["clusterIP"]
    until_found(world, f"Address: {address}\n", name)
    for where in ("outside", address):
        until_asked(world, f"http://{where}/", *NAMES)
    change(
        world,
        "outside",
        type="ExternalName",
        externalName="web.network.svc.cluster.local",
        clusterIP=None,
        clusterIPs=None,
    )
    assert "clusterIP" not in spec(world, "outside")
    until_found(world, f"Address: {spec(world, 'web')['clusterIP']}\n", name)
    until_asked(world, "http://outside/", *NAMES)


@pytest.mark.conformance("Services should be able to change the type from ExternalName to NodePort")
@pytest.mark.conformance("Services should be able to change the type from NodePort to ExternalName")
def test_from_a_name_outside_to_a_port_and_back(world: PodWorld) -> None:
    world.create(service("turning", type="ExternalName", externalName="foo.example.com", selector=None))
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    change(world, "turning", type="NodePort", externalName=None, selector={"app": "web"}, ports=ports)
    found = spec(world, "turning")
    at_node = f"http://{node_address(world)}:{found['ports'][0]['nodePort']}/"
    for url in ("http://turning/", f"http://{found['clusterIP']}/", at_node):
        until_asked(world, url, *NAMES)
    name = "web.network.svc.cluster.local"
    change(world, "turning", type="ExternalName", externalName=name, clusterIP=None, clusterIPs=None)
    found = spec(world, "turning")
    assert "clusterIP" not in found
    assert not [port for port in found["ports"] if "nodePort" in port]
    until_found(world, f"canonical name = {name}", "-type=cname", "turning.network.svc.cluster.local.")
    until_refused(world, at_node)


@pytest.mark.conformance("Services should serve endpoints on same port and different protocols")
def test_a_port_of_two_protocols(world: PodWorld) -> None:
    tcp, udp = (
        {"name": name, "port": 80, "targetPort": 8080, "protocol": name.upper()} for name in ("tcp", "udp")
    )
    world.create(service("both", ports=[tcp, udp], selector={"app": "hosted"}))
    address, client = spec(world, "both")["clusterIP"], network_of(world, "client")
    with answering(world, "hosted", 8080):
        until_asked(world, f"http://{address}/", "querier")
        until_answered(client, address, 80, "hosted")
        change(world, "both", ports=[tcp])
        until_answered(client, address, 80, "")
        until_asked(world, f"http://{address}/", "querier")
        change(world, "both", ports=[udp])
        until_answered(client, address, 80, "hosted")
        until_refused(world, f"http://{address}/")


@pytest.mark.conformance(
    "EndpointSlice should support a Service with multiple endpoint IPs specified in multiple EndpointSlices"
)
@pytest.mark.conformance(
    "EndpointSlice should support a Service with multiple ports specified in multiple EndpointSlices"
)
def test_slices_by_hand(world: PodWorld) -> None:
    first, second = (address_of(world, name) for name in NAMES[:2])
    ports = [{"name": f"p{port}", "port": port, "protocol": "TCP"} for port in (80, 81)]
    other = {"command": ["sh", "-c", SERVE.format(port=8082)], "name": "other", "image": BUSYBOX}
    two = serving("two", labels={"app": "two"})
    two["spec"]["containers"].append({**other, "imagePullPolicy": "IfNotPresent"})
    world.create(
        two,
        service("two-addresses", selector=None, ports=ports),
        slice("a1", "two-addresses", first, port=8080, port_name="p80"),
        slice("a2", "two-addresses", second, port=8080, port_name="p81"),
        service("two-ports", selector=None, ports=ports),
    )
    until_asked(world, "http://two-addresses:80/", "web1")
    until_asked(world, "http://two-addresses:81/", "web2")
    world.until("two", lambda made: made["status"]["phase"] == "Running")
    both = address_of(world, "two")
    world.create(
        slice("p1", "two-ports", both, port=8080, port_name="p80"),
        slice("p2", "two-ports", both, port=8082, port_name="p81"),
    )
    for port in (80, 81):
        until_asked(world, f"http://two-ports:{port}/", "two")


@pytest.mark.conformance(
    "HostPort validates that there is no conflict between pods with same hostPort but different hostIP and protocol [LinuxOnly]"
)
def test_a_port_of_the_node_at_several_addresses(world: PodWorld) -> None:
    node = network_of_node(world)
    assert len({world.pod(name)["spec"]["nodeName"] for name in ("host1", "host2", "host3")}) == 1

    def said(host: str) -> str:
        with open_socket(node) as sock:
            sock.setblocking(True)
            sock.settimeout(10)
            try:
                sock.connect((host, HOST_PORT))
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return sock.makefile("rb").read().decode().rpartition("\n\n")[2].strip().splitlines()[-1]
            except (OSError, IndexError):
                return ""

    wait_for(lambda: said("127.0.0.1") == "host1", "the first at 127.0.0.1")
    wait_for(lambda: said(node_address(world)) == "host2", "the second at the node's address")
    with answering(world, "host3", 8080):
        until_answered(network_of(world, "client"), node_address(world), HOST_PORT, "host3")


# Names


@pytest.mark.conformance("DNS should provide DNS for the cluster")
@pytest.mark.conformance("DNS should provide /etc/hosts entries for the cluster")
def test_names_of_the_cluster(world: PodWorld) -> None:
    address = world.cluster.get("service", "kubernetes", "-n", "default")["spec"]["clusterIP"]
    until_found(world, f"Address: {address}\n", "kubernetes.default.svc.cluster.local")
    hosts = world.kubectl("exec", "hosted", "--", "cat", "/etc/hosts").stdout
    own = address_of(world, "hosted")
    assert f"{own}\tquerier.sub.network.svc.cluster.local\tquerier\n" in hosts
    said = world.kubectl("exec", "hosted", "--", "ping", "-c", "1", "-w", "20", "querier", check=False).stdout
    assert f"({own})" in said


@pytest.mark.conformance("DNS should provide DNS for services")
@pytest.mark.conformance("DNS should resolve DNS of partial qualified names for services [LinuxOnly]")
def test_names_of_services(world: PodWorld) -> None:
    zone = "network.svc.cluster.local"
    address = spec(world, "web")["clusterIP"]
    until_found(world, f"Address: {address}\n", f"web.{zone}.")
    until_found(world, f"name = web.{zone}", address)
    until_found(world, f"service = 0 100 80 web.{zone}", "-type=srv", f"_http._tcp.web.{zone}.")
    for name in NAMES:
        until_found(world, f"Address: {address_of(world, name)}\n", f"headless.{zone}.")
    assert f"8080 {address_of(world, 'web1').replace('.', '-')}.headless.{zone}" in look_up(
        world, "-type=srv", f"_http._tcp.headless.{zone}."
    )
    # What is shorter is completed by the resolver, which wget asks and nslookup does not.
    for name in ("web", "web.network", "web.network.svc"):
        until_asked(world, f"http://{name}/", *NAMES)
    for name in ("headless", "headless.network", "headless.network.svc"):
        url = f"http://{name}:8080/"
        wait_for(lambda url=url: (said := ask(world, url)) and set(said) <= set(NAMES), f"somebody at {url}")


@pytest.mark.conformance("DNS should provide DNS for pods for Hostname")
@pytest.mark.conformance("DNS should provide DNS for pods for Subdomain")
def test_names_of_a_pod(world: PodWorld) -> None:
    zone, address = "network.svc.cluster.local", address_of(world, "hosted")
    for name in (f"querier.sub.{zone}.", f"sub.{zone}."):
        until_found(world, f"Address: {address}\n", name)
    until_asked(world, "http://querier.sub:8080/", "querier")


@pytest.mark.conformance("DNS should support configurable pod DNS nameservers")
def test_a_pod_that_brings_its_own_name_servers(world: PodWorld) -> None:
    said = world.output("own-names").splitlines()
    assert set(said) == {"search resolv.conf.local", "nameserver 1.1.1.1", "options ndots:2"}


# Through the API server


@pytest.mark.conformance("Proxy version v1 should proxy through a service and a pod")
def test_through_the_api_server(world: PodWorld) -> None:
    world.create(service("proxied", selector={"app": "hosted"}))
    core = f"/api/v1/namespaces/{world.namespace}"
    for path in (
        "pods/hosted:8080/proxy/",
        "pods/http:hosted:8080/proxy/",
        "services/proxied:http/proxy/",
        "services/proxied:80/proxy/",
        "services/http:proxied:http/proxy/",
    ):
        wait_for(
            lambda path=path: (
                world.kubectl("get", "--raw", f"{core}/{path}", check=False).stdout == "querier\n"
            ),
            path,
        )
