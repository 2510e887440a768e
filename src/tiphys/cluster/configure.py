"""Which cluster `up` shall run: the kept one with what is asked for now, or a new one whose port and addresses are its own."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiphys.apiserver import flags
from tiphys.apiserver.settings import Settings
from tiphys.cluster import layout as places
from tiphys.cluster.layout import ClusterConfig, ClusterError, Layout
from tiphys.cluster.locks import exclusive
from tiphys.kubelet.configuration import BadConfiguration, read_document
from tiphys.kubelet.credentials.settings import BadProviders, read
from tiphys.machinery.frozen import frozen

_DEFAULT_PORT = 6443


@frozen
class Wanted:
    """What the command line asks for; None: as it was, or the default for a new cluster."""

    name: str = "default"
    data: Path | None = None
    nodes: int | None = None
    datastore: str | None = None
    runtime: str | None = None
    api_port: int | None = None
    apiserver_args: list[str] | None = None
    kubelet_config: str | None = None
    credential_provider_config: str | None = None
    credential_provider_bin_dir: str | None = None
    install: bool = True


def configure(wanted: Wanted, home: Path) -> tuple[Layout, ClusterConfig]:
    """Checks what is wanted and writes it down, so that `down` finds all that follows. Raises ClusterError."""
    layout = _choose_layout(wanted, home)
    # Two new clusters at once must not choose the same port and index.
    with exclusive(places.clusters_lock(home)):
        kept = places.read_config(layout) if layout.config.exists() else None
        config = _new_config(wanted, home) if kept is None else _kept_config(wanted, kept, layout)
        _check(config)
        try:
            places.write_config(layout, config)
        except OSError as error:
            raise ClusterError(
                f"cannot write to {layout.data}: {error.strerror}", "choose another --data-dir"
            ) from None
        places.remember(home, config.name, layout)
    return layout, config


def _choose_layout(wanted: Wanted, home: Path) -> Layout:
    known = places.find_layout(home, wanted.name)
    if wanted.data is None:
        return known or Layout(home / wanted.name)
    data = wanted.data.expanduser().resolve()
    if known is not None and known.config.exists() and known.data.resolve() != data:
        raise ClusterError(
            f"cluster {wanted.name!r} has its data in {known.data}",
            "choose another --name, or purge that one",
        )
    return Layout(data)


def _check(config: ClusterConfig) -> None:
    if config.runtime == "containerd" and config.nodes > 1:
        raise ClusterError(
            "several nodes with containers are not there yet", "use --nodes 1, or --runtime simulated"
        )
    try:
        flags.apply(Settings(b""), config.apiserver_args)
    except flags.FlagError as error:
        raise ClusterError(
            f"--apiserver-arg: {error}", "they are kube-apiserver's flags, as NAME=VALUE"
        ) from None
    kubelet_configuration(config)
    _check_credential_providers(config)
    if config.nodes < 1:
        raise ClusterError("a cluster needs at least one node", "use --nodes 1")


def _new_config(wanted: Wanted, home: Path) -> ClusterConfig:
    others = {config.api_port for config in places.known_configs(home)}
    return ClusterConfig(
        name=wanted.name,
        nodes=1 if wanted.nodes is None else wanted.nodes,
        datastore=wanted.datastore or "sqlite",
        runtime=wanted.runtime or "containerd",
        api_port=_choose_port(wanted.api_port, others),
        index=places.free_index(home),
        apiserver_args=wanted.apiserver_args or [],
        kubelet_config=_absolute(wanted.kubelet_config or ""),
        credential_provider_config=_absolute(wanted.credential_provider_config or ""),
        credential_provider_bin_dir=_absolute(wanted.credential_provider_bin_dir or ""),
    )


def _choose_port(asked: int | None, others: set[int]) -> int:
    """The port to listen on from now on: the one asked for must be free; without a word, 6443 or else any.

    Ports of other clusters that are stopped are not taken from them, unless somebody asks for that.
    """
    if asked:
        check_port(asked)
        return asked
    if asked is None and _DEFAULT_PORT not in others and _problem(_DEFAULT_PORT) is None:
        return _DEFAULT_PORT
    while (port := _any_port()) in others:
        pass
    return port


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Raises ClusterError when we could not listen there."""
    problem = _problem(port)
    if problem is not None:
        raise ClusterError(
            f"port {port} cannot be used: {problem}", "end what listens there, or choose another --api-port"
        )


def _problem(port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror
    return None


def _kept_config(wanted: Wanted, config: ClusterConfig, layout: Layout) -> ClusterConfig:
    if config.name != wanted.name:
        raise ClusterError(
            f"{layout.data} has the data of cluster {config.name!r}", "choose another --data-dir"
        )
    for name in ("datastore", "runtime"):
        asked = getattr(wanted, name)
        if asked is not None and asked != getattr(config, name):
            raise ClusterError(
                f"cluster {config.name!r} was made with --{name} {getattr(config, name)}",
                "leave the option out, or start anew with down --purge",
            )
    nodes = config.nodes if wanted.nodes is None else wanted.nodes
    arguments = config.apiserver_args if wanted.apiserver_args is None else wanted.apiserver_args
    return replace(
        config,
        nodes=nodes,
        api_port=wanted.api_port or config.api_port,
        apiserver_args=arguments,
        kubelet_config=_path(wanted.kubelet_config, config.kubelet_config),
        credential_provider_config=_path(
            wanted.credential_provider_config, config.credential_provider_config
        ),
        credential_provider_bin_dir=_path(
            wanted.credential_provider_bin_dir, config.credential_provider_bin_dir
        ),
    )


def _path(asked: str | None, kept: str) -> str:
    return kept if asked is None else _absolute(asked)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


ON_A_DISK_OF_SOMEBODYS_OWN: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "evictionHard": {
        "memory.available": "100Mi",
        "nodefs.available": "0%",
        "nodefs.inodesFree": "0%",
        "imagefs.available": "0%",
    },
    "imageGCHighThresholdPercent": 100,
}
"""What real nodes go by unless somebody says otherwise: a laptop's disk is often fuller than a server's may be, and neither pods
nor images that were imported shall go for it. kind has the same figures."""


def kubelet_configuration(config: ClusterConfig) -> dict[str, Any]:
    """The object that the kubelets go by: that in the user's file, as it stands there, or ours. Raises ClusterError."""
    if not config.kubelet_config:
        return ON_A_DISK_OF_SOMEBODYS_OWN if config.runtime == "containerd" else {}
    try:
        return read_document(Path(config.kubelet_config))
    except BadConfiguration as error:
        raise ClusterError(
            f"--kubelet-config {config.kubelet_config}: {error}",
            "mend it, or go without: --kubelet-config ''",
        ) from None


def _check_credential_providers(config: ClusterConfig) -> None:
    try:
        read(config.credential_provider_config, config.credential_provider_bin_dir)
    except BadProviders as error:
        raise ClusterError(
            f"--image-credential-provider-config {config.credential_provider_config}: {error}",
            "mend it, or go without: --image-credential-provider-config '' --image-credential-provider-bin-dir ''",
        ) from None
