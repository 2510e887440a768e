"""Messages that upstream's kubelet words, where people and tools look for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.kubelet.spec import described
from tiphys.machinery.quoting import format_duration, quote

SANDBOX_CHANGED = "Pod sandbox changed, it will be killed and re-created."


def crash_loop(pod: Mapping[str, Any], container: str, delay_seconds: float) -> str:
    return f"back-off {format_duration(delay_seconds)} restarting failed container={container} pod={described(pod)}"


def crash_loop_event(pod: Mapping[str, Any], container: str) -> str:
    return f"Back-off restarting failed container {container} in pod {described(pod)}"


def definition_changed(container: str) -> str:
    return will_be_restarted(f"Container {container} definition changed")


def resize_needs_restart(container: str) -> str:
    return f"Container {container} resize requires restart"


def will_be_restarted(why: str) -> str:
    return f"{why}, will be restarted"


def failed_probe(container: str, probe: str) -> str:
    """`probe`: "liveness" or "startup"."""
    return f"Container {container} failed {probe} probe"


IN_UNKNOWN_STATE = 'Container is in "unknown" state, try killing it before restart'


def stopping(container: str) -> str:
    return f"Stopping container {container}"


def sandbox_not_killed(uid: str, why: str) -> str:
    return f"failed to {quote('KillPodSandbox')} for {quote(uid)} with KillPodSandboxError: {quote(why)}"
