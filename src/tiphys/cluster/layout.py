"""Where a cluster keeps its things: one directory of data, and one small file that leads from its name to that directory.

<data>/cluster.json         what the cluster is (ClusterConfig)
<data>/pki/                 certificates and keys (0600)
<data>/store/state.db       every object
<data>/kubeconfig           the administrator's
<data>/logs/COMPONENT.log   what the processes say
<data>/run/                 pids and sockets of this life; gone after `down`
<data>/network/             the segment's holder
<data>/nodes/NAME/          a node: containerd's root and state, pod volumes, logs of pods

<home>/clusters/NAME.json   leads to <data>
<home>/clusters/NAME.lock   held while the cluster is started or stopped
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import get_origin, get_type_hints

from tiphys.machinery.frozen import frozen

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")


class ClusterError(Exception):
    """Something that the person at the terminal can mend: one line that says what happened, and the cure."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


@frozen
class ClusterConfig:
    """What `up` was asked for; kept, so that a later `up` resumes the same cluster."""

    name: str
    nodes: int
    datastore: str
    runtime: str
    api_port: int
    index: int
    """Which of this machine's clusters it is: makes its segment's addresses its own."""
    apiserver_args: list[str] = field(default_factory=list)
    """kube-apiserver's flags, as name=value."""
    kubelet_config: str = ""
    """The path of a KubeletConfiguration, read at every `up`; empty: all defaults."""
    credential_provider_config: str = ""
    """The path of a CredentialProviderConfig, or of a directory of them, read by every kubelet that starts; empty: there are none."""
    credential_provider_bin_dir: str = ""
    """Where the plugins are that it names."""

    @property
    def segment_prefix(self) -> str:
        """The first three parts of the segment's /24; pods and services have their own ranges behind it."""
        return f"10.90.{self.index}"

    @property
    def segment_address(self) -> str:
        return f"{self.segment_prefix}.1"

    def node_name(self, number: int) -> str:
        """Names of nodes count from 1."""
        return f"{self.name}-node-{number}" if self.name != "default" else f"node-{number}"

    def node_address(self, number: int) -> str:
        """Nodes with containers are on the segment; simulated ones share a loopback address that is nobody else's."""
        if self.runtime == "simulated":
            return f"127.90.{self.index}.11"
        return f"{self.segment_prefix}.{10 + number}"

    @property
    def node_names(self) -> list[str]:
        return [self.node_name(number) for number in range(1, self.nodes + 1)]


_TYPES = get_type_hints(ClusterConfig)


@frozen
class Layout:
    """The paths of one cluster."""

    data: Path

    @property
    def config(self) -> Path:
        return self.data / "cluster.json"

    @property
    def pki(self) -> Path:
        return self.data / "pki"

    @property
    def front_proxy(self) -> Path:
        """The authority by which extension API servers know ours."""
        return self.pki / "front-proxy"

    @property
    def database(self) -> Path:
        return self.data / "store" / "state.db"

    @property
    def kubeconfig(self) -> Path:
        return self.data / "kubeconfig"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def run(self) -> Path:
        return self.data / "run"

    @property
    def network(self) -> Path:
        return self.data / "network"

    def node(self, name: str) -> Path:
        return self.data / "nodes" / name

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"


def state_home(environment: Mapping[str, str]) -> Path:
    """Where the files that lead to clusters are: $TIPHYS_HOME, else ~/.local/share/tiphys."""
    if environment.get("TIPHYS_HOME"):
        return Path(environment["TIPHYS_HOME"]).expanduser().absolute()
    return Path(environment.get("HOME") or os.path.expanduser("~")) / ".local" / "share" / "tiphys"


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ClusterError(
            f"{name!r} is no name for a cluster", "use at most 40 of a-z, 0-9 and '-', no '-' at either end"
        )


def _pointer(home: Path, name: str) -> Path:
    return home / "clusters" / f"{name}.json"


def find_layout(home: Path, name: str) -> Layout | None:
    """The layout of a cluster that was made under this name; None when there is none."""
    try:
        return Layout(Path(json.loads(_pointer(home, name).read_text())["data"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{_pointer(home, name)} is damaged: {error}", "remove the file and run up again"
        ) from None


def require_layout(home: Path, name: str) -> Layout:
    check_name(name)
    layout = find_layout(home, name)
    if layout is None or not layout.config.exists():
        raise ClusterError(f"there is no cluster {name!r}", f"make it with: tiphys up --name {name}")
    return layout


def remember(home: Path, name: str, layout: Layout) -> None:
    pointer = _pointer(home, name)
    pointer.parent.mkdir(parents=True, exist_ok=True)
    _write(pointer, json.dumps({"data": str(layout.data)}) + "\n")


def forget(home: Path, name: str) -> None:
    _pointer(home, name).unlink(missing_ok=True)


def known_names(home: Path) -> list[str]:
    return sorted(path.stem for path in (home / "clusters").glob("*.json"))


def read_config(layout: Layout) -> ClusterConfig:
    try:
        config = ClusterConfig(**json.loads(layout.config.read_text()))
        wrong = [
            each.name
            for each in fields(config)
            if type(getattr(config, each.name)) is not (get_origin(_TYPES[each.name]) or _TYPES[each.name])
        ]
        if wrong:
            raise ValueError(f"{wrong[0]} is {getattr(config, wrong[0])!r}")
    except (ValueError, TypeError) as error:
        raise ClusterError(
            f"{layout.config} is damaged: {error}", "restore it, or start anew with down --purge"
        ) from None
    return config


def write_config(layout: Layout, config: ClusterConfig) -> None:
    layout.data.mkdir(parents=True, exist_ok=True)
    _write(layout.config, json.dumps(asdict(config), indent=1) + "\n")


def known_configs(home: Path) -> list[ClusterConfig]:
    """Of all this user's clusters, but for damaged ones: those are no other cluster's business."""
    found = []
    for name in known_names(home):
        try:
            layout = find_layout(home, name)
            if layout is not None and layout.config.exists():
                found.append(read_config(layout))
        except (ClusterError, OSError):
            continue
    return found


def free_index(home: Path) -> int:
    """A number that none of this user's clusters has."""
    taken = {config.index for config in known_configs(home)}
    return next(number for number in range(256) if number not in taken)


def clusters_lock(home: Path) -> Path:
    """Held by whoever chooses what no two clusters may share."""
    return home / "clusters" / ".lock"


def cluster_lock(home: Path, name: str) -> Path:
    """Held by whoever starts or ends the processes of a cluster."""
    return home / "clusters" / f"{name}.lock"


def _write(path: Path, text: str) -> None:
    """The whole file or nothing of it."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text)
    unfinished.replace(path)
