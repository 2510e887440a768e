"""The tree of control groups below which all pods of a node run: kubepods, its two classes of service, and a group for each pod.

kubepods holds all pods together to what the node allots to them; `burstable` weighs what its pods request, `besteffort` next to
nothing; Guaranteed pods lie in kubepods itself (`pkg/kubelet/cm` node_container_manager and qos_container_manager).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from tiphys.api.core.pod_resources import pod_requests, qos_class
from tiphys.client.events import NORMAL, WARNING
from tiphys.kubelet import spec
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction.thresholds import ALLOCATABLE_MEMORY_AVAILABLE, MEMORY_AVAILABLE
from tiphys.kubelet.life_metrics import Timed, untimed
from tiphys.kubelet.resources import Enforcement, cgroup_path, cpu_shares, pod_resources, widest
from tiphys.kubelet.runtimes.interface import Resources
from tiphys.kubelet.spec import Object
from tiphys.machinery import meta
from tiphys.machinery.quantity import ZERO, Quantity
from tiphys.machinery.quoting import quote

Tell = Callable[[str, str, str], None]
"""Of an event about the node: its type, reason and message."""


class PodCgroups:
    """`root`: of the node, below which `kubepods` is. `pods()`: those of the node now, as the API has them. `has_own_cpus(uid)`: no quota, then."""

    def __init__(
        self,
        cgroups: Cgroups,
        root: str,
        enforced: Enforcement,
        pods: Callable[[], Iterable[Object]],
        *,
        has_own_cpus: Callable[[str], bool] = lambda uid: False,
        timed: Timed = untimed,
    ) -> None:
        """`timed`: what is done to the group of a pod: create, update or destroy."""
        self._cgroups = cgroups
        self._root = root
        self._enforced = enforced
        self._pods = pods
        self._has_own_cpus = has_own_cpus
        self._timed = timed
        self._burstable_shares = 0
        self._burstable = BurstableCPU()
        self._made: dict[str, Resources] = {}

    def enforce_allocatable(
        self, capacity: Mapping[str, Quantity], configuration: KubeletConfiguration, tell: Tell
    ) -> None:
        """All pods together get what is not reserved for others, and no more."""
        if "pods" not in configuration.enforce_node_allocatable:
            return
        path = f"{self._root}/kubepods"
        try:
            self._enforce(path, capacity, configuration)
        except OSError as error:
            told = f"Failed to update Node Allocatable Limits {quote(path)}: {error}"
            tell(WARNING, "FailedNodeAllocatableEnforcement", told)
        else:
            tell(NORMAL, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")

    def _enforce(
        self, path: str, capacity: Mapping[str, Quantity], configuration: KubeletConfiguration
    ) -> None:
        left = {
            name: amount
            - configuration.kube_reserved.get(name, ZERO)
            - configuration.system_reserved.get(name, ZERO)
            for name, amount in capacity.items()
        }
        self._cgroups.make(
            path,
            Resources(
                cpu_shares=cpu_shares(left["cpu"].milli), memory_limit_bytes=max(left["memory"].value, 0)
            ),
            pids_limit=left["pid"].value if "pid" in left else 0,
        )

    def memory(self) -> dict[str, Path]:
        """Where the kernel tells of memory that eviction signals are about."""
        found = {
            MEMORY_AVAILABLE: self._cgroups.memory("/"),
            ALLOCATABLE_MEMORY_AVAILABLE: self._cgroups.memory(f"{self._root}/kubepods"),
        }
        return {signal: path for signal, path in found.items() if path is not None}

    def make(self, pod: Object, before: Object | None = None) -> str:
        """Where the pod's group is; `before`, what the pod was granted until now, makes it wide enough for both. Raises OSError."""
        # As it is granted, which is not always what the API has.
        self._weigh_classes(besides=meta.uid(pod), and_milli=burstable_milli(pod))
        path = cgroup_path(self._root, pod, meta.uid(pod))
        enforced = self._enforced
        if self._has_own_cpus(meta.uid(pod)):
            enforced = replace(enforced, cpu_cfs_quota=False)
        wanted = pod_resources(pod, enforced)
        if before is not None:
            wanted = widest(pod_resources(before, enforced), wanted)
        # Asked for with each container that starts; it is seldom another than the last time.
        if self._made.get(path) != wanted or not self._cgroups.exists(path):
            with self._timed("create" if before is None else "update"):
                self._cgroups.make(path, wanted, pids_limit=self._enforced.pids_limit)
            self._made[path] = wanted
        return path

    def _weigh_classes(self, *, besides: str, and_milli: int = 0) -> None:
        others = (pod for pod in self._pods() if meta.uid(pod) != besides)
        shares = cpu_shares(self._burstable.milli(others) + and_milli)
        if shares == self._burstable_shares:
            return
        self._cgroups.make(f"{self._root}/kubepods/burstable", Resources(cpu_shares=shares))
        self._cgroups.make(f"{self._root}/kubepods/besteffort", Resources(cpu_shares=cpu_shares(0)))
        self._burstable_shares = shares

    def remove(self, uid: str) -> bool:
        """False when something had still run there: then it takes another call."""
        removed = [self._remove(path) for path in self._cgroups.pods(self._root).get(uid, ())]
        if removed:
            # Others weigh what they did; where they cannot be told the next pod does it.
            with contextlib.suppress(OSError):
                self._weigh_classes(besides=uid)
        return all(removed)

    def _remove(self, path: str) -> bool:
        self._made.pop(path, None)
        with self._timed("destroy"):
            return self._cgroups.remove(path)

    def uids(self) -> set[str]:
        """Of all pods that have a group."""
        return set(self._cgroups.pods(self._root))


class BurstableCPU:
    """What the pods of this class request together. What a version of a pod requests is remembered: all are asked for with each one."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], int] = {}

    def milli(self, pods: Iterable[Object]) -> int:
        found: dict[tuple[str, str], int] = {}
        total = 0
        for pod in pods:
            key = (meta.uid(pod), meta.resource_version(pod))
            milli = self._known.get(key)
            if milli is None:
                milli = burstable_milli(pod)
            if key[1]:  # one from a file has no versions
                found[key] = milli
            total += milli
        self._known = found
        return total


def burstable_milli(pod: Object) -> int:
    if spec.is_finished(pod) or qos_class(pod["spec"]) != "Burstable":
        return 0
    return pod_requests(pod["spec"]).get("cpu", ZERO).milli
