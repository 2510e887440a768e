"""Real namespaces: nodes on a segment, made, found, lost and unmade."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tiphys.cluster import holder
from tiphys.cluster.leftovers import cgroup_hierarchies, mount_points, remove_cgroups, unmount_below
from tiphys.cluster.namespaces import (
    NamespaceError,
    Node,
    NodeSpec,
    Segment,
    create_node,
    create_segment,
    destroy_node,
    destroy_segment,
    find_node,
    find_segment,
    node_link_commands,
    node_script,
    plug_in,
    port_name,
    set_routes,
)
from tiphys.cluster.processes import running
from tiphys.kubelet.runtimes import network_namespace

CGROUP = f"/tiphys-test-namespaces-{os.getpid()}"


def spec_of(directory: Path, number: int = 1, **fields: object) -> NodeSpec:
    defaults: dict[str, object] = {
        "name": f"node-{number}",
        "directory": directory / f"node-{number}",
        "address": f"10.90.0.{10 + number}/24",
        "service_cidr": "10.96.0.0/16",
        "cgroup": f"{CGROUP}/node-{number}",
    }
    return NodeSpec(**{**defaults, **fields})  # type: ignore[arg-type]


# Pure


def test_a_node_knows_its_way_and_no_other() -> None:
    spec = spec_of(Path("/data"), routes={"10.91.2.0/24": "10.90.0.12"})
    assert node_link_commands(spec) == [
        "addr add 10.90.0.11/24 dev eth0",
        "link set eth0 up",
        "route add 10.91.2.0/24 via 10.90.0.12",
        "route add unreachable default metric 4000",
        "route add 10.96.0.0/16 dev lo src 10.90.0.11",
    ]


def test_a_port_is_named_after_the_address() -> None:
    assert port_name("10.90.0.11/24") == "node0-11"
    assert len(port_name("10.90.255.255/24")) <= 15


def test_the_script_quotes_what_it_is_given() -> None:
    script = node_script(spec_of(Path("/data"), name="it's"), {"/in it": "/out; rm"})
    assert "mount --bind '/out; rm' '/in it'" in script
    assert """echo 'it'"'"'s' >""" in script


def test_mount_points_of_a_mountinfo() -> None:
    text = (
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:26 / /a\\040b rw shared:1 master:2 - cgroup2 none rw\n"
    )
    assert mount_points(text) == [("/", "ext4"), ("/a b", "cgroup2")]
    other = "30 22 0:26 / /sys/fs/cgroup/cpu rw - cgroup c rw\n31 22 0:27 / /elsewhere rw - cgroup2 none rw\n"
    assert cgroup_hierarchies(other) == [Path("/sys/fs/cgroup/cpu")]


def test_the_root_of_all_cgroups_is_never_removed() -> None:
    with pytest.raises(ValueError, match="refusing"):
        remove_cgroups("/")


# Real


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tiphys-namespaces-", dir="/var/tmp") as name:
        path = Path(name)
        yield path
        for node in path.glob("node-*"):
            destroy_node(node)
        destroy_segment(path / "segment")
        assert [child for child in path.glob("*/holder") if running(child)] == []
        assert name not in Path("/proc/self/mountinfo").read_text()
        assert [h for h in cgroup_hierarchies() if (h / CGROUP.strip("/")).exists()] == []


@pytest.fixture
def segment(directory: Path) -> Segment:
    return create_segment(directory / "segment", "10.90.0.1/24")


def inside(node: Node, *command: str) -> str:
    return subprocess.run([*node.enter, *command], capture_output=True, text=True, check=True).stdout.strip()


def interfaces() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


@pytest.mark.real
def test_a_node_is_a_machine_of_its_own(directory: Path, segment: Segment) -> None:
    before = interfaces()
    node = create_node(spec_of(directory), segment)
    assert inside(node, "hostname") == "node-1"
    assert inside(node, "cat", "/proc/1/comm") == "holder"
    assert inside(node, "findmnt", "-no", "FSTYPE", "/run") == "tmpfs"
    assert inside(node, "sh", "-c", "ls /sys/fs/cgroup | grep -c memory || ls /sys/fs/cgroup | wc -l") != "0"
    assert not (node.root / "sys/fs/cgroup/unified/cgroup.procs").exists()
    if Path(
        "/sys/fs/cgroup/unified/cgroup.procs"
    ).exists():  # a hybrid host: what is written there stays in the node
        assert inside(node, "findmnt", "-no", "FSTYPE", "/sys/fs/cgroup/unified") == "tmpfs"
    assert inside(node, "cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    assert inside(node, "sh", "-c", "cat /etc/resolv.conf") == Path("/etc/resolv.conf").read_text().strip()
    assert inside(node, "findmnt", "-no", "PROPAGATION", "/") == "shared"
    assert interfaces() == before


@pytest.mark.real
def test_what_a_node_mounts_its_host_does_not_see(directory: Path, segment: Segment) -> None:
    node = create_node(spec_of(directory), segment)
    inside(node, "mount", "-t", "tmpfs", "private", "/mnt")
    assert "private" not in Path("/proc/mounts").read_text()
    assert "private" in Path(f"/proc/{node.pid}/mounts").read_text()


@pytest.mark.real
async def test_nodes_reach_each_other_and_nothing_else(directory: Path, segment: Segment) -> None:
    one = create_node(spec_of(directory, 1), segment)
    two = create_node(spec_of(directory, 2), segment)
    listener = network_namespace.listen(two.network_namespace, "10.90.0.12", 0)
    port = listener.getsockname()[1]
    connection = await network_namespace.connect(one.network_namespace, "10.90.0.12", port)
    accepted, peer = await asyncio.get_running_loop().sock_accept(listener)
    assert peer[0] == "10.90.0.11"
    from_segment = await network_namespace.connect(segment.network_namespace, "10.90.0.12", port)
    for opened in (listener, connection, accepted, from_segment):
        opened.close()
    with pytest.raises(OSError, match=r"unreachable|No route"):
        await network_namespace.connect(one.network_namespace, "198.18.0.1", 80)
    with pytest.raises(ConnectionRefusedError):
        await network_namespace.connect(one.network_namespace, "127.0.0.1", port)


@pytest.mark.real
async def test_a_service_address_has_a_route_from_the_node(directory: Path, segment: Segment) -> None:
    node = create_node(spec_of(directory), segment)
    set_routes(node, {"10.91.2.0/24": "10.90.0.12"})
    set_routes(node, {"10.91.2.0/24": "10.90.0.13"})
    routes = inside(node, "ip", "route").splitlines()
    assert "10.96.0.0/16 dev lo scope link src 10.90.0.11" in [" ".join(line.split()) for line in routes]
    assert [line.split()[2] for line in routes if line.startswith("10.91.2.0/24")] == ["10.90.0.13"]
    assert "unreachable default metric 4000" in [" ".join(line.split()) for line in routes]


@pytest.mark.real
async def test_the_segment_reaches_the_pods_of_a_node(directory: Path, segment: Segment) -> None:
    node = create_node(spec_of(directory), segment)
    inside(node, "ip", "link", "add", "cni0", "type", "bridge")
    inside(node, "ip", "addr", "add", "10.91.1.1/24", "dev", "cni0")
    set_routes(segment, {"10.91.1.0/24": "10.90.0.11"})
    listener = network_namespace.listen(node.network_namespace, "10.91.1.1", 0)
    port = listener.getsockname()[1]
    connection = await network_namespace.connect(segment.network_namespace, "10.91.1.1", port)
    for opened in (listener, connection):
        opened.close()


@pytest.mark.real
def test_making_twice_finds_what_was_made(directory: Path, segment: Segment) -> None:
    node = create_node(spec_of(directory), segment)
    assert create_node(spec_of(directory), segment) == node == find_node(directory / "node-1")
    assert (
        create_segment(directory / "segment", "10.90.0.1/24")
        == segment
        == find_segment(directory / "segment")
    )


@pytest.mark.real
def test_a_node_comes_back_after_a_power_cut(directory: Path, segment: Segment) -> None:
    node = create_node(spec_of(directory), segment)
    orphan = subprocess.Popen([*node.enter, "sleep", "1000"])
    os.kill(node.pid, signal.SIGKILL)
    assert orphan.wait(10) != 0
    assert find_node(directory / "node-1") is None
    again = create_node(spec_of(directory), segment)
    assert again.pid != node.pid
    assert inside(again, "hostname") == "node-1"


@pytest.mark.parametrize("refused", [["link add"], ["link add", "link del"]], ids=["left", "going"])
def test_a_cable_that_a_dead_node_left_is_in_nobodys_way(refused: list[str]) -> None:
    """It is there when the new one is plugged in, and may be gone by itself when it is to be deleted."""
    ran: list[str] = []

    def ip(commands: Sequence[str]) -> None:
        for command in commands:
            for start in refused:
                if command.startswith(start):
                    refused.remove(start)
                    raise NamespaceError(command)
            ran.append(command.partition(" node0-11")[0])

    plug_in("node0-11", 1, ip)
    assert ran[-2:] == ["link add", "link set"]
    assert refused == []


@pytest.mark.real
def test_unmaking_needs_only_the_directory(directory: Path, segment: Segment) -> None:
    """By another process than the one that made it, after a SIGKILL, with processes and cgroups left."""
    node = create_node(spec_of(directory), segment)
    keep = directory / "node-1" / "keep"
    keep.write_text("data")
    script = f"for d in $(echo /sys/fs/cgroup/*/); do mkdir -p $d{CGROUP}/node-1/pod/c && echo $$ > $d{CGROUP}/node-1/pod/c/cgroup.procs; done; exec sleep 1000"
    sleeper = subprocess.Popen([*node.enter, "sh", "-c", script], stderr=subprocess.DEVNULL)
    while (
        "sleep" not in Path(f"/proc/{sleeper.pid}/task/{sleeper.pid}/children").read_text()
        and not _made_cgroups()
    ):
        pass
    code = f"from pathlib import Path; from tiphys.cluster.namespaces import *; destroy_node(Path({str(node.directory)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert sleeper.wait(10) != 0
    assert not _made_cgroups()
    assert keep.read_text() == "data"
    assert find_node(directory / "node-1") is None
    destroy_node(directory / "node-1")


def _made_cgroups() -> list[Path]:
    return [h for h in cgroup_hierarchies() if (h / CGROUP.strip("/") / "node-1/pod/c").exists()]


@pytest.mark.real
def test_a_node_that_was_half_made_is_made_anew(directory: Path, segment: Segment) -> None:
    spec = spec_of(directory)
    pid = holder.start_holder(spec.directory, ["--net", "--pid", "--fork", "--kill-child"], "true")
    assert find_node(spec.directory) is None
    node = create_node(spec, segment)
    assert node.pid != pid
    assert running(spec.directory / holder.PROGRAM) == [node.pid]


@pytest.mark.real
def test_a_node_that_cannot_be_made_leaves_nothing(directory: Path, segment: Segment) -> None:
    with pytest.raises(NamespaceError, match="any valid prefix is expected"):
        create_node(spec_of(directory, service_cidr="nonsense"), segment)
    assert not (directory / "node-1" / "node.json").exists()
    with pytest.raises(NamespaceError, match="cannot create directory"):
        create_node(spec_of(directory, binds={"/mnt": "/proc/none"}), segment)
    assert running(directory / "node-1" / holder.PROGRAM) == []
    create_node(spec_of(directory), segment)


@pytest.mark.real
def test_a_directory_below_run_is_refused(segment: Segment) -> None:
    with pytest.raises(NamespaceError, match="cannot be below /run"):
        create_node(spec_of(Path("/run/user/0/tiphys")), segment)
    assert not Path("/run/user/0/tiphys").exists()


@pytest.mark.real
def test_directories_made_to_mount_on_go_when_nobody_mounts_there(directory: Path, segment: Segment) -> None:
    target = directory / "mount" / "point"
    one = create_node(spec_of(directory, 1, binds={str(target): str(directory / "one")}), segment)
    two = create_node(spec_of(directory, 2, binds={str(target): str(directory / "two")}), segment)
    (two.root / str(target).lstrip("/") / "file").write_text("two's")
    assert (directory / "two" / "file").read_text() == "two's"
    destroy_node(one.directory)
    assert (two.root / str(target).lstrip("/") / "file").read_text() == "two's"
    destroy_node(two.directory)
    assert not target.parent.exists()


@pytest.mark.real
def test_leftover_mounts_are_unmounted(directory: Path) -> None:
    for name in ("a", "a/b c"):
        (directory / name).mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory / name)], check=True)
    unmount_below(directory)
    assert str(directory) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.real
def test_a_socket_stays_in_the_namespace_it_was_made_in(segment: Segment) -> None:
    before = os.readlink("/proc/self/ns/net")
    made = network_namespace.within(
        segment.network_namespace, lambda: os.readlink("/proc/thread-self/ns/net")
    )
    assert made != before
    assert os.readlink("/proc/thread-self/ns/net") == before
    with pytest.raises(FileNotFoundError):
        network_namespace.open_socket("/proc/0/ns/net")
    with pytest.raises(OSError, match="Cannot assign requested address"):
        network_namespace.listen(segment.network_namespace, "10.90.0.99", 80)
