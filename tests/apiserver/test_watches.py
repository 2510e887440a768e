"""Watches: where they begin, what they say, and how they end."""

import asyncio

import orjson
import pytest
from served import PROTOBUF, Client, Object, settle

from tiphys.apiserver.server import APIServer
from tiphys.apiserver.watch import PENDING_LIMIT_BYTES
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def make(client: Client, name: str, namespace: str = "default", **labels: str) -> Object:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    return await client.create(path, {"metadata": {"name": name, "labels": labels}})


def now(client: Client) -> int:
    return client.server.store.revision


@pytest.mark.parametrize("query", ["watch=1", "watch=1&resourceVersion=0", "watch=true&resourceVersion="])
async def test_without_a_revision_a_watch_begins_with_what_there_is(client: Client, query: str) -> None:
    await make(client, "a")
    await make(client, "b")
    watch = await client.watch(f"{MAPS}?{query}")
    assert watch.summary() == [("ADDED", "a"), ("ADDED", "b")]
    await client.delete(f"{MAPS}/a")
    assert watch.summary() == [("DELETED", "a")]


async def test_with_a_revision_a_watch_begins_after_it(client: Client) -> None:
    made = await make(client, "a")
    await client.patch(f"{MAPS}/a", {"data": {"x": "1"}})
    await make(client, "b")
    await client.delete(f"{MAPS}/b")
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}")
    assert watch.summary() == [("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "b")]


async def test_events_have_the_revision_of_their_change(client: Client) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion={now(client)}")
    await make(client, "a")
    await client.patch(f"{MAPS}/a", {"data": {"x": "1"}})
    deleted = await client.call("DELETE", f"{MAPS}/a")
    revisions = [int(obj["metadata"]["resourceVersion"]) for _, obj in watch.events()]
    assert revisions == [now(client) - 2, now(client) - 1, now(client)]
    assert deleted.status == 200


async def test_a_watch_sees_its_namespace_only(client: Client) -> None:
    everywhere = await client.watch(f"/api/v1/configmaps?watch=1&resourceVersion={now(client)}")
    here = await client.watch(f"{MAPS}?watch=1&resourceVersion={now(client)}")
    before = now(client)
    await make(client, "a")
    await make(client, "b", "kube-system")
    assert here.summary() == [("ADDED", "a")]
    assert everywhere.summary() == [("ADDED", "a"), ("ADDED", "b")]
    resumed = await client.watch(f"{MAPS}?watch=1&resourceVersion={before}")
    assert resumed.summary() == [("ADDED", "a")]


@pytest.mark.parametrize(
    "target",
    [f"{MAPS}?watch=1&fieldSelector=metadata.name%3Da", "/api/v1/watch/namespaces/default/configmaps/a"],
)
async def test_a_watch_of_one_object(client: Client, target: str) -> None:
    await make(client, "a")
    await make(client, "b")
    watch = await client.watch(target)
    assert watch.summary() == [("ADDED", "a")]
    await client.delete(f"{MAPS}/b")
    await client.delete(f"{MAPS}/a")
    assert watch.summary() == [("DELETED", "a")]


async def test_an_object_that_leaves_a_selection_is_deleted_from_it(client: Client) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&labelSelector=team=blue")
    await make(client, "a", team="red")
    assert watch.events() == []
    await client.patch(f"{MAPS}/a", {"metadata": {"labels": {"team": "blue"}}})
    assert watch.summary() == [("ADDED", "a")]
    await client.patch(f"{MAPS}/a", {"data": {"x": "1"}})
    assert watch.summary() == [("MODIFIED", "a")]
    await client.patch(f"{MAPS}/a", {"metadata": {"labels": {"team": "red"}}})
    ((kind, left),) = watch.events()
    # The last state that was selected, under the revision in which it no longer was.
    assert (kind, left["metadata"]["labels"]) == ("DELETED", {"team": "blue"})
    assert left["metadata"]["resourceVersion"] == str(now(client))
    await client.delete(f"{MAPS}/a")
    assert watch.events() == []


async def test_resuming_a_selected_watch_gives_the_same_transitions(client: Client) -> None:
    before = now(client)
    await make(client, "a", team="blue")
    await client.patch(f"{MAPS}/a", {"metadata": {"labels": {"team": "red"}}})
    await make(client, "b", team="red")
    await client.patch(f"{MAPS}/b", {"metadata": {"labels": {"team": "blue"}}})
    watch = await client.watch(f"{MAPS}?watch=1&labelSelector=team=blue&resourceVersion={before}")
    assert watch.summary() == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]


# The past


async def test_a_revision_that_was_compacted_is_an_error_event(client: Client, server: APIServer) -> None:
    await make(client, "early")  # the cache of config maps begins here
    too_old = now(client) - 1
    for number in range(3):
        await make(client, f"a{number}")
    await server.store.compact(now(client))
    server.cache.forget("/registry/core/configmaps/")
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion={too_old}")
    ((kind, status),) = watch.events()
    assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
    assert status["message"] == f"too old resource version: {too_old} ({now(client)})"
    assert not watch.open


async def test_what_the_cache_forgot_is_read_from_the_store(
    client: Client, server: APIServer, clock: FakeClock
) -> None:
    before = now(client)
    for number in range(150):
        await make(client, f"a{number}")
        await clock.advance(1)
    cache = server.reads.cache_of(server.scheme.by_resource("", "v1", "configmaps"))  # type: ignore[arg-type]
    assert cache.events_after(before) is None
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion={before}")
    await settle()
    assert [name for _, name in watch.summary()] == [f"a{number}" for number in range(150)]


# Bookmarks and initial events


async def test_bookmarks_come_once_a_minute_to_those_who_allow_them(client: Client, clock: FakeClock) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&resourceVersion={now(client)}&allowWatchBookmarks=true")
    silent = await client.watch(f"{MAPS}?watch=1&resourceVersion={now(client)}")
    await client.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    await clock.advance(60)
    ((kind, mark),) = watch.events()
    assert kind == "BOOKMARK"
    assert (mark["kind"], mark["apiVersion"]) == ("ConfigMap", "v1")
    assert mark["metadata"] == {"resourceVersion": str(now(client))}
    assert silent.events() == []


async def test_a_last_bookmark_comes_two_seconds_before_the_end(client: Client, clock: FakeClock) -> None:
    """So that who comes back has missed as little as possible, even of a short watch of what seldom changes."""
    query = f"watch=1&resourceVersion={now(client)}&timeoutSeconds=8"
    watch = await client.watch(f"{MAPS}?{query}&allowWatchBookmarks=true")
    silent = await client.watch(f"{MAPS}?{query}")
    brief = await client.watch(f"{MAPS}?watch=1&timeoutSeconds=2&allowWatchBookmarks=1&resourceVersion=1")
    await client.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "s"}})
    await clock.advance(5.9)
    assert watch.events() == []
    await clock.advance(0.2)
    ((kind, mark),) = watch.events()
    assert (kind, mark["metadata"]) == ("BOOKMARK", {"resourceVersion": str(now(client))})
    assert (watch.open, silent.events(), brief.events()) == (True, [], [])
    await clock.advance(2)
    assert (watch.open, silent.open) == (False, False)


async def test_initial_events_end_with_an_annotated_bookmark(client: Client) -> None:
    await make(client, "a")
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    watch = await client.watch(f"{MAPS}?{query}")
    (added, _), (kind, mark) = watch.events()
    assert (added, kind) == ("ADDED", "BOOKMARK")
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["metadata"]["resourceVersion"] == str(now(client))
    await make(client, "b")
    assert watch.summary() == [("ADDED", "b")]


async def test_without_initial_events_a_watch_begins_now(client: Client) -> None:
    await make(client, "a")
    query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"
    watch = await client.watch(f"{MAPS}?{query}")
    assert watch.events() == []
    await make(client, "b")
    assert watch.summary() == [("ADDED", "b")]


async def test_what_happens_during_the_beginning_comes_after_it(client: Client) -> None:
    for number in range(30):
        await make(client, f"a{number:02}")
    response = await client.respond(client.request("GET", f"{MAPS}?watch=1"))
    from served import Watch, Wire

    wire = Wire()
    wire.untaken_bytes = 1 << 20  # the client is slow to take the beginning
    assert response.start is not None
    response.start(wire)
    await client.delete(f"{MAPS}/a00")
    await make(client, "late")
    wire.untaken_bytes = 0
    async with asyncio.timeout(60):
        while wire.data.count(b"\n") < 32:
            await asyncio.sleep(0.001)
    seen = Watch(wire, {}).summary()
    assert seen[:30] == [("ADDED", f"a{number:02}") for number in range(30)]
    assert seen[30:] == [("DELETED", "a00"), ("ADDED", "late")]


# The end


async def test_a_watch_ends_after_its_time(client: Client, clock: FakeClock) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&timeoutSeconds=5")
    await clock.advance(4)
    assert watch.open
    await clock.advance(2)
    assert not watch.open


async def test_no_watch_lasts_longer_than_an_hour(client: Client, clock: FakeClock) -> None:
    watch = await client.watch(f"{MAPS}?watch=1")
    await clock.advance(1799)
    assert watch.open
    await clock.advance(1802)
    assert not watch.open


async def test_a_client_that_leaves_is_forgotten(client: Client, server: APIServer) -> None:
    cache = server.reads.cache_of(server.scheme.by_resource("", "v1", "configmaps"))  # type: ignore[arg-type]
    own = cache.watcher_count  # of the server itself
    watch = await client.watch(f"{MAPS}?watch=1&allowWatchBookmarks=1")
    assert (cache.watcher_count, len(server.reads.streams)) == (own + 1, 1)
    watch.leave()
    assert (cache.watcher_count, len(server.reads.streams)) == (own, 0)
    await make(client, "a")
    assert watch.events() == []


async def test_a_client_that_takes_nothing_is_cut_off(client: Client) -> None:
    slow = await client.watch(f"{MAPS}?watch=1")
    quick = await client.watch(f"{MAPS}?watch=1")
    slow.wire.untaken_bytes = PENDING_LIMIT_BYTES + 1
    await make(client, "a")
    assert slow.wire.aborted
    assert (quick.open, quick.summary()) == (True, [("ADDED", "a")])


async def test_the_servers_end_ends_every_watch_properly(client: Client, server: APIServer) -> None:
    watches = [await client.watch(f"{MAPS}?watch=1&allowWatchBookmarks=1") for _ in range(3)]
    await server.close()
    assert [watch.open for watch in watches] == [False] * 3
    assert not any(watch.wire.aborted for watch in watches)


async def test_many_watchers_share_what_is_written(client: Client) -> None:
    watches = [await client.watch(f"{MAPS}?watch=1&resourceVersion={now(client)}") for _ in range(5)]
    await make(client, "first")
    await make(client, "second")
    texts = {watch.bytes() for watch in watches}
    assert len(texts) == 1
    assert [orjson.loads(line)["object"]["metadata"]["name"] for line in texts.pop().splitlines()] == [
        "first",
        "second",
    ]


# Representations


async def test_a_table_has_columns_in_its_first_event_only(client: Client) -> None:
    await make(client, "a")
    watch = await client.watch(f"{MAPS}?watch=1", accept=TABLE)
    await make(client, "b")
    (first, one), (second, two) = watch.events()
    assert (first, second, one["kind"], two["kind"]) == ("ADDED", "ADDED", "Table", "Table")
    assert one["columnDefinitions"]
    assert two["columnDefinitions"] is None
    assert two["rows"][0]["cells"][0] == "b"
    assert two["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_bookmark_of_a_table_is_a_table(client: Client, clock: FakeClock) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&allowWatchBookmarks=1", accept=TABLE)
    await make(client, "a")
    watch.events()
    await clock.advance(61)
    ((kind, mark),) = watch.events()
    assert (kind, mark["kind"]) == ("BOOKMARK", "Table")
    version = str(client.server.store.revision)
    assert mark["metadata"]["resourceVersion"] == version
    assert mark["rows"][0]["object"]["metadata"]["resourceVersion"] == version


async def test_partial_metadata(client: Client, clock: FakeClock) -> None:
    watch = await client.watch(f"{MAPS}?watch=1&allowWatchBookmarks=1", accept=PARTIAL)
    await make(client, "a", x="y")
    ((_, seen),) = watch.events()
    assert (seen["kind"], seen["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert seen["metadata"]["labels"] == {"x": "y"}
    await clock.advance(61)
    ((kind, mark),) = watch.events()
    assert (kind, mark["kind"], mark["apiVersion"]) == (
        "BOOKMARK",
        "PartialObjectMetadata",
        "meta.k8s.io/v1",
    )


async def test_protobuf(client: Client) -> None:
    watch = await client.watch(f"{MAPS}?watch=1", accept=PROTOBUF)
    assert watch.headers["content-type"] == f"{PROTOBUF};stream=watch"
    await make(client, "a")
    frame = watch.bytes()
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert b"ADDED" in frame
    assert b"k8s\0" in frame


async def test_json_is_a_line_an_event(client: Client) -> None:
    watch = await client.watch(f"{MAPS}?watch=1")
    assert watch.headers["content-type"] == "application/json"
    await make(client, "a")
    assert watch.bytes().endswith(b"}\n")
