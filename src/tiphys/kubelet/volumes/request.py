"""What a kind of volume is given to do its work, and how it says that it cannot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from tiphys.kubelet.downward import Surroundings
from tiphys.kubelet.life_metrics import Timed, untimed
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.mounting import Mounter
from tiphys.kubelet.volumes.ownership import Ownership
from tiphys.machinery.frozen import frozen

DEFAULT_MODE = 0o644
SET_UP = "MountVolume.SetUp failed"

Kind = Literal["configmap", "secret", "persistentvolumeclaim", "persistentvolume"]


class VolumeFailure(Exception):
    """The volume cannot be had; the message is the end of upstream's event, `stage` its beginning, `reason` its reason."""

    def __init__(self, message: str, *, stage: str = SET_UP, reason: str = "FailedMount") -> None:
        super().__init__(message)
        self.stage = stage
        self.reason = reason


class Unprocessed(Exception):
    """It cannot even be said what is to be mounted."""


class NoSuchObject(Exception):
    """Words of the API server about an object that is not there, or may not be read."""


@frozen
class Token:
    text: str
    refresh_after_seconds: float


class Lookups(Protocol):
    """What volumes ask the API for one pod."""

    async def find(self, kind: Kind, name: str) -> Object | None:
        """A ConfigMap or Secret of the pod's namespace, watched from now on. Raises VolumeFailure."""

    async def fetch(self, kind: Kind, name: str) -> Object:
        """A claim of the pod's namespace or a volume, as it is now. Raises NoSuchObject."""

    async def bundles(self) -> Sequence[Object]:
        """All ClusterTrustBundles, watched from now on. Raises VolumeFailure."""

    async def token(self, wanted: Mapping[str, Any]) -> Token:
        """For the pod's service account. Raises VolumeFailure."""


@frozen
class Services:
    """`run`: a program of the node; its exit code, and all that it said. `is_used`: a PersistentVolume, by another pod here.
    `timed`: the making of a volume, by its plugin."""

    lookups: Lookups
    around: Surroundings
    mounter: Mounter
    run: Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
    now: datetime
    is_used: Callable[[str], bool] = lambda name: False
    node_labels: Mapping[str, str] | None = None
    """None: not known yet, and no volume is refused for them."""
    timed: Timed = untimed


@frozen
class VolumeRequest:
    """`source` is the volume's own field: that of `emptyDir:` for an emptyDir."""

    pod: Object
    name: str
    source: Mapping[str, Any]
    directory: Path
    """Where it is to lie; not made yet."""
    ready: Path
    """A file to say that what is done only once has been done."""
    ownership: Ownership
    services: Services
    read_only: bool = False
    mount_options: Sequence[str] = ()


@frozen
class Prepared:
    """Where the volume lies on the node; when it must be looked at again."""

    path: Path
    refresh_after_seconds: float | None = None


def default_mode(source: Mapping[str, Any]) -> int:
    mode = source.get("defaultMode")
    return DEFAULT_MODE if mode is None else int(mode)
