"""Where a pod's files lie on its node. Pure.

<directory>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>/     a volume
<directory>/pods/<uid>/plugins/kubernetes.io~<plugin>/<name>/ready   what is done only once has been done
<directory>/pods/<uid>/volume-subpaths/<name>/<container>/<index>    the part of it that a container mounts
<directory>/pods/<uid>/etc-hosts                   its /etc/hosts
<directory>/pods/<uid>/containers/<name>/<attempt> a container's termination message
<directory>/config.json                            Docker's, with the node's own credentials for registries; who wants has it
<directory>/image_manager/{pulling,pulled}/        which images were pulled, and with whose credentials (images/pull_records.py)
<directory>/logs/<namespace>_<name>_<uid>/<container>/<attempt>.log
<directory>/seccomp/                               profiles that pods may name (Localhost)
"""

from __future__ import annotations

from pathlib import Path

from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

_PLUGINS = {
    "configMap": "configmap",
    "downwardAPI": "downward-api",
    "emptyDir": "empty-dir",
    "gitRepo": "git-repo",
    "hostPath": "host-path",
    "local": "local-volume",
}
"""Kinds of volumes whose plugin upstream calls otherwise."""


@frozen
class Files:
    """`directory` is the kubelet's own, on the node."""

    directory: Path

    @property
    def pods(self) -> Path:
        return self.directory / "pods"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def seccomp(self) -> Path:
        """The node's own profiles, which its administrator puts there."""
        return self.directory / "seccomp"

    @property
    def registry_config(self) -> Path:
        return self.directory / "config.json"

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def volume(self, uid: str, kind: str, name: str) -> Path:
        """`kind` is the field of the volume: "emptyDir"."""
        return self.volumes(uid) / _plugin(kind) / name

    def volume_ready(self, uid: str, kind: str, name: str) -> Path:
        return self.plugins(uid) / _plugin(kind) / name / "ready"

    def volumes(self, uid: str) -> Path:
        return self.pod(uid) / "volumes"

    def plugins(self, uid: str) -> Path:
        return self.pod(uid) / "plugins"

    def subpaths(self, uid: str) -> Path:
        return self.pod(uid) / "volume-subpaths"

    def subpath(self, uid: str, volume: str, container: str, index: int) -> Path:
        """`index`: of the container's volumeMount."""
        return self.subpaths(uid) / volume / container / str(index)

    def hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def termination_message(self, uid: str, container: str, attempt: int) -> Path:
        return self.pod(uid) / "containers" / container / str(attempt)

    def pod_logs(self, pod: Object) -> Path:
        return self.logs / f"{meta.namespace(pod)}_{meta.name(pod)}_{meta.uid(pod)}"


def _plugin(kind: str) -> str:
    return f"kubernetes.io~{_PLUGINS.get(kind, kind)}"


def log_path(container: str, attempt: int) -> str:
    """Relative to the pod's log directory."""
    return f"{container}/{attempt}.log"


def uid_of_logs(directory: str) -> str:
    """The pod that a log directory belongs to."""
    return directory.rpartition("_")[2]
