"""What a pod's view of the runtime makes of events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from tiphys.kubelet.runtime_view import Heard, RuntimeView
from tiphys.kubelet.runtimes.interface import ContainerConfig, ContainerEvent, SandboxConfig
from tiphys.kubelet.runtimes.simulated import SimulatedRuntime
from tiphys.testing.clock import FakeClock

IMAGE = "docker.io/library/busybox:latest"


def event(id: str, kind: Literal["started", "exited", "oom"]) -> ContainerEvent:
    return ContainerEvent(id, kind, datetime(2026, 1, 1, tzinfo=UTC))


async def test_events_of_what_was_seen_already_are_no_news() -> None:
    runtime = SimulatedRuntime(FakeClock())
    await runtime.pull_image(IMAGE)
    config = SandboxConfig(name="p", namespace="default", uid="u", log_directory="/logs")
    sandbox = await runtime.run_sandbox(config)
    view = RuntimeView(runtime, lambda status: "")
    assert view.hear(event(sandbox, "started")) is Heard.OF_NOBODY
    view.mark_sandbox(sandbox)
    await view.refresh()
    assert view.hear(event(sandbox, "started")) is Heard.NOTHING_NEW

    container = await runtime.create_container(sandbox, ContainerConfig(name="c", image=IMAGE), config)
    view.mark_sandbox(sandbox)
    await view.refresh()
    await runtime.start_container(container)
    assert view.hear(event(container, "started")) is Heard.NEWS, "it was only created"
    await view.refresh()
    assert view.hear(event(container, "started")) is Heard.NOTHING_NEW
    for kind in ("oom", "exited"):
        assert view.hear(event(container, kind)) is Heard.NEWS  # type: ignore[arg-type]
    await runtime.close()
