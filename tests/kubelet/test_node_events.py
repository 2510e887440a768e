"""What a node tells of itself: that its kubelet starts, and each change of its conditions, in upstream's words."""

from __future__ import annotations

import asyncio

from node_world import StrategicAPI

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.resources import EVENTS, NODES
from tiphys.kubelet.hollow import simulated_machine
from tiphys.kubelet.node import NodeFacts, condition_events
from tiphys.kubelet.node_agent import NodeAgent
from tiphys.kubelet.runtimes.interface import Version
from tiphys.machinery import meta
from tiphys.testing.clock import FakeClock


class Node:
    def __init__(self, clock: FakeClock) -> None:
        self.problem = ""
        self.clock = clock
        self.api = StrategicAPI(clock=clock)
        self.recorder = EventRecorder(Client(self.api), "kubelet", clock=clock, host="n1")
        self.agent = NodeAgent(Client(self.api), self.look, clock, recorder=self.recorder)

    async def look(self) -> NodeFacts:
        version = Version("containerd", "1.6", "v1")
        return NodeFacts("n1", (), 10250, simulated_machine(), version, runtime_problem=self.problem)

    async def told(self) -> list[tuple[str, str]]:
        """Since the last time."""
        await self.recorder.flush()
        events = sorted(self.api.objects(EVENTS), key=lambda event: int(meta.name(event)[3:], 16))
        for event in events:
            assert event["involvedObject"] == {"kind": "Node", "apiVersion": "v1", "name": "n1", "uid": "n1"}
            await Client(self.api).delete(EVENTS, meta.name(event), "default")
        return [(event["reason"], event["message"]) for event in events]


async def test_a_node_tells_of_its_beginning_and_of_its_changes() -> None:
    node = Node(FakeClock())
    await node.agent.register()
    running = asyncio.create_task(node.agent.run())
    assert await node.told() == [
        ("Starting", "Starting kubelet."),
        ("NodeHasSufficientMemory", "Node n1 status is now: NodeHasSufficientMemory"),
        ("NodeHasNoDiskPressure", "Node n1 status is now: NodeHasNoDiskPressure"),
        ("NodeHasSufficientPID", "Node n1 status is now: NodeHasSufficientPID"),
        ("NodeReady", "Node n1 status is now: NodeReady"),
    ]
    node.problem = "container runtime is down"
    await node.clock.advance(15)
    assert await node.told() == [("NodeNotReady", "Node n1 status is now: NodeNotReady")]
    node.problem = ""
    await node.clock.advance(15)
    assert await node.told() == [("NodeReady", "Node n1 status is now: NodeReady")]
    await node.clock.advance(400)
    assert await node.told() == []
    assert len(node.api.objects(NODES)) == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await node.recorder.stop()


def test_conditions_of_others_are_not_its_affair() -> None:
    new = {
        "conditions": [{"type": "NetworkUnavailable", "status": "False"}, {"type": "Ready", "status": "True"}]
    }
    assert condition_events({"conditions": [{"type": "Ready", "status": "Unknown"}]}, new) == ["NodeReady"]
    assert condition_events(new, new) == []
