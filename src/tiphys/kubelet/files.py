"""Where a pod's files lie on its node. Pure.

<directory>/pods/<uid>/volumes/<kind>/<name>/      a volume
<directory>/pods/<uid>/etc-hosts                   its /etc/hosts
<directory>/pods/<uid>/containers/<name>/<attempt> a container's termination message
<directory>/logs/<namespace>_<name>_<uid>/<container>/<attempt>.log
<directory>/seccomp/                               profiles that pods may name (Localhost)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiphys.kubelet.spec import Object
from tiphys.machinery import meta


@dataclass(frozen=True, slots=True)
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

    def pod(self, uid: str) -> Path:
        return self.pods / uid

    def volume(self, uid: str, kind: str, name: str) -> Path:
        """`kind` is the field of the volume: "emptyDir"."""
        return self.pod(uid) / "volumes" / kind / name

    def hosts(self, uid: str) -> Path:
        return self.pod(uid) / "etc-hosts"

    def termination_message(self, uid: str, container: str, attempt: int) -> Path:
        return self.pod(uid) / "containers" / container / str(attempt)

    def pod_logs(self, pod: Object) -> Path:
        return self.logs / f"{meta.namespace(pod)}_{meta.name(pod)}_{meta.uid(pod)}"


def log_path(container: str, attempt: int) -> str:
    """Relative to the pod's log directory."""
    return f"{container}/{attempt}.log"


def uid_of_logs(directory: str) -> str:
    """The pod that a log directory belongs to."""
    return directory.rpartition("_")[2]
