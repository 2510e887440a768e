"""Kinds of volumes that need a driver which no node of ours has, in the words in which upstream says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tiphys.kubelet.volumes.request import Prepared, VolumeFailure, VolumeRequest


async def refuse_inline_csi(request: VolumeRequest) -> Prepared:
    driver = str(request.source.get("driver", ""))
    raise VolumeFailure(
        f"kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: {_unregistered(driver)}"
    )


async def refuse_csi(request: VolumeRequest) -> Prepared:
    raise _no_device(str(request.source.get("driver", "")))


def refuse_migrated(driver: str) -> Callable[[VolumeRequest], Awaitable[Prepared]]:
    async def refuse(request: VolumeRequest) -> Prepared:
        raise _no_device(driver)

    return refuse


async def refuse_git_repo(request: VolumeRequest) -> Prepared:
    raise VolumeFailure(
        "git-repo volume plugin has been disabled; if necessary, it may be re-enabled by enabling the feature-gate "
        "`GitRepoVolumeDriver`"
    )


def _no_device(driver: str) -> VolumeFailure:
    return VolumeFailure(
        f"kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: {_unregistered(driver)}",
        stage="MountVolume.MountDevice failed",
    )


def _unregistered(driver: str) -> str:
    return f"driver name {driver} not found in the list of registered CSI drivers"
