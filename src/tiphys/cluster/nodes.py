"""The nodes of a cluster with containers: their segment and namespaces, and what runs in each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from tiphys.cluster import blueprint
from tiphys.cluster.containerd_config import PATH, SOCKET, Machine, MissingPrograms, Settings, files, probe
from tiphys.cluster.images import PAUSE_IMAGE
from tiphys.cluster.layout import ClusterConfig, ClusterError, Layout
from tiphys.cluster.namespaces import (
    NamespaceError,
    Node,
    NodeSpec,
    create_node,
    create_segment,
    destroy_node,
    destroy_segment,
    find_node,
    set_routes,
)
from tiphys.cluster.processes import end, with_argument
from tiphys.cluster.supervisor import Process
from tiphys.kubelet.images.archive import ArchiveError
from tiphys.kubelet.images.load import ImageLoader
from tiphys.kubelet.images.names import InvalidName
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.runtimes.interface import RuntimeFailure, Unavailable

MIRROR_URL = "http://127.0.0.83:5000"
"""Where each node's own registry answers, inside the node."""
KUBELET_DIRECTORY = "/var/lib/kubelet"
"""Inside a node: where plugins look for the kubelet's sockets, whatever place outside it is."""
REGISTRY_CACHE = "registry-cache"
"""In a node's directory: what its registry has from others."""


def start_nodes(layout: Layout, config: ClusterConfig) -> tuple[str, dict[str, list[str]], list[Process]]:
    """Makes the segment and the nodes, or finds them made.

    (path of the segment's network namespace, for each node how a command line enters it, what to run before the kubelets)
    """
    try:
        machine = probe()
        segment = create_segment(layout.network, f"{config.segment_address}/24")
        nodes = {
            config.node_name(number): create_node(_spec(layout, config, number), segment)
            for number in range(1, config.nodes + 1)
        }
        set_routes(segment, _pod_routes(config, range(1, config.nodes + 1)))
    except MissingPrograms as error:
        raise ClusterError(str(error), "install them, or leave --no-install out") from None
    except NamespaceError as error:
        raise ClusterError(
            f"cannot make the nodes' namespaces: {error}", "tiphys down, then up again"
        ) from None
    started = [
        _containerd(layout, config, number, nodes[config.node_name(number)], machine)
        for number in range(1, config.nodes + 1)
    ]
    enters = {name: node.enter for name, node in nodes.items()}
    return str(segment.network_namespace), enters, started


def _spec(layout: Layout, config: ClusterConfig, number: int) -> NodeSpec:
    name = config.node_name(number)
    others = [other for other in range(1, config.nodes + 1) if other != number]
    return NodeSpec(
        name=name,
        directory=layout.node(name),
        address=f"{config.node_address(number)}/24",
        service_cidr=blueprint.SERVICE_CIDR,
        cgroup=blueprint.node_cgroup(layout, config, name),
        routes=_pod_routes(config, others),
        binds={KUBELET_DIRECTORY: str(layout.node(name) / "kubelet")},
    )


def _pod_routes(config: ClusterConfig, numbers: Iterable[int]) -> dict[str, str]:
    return {blueprint.pod_cidr(number): config.node_address(number) for number in numbers}


def _containerd(layout: Layout, config: ClusterConfig, number: int, node: Node, machine: Machine) -> Process:
    name = config.node_name(number)
    settings = Settings(
        directory=layout.node(name) / "containerd",
        sandbox_image=PAUSE_IMAGE,
        pod_cidr=blueprint.pod_cidr(number),
        mirror=MIRROR_URL,
    )
    for path, text in files(settings, machine).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    arguments = [*node.enter, "containerd", "--config", str(settings.config_path), "--log-level", "warn"]
    return Process(f"containerd-{name}", arguments, str(layout.log(f"containerd-{name}")), {"PATH": PATH})


def stop_nodes(layout: Layout) -> None:
    """Power off: containers, mounts, groups and interfaces go with the nodes. Needs nothing but the directories."""
    directories = sorted((layout.data / "nodes").glob("*")) if (layout.data / "nodes").exists() else []
    for directory in directories:
        for pid in with_argument("containerd", str(directory / "containerd" / "config.toml")):
            end(pid, grace_seconds=5.0)
        try:
            destroy_node(directory)
        except NamespaceError as error:
            raise ClusterError(str(error), "end it, then run down again") from None
    if layout.network.exists():
        destroy_segment(layout.network)


# Images


def _sockets(layout: Layout) -> dict[str, str]:
    """The containerd socket of every node that runs, by the node's name."""
    found: dict[str, str] = {}
    for directory in sorted((layout.data / "nodes").glob("*")):
        node = find_node(directory)
        if node is not None:
            found[directory.name] = f"{node.root}{SOCKET}"
    if not found:
        raise ClusterError("no node with containers runs", "start the cluster: tiphys up")
    return found


@asynccontextmanager
async def _loader(node: str, path: str, layout: Layout) -> AsyncIterator[ImageLoader]:
    """Of one node. What its user can mend becomes a ClusterError."""
    loader = ImageLoader(path)
    try:
        yield loader
    except InvalidName as error:
        cure = "name it as in busybox:1.36 or registry.example/team/app:v1"
        raise ClusterError(f"{error}", cure) from None
    except ArchiveError as error:
        raise ClusterError(
            str(error), "an archive is what docker save, podman save or skopeo writes"
        ) from None
    except Unavailable as error:
        log = layout.log(f"containerd-{node}")
        raise ClusterError(f"containerd of {node} does not answer: {error.message}", f"see {log}") from None
    except RuntimeFailure as error:
        raise ClusterError(f"{node}: {error.message}") from None
    finally:
        await loader.close()


async def import_image(layout: Layout, file: Path) -> list[str]:
    """Brings an archive into every node; what it brought, a line each."""
    lines = []
    for name, path in _sockets(layout).items():
        async with _loader(name, path, layout) as loader:
            lines += [
                f"{name}: imported {image.name} ({image.digest})"
                for image in await loader.import_archive(file)
            ]
    return lines


async def list_images(layout: Layout) -> list[str]:
    """A line for each image and node: what was imported, and what is kept of what registries have."""
    lines = []
    for name, path in _sockets(layout).items():
        async with _loader(name, path, layout) as loader:
            found = {image.name: image.digest for image in await loader.images()}
        cached = dict(RegistryCache(layout.node(name) / REGISTRY_CACHE).images())
        lines += [f"{name}\t{image}\t{digest}" for image, digest in sorted({**cached, **found}.items())]
    return lines


async def remove_image(layout: Layout, image: str) -> list[str]:
    """Removes an image from every node; ClusterError when none has it."""
    lines = []
    for name, path in _sockets(layout).items():
        async with _loader(name, path, layout) as loader:
            was_cached = RegistryCache(layout.node(name) / REGISTRY_CACHE).remove(image)
            if await loader.remove(image) or was_cached:
                lines.append(f"{name}: removed {image}")
    if not lines:
        raise ClusterError(f"no node has the image {image}", "see: tiphys image ls")
    return lines
