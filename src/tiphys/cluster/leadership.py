"""A program of the control plane that acts only while it has its Lease in kube-system, as kube-controller-manager and kube-scheduler do.

Here they are in one process with the API server, and nobody competes; but a second one may come (upstream's, for instance), and people
and their tools look at the Lease to see who leads. Started by `Components`; ended by cancellation: then the work ends, and after it
the lease is given up, so that the next one begins at once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable

from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.leases import ElectionTimes, LeaderElector
from tiphys.machinery.clock import Clock, within
from tiphys.machinery.frozen import frozen
from tiphys.machinery.metrics import Registry

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
RELEASE_SECONDS = 2.0
"""Who ends does not wait longer for a store that takes nothing."""
_TIMES = ElectionTimes(renew_seconds=5.0)
"""Upstream renews every 2 s. The lease is good for 15 s all the same, and a cluster in which nothing happens shall cost nothing."""


@frozen
class Program:
    """`name`: of its lease. `source`: of its events. `begin`, `end`: its work."""

    name: str
    source: str
    begin: Callable[[], None]
    end: Callable[[], Awaitable[None]]


async def lead(
    program: Program, client: Client, identity: str, *, clock: Clock, metrics: Registry | None = None
) -> None:
    """For ever: waits for the lease, works while it has it.

    `identity` is the same after a restart: whoever opened the store knows that the one before him is gone, and need not wait until
    his lease is over.
    """
    elector = LeaderElector(
        client, program.name, NAMESPACE, identity, clock=clock, times=_TIMES, metrics=metrics
    )
    recorder = EventRecorder(client, program.source, clock=clock)
    try:
        while True:
            await elector.acquire()
            program.begin()
            recorder.record(elector.reference, "Normal", "LeaderElection", f"{identity} became leader")
            await elector.hold()
            log.error("%s has lost its lease; it waits until it has it again", program.name)
            await program.end()
    finally:
        await program.end()
        await recorder.stop()
        with contextlib.suppress(TimeoutError):
            await within(clock, RELEASE_SECONDS, elector.release())
