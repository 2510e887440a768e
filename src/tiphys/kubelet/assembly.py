"""Puts the kubelet of one real node together: the one place that knows all its parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import field
from pathlib import Path
from random import Random

from tiphys.client.cache import Cache
from tiphys.client.client import Client
from tiphys.client.events import WARNING, EventRecorder
from tiphys.kubelet.admission import Abilities
from tiphys.kubelet.allocatable import allocatable, capacity
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.devices.keeper import PLUGINS, POD_RESOURCES, SOCKET, DeviceKeeper
from tiphys.kubelet.devices.pod_resources import PodResources
from tiphys.kubelet.eviction.evictor import MONITORING_SECONDS
from tiphys.kubelet.files import Files
from tiphys.kubelet.gate import Gate
from tiphys.kubelet.hooks import Hooks, get
from tiphys.kubelet.host import Host
from tiphys.kubelet.housekeeping import Housekeeping, Needs
from tiphys.kubelet.images.pull_records import PullRecords
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.kubelet import Chore, Kubelet
from tiphys.kubelet.machine import Machine, read_machine
from tiphys.kubelet.metrics import KubeletMetrics, ProbeMetrics, PullMetrics
from tiphys.kubelet.node import NodeFacts
from tiphys.kubelet.node_agent import NodeAgent
from tiphys.kubelet.node_volumes import InThread, NodeVolumes
from tiphys.kubelet.pod_cgroups import PodCgroups
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.probes.prober import ProbeManager
from tiphys.kubelet.provisions import NodeDetails, NodeProvisions
from tiphys.kubelet.pulling import ImagePuller
from tiphys.kubelet.references import References
from tiphys.kubelet.resizing import Ledger
from tiphys.kubelet.resources import Enforcement, huge_page_size
from tiphys.kubelet.runtime_health import RuntimeHealth
from tiphys.kubelet.runtimes.interface import Runtime
from tiphys.kubelet.security import MASKED_PATHS
from tiphys.kubelet.spec import Object
from tiphys.kubelet.static_pods.sources import configured
from tiphys.kubelet.static_pods.static_pods import StaticPods
from tiphys.kubelet.stats.disk_usage import DiskMeter
from tiphys.kubelet.stats.meter import NodeMeter
from tiphys.kubelet.volumes.mounting import Mounter, SystemMounter
from tiphys.kubelet.volumes.tokens import Tokens
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quantity import Quantity, parse

log = logging.getLogger(__name__)


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
    manifests: Path | None = None
    """Where the manifests of static pods are, unless the configuration says it."""


@frozen
class _Itself:
    """What the node knows of itself: for the API, and for pods that want to run on it."""

    parts: NodeParts
    machine: Machine
    settings: KubeletConfiguration
    health: RuntimeHealth
    keeper: DeviceKeeper
    needs: Needs = field(default_factory=Needs)

    async def look(self) -> NodeFacts:
        report = await self.health.look()
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
        report = await self.health.known()
        return Abilities(
            self.machine.has_apparmor,
            bool(report.supplemental_groups_policy),
            self.settings.allowed_unsafe_sysctls,
        )

    def gate(self, client: Client, inhabitants: Callable[[], Kubelet]) -> Gate:
        return Gate(
            self.parts.name,
            self.offered,
            client,
            inhabitants,
            abilities=self.abilities,
            pressure=lambda: self.needs.conditions,
            devices=self.keeper,
            count_preemption=lambda resource: inhabitants().host.metrics.preempted(resource),
        )

    @property
    def offered(self) -> dict[str, Quantity]:
        return allocatable(capacity(self.machine, self.settings), self.settings)


def assemble(
    parts: NodeParts,
    client: Client,
    runtime: Runtime,
    pods: Cache,
    *,
    services: Cache,
    recorder: EventRecorder,
    clock: Clock,
    configuration: KubeletConfiguration | None = None,
    metrics: KubeletMetrics | None = None,
    cgroups: Cgroups | None = None,
    mounter: Mounter | None = None,
    in_thread: InThread = asyncio.to_thread,
    monitoring_seconds: float = MONITORING_SECONDS,
    until_known: Callable[[], Awaitable[None]] | None = None,
) -> Kubelet:
    """A kubelet that is not started yet."""
    settings = configuration or KubeletConfiguration()
    metrics = metrics or KubeletMetrics()
    machine = read_machine(parts.files.directory)
    kubelets: list[Kubelet] = []
    enforced = _enforcement(machine, settings, cgroups := cgroups or Cgroups())
    pod_groups = PodCgroups(cgroups, parts.cgroup, enforced, lambda: kubelets[0].pods)
    keeper = _keeper(parts, clock, lambda: kubelets[0], metrics)
    itself = _Itself(parts, machine, settings, RuntimeHealth(runtime, clock), keeper)
    references = References(client, clock, lambda uids: kubelets[0].retry(uids))
    volumes = NodeVolumes(
        parts.files,
        references,
        Tokens(client, clock),
        runtime=runtime,
        mounter=mounter or SystemMounter(),
        clock=clock,
        in_thread=in_thread,
    )
    provisions = NodeProvisions(
        _details(parts, machine, settings, enforced),
        parts.files,
        references,
        runtime=runtime,
        services=services,
        cgroups=pod_groups,
        volumes=volumes,
        devices=keeper,
    )
    host = Host(
        node=parts.name,
        ips=parts.addresses,
        client=client,
        runtime=runtime,
        recorder=recorder,
        images=_puller(parts, runtime, settings, clock, metrics.pulls),
        provisions=provisions,
        prober=_prober(runtime, clock, kubelets, metrics.probes),
        hooks=Hooks(runtime, clock, get),
        meter=_meter(parts, machine, DiskMeter(parts.files, runtime, clock, volumes.claimed), clock),
        clock=clock,
        admit=itself.gate(client, lambda: kubelets[0]).admit,
        ledger=Ledger(itself.offered),
        metrics=metrics,
        device_health=keeper.health,
    )
    agent = NodeAgent(client, itself.look, clock, recorder=recorder)
    static = _static_pods(parts, host, settings, lambda: kubelets[0])
    kubelets.append(Kubelet(host, pods, agent, static=static, until_known=until_known))
    house = _house(parts, kubelets[0], agent, itself)
    plugins = _plugin_chores(parts, keeper, kubelets[0])
    kubelets[0].chores += [*plugins, *house.chores(pod_groups, machine, monitoring_seconds)]
    return kubelets[0]


def _static_pods(
    parts: NodeParts, host: Host, settings: KubeletConfiguration, kubelet: Callable[[], Kubelet]
) -> StaticPods:
    def complain(problem: str) -> None:
        log.error("static pod: %s", problem)
        host.record_node(WARNING, "InvalidStaticPod", problem)

    sources = configured(settings, parts.name, parts.manifests, host.clock, complain)
    return StaticPods(host, sources, kubelet)


def _house(parts: NodeParts, kubelet: Kubelet, agent: NodeAgent, itself: _Itself) -> Housekeeping:
    pinned = (parts.sandbox_image,)
    return Housekeeping(kubelet, agent, itself.settings, itself.needs, pinned, copies=parts.copies)


def _prober(runtime: Runtime, clock: Clock, kubelets: list[Kubelet], metrics: ProbeMetrics) -> ProbeManager:
    """Of the kubelet that will be the only one in the list."""

    def tell(pod: Object, container: str, reason: str, message: str) -> None:
        kubelets[0].host.record(pod, WARNING, reason, message, container)

    def wake(uid: str) -> None:
        kubelets[0].wake(uid)

    return ProbeManager(Handlers(runtime), clock, wake, tell, random=Random(), metrics=metrics)


def _keeper(
    parts: NodeParts, clock: Clock, kubelet: Callable[[], Kubelet], metrics: KubeletMetrics
) -> DeviceKeeper:
    return DeviceKeeper(
        (parts.plugins or parts.files.directory) / PLUGINS,
        clock,
        active=lambda: kubelet().active_pods,
        on_change=lambda: kubelet().node_changed(),
        metrics=metrics,
    )


def _plugin_chores(parts: NodeParts, keeper: DeviceKeeper, kubelet: Kubelet) -> list[Chore]:
    if parts.plugins is None:
        return []
    socket = parts.plugins / POD_RESOURCES / SOCKET
    return [keeper.run, PodResources(socket, keeper, lambda: kubelet.active_pods).run]


def _meter(parts: NodeParts, machine: Machine, disks: DiskMeter, clock: Clock) -> NodeMeter:
    return NodeMeter(parts.cgroup, disks, clock, machine=machine, sandbox_image=parts.sandbox_image)


def _puller(
    parts: NodeParts, runtime: Runtime, settings: KubeletConfiguration, clock: Clock, metrics: PullMetrics
) -> ImagePuller:
    records = PullRecords(clock.now, parts.files.directory, settings.verification)
    return ImagePuller(
        runtime, clock, limits=settings.pull_limits, records=records, mirror=parts.mirror, metrics=metrics
    )


def _details(
    parts: NodeParts, machine: Machine, settings: KubeletConfiguration, enforced: Enforcement
) -> NodeDetails:
    return NodeDetails(
        parts.name,
        parts.addresses,
        allocatable=allocatable(capacity(machine, settings), settings),
        enforced=enforced,
        masked_paths=(*MASKED_PATHS, *machine.thermal_paths),
        seccomp_default=settings.seccomp_default,
    )


def _enforcement(machine: Machine, settings: KubeletConfiguration, cgroups: Cgroups) -> Enforcement:
    return Enforcement(
        machine.memory_bytes,
        cpu_cfs_quota=settings.cpu_cfs_quota,
        pids_limit=max(settings.pod_pids_limit, 0),
        is_unified=cgroups.is_unified,
        huge_page_sizes=tuple(huge_page_size(parse(size).value) for size in machine.huge_page_bytes),
    )
