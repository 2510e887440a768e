"""ResourceQuota: what uses more of a namespace than its quotas allow is refused.

Where there is no quota, a write passes after one look. What a write uses is charged before it is made (`ledger.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any

from tiphys.api.core.quotas.amounts import Amounts
from tiphys.api.core.quotas.evaluators import Evaluator, Wanted, evaluator_of, is_counted, total
from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import CREATE, UPDATE, Attributes
from tiphys.apiserver.admission.configuration import Configuration
from tiphys.apiserver.admission.quota.decision import Quota, Refused, charges
from tiphys.apiserver.admission.quota.ledger import Charge, Kind, Ledger, Stale
from tiphys.apiserver.admission.quota.limits import Limited, read_limits
from tiphys.apiserver.cache import Event, ResourceCache
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError


class ResourceQuota:
    name = "ResourceQuota"

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._limited = read_limits(configuration)
        self._ledger: Ledger | None = None
        self._evaluators: dict[tuple[str, str], Evaluator | None] = {}
        self._existence = _Existence()

    def follow(self, changed: Callable[[], None]) -> None:
        self._existence.changed = changed

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        """Nobody, as long as there is no quota in the whole cluster."""
        if kind == "admit":
            return attributes.is_for("", "resourcequotas", "status")
        if attributes.operation not in (CREATE, UPDATE) or not attributes.row.namespaced:
            return False
        return self._existence.of(attributes.objects.cache("", "resourcequotas")) or bool(self._limited)

    def admit(self, attributes: Attributes) -> None:
        """What somebody writes as the status of a quota must not forget what is being created just now."""
        if self._ledger is None or not attributes.is_for("", "resourcequotas", "status"):
            return
        new, old = attributes.object, attributes.old
        used = ((new or {}).get("status") or {}).get("used")
        if new is None or old is None or not used:
            return
        amended = self._ledger.amend(old, used)
        if amended is not used:
            new["status"] = {**new["status"], "used": dict(amended)}

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        namespace = attributes.namespace
        if not namespace or attributes.operation not in (CREATE, UPDATE) or not attributes.row.namespaced:
            return None
        cache = attributes.objects.cache("", "resourcequotas")
        records = cache.page(namespace)[0] if cache.records else []
        if not records and not self._limited:
            return None
        evaluator = self._evaluator(attributes)
        if evaluator is None:
            return None
        assert attributes.object is not None
        wanted = Wanted(attributes.operation, attributes.subresource, attributes.object, attributes.old)
        if not evaluator.handles(wanted):
            return None
        judge = _Judge(attributes, wanted, evaluator, self._limited)
        more = judge([Quota.of(record.object) for record in records])
        if not more or attributes.dry_run:
            return None
        return self._charge(attributes, evaluator, judge)

    def _evaluator(self, attributes: Attributes) -> Evaluator | None:
        resource = attributes.row.group_resource
        if resource not in self._evaluators:
            self._evaluators[resource] = evaluator_of(resource) if is_counted(resource) else None
        return self._evaluators[resource]

    async def _charge(self, attributes: Attributes, evaluator: Evaluator, judge: _Judge) -> None:
        if self._ledger is None:
            self._ledger = Ledger(_Books(attributes))
        ledger, namespace = self._ledger, attributes.namespace
        made: list[Charge] = await ledger.charge(namespace, _kind(attributes, evaluator), judge)

        def over(failure: type[BaseException] | None) -> None:
            refused = failure is not None and issubclass(failure, Exception)
            ledger.settle(namespace, made, done=not refused, seen=failure is None)

        attributes.when_over += (over,)


class _Existence:
    """Whether there are any objects in a cache; tells when that changes."""

    namespace = ""

    def __init__(self) -> None:
        self.changed: Callable[[], None] = lambda: None
        self._cache: ResourceCache | None = None
        self._known = False

    def of(self, cache: ResourceCache) -> bool:
        if cache is not self._cache:
            self._cache = cache
            cache.watch(self)
        self._known = bool(cache.records)
        return self._known

    def deliver(self, event: Event) -> None:
        if self._cache is not None and bool(self._cache.records) is not self._known:
            self._known = not self._known
            self.changed()


class _Judge:
    """Decides about one write, whatever the quotas are by then."""

    def __init__(
        self, attributes: Attributes, wanted: Wanted, evaluator: Evaluator, limited: Sequence[Limited]
    ) -> None:
        self._attributes = attributes
        self._wanted = wanted
        self._evaluator = evaluator
        self._limited = limited

    def __call__(self, quotas: list[Quota]) -> Mapping[str, Amounts]:
        try:
            return charges(quotas, self._wanted, self._evaluator, self._limited, _now(self._attributes))
        except Refused as refusal:
            raise self._error(refusal) from None

    def _error(self, refusal: Refused) -> StatusError:
        return (
            self._attributes.forbidden(refusal.cause) if refusal.forbidden else errors.unknown(refusal.cause)
        )


def _kind(attributes: Attributes, evaluator: Evaluator) -> Kind:
    objects, namespace, row = attributes.objects, attributes.namespace, attributes.row

    def count(quota: Object) -> Amounts:
        records, _ = objects.cache(row.group, row.plural).page(namespace)
        everything = (record.object for record in records)
        return total(evaluator, quota, everything, _now(attributes), hard="status")

    return Kind(row.group_resource, count)


def _now(attributes: Attributes) -> datetime:
    return attributes.call.server.clock.now()


class _Books:
    """The quotas in the server's cache and store."""

    def __init__(self, attributes: Attributes) -> None:
        self._server = attributes.call.server
        self._objects = attributes.objects
        row = self._server.scheme.by_resource("", "v1", "resourcequotas")
        assert row is not None
        self._row = row

    def quotas(self, namespace: str) -> list[Object]:
        records, _ = self._objects.cache("", "resourcequotas").page(namespace)
        return [record.object for record in records]

    def revision(self) -> int:
        return self._server.store.revision

    async def write_used(self, quota: Object, used: Mapping[str, str]) -> int:
        metadata = quota["metadata"]
        call = self._server.internal_call(
            self._row, metadata["namespace"], metadata["name"], subresource="status"
        )

        def change(obj: Object) -> Object:
            if obj["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
                raise Stale
            return {**obj, "status": {**(obj.get("status") or {}), "used": dict(used)}}

        try:
            record, _ = await self._server.writes.update(call, change, reviewed=True)
        except StatusError as error:
            if errors.is_not_found(error):
                raise Stale from None
            raise
        return record.revision

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._server.spawn(work)
