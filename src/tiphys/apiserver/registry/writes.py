"""Create, update, patch and delete, the same for every kind.

A write is: the object as the client sent it → defaults → its owners → admission may change it → the kind's own rules →
admission may refuse it → one compare-and-set in the store. When somebody else wrote first, a write that did not name a resourceVersion
begins again from the new state.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from tiphys.api.resource import Object, Resource, Rules, Unconverted, Validate
from tiphys.api.scheme import Scheme
from tiphys.apiserver.admission.attributes import CREATE, DELETE, UPDATE, Attributes
from tiphys.apiserver.admission.chain import Chain
from tiphys.apiserver.authorization.chain import authorize_create
from tiphys.apiserver.authorization.escalation import check_escalation
from tiphys.apiserver.cache import ResourceCache, WatchCache, resource_prefix
from tiphys.apiserver.call import Call
from tiphys.apiserver.records import Record, encode_stored, with_version
from tiphys.apiserver.registry import metadata as rules
from tiphys.apiserver.registry.deletion import (
    DeleteOptions,
    check_preconditions,
    is_finished,
    plan_deletion,
)
from tiphys.apiserver.registry.owners import Owners, check_admitted
from tiphys.apiserver.registry.translation import translate_one, translated
from tiphys.apiserver.registry.unchanged import fill_in_defaults, is_same_body, share_unchanged
from tiphys.apiserver.registry.versions import convert_from_stored, convert_to_stored
from tiphys.machinery import errors
from tiphys.machinery.apply import differs_only_in_times
from tiphys.machinery.clock import Clock
from tiphys.machinery.frozen import frozen
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.names import Random, Suffixes
from tiphys.store.interface import Conflict, Store

RBAC_GROUP = "rbac.authorization.k8s.io"
GENERATE_NAME_TRIES = 8
CONFLICT_TRIES = 30
OBJECT_LIMIT_BYTES = 3 << 19
"""etcd's default (--max-request-bytes), and its message below: clients know both, whatever the store."""
Change = Callable[[Object], Object]
"""The object as it is (a copy of its own: it may be changed in place) → as the client wants it."""


@frozen
class Deleted:
    """`gone` is False when finalizers or a grace period keep the object for now."""

    record: Record
    gone: bool


class Writes:
    """The writing half of the registry; `reads.Reads` is the other."""

    def __init__(
        self,
        store: Store,
        cache: WatchCache,
        scheme: Scheme,
        *,
        chain: Chain,
        clock: Clock,
        random: Random,
    ) -> None:
        self._store = store
        self._cache = cache
        self._scheme = scheme
        self._clock = clock
        self._suffixes = Suffixes(random)
        self.chain = chain
        self.is_stale: Callable[[str], bool] = lambda key: False
        """Whether a key's value must be written again though its object stays as it is: with other encryption."""
        self.owners = Owners(scheme)

    # What plugins and subresources look up.

    def cache(self, group: str, plural: str) -> ResourceCache:
        """The objects of a resource in its stored version."""
        return self._cache.resource(resource_prefix(group, plural))

    def cache_of(self, row: Resource) -> ResourceCache:
        stored = row if row.stored is None else self._scheme.stored_row(row)
        return self._cache.resource(resource_prefix(stored.group, stored.plural))

    def find(self, row: Resource, namespace: str, name: str) -> Record:
        """The record of an object; raises 404."""
        record = self.cache_of(row).get(namespace, name)
        if record is None:
            raise errors.not_found(row.group_resource, name)
        return record

    async def read(self, row: Resource, namespace: str, name: str) -> Object:
        """An object in the version of `row`; shared, read-only. Raises 404."""
        return self.decode(row, await translate_one(row, self.find(row, namespace, name)))

    def decode(self, row: Resource, record: Record) -> Object:
        """A record's object in the version of `row`; shared, read-only. The record of a kind with a `reading` is translated."""
        return convert_from_stored(row, record.full)

    # Create

    async def create(self, call: Call, obj: Object) -> Record:
        row, namespace = call.row, call.info.namespace
        rules.check_scope(obj, row, namespace)
        if obj["metadata"].get("resourceVersion"):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        generated = not obj["metadata"].get("name") and bool(obj["metadata"].get("generateName"))
        for attempt in range(GENERATE_NAME_TRIES):
            try:
                return await self._create_once(call, obj)
            except Conflict:
                name = obj["metadata"].get("name", "")
                if not generated:
                    raise errors.already_exists(row.group_resource, name) from None
                if attempt == GENERATE_NAME_TRIES - 1:
                    raise errors.generate_name_conflict(
                        row.group_resource, name, retry_after_seconds=1
                    ) from None
        raise AssertionError("unreachable")

    async def _create_once(self, call: Call, obj: Object, *, owned: bool = False) -> Record:
        row = call.row
        now = self._clock.now()
        obj = {**obj, "metadata": dict(obj["metadata"])}
        if row.has_status and not row.status_on_create:
            obj.pop("status", None)
        if row.defaults is not None:
            row.defaults(obj)
        if not owned:
            self.owners.keep(call, obj, None, now)
        attributes = self._attributes(call, CREATE, obj, None)
        await self._admit(call, attributes, obj)
        if attributes.changed:
            self._settle_new(row, obj, call.info.namespace)
        # Only now: webhooks see a name that shall be made up as their client left it.
        rules.fill_new(obj, row, now, self._suffixes, rules.random_uid)
        attributes.name = obj["metadata"].get("name", "")
        if row.group == RBAC_GROUP:
            await check_escalation(call, obj, None)
        if row.prepare is not None:
            row.prepare(obj, None)
        if row.note_caller is not None:
            row.note_caller(obj, call.user.to_dict())
        with attributes:
            if call.server.allocators.serves(row):
                _reserve(attributes, call.server.allocators.on_create(row, obj))
            self._check(call, obj, None, row.validate)
            await self.chain.validate(attributes)
            return await self._commit(call, obj, None)

    @staticmethod
    def _settle_new(row: Resource, obj: Object, namespace: str) -> None:
        """What a webhook has made of a new object is held to what a client may make."""
        rules.check_scope(obj, row, namespace)
        if row.has_status and not row.status_on_create:
            obj.pop("status", None)
            if row.defaults is not None:
                row.defaults(obj)

    # Update and patch

    async def update(
        self,
        call: Call,
        change: Change,
        *,
        create: Callable[[], Object] | None = None,
        owned: bool = False,
        reviewed: bool = False,
        review: Callable[[Object], Awaitable[None]] | None = None,
    ) -> tuple[Record, bool]:
        """Applies a change to one object. `create`: what to make when there is none. (record, whether it was created)

        `owned`: what both give says already who owns what. `reviewed`: admission has seen what was sent (`review`).
        `review` shows it what was sent, each time before `change` is asked; it is given the object as it is, read-only.
        """
        row, info = call.row, call.info
        for _ in range(CONFLICT_TRIES):
            record = self.cache_of(row).get(info.namespace, info.name)
            try:
                if record is None:
                    return await self._create_at(call, create, owned=owned), True
                record = translated(row, record) or await translate_one(row, record)
                before, after = record.states()
                old = convert_from_stored(row, before)
                if review is not None:
                    await review(old)
                new = change(convert_from_stored(row, after))
                self._check_identity(row, new, old)
                seen = reviewed or review is not None
                return await self._update_once(call, record, new, old, owned=owned, reviewed=seen), False
            except Conflict:
                continue  # a client that named a state is refused the next time round
            except Unconverted as missing:
                await missing.resolve()
        raise errors.conflict(row.group_resource, info.name)

    async def _create_at(self, call: Call, create: Callable[[], Object] | None, *, owned: bool) -> Record:
        """Creates the object that a path names."""
        row, info = call.row, call.info
        if create is None:
            raise errors.not_found(row.group_resource, info.name)
        await authorize_create(call)
        obj = create()
        uid = obj["metadata"].get("uid")
        if uid:
            cause = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise errors.conflict(row.group_resource, info.name, cause)
        rules.check_name(obj, row, info.name, info.namespace)
        return await self._create_once(call, obj, owned=owned)

    @staticmethod
    def _check_identity(row: Resource, new: Object, old: Object) -> None:
        """Is it the object, and the state of it, that the client means? Raises 409 when not."""
        metadata, before = new["metadata"], old["metadata"]
        name = before["name"]
        if metadata.get("uid") and metadata["uid"] != before.get("uid"):
            cause = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {before.get('uid')}"
            raise errors.conflict(row.group_resource, name, cause)
        wanted = metadata.get("resourceVersion")
        if not wanted:
            if not row.unconditional_update:
                path = errors.Path("metadata").child("resourceVersion")
                found = errors.FieldError.invalid(path, 0, "must be specified for an update")
                raise errors.invalid(row.group_kind, name, [found])
        elif wanted != before["resourceVersion"]:
            raise errors.conflict(row.group_resource, name)

    async def _update_once(
        self, call: Call, record: Record, new: Object, old: Object, *, owned: bool, reviewed: bool
    ) -> Record:
        row = call.row
        new = {**new, "metadata": dict(new["metadata"])}
        rules.keep_server_fields(new, old)
        if call.subresource is None:
            self._keep_status(row, new, old)
        fill_in_defaults(row, record, new, old)
        if not owned:
            self.owners.keep(call, new, old, self._clock.now())
        attributes = self._attributes(call, UPDATE, new, old)
        if not reviewed:
            await self._admit(call, attributes, new)
            if attributes.changed:
                self._settle_update(call, new, old)
        if row.group == RBAC_GROUP:
            await check_escalation(call, new, old)
        own = _rules_of(row, call.info.subresource)
        if own.prepare is not None:
            own.prepare(new, old)
        if row.note_time is not None:
            row.note_time(new, old, self._clock.now())
        is_served = call.server.allocators.serves(row)
        if not is_served:
            share_unchanged(row, new, old)
        if own.raises_generation:
            rules.raise_generation(new, old, row)
        with attributes:
            if is_served:
                _reserve(attributes, call.server.allocators.on_update(row, new, old))
            self._check(call, new, old, own.validate)
            if not reviewed:
                await self.chain.validate(attributes)
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if (new == old or differs_only_in_times(new, old)) and is_same_body(row, new, old):
                if row.reading is None and not self.is_stale(record.key):
                    return record
                new = old  # it may lie in the store in another version than it would be written in today
            if is_finished(row, new):
                return await self._remove(call, record, new)
            return await self._commit(call, new, record)

    def _settle_update(self, call: Call, new: Object, old: Object) -> None:
        """What a webhook has made of an object changes no more than a client may change by this path."""
        rules.keep_server_fields(new, old)
        below = call.subresource
        if below is None:
            self._keep_status(call.row, new, old)
        elif not below.writes:
            for name in below.resets:
                _restore(name, new, old)

    async def _admit(self, call: Call, attributes: Attributes, obj: Object) -> None:
        owners = obj["metadata"].get("managedFields")
        await self.chain.admit(attributes)
        check_admitted(call, obj, owners)

    @staticmethod
    def _keep_status(row: Resource, new: Object, old: Object) -> None:
        if not row.has_status:
            return
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)

    def _check(self, call: Call, new: Object, old: Object | None, validate: Validate | None) -> None:
        row = call.row
        found = rules.validate_new(new, row) if old is None else rules.validate_update(new, old, row)
        if validate is not None:
            found += validate(new, old)
        if found:
            raise errors.invalid(row.group_kind, new["metadata"].get("name", ""), found)
        if row.advise is not None and not call.info.subresource:
            for warning in row.advise(new, old):
                call.warn(warning)

    def _attributes(self, call: Call, operation: str, new: Object | None, old: Object | None) -> Attributes:
        name = call.info.name
        if not name and new is not None:
            name = (new.get("metadata") or {}).get("name", "")
        return Attributes(
            call=call,
            operation=operation,
            row=call.row,
            kind=call.row.gvk,
            namespace=call.info.namespace,
            name=name,
            user=call.user,
            objects=self,
            subresource=call.info.subresource,
            object=new,
            old=old,
            dry_run=call.dry_run,
        )

    async def review(
        self, call: Call, operation: str, obj: Object, *, kind: GroupVersionKind, old: Object | None = None
    ) -> None:
        """Takes what was sent to a path below an object through the chain, when it is something else than the object."""
        attributes = self._attributes(call, operation, obj, old)
        attributes.name, attributes.kind = call.info.name, kind
        await self.chain.admit(attributes)
        await self.chain.validate(attributes)

    # Delete

    async def delete(
        self, call: Call, record: Record, options: DeleteOptions, *, reviewed: bool = False
    ) -> Deleted:
        """Deletes the object of a record, whatever it has become meanwhile. `reviewed`: admission has seen what was sent."""
        row = call.row
        for _ in range(CONFLICT_TRIES):
            record = await translate_one(row, record)
            old = self.decode(row, record)
            check_preconditions(row, old, options)
            if not reviewed:
                await self._admit_deletion(call, record, old, options)
            try:
                return await self._delete_once(call, record, old, options)
            except Conflict:
                record = self.find(row, record.namespace, record.name)
        raise errors.conflict(row.group_resource, record.name)

    async def _admit_deletion(self, call: Call, record: Record, old: Object, options: DeleteOptions) -> None:
        attributes = self._attributes(call, DELETE, None, old)
        attributes.name, attributes.options = record.name, options.to_dict()
        attributes.dry_run = options.dry_run
        await self.chain.admit(attributes)
        await self.chain.validate(attributes)

    async def _delete_once(self, call: Call, record: Record, old: Object, options: DeleteOptions) -> Deleted:
        new = plan_deletion(call.row, old, options, self._clock.now())
        if options.dry_run:
            return Deleted(record, new is None)
        if new is None:
            return Deleted(await self._remove(call, record, old), True)
        if new == old:
            return Deleted(record, False)
        return Deleted(await self._commit(call, new, record), False)

    async def _remove(self, call: Call, record: Record, last: Object) -> Record:
        """Removes the entry. The record that comes back is the last state, under the revision of the removal."""
        if call.dry_run:
            return record
        revision = await self._store.write(record.key, None, expected=record.revision)
        if call.server.allocators.serves(call.row):
            await call.server.allocators.written(last, None)
        # A kind with a `reading` is not converted back: its records are shown as they are.
        stored = last if call.row.reading is not None else convert_to_stored(call.row, last)
        data = with_version(encode_stored(stored), revision)
        return Record(record.key, record.namespace, record.name, revision, data)

    # Commit

    async def _commit(self, call: Call, obj: Object, record: Record | None) -> Record:
        """Writes an object and gives the record that all readers see. Raises Conflict."""
        row = call.row
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        cache = self.cache_of(row)
        if record is not None:
            key = record.key
        else:
            key = f"{cache.prefix}{namespace}/{name}" if row.namespaced else cache.prefix + name
        if row.reading is not None:
            return await self._commit_version(call, obj, record, key)
        stored = convert_to_stored(row, obj)
        value = encode_stored(stored)
        if call.dry_run:
            if record is None and key in cache.records:
                raise Conflict(key, None)
            revision = record.revision if record else 0
            return Record(
                key, namespace, name, revision, with_version(value, revision) if revision else value
            )
        cache.expect(key, value, stored)
        try:
            revision = await self._put(key, value, record)
        finally:
            cache.expect_no_more(key)
        if call.server.allocators.serves(row):
            await call.server.allocators.written(record.object if record else None, obj)
        written = cache.records.get(key)
        if written is not None and written.revision == revision:
            return written
        return Record(key, namespace, name, revision, with_version(value, revision))

    async def _commit_version(self, call: Call, obj: Object, record: Record | None, key: str) -> Record:
        """As `_commit`, of a kind whose objects lie in the store as they were written. Gives the record in the row's version."""
        row, cache = call.row, self.cache_of(call.row)
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        assert row.reading is not None
        stored = await row.reading.write(obj)
        value = encode_stored(stored)
        before = cache.records.get(key)
        if call.dry_run or (before is not None and record is not None and before.revision == record.revision):
            if record is None and before is not None:
                raise Conflict(key, None)
            revision = record.revision if record else 0
            data = with_version(value, revision) if revision else value
            if call.dry_run:
                return await translate_one(row, Record(key, namespace, name, revision, data))
            if before is not None and data == before.data and not self.is_stale(key):
                # Nothing changes. (Written in another version than the stored one of today, the same object would differ.)
                return await translate_one(row, before)
        revision = await self._put(key, value, record)
        written = cache.records.get(key)
        if written is None or written.revision != revision:
            written = Record(key, namespace, name, revision, with_version(value, revision))
        return await translate_one(row, written)

    def _put(self, key: str, value: bytes, record: Record | None) -> Awaitable[int]:
        """The revision of the write, once it is durable. Raises Conflict, and 500 for what no store of a cluster would take."""
        if len(value) > OBJECT_LIMIT_BYTES:
            raise errors.unknown("etcdserver: request is too large")
        return self._store.write(key, value, expected=record.revision if record else 0)

    def now(self) -> datetime:
        return self._clock.now()


def _restore(name: str, new: Object, old: Object) -> None:
    """Takes a field, or what is a user's of the metadata, from the old object."""
    if name == "metadata":
        for field in ("annotations", "finalizers", "labels", "ownerReferences"):
            _restore_one(field, new["metadata"], old["metadata"])
    elif "." not in name:
        _restore_one(name, new, old)


def _restore_one(name: str, new: Object, old: Object) -> None:
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


def _reserve(attributes: Attributes, release: Callable[[], None]) -> None:
    """A Service's addresses and ports are reserved while it is written; then the cache knows them, or nobody has them."""

    def over(error: type[BaseException] | None) -> None:
        # Not when the client has gone (CancelledError): its write may still be on its way, and the reservation ends by itself.
        if error is None or issubclass(error, Exception):
            release()

    attributes.when_over += (over,)


def _rules_of(row: Resource, subresource: str) -> Rules:
    """What an update through a path obeys."""
    if subresource == "status":
        return Rules(row.prepare_status, row.validate_status, raises_generation=False)
    found = row.subresource(subresource) if subresource else None
    return found.rules if found is not None and found.rules is not None else Rules(row.prepare, row.validate)
