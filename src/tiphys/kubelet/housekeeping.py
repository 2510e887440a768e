"""What keeps a real node well beside the care for single pods: logs, collection of images and containers, evictions, its conditions."""

from __future__ import annotations

from dataclasses import dataclass

from tiphys.kubelet.allocatable import capacity
from tiphys.kubelet.collection.containers import remove_dead
from tiphys.kubelet.collection.images import ImageCollector
from tiphys.kubelet.configuration import KubeletConfiguration
from tiphys.kubelet.eviction.evictor import Evictor
from tiphys.kubelet.eviction.memory_alarm import MemoryAlarm
from tiphys.kubelet.images.registry_cache import RegistryCache
from tiphys.kubelet.kubelet import Chore, Kubelet
from tiphys.kubelet.log_rotation import LogRotation
from tiphys.kubelet.machine import Machine
from tiphys.kubelet.node_agent import NodeAgent
from tiphys.kubelet.pod_cgroups import PodCgroups
from tiphys.machinery.quantity import from_value


@dataclass(slots=True)
class Needs:
    """What the node is short of now: MemoryPressure and its like. Written by evictions; read by the node's status and its gate."""

    conditions: tuple[str, ...] = ()


class Housekeeping:
    """Of one node. `pinned`: names of images that stay; `copies`: what is kept of what registries have."""

    def __init__(
        self,
        kubelet: Kubelet,
        agent: NodeAgent,
        configuration: KubeletConfiguration,
        needs: Needs,
        pinned: tuple[str, ...],
        *,
        copies: RegistryCache | None = None,
    ) -> None:
        self._kubelet = kubelet
        self._agent = agent
        self._configuration = configuration
        self._needs = needs
        host = kubelet.host
        self._images = ImageCollector(
            host.runtime,
            host.meter,
            configuration,
            host.clock,
            record=host.record_node,
            pinned=pinned,
            copies=copies,
            forget=host.images.forget_missing,
            count=host.metrics.image_collected,
        )

    def chores(self, groups: PodCgroups, machine: Machine, monitoring_seconds: float) -> tuple[Chore, ...]:
        host = self._kubelet.host
        rotation = LogRotation(host.runtime, self._kubelet.running, host.clock, self._configuration.rotation)
        evictions = Evictor(
            self._kubelet,
            host.meter,
            self._configuration,
            host.clock,
            reclaim=self._reclaim,
            record=host.record_node,
            on_change=self._change,
            count=host.metrics.evicted,
            monitoring_seconds=monitoring_seconds,
            alarm=MemoryAlarm(groups.memory()) if self._configuration.kernel_memcg_notification else None,
        )

        async def enforce() -> None:
            configuration = self._configuration
            amounts = capacity(machine, configuration)
            if machine.process_limit:
                # Not among what the API shows of a node, but it can be reserved.
                amounts["pid"] = from_value(machine.process_limit)
            groups.enforce_allocatable(amounts, configuration, host.record_node)

        return enforce, rotation.run, self._images.run, evictions.run

    async def _reclaim(self) -> None:
        await remove_dead(self._kubelet.workers)
        await self._images.remove_unused()

    def _change(self, conditions: tuple[str, ...]) -> None:
        self._needs.conditions = conditions
        self._agent.check_now()
