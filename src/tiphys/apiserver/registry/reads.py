"""Get, list and watch, the same for every kind. Nothing here waits for the store but lists of the past."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from tiphys.api.resource import Object, Resource
from tiphys.api.scheme import Scheme
from tiphys.apiserver.cache import Compacted, Event, ResourceCache, WatchCache, resource_prefix
from tiphys.apiserver.cache_metrics import CacheMetrics
from tiphys.apiserver.call import Call
from tiphys.apiserver.endings import give_back
from tiphys.apiserver.negotiation import JSON, YAML
from tiphys.apiserver.packing import Packer, takes_gzip
from tiphys.apiserver.records import Record
from tiphys.apiserver.registry.feeds import Feeds
from tiphys.apiserver.registry.freshness import Freshness
from tiphys.apiserver.registry.paging import (
    TOO_OLD_TO_CONTINUE,
    ListOptions,
    encode_token,
    read_options,
    revision_of,
)
from tiphys.apiserver.registry.translation import (
    all_translated,
    translate,
    translate_events,
    translate_one,
    translated,
    translated_event,
)
from tiphys.apiserver.registry.versions import convert_from_stored
from tiphys.apiserver.selection import Selection, read_selection
from tiphys.apiserver.tables import TablePrinter
from tiphys.apiserver.views import (
    ConvertedView,
    JSONView,
    ListMeta,
    MetadataView,
    ProtobufView,
    TableView,
    View,
    YAMLView,
    joined,
    many,
)
from tiphys.apiserver.watch import Bookmarks, LaterStream, WatchStream
from tiphys.machinery import errors
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.net.http import Gradual, Response, Sink
from tiphys.store.interface import FutureRevision

WATCH_SECONDS = 1800.0
"""A watch without timeoutSeconds ends somewhere between this and twice as much, so that not all come back at once."""
_LAST_BOOKMARK_SECONDS = 2.0
_SCAN = 500
PACED_FROM = 200
TURN_SECONDS = 0.001
"""A long answer is made for so long at a time, then others have their turn."""
Selected: TypeAlias = tuple[Sequence[Record], ListMeta]
Selecting: TypeAlias = Generator[Sequence[Record], Sequence[Record], Selected]
"""The way of a list: it yields records as they are stored, and is sent them in the version that is asked for."""


class Reads:
    """The reading half of the registry."""

    def __init__(
        self,
        cache: WatchCache,
        scheme: Scheme,
        *,
        clock: Clock,
        encode: Callable[[Object], bytes],
        metrics: CacheMetrics,
        watch_seconds: float = WATCH_SECONDS,
    ) -> None:
        self._watch_seconds = watch_seconds
        self._cache = cache
        self._scheme = scheme
        self._clock = clock
        self._encode_protobuf = encode
        self._metrics = metrics
        self._freshness = Freshness(cache, clock, metrics)
        self.bookmarks = Bookmarks(lambda: cache.revision, clock)
        self.streams: dict[WatchStream, None] = {}
        self.feeds = Feeds()

    def cache_of(self, row: Resource) -> ResourceCache:
        stored = self._scheme.stored_row(row)
        return self._cache.resource(resource_prefix(stored.group, stored.plural))

    def view(self, call: Call, row: Resource | None = None) -> View:
        """How this client wants objects of this kind, or of another kind that a subresource answers with."""
        row, wanted = row or call.row, call.representation
        view: View
        if not wanted.transform:
            view = (
                JSONView(row)
                if row.stored is None or row.reading is not None
                else ConvertedView(row, lambda obj: convert_from_stored(row, obj), "converted")
            )
        elif wanted.transform == "Table":
            include = call.request.query.get("includeObject", ("",))[0]
            printer = TablePrinter(row, include=include, version=wanted.version)
            convert = row.stored is not None and row.reading is None
            view = TableView(printer, self._clock.now, partial(convert_from_stored, row) if convert else None)
        else:
            view = MetadataView(row, wanted.version)
        if wanted.media_type == YAML:
            return YAMLView(view)
        return view if wanted.media_type == JSON else ProtobufView(view, self._encode_protobuf)

    # Get

    def get(self, call: Call) -> Response | Awaitable[Response]:
        if "resourceVersion" in call.request.query:
            revision = revision_of(call.request.query["resourceVersion"][0])
            if revision is not None and self._freshness.is_behind(revision):
                return self._when_fresh(call, revision, lambda: self._get(call))
        return self._get(call)

    async def _when_fresh(
        self, call: Call, revision: int, answer: Callable[[], Response | Awaitable[Response]]
    ) -> Response:
        await self._freshness.reach(call.row, revision)
        answered = answer()
        return answered if isinstance(answered, Response) else await answered

    def _get(self, call: Call) -> Response | Awaitable[Response]:
        row, info = call.row, call.info
        record = self.cache_of(row).get(info.namespace, info.name)
        if record is None:
            raise errors.not_found(row.group_resource, info.name)
        if row.reading is not None:
            made = translated(row, record)
            if made is None:
                return self._get_later(call, record)
            record = made
        view = self.view(call)
        return Response(200, [("content-type", view.content_type)], view.one(record))

    async def _get_later(self, call: Call, record: Record) -> Response:
        view, made = self.view(call), await translate_one(call.row, record)
        return Response(200, [("content-type", view.content_type)], view.one(made))

    # List

    def list_objects(self, call: Call) -> Response | Awaitable[Response]:
        options = read_options(call.request.query, watch=False)
        selection = read_selection(call.row, call.request.query, call.info.name)
        if options.revision and not options.exact and self._freshness.is_behind(options.revision):
            return self._when_fresh(call, options.revision, lambda: self._list(call, options, selection))
        return self._list(call, options, selection)

    def _list(self, call: Call, options: ListOptions, selection: Selection) -> Response | Awaitable[Response]:
        found = self.select(call, options, selection)
        return self._show(call, found) if isinstance(found, tuple) else self._show_later(call, found)

    def _show(self, call: Call, found: Selected) -> Response | Awaitable[Response]:
        view = self.view(call)
        if len(found[0]) > PACED_FROM:
            if view.is_ready and _streams(call):
                body = Gradual(self._in_turns(view.parts(*found)))
                return Response(200, [("content-type", view.content_type)], body)
            return self._show_paced(call, view, found)
        return Response(200, [("content-type", view.content_type)], many(view, *found))

    def _in_turns(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """With an empty part wherever others should have their turn."""
        monotonic = self._clock.monotonic
        enough = monotonic() + TURN_SECONDS
        for part in parts:
            yield part
            if monotonic() >= enough:
                yield b""
                enough = monotonic() + TURN_SECONDS

    async def _show_paced(self, call: Call, view: View, found: Selected) -> Response:
        """A long list is made, and compressed, a part in each turn of the loop, so that nobody waits for all of it. It is sent when all
        is made: until then it can be refused."""
        headers = [("content-type", view.content_type)]
        packer = Packer() if takes_gzip(call.request) else None
        pieces: list[bytes] = []
        monotonic = self._clock.monotonic
        enough = monotonic() + TURN_SECONDS
        for part in view.parts(*found):
            pieces += (part,) if packer is None else packer.feed(part)
            if monotonic() >= enough:
                await asyncio.sleep(0)
                enough = monotonic() + TURN_SECONDS
        if packer is not None:
            pieces += packer.end()
            headers += packer.headers
        return Response(200, headers, joined(pieces))

    async def _show_later(self, call: Call, found: Awaitable[Selected]) -> Response:
        shown = self._show(call, await found)
        return shown if isinstance(shown, Response) else await shown

    def select(
        self, call: Call, options: ListOptions, selection: Selection
    ) -> Selected | Awaitable[Selected]:
        """What a list shows, in the version of the request. At once, unless a webhook must be asked."""
        row, steps, fetched = call.row, self._select(call, options, selection), 0
        try:
            batch = next(steps)
            while True:
                fetched += len(batch)
                made = all_translated(row, batch)
                if made is None:
                    return self._select_later(row, steps, batch)
                batch = steps.send(made)
        except StopIteration as done:
            found: Selected = done.value
            if found[1].revision == self._cache.revision:
                newest = options.revision is None and not options.continue_revision
                self._metrics.listed(row, fetched, len(found[0]), consistent=newest)
            else:
                self._metrics.listed_before(row, fetched, len(found[0]))
            return found

    @staticmethod
    async def _select_later(row: Resource, steps: Selecting, batch: Sequence[Record]) -> Selected:
        try:
            while True:
                batch = steps.send(await translate(row, batch))
        except StopIteration as done:
            found: Selected = done.value
            return found

    def _select(self, call: Call, options: ListOptions, selection: Selection) -> Selecting:
        cache, namespace = self.cache_of(call.row), call.info.namespace
        revision = self._list_revision(options)
        if revision > self._cache.revision:
            raise errors.resource_version_too_large(revision, self._cache.revision, retry_after_seconds=0)
        if selection.name and namespace and revision == self._cache.revision:
            record = cache.get(namespace, selection.name)
            named = (yield [record]) if record is not None else ()
            return [each for each in named if selection.matches is None or selection.matches(each)], ListMeta(
                revision
            )
        start = cache.prefix + options.start_after if options.start_after else ""
        try:
            return (yield from self._page(cache, namespace, revision, start, options.limit, selection))
        except (Compacted, FutureRevision) as error:
            raise self._too_old(options, revision, error) from None

    def _list_revision(self, options: ListOptions) -> int:
        newest = self._cache.revision
        if options.continue_revision > 0:
            return options.continue_revision
        return options.revision if options.exact and options.revision else newest

    def _page(
        self,
        cache: ResourceCache,
        namespace: str,
        revision: int,
        start: str,
        limit: int,
        selection: Selection,
    ) -> Selecting:
        matches = selection.matches
        if matches is None or not limit:
            records, remaining = self._cache.page_at(
                cache, namespace, revision, start_after=start, limit=limit
            )
            shown = yield records
            fitting = shown if matches is None else [record for record in shown if matches(record)]
            return fitting, self._meta(cache, revision, records, remaining, tell=matches is None)
        chosen: list[Record] = []
        while True:
            records, remaining = self._cache.page_at(
                cache, namespace, revision, start_after=start, limit=_SCAN
            )
            for record in (yield records):
                if matches(record):
                    if len(chosen) == limit:
                        return chosen, self._meta(cache, revision, chosen, 1, tell=False)
                    chosen.append(record)
            if not remaining:
                return chosen, ListMeta(revision)
            start = records[-1].key

    @staticmethod
    def _meta(
        cache: ResourceCache, revision: int, records: list[Record], remaining: int, *, tell: bool
    ) -> ListMeta:
        if not remaining:
            return ListMeta(revision)
        token = encode_token(revision, records[-1].key[len(cache.prefix) :])
        return ListMeta(revision, token, remaining if tell else None)

    def _too_old(self, options: ListOptions, revision: int, error: Exception) -> StatusError:
        if not options.start_after:
            if isinstance(error, FutureRevision):
                return errors.resource_version_too_large(
                    revision, self._cache.revision, retry_after_seconds=0
                )
            return errors.expired("The resourceVersion for the provided list is too old.")
        expired = errors.expired(TOO_OLD_TO_CONTINUE)
        token = encode_token(-1, options.start_after)
        status = expired.status

        def with_token() -> Object:
            return {**status(), "metadata": {"continue": token}}

        expired.status = with_token  # type: ignore[method-assign]
        return expired

    # Watch

    def watch(self, call: Call) -> Response | Awaitable[Response]:
        options = read_options(call.request.query, watch=True)
        if self.cache_of(call.row).unreadable:
            raise errors.too_many_requests("storage is (re)initializing", retry_after_seconds=1)
        selection = read_selection(call.row, call.request.query, call.info.name)
        view = self.view(call)
        content_type = view.content_type
        if content_type.endswith("protobuf"):
            content_type += ";stream=watch"

        def start(sink: Sink) -> None:
            self._start_watch(call, options, selection, view, sink)

        response = Response(200, [("content-type", content_type)], start=start)
        if options.send_initial_events and self._freshness.is_behind(options.revision):
            return self._watch_when_fresh(call, options.revision or 0, response, view)
        return response

    async def _watch_when_fresh(self, call: Call, revision: int, response: Response, view: View) -> Response:
        """A watch that begins with the present, but not with an older one than the client knows."""
        try:
            await self._freshness.reach(call.row, revision)
        except StatusError as error:
            response.body = view.error(error.status())
            response.start = None
        return response

    def _start_watch(
        self, call: Call, options: ListOptions, selection: Selection, view: View, sink: Sink
    ) -> None:
        row, namespace = call.row, call.info.namespace
        cache = self.cache_of(row)
        seen = (sink, namespace, selection, view, row.api_version, row.kind)
        is_ahead = not options.send_initial_events and self._freshness.is_behind(options.revision)
        stream = LaterStream(options.revision or 0, *seen) if is_ahead else WatchStream(*seen)
        stream.events, stream.sizes = call.server.watch_metrics.of(row)
        stream.cut_off = partial(self._metrics.cut_off, row)
        if row.reading is None:
            stop = cache.watch(stream)
        else:
            feed = self.feeds.of(row, cache, call.server.spawn)
            stop = feed.watch(stream, self._cache.revision)
            stream.is_behind = lambda: feed.is_behind
        self.streams[stream] = None
        seconds = options.timeout_seconds or random.uniform(self._watch_seconds, 2 * self._watch_seconds)
        cancel = self._end_after(seconds, stream, bookmarks=options.bookmarks)

        def ended() -> None:
            stop()
            cancel()
            self.streams.pop(stream, None)
            self.bookmarks.remove(stream)

        sink.on_close = ended
        self._begin(call, options, cache, stream)
        if options.bookmarks and not sink.closed:
            self.bookmarks.add(stream)

    def _end_after(self, seconds: float, stream: WatchStream, *, bookmarks: bool) -> Callable[[], None]:
        """Ends a watch in time, and just before says how far it has come, so that who resumes has missed little."""
        if not bookmarks or seconds <= _LAST_BOOKMARK_SECONDS:
            return self._clock.call_later(seconds, stream.close).cancel

        end = self._clock.call_later(seconds, stream.close)
        last = self._clock.call_later(
            seconds - _LAST_BOOKMARK_SECONDS, lambda: stream.bookmark(self._cache.revision)
        )

        def cancel() -> None:
            end.cancel()
            last.cancel()

        return cancel

    def _begin(self, call: Call, options: ListOptions, cache: ResourceCache, stream: WatchStream) -> None:
        row, revision = call.row, self._cache.revision
        initial = options.send_initial_events
        if initial or (initial is None and not options.revision):
            records, _ = cache.page(stream.namespace)
            end_mark = bool(initial) and options.bookmarks
            _spawn(call, self._begin_with(row, stream, records, revision, end_mark=end_mark))
            return
        if not options.revision:
            stream.begin_now(())
            return
        if options.revision > revision:
            stream.begin_now(())
            return
        try:
            events = self._cache.events_after(cache, options.revision)
        except Compacted as error:
            oldest = error.compact_revision
            stream.error(errors.expired(f"too old resource version: {options.revision} ({oldest})").status())
            return
        events = [event for event in events if stream.namespace in ("", event.record.namespace)]
        if row.reading is not None:
            known = [translated_event(row, event) for event in events]
            made = [event for event in known if event is not None]
            if len(made) < len(events):
                _spawn(call, self._begin_after(row, stream, events, revision))
                return
            events = made
        if len(events) <= 100:
            stream.begin_now(events)
        else:
            _spawn(call, stream.begin((), events, revision=revision, end_mark=False))

    @staticmethod
    async def _begin_with(
        row: Resource, stream: WatchStream, records: Sequence[Record], revision: int, *, end_mark: bool
    ) -> None:
        """Begins a watch with the present."""
        try:
            shown = records if row.reading is None else await translate(row, records)
        except StatusError as error:
            stream.error(error.status())
            return
        await stream.begin(shown, (), revision=revision, end_mark=end_mark)

    @staticmethod
    async def _begin_after(
        row: Resource, stream: WatchStream, events: Sequence[Event], revision: int
    ) -> None:
        """Begins a watch with a past that must be converted."""
        try:
            made = await translate_events(row, events)
        except StatusError as error:
            stream.error(error.status())
            return
        await stream.begin((), made, revision=revision, end_mark=False)


def _streams(call: Call) -> bool:
    """Whether an answer may go out before all of it is made: nobody else wants to see or compress it."""
    if call.request.context is not None or takes_gzip(call.request):
        return False
    return call.audit is None or not call.audit.wants_response


def _spawn(call: Call, beginning: Coroutine[Any, Any, None]) -> None:
    """Sends what a watch begins with; until that is done it holds its seat."""
    call.initializing = True

    async def begin() -> None:
        try:
            await beginning
        finally:
            give_back(call)

    call.server.spawn(begin())
