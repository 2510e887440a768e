"""emptyDir: a directory that lives as long as the pod, on the node's disk, in memory or in huge pages."""

from __future__ import annotations

from pathlib import Path

from tiphys.kubelet import spec
from tiphys.kubelet.resources import Enforcement, pod_resources
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.request import Prepared, VolumeFailure, VolumeRequest
from tiphys.machinery.quantity import Quantity, as_value, parse

HUGE_PAGES = "HugePages"
_PAGES_OF = "hugepages-"


async def prepare(request: VolumeRequest) -> Prepared:
    directory, medium = request.directory, request.source.get("medium") or ""
    is_new = not request.ready.exists()
    make_directory(directory)
    if medium == "Memory":
        # After a restart of the machine it is a new one.
        is_new |= mount_memory(request, request.source.get("sizeLimit"))
    elif medium.startswith(HUGE_PAGES):
        option = f"pagesize={_page_size(medium, request.pod)}"
        is_new |= request.services.mounter.mount("hugetlbfs", "nodev", directory, [option])
    elif medium:
        raise VolumeFailure(f'unknown storage medium "{medium}"')
    if is_new:
        request.ownership.apply(directory)
        request.ready.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        request.ready.touch()
    return Prepared(directory)


def make_directory(directory: Path) -> None:
    """Whoever the container runs as may use it."""
    if not directory.exists():
        directory.mkdir(parents=True)
        directory.chmod(0o777)


def mount_memory(request: VolumeRequest, limit: str | None = None) -> bool:
    """A tmpfs, no larger than what the pod may use (KEP-1967): what is in it counts as memory of the pod. Whether it is new."""
    make_directory(request.directory)
    sizes = [
        as_value(limit) if limit else 0,
        pod_resources(request.pod, Enforcement()).memory_limit_bytes,
        request.services.around.allocatable.get("memory", Quantity(0)).value,
    ]
    size = min((size for size in sizes if size > 0), default=0)
    options = [f"size={size}"] if size else []
    return request.services.mounter.mount("tmpfs", "tmpfs", request.directory, options)


def _page_size(medium: str, pod: Object) -> str:
    """Of the huge pages that the pod's containers ask for; in bytes."""
    wanted = medium.removeprefix(HUGE_PAGES).removeprefix("-")
    sizes = {
        parse(name.removeprefix(_PAGES_OF)).value
        for container in spec.all_containers(pod)
        for name in (container.get("resources") or {}).get("requests") or {}
        if name.startswith(_PAGES_OF)
    }
    if wanted:
        sizes &= {parse(wanted).value}
    if len(sizes) > 1:
        raise VolumeFailure(f"medium: {medium} can't be used if container requests multiple huge page sizes")
    if not sizes:
        raise VolumeFailure(
            f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    return str(sizes.pop())
