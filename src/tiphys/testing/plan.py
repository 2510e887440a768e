"""What a test cluster's control plane is to be: plain data, on its way to a thread or a process."""

from __future__ import annotations

from tiphys.machinery.frozen import frozen


@frozen
class Plan:
    """`directory`: where certificates and logs of pods go."""

    directory: str
    nodes: tuple[str, ...] = ("node-1",)
    controllers: str = "*"
    scheduler: bool = True
    speed: float = 1.0
    start: str = ""
    """When its time begins, RFC 3339; empty: now."""
    port: int = 0
