"""What tells one real node from others, and what it knows of itself: for the API, and for pods that want to run on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.client.client import Client
from tiphys.kubelet.account import Account
from tiphys.kubelet.admission import Abilities
from tiphys.kubelet.allocatable import allocatable, capacity, reserved
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.credentials.settings import ProviderSettings
from tiphys.kubelet.devices.keeper import DeviceKeeper
from tiphys.kubelet.files import Files
from tiphys.kubelet.gate import Gate
from tiphys.kubelet.housekeeping import Needs
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.kubelet import Kubelet
from tiphys.kubelet.life_metrics import timed
from tiphys.kubelet.machine import Machine
from tiphys.kubelet.managers import checkpoint
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.node import NodeFacts
from tiphys.kubelet.pod_cgroups import PodCgroups
from tiphys.kubelet.provisions import NodeDetails
from tiphys.kubelet.resources import Enforcement, huge_page_size
from tiphys.kubelet.runtime_health import RuntimeHealth
from tiphys.kubelet.runtimes.interface import Runtime
from tiphys.kubelet.security import MASKED_PATHS
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse

if TYPE_CHECKING:
    from tiphys.kubelet.managers.pinning import Pinning
    from tiphys.kubelet.managers.setup import ResourceManagers


@frozen
class NodeParts:
    """What tells this node from others."""

    name: str
    addresses: tuple[str, ...]
    port: int
    cgroup: str
    files: Files
    plugins: Path | None = None
    """The kubelet's directory as plugins know it (/var/lib/kubelet); None: there are none."""
    sandbox_image: str = ""
    """Never collected."""
    copies: RegistryCache | None = None
    """What is kept of what registries have."""
    mirror: str = ""
    """Host and port of the node's own registry."""
    credential_providers: ProviderSettings | None = None
    """Plugins that have credentials for images."""
    manifests: Path | None = None
    """Where the manifests of static pods are, unless the configuration says it."""


class Itself:
    """`kubelet()`: its own, once that is put together. `keeper`: of what plugins offer; `cgroups`: of its kernel."""

    def __init__(
        self,
        parts: NodeParts,
        machine: Machine,
        settings: KubeletConfiguration,
        runtime: Runtime,
        clock: Clock,
        *,
        client: Client,
        keeper: DeviceKeeper,
        cgroups: Cgroups,
        kubelet: Callable[[], Kubelet],
        metrics: KubeletMetrics,
    ) -> None:
        self.parts = parts
        self.machine = machine
        self.settings = settings
        self.runtime = runtime
        self.clock = clock
        self.client = client
        self.keeper = keeper
        self.cgroups = cgroups
        self.needs = Needs()
        self.offered: dict[str, Quantity] = allocatable(capacity(machine, settings), settings)
        self.account = Account(self.offered, fixed=settings.fixed_resources)
        self.kubelet = kubelet
        self.metrics = metrics
        metrics.present.cgroup_version.set(2 if cgroups.is_unified else 1)
        self.managers = _managers(self, metrics)
        self.pinning = self._pinning()
        self._health = RuntimeHealth(runtime, clock)

    async def look(self) -> NodeFacts:
        report = await self._health.look()
        return NodeFacts(
            self.parts.name,
            self.parts.addresses,
            self.parts.port,
            self.machine,
            report.version,
            runtime_conditions=report.conditions,
            runtime_problem=report.problem,
            images=report.images,
            runtime_handlers=report.handlers,
            supplemental_groups_policy=report.supplemental_groups_policy,
            configuration=self.settings,
            pressure=self.needs.conditions,
            devices=self.keeper.inventory.amounts(),
        )

    async def abilities(self) -> Abilities:
        report = await self._health.known()
        return Abilities(
            self.machine.has_apparmor,
            bool(report.supplemental_groups_policy),
            self.settings.allowed_unsafe_sysctls,
        )

    def gate(self) -> Gate:
        return Gate(
            self.parts.name,
            self.offered,
            self.client,
            self.kubelet,
            self.account,
            abilities=self.abilities,
            pressure=lambda: self.needs.conditions,
            devices=self.managers.allocator if self.managers else self.keeper,
            count_preemption=lambda resource: self.kubelet().host.metrics.preempted(resource),
        )

    def _pinning(self) -> Pinning | None:
        if self.managers is None or self.managers.cpus is None:
            return None
        from tiphys.kubelet.managers.pinning import Pinning

        period_seconds = self.settings.cpu_manager_reconcile_period_seconds
        return Pinning(self.managers.cpus, self.runtime, self.clock, period_seconds)

    def labels(self) -> Mapping[str, str] | None:
        """None: not known yet."""
        node = self.kubelet().node
        return meta.labels(node) if node else None

    def pod_groups(self) -> PodCgroups:
        managers = self.managers
        has_own = managers.has_own_cpus if managers else lambda uid: False
        return PodCgroups(
            self.cgroups,
            self.parts.cgroup,
            self.enforcement,
            lambda: self.kubelet().pods,
            has_own_cpus=has_own,
            timed=timed(self.clock, self.metrics.making.group_changed),
        )

    @property
    def details(self) -> NodeDetails:
        return NodeDetails(
            self.parts.name,
            self.parts.addresses,
            allocatable=self.offered,
            enforced=self.enforcement,
            masked_paths=(*MASKED_PATHS, *self.machine.thermal_paths),
            seccomp_default=self.settings.seccomp_default,
        )

    @property
    def enforcement(self) -> Enforcement:
        return Enforcement(
            self.machine.memory_bytes,
            cpu_cfs_quota=self.settings.cpu_cfs_quota,
            pids_limit=max(self.settings.pod_pids_limit, 0),
            is_unified=self.cgroups.is_unified,
            huge_page_sizes=tuple(huge_page_size(parse(size).value) for size in self.machine.huge_page_bytes),
        )


def _managers(itself: Itself, metrics: KubeletMetrics) -> ResourceManagers | None:
    """None, and nothing of theirs loaded, where no policy asks for them. Raises CannotStart."""
    directory = itself.parts.files.directory
    if not itself.settings.has_managers:
        checkpoint.read_none(directory)
        return None
    from tiphys.kubelet.managers.setup import ResourceManagers

    def holders() -> set[str] | None:
        return itself.kubelet().holders

    kept = reserved(capacity(itself.machine, itself.settings), itself.settings)
    return ResourceManagers(
        itself.settings, directory, kept, itself.keeper, holders, metrics=metrics.managers
    )
