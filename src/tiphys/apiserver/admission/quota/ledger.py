"""The books of quotas: a charge is in `status.used`, durably, before the object that it is for is written.

Creations that come together are judged together, one namespace at a time, each against what the earlier ones have been granted;
then every quota that changes is written once, and only if nobody else has written it meanwhile. So parallel creations can never
use more than there is. When the object is not written after all, its charge is taken back.

The controller recounts what exists and writes what it found. It may have missed an object that was charged and not yet written
when it looked: such charges stay open here, and what is written while there are any is held against the truth (`amend`).
docs/decisions/0007-admission.md says why this is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tiphys.api.core.quotas.amounts import Amounts, added, read, written
from tiphys.api.resource import Object
from tiphys.apiserver.admission.quota.decision import Quota
from tiphys.machinery import errors
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupResource

TRIES = 30
UNDER_WAY = 1000
"""A write whose client has gone is in the store before so many others are."""
_QUOTAS = GroupResource("", "resourcequotas")
Judge = Callable[[list[Quota]], Mapping[str, Amounts]]
"""Given the quotas as they will be, what the write uses more of each, by name. Raises when it may not."""


class Stale(Exception):
    """Somebody else has written the quota."""


class Books(Protocol):
    """Where the quotas are."""

    def quotas(self, namespace: str) -> list[Object]:
        """As they are now, with their resourceVersions."""

    def revision(self) -> int:
        """Everything up to here can be seen by everybody."""

    async def write_used(self, quota: Object, used: Mapping[str, str]) -> int:
        """Replaces `status.used` of exactly this state of a quota and gives the new revision. Raises Stale."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something beside the requests."""


@frozen
class Kind:
    """What a write is of. `count`: what all objects of the kind that are there use of a quota."""

    resource: GroupResource
    count: Callable[[Object], Amounts]


@dataclass(eq=False, slots=True)
class Charge:
    """What one write uses of one quota (its uid). `settled`: by this revision the write is visible; None while under way.

    `base`: the quota as it was when this was added to it. Later states have it in.
    """

    quota: str
    kind: Kind
    amounts: Amounts
    base: int
    settled: int | None = None

    def is_settled(self, revision: int) -> bool:
        """Whether everybody who looked at this revision has seen what was written."""
        return self.settled is not None and self.settled <= revision


@dataclass(eq=False, slots=True)
class _Request:
    kind: Kind
    judge: Judge
    answer: asyncio.Future[list[Charge]]
    granted: dict[str, Charge] = field(default_factory=dict)
    """By quota (uid): what is in its status already."""


class Ledger:
    def __init__(self, books: Books) -> None:
        self._books = books
        self._waiting: dict[str, list[_Request]] = {}
        """By namespace; a namespace is here as long as somebody works on it."""
        self._open: dict[str, list[Charge]] = {}
        """By quota (uid): charges that a recount may not see."""

    async def charge(self, namespace: str, kind: Kind, judge: Judge) -> list[Charge]:
        """Charges a write to the quotas of its namespace. What comes back must be settled. Raises what `judge` raises."""
        answer: asyncio.Future[list[Charge]] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(namespace)
        if waiting is None:
            waiting = self._waiting[namespace] = []
            self._books.spawn(self._work(namespace))
        waiting.append(_Request(kind, judge, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self.settle(namespace, answer.result(), done=False)  # the client went at the same moment
            raise

    def settle(self, namespace: str, charges: list[Charge], *, done: bool, seen: bool = True) -> None:
        """The charged write is over. `done` False: nothing was written. `seen` False: nobody waited for the end of it."""
        if not done:
            self._books.spawn(self._give_back(namespace, charges))
            return
        revision = self._books.revision() + (0 if seen else UNDER_WAY)
        for charge in charges:
            charge.settled = revision

    def amend(self, quota: Object, used: Mapping[str, str]) -> Mapping[str, str]:
        """What somebody else wants to write as the `status.used` of this state of a quota, with all that they may have missed."""
        uid, revision = quota["metadata"]["uid"], int(quota["metadata"]["resourceVersion"])
        missed = [
            charge
            for charge in self._open.get(uid, ())
            if charge.base < revision and not charge.is_settled(revision)
        ]
        if not missed:
            return used
        amounts = read(used)
        for kind in {charge.kind.resource: charge.kind for charge in missed}.values():
            truth = kind.count(quota)
            for charge in missed:
                if charge.kind.resource == kind.resource and charge.settled is None:
                    truth = added(truth, charge.amounts)
            for name, least in truth.items():
                if name in amounts and amounts[name] < least:
                    amounts[name] = least
        return written(amounts)

    # One namespace after the other

    async def _work(self, namespace: str) -> None:
        try:
            while self._waiting[namespace]:
                batch, self._waiting[namespace] = self._waiting[namespace], []
                try:
                    await self._process(namespace, batch)
                except Exception as error:  # the store refuses: so many waited for it
                    for request in batch:
                        if not request.answer.done():
                            request.answer.set_exception(error)
        finally:
            for request in self._waiting.pop(namespace):
                request.answer.cancel()

    async def _process(self, namespace: str, batch: list[_Request]) -> None:
        for _ in range(TRIES):
            if await self._try(namespace, batch):
                return
        raise errors.conflict(_QUOTAS, namespace)

    async def _try(self, namespace: str, batch: list[_Request]) -> bool:
        """False: somebody else wrote a quota; what was granted of others stays granted."""
        quotas = [Quota.of(obj) for obj in self._books.quotas(namespace)]
        pending = [request for request in batch if request.granted or not request.answer.done()]
        before = {quota.name: quota for quota in quotas}
        asked: list[tuple[_Request, Mapping[str, Amounts]]] = []
        for request in pending:
            rest = [quota for quota in quotas if _uid(quota) not in request.granted]
            try:
                more = request.judge(rest)
            except Exception as refusal:
                await self._refuse(namespace, request, refusal)
                continue
            quotas = [quota.charged(more[quota.name]) if quota.name in more else quota for quota in quotas]
            asked.append((request, more))
        for quota in quotas:
            if quota is before[quota.name]:
                continue
            try:
                await self._write(quota, asked)
            except Stale:
                return False
        for request, _ in asked:
            self._answer(namespace, request)
        return True

    async def _write(self, quota: Quota, asked: list[tuple[_Request, Mapping[str, Amounts]]]) -> None:
        """The charges are open before they are written: somebody may read the new state before we hear that it is there."""
        uid, base = _uid(quota), int(quota.obj["metadata"]["resourceVersion"])
        new = {
            request: Charge(uid, request.kind, more[quota.name], base)
            for request, more in asked
            if quota.name in more
        }
        self._open.setdefault(uid, []).extend(new.values())
        try:
            revision = await self._books.write_used(quota.obj, written(quota.used))
        except BaseException:
            for charge in new.values():
                self._forget(charge)
            raise
        for request, charge in new.items():
            request.granted[uid] = charge
        # Whoever writes the quota from now on has seen what was settled before.
        self._open[uid] = [charge for charge in self._open[uid] if not charge.is_settled(revision)]

    def _answer(self, namespace: str, request: _Request) -> None:
        charges = list(request.granted.values())
        if request.answer.done():  # its client has gone
            self.settle(namespace, charges, done=False)
        else:
            request.answer.set_result(charges)

    async def _refuse(self, namespace: str, request: _Request, refusal: Exception) -> None:
        await self._give_back(namespace, list(request.granted.values()))
        request.granted.clear()
        if not request.answer.done():
            request.answer.set_exception(refusal)

    async def _give_back(self, namespace: str, charges: list[Charge]) -> None:
        for charge in charges:
            for _ in range(TRIES):
                found = [q for q in self._books.quotas(namespace) if q["metadata"]["uid"] == charge.quota]
                if not found:
                    break
                used = read((found[0].get("status") or {}).get("used"))
                less = added(used, {name: -more for name, more in charge.amounts.items() if name in used})
                try:
                    await self._books.write_used(found[0], written(less))
                    break
                except Stale:
                    continue
            self._forget(charge)

    def _forget(self, charge: Charge) -> None:
        charges = self._open.get(charge.quota)
        if charges is not None and charge in charges:
            charges.remove(charge)
            if not charges:
                del self._open[charge.quota]


def _uid(quota: Quota) -> str:
    uid: str = quota.obj["metadata"]["uid"]
    return uid
