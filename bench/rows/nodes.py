"""Many nodes, none of them real."""

from __future__ import annotations

from bench.cluster import SIMULATED, Ours
from bench.processes import resident_mib
from bench.table import Figure, Row

NODES = 1000


def all_ready(ours: Ours) -> Figure:
    """From nothing: certificates, an empty store, and every Node made and Ready."""
    with ours.cluster(*SIMULATED, "--nodes", str(NODES)) as made:
        seconds = made.up()
        memory = resident_mib(made.pids()["control-plane"])
    return Figure(seconds, f"control plane {memory:.0f} MiB then")


ROWS = [Row(f"up, new, {NODES:,} simulated nodes Ready", "s", all_ready)]
