"""`up`: from nothing, or from what is left of an earlier life, to a cluster whose nodes are Ready.

Each step finds what is there and makes what is missing, so that running it twice is harmless and an interrupted run is
taken up by the next one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tiphys.cluster import blueprint, processes
from tiphys.cluster import layout as places
from tiphys.cluster.control_plane_settings import ControlPlaneSettings
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.cluster.layout import ClusterConfig, ClusterError, Layout
from tiphys.cluster.pki import Authority
from tiphys.cluster.status import supervisor_pid
from tiphys.cluster.supervisor import Process, read_running, write_processes

READY_SECONDS = 120.0
KUBELET_PORT = 10250
HOPELESS_RESTARTS = 4
"""A component that ended this often while we wait will not come up by itself."""
_DEFAULT_PORT = 6443


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; None: as it was, or the default for a new cluster."""

    name: str = "default"
    data: Path | None = None
    nodes: int | None = None
    datastore: str | None = None
    runtime: str | None = None
    api_port: int | None = None
    install: bool = True


Tell = Callable[[str], None]


def up(wanted: Wanted, home: Path, environment: Mapping[str, str], tell: Tell) -> Layout:
    """Brings the cluster up and waits until every node is Ready. Raises ClusterError."""
    places.check_name(wanted.name)
    layout, config, is_new = _configure(wanted, home)
    if config.runtime == "containerd":
        _check_containers(config)
        from tiphys.cluster import packages

        packages.ensure(tell, install=wanted.install, environment=environment)
    if supervisor_pid(layout) is None:
        _start(layout, config, tell)
    places.remember(home, config.name, layout)
    try:
        port = _wait_for_port(layout)
        write_kubeconfigs(layout, config, port, environment)
        asyncio.run(_wait_until_ready(layout, config, tell))
    except BaseException:
        if is_new:
            tell(f"the cluster did not come up; its logs are in {layout.logs}")
        raise
    return layout


def _configure(wanted: Wanted, home: Path) -> tuple[Layout, ClusterConfig, bool]:
    """The configuration to run: the kept one with what is asked for, or a new one, checked."""
    layout = places.find_layout(home, wanted.name)
    if wanted.data is not None:
        data = wanted.data.expanduser().absolute()
        if layout is not None and layout.config.exists() and layout.data != data:
            raise ClusterError(
                f"cluster {wanted.name!r} has its data in {layout.data}",
                "choose another --name, or purge that one",
            )
        layout = Layout(data)
    elif layout is None:
        layout = Layout(home / wanted.name)
    is_new = not layout.config.exists()
    config = _new_config(wanted, home) if is_new else _kept_config(wanted, places.read_config(layout))
    if config.runtime == "containerd" and config.nodes > 1:
        raise ClusterError(
            "several nodes with containers are not there yet", "use --nodes 1, or --runtime simulated"
        )
    if config.nodes < 1:
        raise ClusterError("a cluster needs at least one node", "use --nodes 1")
    places.write_config(layout, config)
    return layout, config, is_new


def _new_config(wanted: Wanted, home: Path) -> ClusterConfig:
    return ClusterConfig(
        name=wanted.name,
        nodes=1 if wanted.nodes is None else wanted.nodes,
        datastore=wanted.datastore or "sqlite",
        runtime=wanted.runtime or "containerd",
        api_port=_free_port(wanted.api_port),
        index=places.free_index(home),
    )


def _free_port(asked: int | None) -> int:
    """The port to listen on from now on: the one asked for must be free; without a word, 6443 or else any."""
    for port in (_DEFAULT_PORT, 0) if asked is None else (asked,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                if asked is not None:
                    raise ClusterError(
                        f"port {port} cannot be used: {error.strerror}",
                        "choose another --api-port, or 0 for any",
                    ) from None
                continue
            return int(probe.getsockname()[1])
    raise ClusterError("no port is free on 127.0.0.1", "end something that listens there")


def _kept_config(wanted: Wanted, config: ClusterConfig) -> ClusterConfig:
    for name in ("datastore", "runtime"):
        asked = getattr(wanted, name)
        if asked is not None and asked != getattr(config, name):
            raise ClusterError(
                f"cluster {config.name!r} was made with --{name} {getattr(config, name)}",
                "leave the option out, or start anew with down --purge",
            )
    nodes = config.nodes if wanted.nodes is None else wanted.nodes
    return replace(config, nodes=nodes, api_port=wanted.api_port or config.api_port)


def _check_containers(config: ClusterConfig) -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "containers need root", f"use sudo, or: tiphys up --name {config.name} --runtime simulated"
        )


def _start(layout: Layout, config: ClusterConfig, tell: Tell) -> None:
    """Certificates, namespaces, settings, and the supervisor that runs the rest."""
    tell(f"starting cluster {config.name!r}")
    for directory in (layout.run, layout.logs, layout.database.parent):
        directory.mkdir(parents=True, exist_ok=True)
    blueprint.port_file(layout).unlink(missing_ok=True)
    authority = Authority(layout.pki, datetime.now(UTC))
    authority.ensure(blueprint.leaves(config))
    authority.ensure_signing_key("service-account")
    segment_namespace = ""
    enters: dict[str, list[str]] = {}
    started: list[Process] = []
    if config.runtime == "containerd":
        from tiphys.cluster.nodes import start_nodes

        segment_namespace, enters, started = start_nodes(layout, config)
    _write_settings(layout, config, segment_namespace)
    listed = [blueprint.control_plane_process(layout), *started]
    for number in blueprint.kubelet_numbers(config):
        node = config.node_name(number)
        listed.append(blueprint.kubelet_process(layout, node, enters.get(node, [])))
    write_processes(layout.run, listed)
    _start_supervisor(layout)


def _write_settings(layout: Layout, config: ClusterConfig, segment_namespace: str) -> None:
    ControlPlaneSettings(
        pki=str(layout.pki),
        database=str(layout.database) if config.datastore == "sqlite" else "",
        host="127.0.0.1",
        port=config.api_port,
        port_file=str(blueprint.port_file(layout)),
        segment_namespace=segment_namespace,
        segment_address=config.segment_address if segment_namespace else "",
        service_cidr=blueprint.SERVICE_CIDR,
        cluster_cidr=blueprint.CLUSTER_CIDR,
    ).write(blueprint.control_plane_settings(layout))
    simulated = config.runtime == "simulated"
    for number in blueprint.kubelet_numbers(config):
        node = config.node_name(number)
        KubeletSettings(
            node=node,
            nodes=config.node_names if simulated else [node],
            runtime=config.runtime,
            server=f"https://127.0.0.1:{config.api_port}"
            if simulated
            else f"https://{config.segment_address}:{blueprint.SEGMENT_PORT}",
            pki=str(layout.pki),
            certificate=blueprint.kubelet_file(node),
            address=config.node_address(number),
            directory=str(layout.node(node)),
            cgroup=blueprint.node_cgroup(layout, config, node),
            images=str(layout.data / "images"),
            port=0 if simulated else KUBELET_PORT,
        ).write(blueprint.kubelet_settings(layout, node))


def _start_supervisor(layout: Layout) -> None:
    log = os.open(layout.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        arguments = [sys.executable, "-m", "tiphys.cluster.supervisor", str(layout.run)]
        pid = processes.spawn(arguments, environment=dict(os.environ), output=log)
    finally:
        os.close(log)
    (layout.run / "supervisor.pid").write_text(str(pid))


def _wait_for_port(layout: Layout) -> int:
    """Until the API server listens; its own last words if it does not."""
    path = blueprint.port_file(layout)
    processes.wait_until(lambda: path.exists() or _hopeless(layout) is not None, READY_SECONDS)
    if path.exists():
        return int(path.read_text())
    raise _did_not_start(layout, _hopeless(layout) or "control-plane")


def _hopeless(layout: Layout) -> str | None:
    """A component that ends again and again, if there is one."""
    for entry in read_running(layout.run):
        if entry["restarts"] >= HOPELESS_RESTARTS:
            return str(entry["name"])
    return None


def _did_not_start(layout: Layout, component: str) -> ClusterError:
    log = layout.log(component)
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    said = lines[-1].removeprefix("tiphys: ") if lines else "it said nothing"
    return ClusterError(f"{component} does not start: {said}", f"see {log}")


def write_kubeconfigs(
    layout: Layout, config: ClusterConfig, port: int, environment: Mapping[str, str]
) -> None:
    """The administrator's kubeconfig, and its context in the user's own."""
    from tiphys.client import kubeconfig

    authority = Authority(layout.pki, datetime.now(UTC))
    access = kubeconfig.Access(
        server=f"https://127.0.0.1:{port}",
        certificate_authority=authority.certificate_file.read_bytes(),
        client_certificate=authority.certificate("admin").read_bytes(),
        client_key=authority.key("admin").read_bytes(),
    )
    own = kubeconfig.make(context_name(config.name), access)
    kubeconfig.save(layout.kubeconfig, own)
    kubeconfig.merge_into(kubeconfig.default_path(environment), own)


def context_name(name: str) -> str:
    return f"tiphys-{name}"


async def _wait_until_ready(layout: Layout, config: ClusterConfig, tell: Tell) -> None:
    """Watches nodes until all of ours are Ready: no polling, so that the last one is seen at once."""
    from tiphys.client.client import Client
    from tiphys.client.https import HTTPSTransport
    from tiphys.client.kubeconfig import access
    from tiphys.client.resources import NODES
    from tiphys.machinery import meta

    waiting = set(config.node_names)
    tell(f"waiting for {len(waiting)} node{'s' if len(waiting) != 1 else ''}")
    transport = HTTPSTransport(access(layout.kubeconfig))
    client = Client(transport)

    def note(node: Mapping[str, object]) -> None:
        if meta.is_condition_true(meta.conditions(node), "Ready"):
            waiting.discard(meta.name(node))

    async def follow() -> None:
        listing = await client.list(NODES)
        for node in listing.items:
            note(node)
        if not waiting:
            return
        async for event in client.watch(NODES, resource_version=listing.resource_version):
            note(event.object)
            if not waiting:
                return

    following = asyncio.ensure_future(follow())
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not (await asyncio.wait([following], timeout=1.0))[0]:
                if (component := _hopeless(layout)) is not None:
                    raise _did_not_start(layout, component)
            following.result()
    except TimeoutError:
        names = ", ".join(sorted(waiting)[:3])
        raise ClusterError(
            f"not Ready after {READY_SECONDS:.0f} s: {names}", f"see the logs in {layout.logs}"
        ) from None
    finally:
        following.cancel()
        await transport.close()
