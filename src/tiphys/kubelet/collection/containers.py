"""Removes dead containers, with their logs, on a node that is short of disk: earlier lives, and all that is left of pods at their end.

Otherwise each container's last two lives are kept (`plan.KEPT_LIVES`), for whoever reads logs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from tiphys.kubelet import spec
from tiphys.kubelet.runtimes.interface import RuntimeFailure
from tiphys.kubelet.seen import SeenContainer
from tiphys.kubelet.spec import Object
from tiphys.kubelet.worker import PodWorker

log = logging.getLogger(__name__)


def dead(pod: Object, containers: Sequence[SeenContainer]) -> list[str]:
    """Ids of those that nobody needs. `containers`: newest first."""
    is_over = spec.is_finished(pod)
    found, known = [], set()
    for container in containers:
        status = container.status
        if container.has_exited and (is_over or status.name in known):
            found.append(status.id)
        known.add(status.name)
    return found


async def remove_dead(workers: Iterable[PodWorker]) -> None:
    for worker in list(workers):
        for id in dead(worker.pod, worker.view.containers):
            try:
                await worker.remove_container(id)
            except RuntimeFailure as error:
                log.warning("cannot remove container %s: %s", id, error.message)
