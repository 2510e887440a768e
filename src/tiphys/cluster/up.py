"""`up`: from nothing, or from what is left of an earlier life, to a cluster whose nodes are Ready.

Each step finds what is there and makes what is missing, so that running it twice is harmless, an interrupted run is taken up
by the next one, and a cluster of which something was killed is mended.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path

from tiphys.cluster import blueprint, processes
from tiphys.cluster import layout as places
from tiphys.cluster.configure import Wanted, check_port, configure, kubelet_configuration
from tiphys.cluster.contexts import write_kubeconfigs
from tiphys.cluster.control_plane_settings import ControlPlaneSettings
from tiphys.cluster.down import forget_lock, stop_processes
from tiphys.cluster.kubelet_settings import KubeletSettings
from tiphys.cluster.layout import ClusterConfig, ClusterError, Layout
from tiphys.cluster.locks import exclusive
from tiphys.cluster.node_network_settings import NodeNetworkSettings
from tiphys.cluster.pki import Authority
from tiphys.cluster.readiness import DoesNotStart, Readiness
from tiphys.cluster.status import supervisor_pid
from tiphys.cluster.supervisor import ORDERS, Process, processes_text
from tiphys.machinery.frozen import frozen

__all__ = ["Wanted", "up"]

KUBELET_PORT = 10250
SPAWN_SECONDS = 10.0

Tell = Callable[[str], None]


def up(wanted: Wanted, home: Path, environment: Mapping[str, str], tell: Tell) -> bool:
    """Brings the cluster up and waits until every node is Ready. Raises ClusterError.

    False when all is well but that the user's kubeconfig could not be given the context, which was told.
    """
    places.check_name(wanted.name)
    with exclusive(
        places.cluster_lock(home, wanted.name), lambda pid: _tell_of_other(wanted.name, pid, tell)
    ):
        try:
            layout, config = configure(wanted, home)
        except BaseException:
            forget_lock(home, wanted.name)
            raise
        if config.runtime == "containerd":
            _check_containers(config)
            from tiphys.cluster import packages

            packages.ensure(tell, install=wanted.install, environment=environment)
        _start(layout, config, tell)
        readiness = Readiness(layout, config)
    # From here on `down` may come between: whoever is tired of waiting must be able to end it.
    try:
        port = readiness.wait_for_port()
        problem = write_kubeconfigs(layout, config, port, environment)
        tell(f"waiting for {config.nodes} node{'s' if config.nodes != 1 else ''}")
        asyncio.run(readiness.wait_for_nodes())
    except KeyboardInterrupt:
        suffix = "" if config.name == "default" else f" --name {config.name}"
        tell(f"nobody waits for it any more, but it goes on starting (end it with: tiphys down{suffix})")
        raise
    except DoesNotStart:
        # What cannot run is not tried for ever in the background.
        with exclusive(places.cluster_lock(home, wanted.name)):
            stop_processes(layout)
        raise
    if problem is not None:
        tell(f"your kubeconfig stays as it is: {problem} (use: export KUBECONFIG={layout.kubeconfig})")
    return problem is None


def _tell_of_other(name: str, pid: str, tell: Tell) -> None:
    tell(f"another command works on cluster {name!r}{f' (pid {pid})' if pid else ''}: waiting for it")


def _check_containers(config: ClusterConfig) -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "containers need root", f"use sudo, or: tiphys up --name {config.name} --runtime simulated"
        )


def _start(layout: Layout, config: ClusterConfig, tell: Tell) -> None:
    """Certificates, namespaces, settings, and the supervisor that runs the rest; nothing, if all that is as it should be."""
    is_running = supervisor_pid(layout) is not None
    if not is_running:
        tell(f"starting cluster {config.name!r}")
    for directory in (layout.run, layout.logs):
        directory.mkdir(parents=True, exist_ok=True)
    for private in (layout.database.parent, layout.data / "nodes"):
        private.mkdir(parents=True, exist_ok=True, mode=0o700)
    renewed = _ensure_certificates(layout, config)
    files = _files(layout, config, _machines(layout, config))
    if is_running and not renewed and all(_is_written(path, text) for path, text in files.items()):
        return
    if is_running:
        tell(f"cluster {config.name!r} is not as it should be: starting its processes again")
    stop_processes(layout)
    check_port(config.api_port)
    blueprint.port_file(layout).unlink(missing_ok=True)
    for path, text in files.items():
        path.write_text(text)
    _start_supervisor(layout)


def _ensure_certificates(layout: Layout, config: ClusterConfig) -> list[str]:
    """The names of those that had to be made."""
    now = datetime.now(UTC)
    authority = Authority(layout.pki, now)
    try:
        made = authority.ensure(blueprint.leaves(config))
        made += Authority(layout.front_proxy, now).ensure(blueprint.front_proxy_leaves())
    except ValueError as error:
        raise ClusterError(
            f"the certificates in {layout.pki} are damaged: {error}",
            "restore them, or start anew with down --purge",
        ) from None
    authority.ensure_signing_key("service-account")
    return made


@frozen
class _Machines:
    """What simulated nodes have none of."""

    segment_namespace: str = ""
    enters: Mapping[str, list[str]] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)


def _machines(layout: Layout, config: ClusterConfig) -> _Machines:
    if config.runtime != "containerd":
        return _Machines()
    from tiphys.cluster.nodes import start_nodes

    return _Machines(*start_nodes(layout, config))


def _files(layout: Layout, config: ClusterConfig, machines: _Machines) -> dict[Path, str]:
    """What the processes are told. It names the namespaces, so that it differs when those were made anew."""
    files = {blueprint.control_plane_settings(layout): _control_plane(layout, config, machines).text()}
    listed = [blueprint.control_plane_process(layout), *machines.processes]
    for number in blueprint.kubelet_numbers(config):
        node = config.node_name(number)
        files[blueprint.kubelet_settings(layout, node)] = _kubelet(layout, config, number).text()
        listed.append(blueprint.kubelet_process(layout, node, machines.enters.get(node, [])))
    for number, node in enumerate(machines.enters, 1):
        files[blueprint.node_network_settings(layout, node)] = _node_network(layout, config, number).text()
        listed.append(blueprint.node_network_process(layout, node, machines.enters[node]))
    files[layout.run / ORDERS] = processes_text(listed)
    return files


def _is_written(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def _control_plane(layout: Layout, config: ClusterConfig, machines: _Machines) -> ControlPlaneSettings:
    return ControlPlaneSettings(
        pki=str(layout.pki),
        database=str(layout.database) if config.datastore == "sqlite" else "",
        host="127.0.0.1",
        port=config.api_port,
        port_file=str(blueprint.port_file(layout)),
        segment_namespace=machines.segment_namespace,
        segment_address=config.segment_address if machines.segment_namespace else "",
        service_cidr=blueprint.SERVICE_CIDR,
        cluster_cidr=blueprint.cluster_cidr(config),
        nodes=blueprint.own_nodes(config),
        simulated_nodes=blueprint.simulated_nodes(config),
        apiserver_args=config.apiserver_args,
    )


def _segment_server(config: ClusterConfig) -> str:
    """The API server as nodes reach it."""
    return f"https://{config.segment_address}:{blueprint.SEGMENT_PORT}"


def _node_network(layout: Layout, config: ClusterConfig, number: int) -> NodeNetworkSettings:
    return NodeNetworkSettings(
        node=config.node_name(number),
        address=config.node_address(number),
        server=_segment_server(config),
        pki=str(layout.pki),
        pod_cidr=blueprint.pod_cidr(number),
        service_cidr=blueprint.SERVICE_CIDR,
        dns_address=blueprint.CLUSTER_DNS_ADDRESS,
    )


def _kubelet(layout: Layout, config: ClusterConfig, number: int) -> KubeletSettings:
    node = config.node_name(number)
    simulated = config.runtime == "simulated"
    segment_server = _segment_server(config)
    return KubeletSettings(
        node=node,
        nodes=config.node_names if simulated else [node],
        runtime=config.runtime,
        server=f"https://127.0.0.1:{config.api_port}" if simulated else segment_server,
        pki=str(layout.pki),
        certificate=blueprint.kubelet_file(node),
        serving=blueprint.serving_file(config, number),
        address=config.node_address(number),
        directory=str(layout.node(node)),
        cgroup=blueprint.node_cgroup(layout, config, node),
        images=str(layout.data / "images"),
        port=0 if simulated else KUBELET_PORT,
        configuration=kubelet_configuration(config),
        credential_provider_config=config.credential_provider_config,
        credential_provider_bin_dir=config.credential_provider_bin_dir,
    )


def _start_supervisor(layout: Layout) -> None:
    log = os.open(layout.log("supervisor"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        arguments = [sys.executable, "-m", "tiphys.cluster.supervisor", str(layout.run)]
        pid = processes.spawn(arguments, environment=dict(os.environ), output=log)
    finally:
        os.close(log)
    # For a moment after it has begun a process has no command line, by which others know it.
    processes.wait_until(lambda: supervisor_pid(layout) == pid or not processes.is_alive(pid), SPAWN_SECONDS)
