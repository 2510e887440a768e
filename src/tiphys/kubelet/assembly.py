"""Puts the kubelet of one real node together: the one place that knows all its parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random

from tiphys.client.cache import Cache
from tiphys.client.client import Client
from tiphys.client.events import WARNING, EventRecorder
from tiphys.kubelet.cgroups import Cgroups
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.devices.keeper import PLUGINS, POD_RESOURCES, SOCKET, DeviceKeeper
from tiphys.kubelet.devices.pod_resources import PodResources
from tiphys.kubelet.eviction.evictor import MONITORING_SECONDS
from tiphys.kubelet.hooks import Hooks, get
from tiphys.kubelet.host import Host
from tiphys.kubelet.housekeeping import Housekeeping
from tiphys.kubelet.images.pull_records import PullRecords
from tiphys.kubelet.kubelet import Chore, Kubelet
from tiphys.kubelet.life_metrics import timed
from tiphys.kubelet.machine import Machine, read_machine
from tiphys.kubelet.metrics import KubeletMetrics, ProbeMetrics, PullMetrics
from tiphys.kubelet.node_agent import NodeAgent
from tiphys.kubelet.node_itself import Itself, NodeParts
from tiphys.kubelet.node_volumes import InThread, NodeVolumes
from tiphys.kubelet.pod_cgroups import PodCgroups
from tiphys.kubelet.probes.handlers import Handlers
from tiphys.kubelet.probes.prober import ProbeManager
from tiphys.kubelet.provisions import NodeProvisions, Providers
from tiphys.kubelet.pulling import ImagePuller
from tiphys.kubelet.references import References
from tiphys.kubelet.runtimes.interface import Runtime
from tiphys.kubelet.spec import Object
from tiphys.kubelet.static_pods.sources import configured
from tiphys.kubelet.static_pods.static_pods import StaticPods
from tiphys.kubelet.stats.disk_usage import DiskMeter
from tiphys.kubelet.stats.meter import NodeMeter
from tiphys.kubelet.volumes.mounting import Mounter, SystemMounter
from tiphys.kubelet.volumes.tokens import Tokens
from tiphys.machinery.clock import Clock

log = logging.getLogger(__name__)


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
    keeper = _keeper(parts, clock, lambda: kubelets[0], metrics)
    itself = Itself(
        parts,
        machine,
        settings,
        runtime,
        clock,
        client=client,
        keeper=keeper,
        cgroups=cgroups or Cgroups(),
        kubelet=lambda: kubelets[0],
        metrics=metrics,
    )
    pod_groups = itself.pod_groups()
    references = References(client, clock, lambda uids: kubelets[0].retry(uids))
    volumes = _volumes(itself, references, mounter or SystemMounter(), in_thread)
    provisions = _provisions(itself, pod_groups, references, volumes, services)
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
        admit=itself.gate().admit,
        account=itself.account,
        metrics=metrics,
        device_health=keeper.health,
        crash_loop=settings.crash_loop,
    )
    agent = NodeAgent(client, itself.look, clock, recorder=recorder)
    static = _static_pods(parts, host, settings, lambda: kubelets[0])
    kubelets.append(Kubelet(host, pods, agent, static=static, until_known=until_known))
    house = _house(parts, kubelets[0], agent, itself)
    plugins = _plugin_chores(itself, kubelets[0])
    kubelets[0].chores += [*plugins, *house.chores(pod_groups, machine, monitoring_seconds)]
    kubelets[0].chores += _pinning_chores(itself, kubelets[0])
    return kubelets[0]


def _volumes(itself: Itself, references: References, mounter: Mounter, in_thread: InThread) -> NodeVolumes:
    return NodeVolumes(
        itself.parts.files,
        references,
        Tokens(itself.client, itself.clock),
        runtime=itself.runtime,
        mounter=mounter,
        clock=itself.clock,
        in_thread=in_thread,
        node_labels=itself.labels,
        timed=timed(itself.clock, itself.metrics.making.volume_made),
    )


def _providers(itself: Itself, volumes: NodeVolumes) -> Providers | None:
    settings = itself.parts.credential_providers
    if settings is None:
        return None
    from tiphys.kubelet.credentials.providers import CredentialProviders

    return CredentialProviders(
        settings, itself.client, volumes.tokens, itself.clock, itself.metrics.providers
    ).credentials


def _provisions(
    itself: Itself, groups: PodCgroups, references: References, volumes: NodeVolumes, services: Cache
) -> NodeProvisions:
    return NodeProvisions(
        itself.details,
        itself.parts.files,
        references,
        runtime=itself.runtime,
        services=services,
        cgroups=groups,
        volumes=volumes,
        devices=itself.keeper,
        providers=_providers(itself, volumes),
        managers=itself.managers,
    )


def _static_pods(
    parts: NodeParts, host: Host, settings: KubeletConfiguration, kubelet: Callable[[], Kubelet]
) -> StaticPods:
    def complain(problem: str) -> None:
        log.error("static pod: %s", problem)
        host.record_node(WARNING, "InvalidStaticPod", problem)

    sources = configured(settings, parts.name, parts.manifests, host.clock, complain)
    return StaticPods(host, sources, kubelet)


def _house(parts: NodeParts, kubelet: Kubelet, agent: NodeAgent, itself: Itself) -> Housekeeping:
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
        holders=lambda: kubelet().holders,
        on_change=lambda: kubelet().node_changed(),
        metrics=metrics,
    )


def _plugin_chores(itself: Itself, kubelet: Kubelet) -> list[Chore]:
    if itself.parts.plugins is None:
        return []
    socket = itself.parts.plugins / POD_RESOURCES / SOCKET
    agents = PodResources(socket, itself.keeper, lambda: kubelet.active_pods, itself.managers)
    return [itself.keeper.run, agents.run]


def _pinning_chores(itself: Itself, kubelet: Kubelet) -> list[Chore]:
    pinning = itself.pinning
    if pinning is None:
        return []
    return [lambda: pinning.run(lambda: kubelet.workers, lambda: kubelet.holders)]


def _meter(parts: NodeParts, machine: Machine, disks: DiskMeter, clock: Clock) -> NodeMeter:
    return NodeMeter(parts.cgroup, disks, clock, machine=machine, sandbox_image=parts.sandbox_image)


def _puller(
    parts: NodeParts, runtime: Runtime, settings: KubeletConfiguration, clock: Clock, metrics: PullMetrics
) -> ImagePuller:
    records = PullRecords(clock.now, parts.files.directory, settings.verification)
    return ImagePuller(
        runtime, clock, limits=settings.pull_limits, records=records, mirror=parts.mirror, metrics=metrics
    )
