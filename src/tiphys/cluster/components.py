"""The scheduler and the controllers inside the control plane's process: one set of caches for all, an identity for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from tiphys.apiserver.local import LocalAPI
from tiphys.apiserver.version import GIT_VERSION
from tiphys.client.client import Client
from tiphys.client.inprocess import InProcessTransport
from tiphys.client.reflector import Informers
from tiphys.client.request_metrics import RequestMetrics
from tiphys.cluster.leadership import Program, lead
from tiphys.controllers import catalog
from tiphys.machinery.clock import Clock
from tiphys.machinery.metrics import Registry
from tiphys.scheduler.run import Scheduler

log = logging.getLogger(__name__)

SCHEDULER = "scheduler"
_MANAGER, _SCHEDULER = "system:kube-controller-manager", "system:kube-scheduler"
_AUTHENTICATED = "system:authenticated"
_ACCOUNTS = "system:serviceaccounts"


class Components:
    """Started after the API server, stopped before it."""

    def __init__(
        self,
        local: LocalAPI,
        clock: Clock,
        options: catalog.Options,
        switches: list[str],
        *,
        scheduler: bool = True,
        metrics: Registry | None = None,
        identity: str = "",
    ) -> None:
        """`identity`: by which they hold their leases; without one they just work."""
        self._identity = identity
        self._metrics = metrics
        self._local = local
        self._clock = clock
        self._options = options
        self._switches = switches
        self._with_scheduler = scheduler
        self._requests = RequestMetrics(metrics, clock) if metrics is not None else None
        self._informers = Informers(
            self._client(_MANAGER, "kube-controller-manager"),
            clock=clock,
            metrics=metrics,
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leading: list[asyncio.Task[None]] = []

    def _client(self, user: str, program: str, *groups: str) -> Client:
        agent = f"{program}/{GIT_VERSION}"
        transport = InProcessTransport(
            self._local, user, (*groups, _AUTHENTICATED), user_agent=agent, metrics=self._requests
        )
        return Client(transport)

    def _account_client(self, account: str) -> Client:
        if not account:
            return self._client(_MANAGER, "kube-controller-manager")
        user = f"system:serviceaccount:kube-system:{account}"
        return self._client(user, "kube-controller-manager", _ACCOUNTS, f"{_ACCOUNTS}:kube-system")

    def start(self) -> None:
        controllers = [entry.name for entry in catalog.enabled(self._switches)]
        self._lead(_MANAGER, "kube-controller-manager", "kube-controller-manager", controllers)
        if self._with_scheduler:
            self._lead(_SCHEDULER, "kube-scheduler", "default-scheduler", [SCHEDULER])

    def _lead(self, user: str, name: str, source: str, work: list[str]) -> None:
        """`name`: of the program and its lease; `source`: of its events."""

        def begin() -> None:
            for each in work:
                self.switch_on(each)

        async def end() -> None:
            await asyncio.gather(*map(self.switch_off, work))

        if not self._identity:
            begin()
            return
        program = Program(name, source, begin, end)
        leading = lead(
            program, self._client(user, name), self._identity, clock=self._clock, metrics=self._metrics
        )
        task = asyncio.get_running_loop().create_task(leading, name=name)
        task.add_done_callback(_complain)
        self._leading.append(task)

    @property
    def running(self) -> list[str]:
        return sorted(self._tasks)

    def switch_on(self, name: str) -> None:
        """Starts a controller by upstream's name, or the scheduler; nothing happens when it runs. LookupError when there is none."""
        if name in self._tasks:
            return
        if name == SCHEDULER:
            client = self._client(_SCHEDULER, "kube-scheduler")
            self._spawn(name, Scheduler(self._informers, clock=self._clock, client=client).run())
            return
        if name not in catalog.BY_NAME:
            raise LookupError(f"there is no controller {name!r}")
        client = self._account_client(catalog.BY_NAME[name].account)
        work = catalog.run(name, self._options, self._informers, clock=self._clock, client=client)
        self._spawn(name, work)

    async def switch_off(self, name: str) -> None:
        """Ends a controller, or the scheduler, as if its process had ended."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def exchange_authority(self, root_ca: str) -> None:
        """The cluster has another authority: who writes it into objects looks at all of them again."""
        self._options = replace(self._options, root_ca=root_ca)
        for name in self.running:
            entry = catalog.BY_NAME.get(name)
            if entry is not None and entry.hands_out_authority:
                await self.switch_off(name)
                self.switch_on(name)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(_complain)
        self._tasks[name] = task

    async def stop(self) -> None:
        for task in self._leading:
            task.cancel()
        await asyncio.gather(*self._leading, return_exceptions=True)
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._informers.stop()


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s ended", task.get_name(), exc_info=task.exception())
