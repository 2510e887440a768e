"""What a plan may ask for. Actions of one plan are independent: they are performed side by side, and then the pod is looked at again."""

from __future__ import annotations

from tiphys.machinery.frozen import frozen


@frozen
class RunSandbox:
    attempt: int


@frozen
class StopSandbox:
    id: str
    is_replaced: bool = False
    """The pod goes on in another one."""


@frozen
class RemoveSandbox:
    """With the containers in it."""

    id: str


@frozen
class PrepareVolumes:
    pass


@frozen
class PullImage:
    """Makes sure of the image of one container, as its pull policy wants it. Goes on in the background."""

    container: str


@frozen
class StartContainer:
    """Creates and starts it in the usable sandbox."""

    name: str
    attempt: int


@frozen
class StopContainer:
    """Goes on in the background. Its hook runs at once; then it waits for its turn, `after` containers of these names have ended."""

    id: str
    name: str
    grace_seconds: float
    message: str
    after: tuple[str, ...] = ()
    is_replaced: bool = False
    """It is started anew, whatever its restart policy says."""


@frozen
class Resize:
    """Gives the pod's cgroup and these running containers, (id, name), the resources that are granted."""

    containers: tuple[tuple[str, str], ...] = ()


@frozen
class RemoveContainer:
    id: str
    name: str
    is_restarted: bool = False
    """It made all containers begin again: that counts as a restart of its own."""


@frozen
class CleanUp:
    """Removes volumes and cgroups of the pod, and its logs too when it is deleted."""

    logs: bool


@frozen
class DeletePod:
    """The last step of a deletion: the object goes."""


Action = (
    RunSandbox
    | StopSandbox
    | RemoveSandbox
    | PrepareVolumes
    | PullImage
    | StartContainer
    | StopContainer
    | Resize
    | RemoveContainer
    | CleanUp
    | DeletePod
)
