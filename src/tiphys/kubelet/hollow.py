"""Hollow nodes: kubelets over the simulated runtime, thousands of them in one process, on one connection and one cache of pods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from tiphys.client.cache import Cache
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.kubelet.account import Account
from tiphys.kubelet.admission import Abilities
from tiphys.kubelet.allocatable import allocatable, capacity
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction.evictor import Evictor
from tiphys.kubelet.gate import Gate
from tiphys.kubelet.hooks import Hooks
from tiphys.kubelet.host import Host, Prober
from tiphys.kubelet.housekeeping import Needs
from tiphys.kubelet.kubelet import Kubelet
from tiphys.kubelet.machine import Machine, simulated_machine
from tiphys.kubelet.metrics import KubeletMetrics
from tiphys.kubelet.node import NodeFacts
from tiphys.kubelet.node_agent import Look, NodeAgent
from tiphys.kubelet.pulling import UNLIMITED, ImagePuller
from tiphys.kubelet.references import References
from tiphys.kubelet.runtimes.interface import ContainerStatus
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.kubelet.seen import Health
from tiphys.kubelet.simulated_provisions import SimulatedProvisions
from tiphys.kubelet.simulated_references import SimulatedReferences
from tiphys.kubelet.spec import Object
from tiphys.kubelet.static_pods.sources import Source
from tiphys.kubelet.static_pods.static_pods import StaticPods
from tiphys.kubelet.stats.simulated_meter import SimulatedMeter
from tiphys.kubelet.stats.usage import NodeUsage
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen

START_DELAY_SECONDS = 0.05
LEASE_SECONDS = 120
"""Renewed every 30 s, well within the 50 s after which a node counts as lost: a thousand nodes cost 33 writes a second."""


@frozen
class HollowNode:
    """`number` keeps its pods' addresses apart from those of others."""

    name: str
    number: int
    addresses: tuple[str, ...]
    port: int


class NoProber:
    """Containers without processes are well."""

    def update(self, pod: Object, running: Mapping[str, ContainerStatus], ips: tuple[str, ...]) -> None:
        pass

    def health(self, uid: str) -> Mapping[str, Health]:
        return {}

    def forget(self, uid: str) -> None:
        pass


def hollow_kubelet(
    node: HollowNode,
    client: Client,
    pods: Cache,
    clock: Clock,
    *,
    runtime: SimulatedRuntime | None = None,
    recorder: EventRecorder | None = None,
    machine: Machine | None = None,
    configuration: KubeletConfiguration | None = None,
    metrics: KubeletMetrics | None = None,
    prober: Prober | None = None,
    logs: Path | None = None,
    sources: Sequence[Source] = (),
    until_known: Callable[[], Awaitable[None]] | None = None,
) -> Kubelet:
    """A kubelet that is not started yet. `logs`: where its pods' logs are, if they have any; `sources`: of static pods."""
    runtime = runtime or SimulatedRuntime(clock, number=node.number, start_delay_seconds=START_DELAY_SECONDS)
    machine = machine or simulated_machine()
    settings = configuration or KubeletConfiguration()

    async def abilities() -> Abilities:
        return Abilities(
            has_apparmor=True,
            supplemental_groups_policy=True,
            unsafe_sysctls=settings.allowed_unsafe_sysctls,
        )

    needs = Needs()
    metrics = metrics or KubeletMetrics()
    kubelets: list[Kubelet] = []
    references = SimulatedReferences(References(client, clock, lambda uids: kubelets[0].retry(uids)))
    offered = allocatable(capacity(machine, settings), settings)
    account = Account(offered)
    host = Host(
        node=node.name,
        ips=node.addresses,
        client=client,
        runtime=runtime,
        recorder=recorder or EventRecorder(client, "kubelet", clock=clock, host=node.name),
        images=ImagePuller(runtime, clock, limits=UNLIMITED, metrics=metrics.pulls),
        provisions=SimulatedProvisions(references, logs),
        prober=prober or NoProber(),
        hooks=Hooks(runtime, clock, get=None),
        meter=SimulatedMeter(runtime, machine, clock),
        clock=clock,
        admit=Gate(
            node.name,
            offered,
            client,
            lambda: kubelets[0],
            account,
            abilities=abilities,
            pressure=lambda: needs.conditions,
        ).admit,
        account=account,
        metrics=metrics,
        crash_loop=settings.crash_loop,
    )
    look = _look(node, runtime, machine, settings, needs)
    agent = NodeAgent(client, look, clock, check_seconds=0, lease_seconds=LEASE_SECONDS)
    static = StaticPods(host, sources, lambda: kubelets[0]) if sources else None
    kubelets.append(Kubelet(host, pods, agent, static=static, until_known=until_known, relist_seconds=0))
    if settings.thresholds != KubeletConfiguration().thresholds:
        # With the usual ones a simulated node is never in need: thousands of them need not look.
        kubelets[0].chores.append(_evictor(kubelets[0], agent, settings, needs).run)
    return kubelets[0]


def _look(
    node: HollowNode,
    runtime: SimulatedRuntime,
    machine: Machine,
    settings: KubeletConfiguration,
    needs: Needs,
) -> Look:
    async def look() -> NodeFacts:
        status = await runtime.status()
        return NodeFacts(
            node.name,
            node.addresses,
            node.port,
            machine,
            await runtime.version(),
            runtime_conditions=status.conditions,
            runtime_handlers=status.handlers,
            supplemental_groups_policy=status.supplemental_groups_policy,
            configuration=settings,
            pressure=needs.conditions,
        )

    return look


def _evictor(kubelet: Kubelet, agent: NodeAgent, settings: KubeletConfiguration, needs: Needs) -> Evictor:
    host = kubelet.host

    def change(conditions: tuple[str, ...]) -> None:
        needs.conditions = conditions
        agent.check_now()

    def node() -> NodeUsage:
        # A simulated node uses what its pods were last seen to use.
        host.meter.pods(kubelet.measured())
        return host.meter.node()

    async def reclaim() -> None:
        """Images that are not there take no room."""

    return Evictor(
        kubelet,
        host.meter,
        settings,
        host.clock,
        reclaim=reclaim,
        record=host.record_node,
        on_change=change,
        count=host.metrics.evicted,
        node=node,
    )
