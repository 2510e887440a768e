"""What a client gets that names a resourceVersion which the server has not reached: the server waits, for three seconds."""

from __future__ import annotations

import asyncio

import pytest
from served import Answer, Client, settle

from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
FAR = 999_999
READS = [
    MAPS,
    f"{MAPS}/a",
    "/api/v1/configmaps",
    f"{MAPS}?fieldSelector=metadata.name=a",
    f"{MAPS}?resourceVersionMatch=NotOlderThan&limit=5",
]
INITIAL = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"


def at(path: str, revision: int) -> str:
    return f"{path}{'&' if '?' in path else '?'}resourceVersion={revision}"


def refuses(answer: Answer, current: int, *, retry_after: bool) -> None:
    assert (answer.status, answer.body["reason"]) == (504, "Timeout")
    assert answer.body["message"] == f"Timeout: Too large resource version: {FAR}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    assert answer.body["details"] == {"causes": causes, **({"retryAfterSeconds": 1} if retry_after else {})}
    assert answer.headers.get("retry-after") == ("1" if retry_after else None)


@pytest.mark.parametrize("path", READS)
async def test_a_version_that_never_comes(client: Client, clock: FakeClock, path: str) -> None:
    reading = asyncio.create_task(client.call("GET", at(path, FAR)))
    await clock.advance(2.9)
    assert not reading.done()
    await clock.advance(0.1)
    refuses(await reading, client.server.store.revision, retry_after=True)


@pytest.mark.parametrize("path", READS)
async def test_a_version_that_comes_in_time(client: Client, path: str) -> None:
    reading = asyncio.create_task(client.call("GET", at(path, client.server.store.revision + 2)))
    await settle()
    await client.create(MAPS, {"metadata": {"name": "b"}})
    await settle()
    assert not reading.done()
    await client.create(MAPS, {"metadata": {"name": "a"}})
    answer = await reading
    assert answer.status == 200
    named = [item["metadata"]["name"] for item in answer.body.get("items", [answer.body])]
    assert "a" in named


@pytest.mark.parametrize("more", ["resourceVersionMatch=Exact", "limit=5"])
async def test_nobody_waits_for_an_exact_version(client: Client, more: str) -> None:
    answer = await client.call("GET", at(f"{MAPS}?{more}", FAR))
    refuses(answer, client.server.store.revision, retry_after=False)


async def test_a_client_that_goes_meanwhile(client: Client, clock: FakeClock) -> None:
    waiting = clock.next_due
    reading = asyncio.create_task(client.call("GET", at(MAPS, FAR)))
    await settle()
    reading.cancel()
    await settle()
    assert clock.next_due == waiting


async def test_a_watch_that_begins_with_a_state_which_never_comes(client: Client, clock: FakeClock) -> None:
    opening = asyncio.create_task(client.call("GET", at(f"{MAPS}?{INITIAL}", FAR)))
    await clock.advance(3)
    answer = await opening
    assert (answer.status, answer.body["type"]) == (200, "ERROR")
    assert answer.body["object"]["reason"] == "Timeout"
    assert answer.body["object"]["details"]["retryAfterSeconds"] == 1


async def test_a_watch_that_begins_with_a_state_which_comes(client: Client) -> None:
    opening = asyncio.create_task(client.watch(at(f"{MAPS}?{INITIAL}", client.server.store.revision + 1)))
    await settle()
    await client.create(MAPS, {"metadata": {"name": "a"}})
    watch = await opening
    await settle()
    shown = watch.summary()
    assert ("ADDED", "a") in shown
    assert shown[-1] == ("BOOKMARK", "")
    await client.create(MAPS, {"metadata": {"name": "b"}})
    assert watch.summary() == [("ADDED", "b")]


async def test_waits_are_counted(client: Client, clock: FakeClock) -> None:
    reading = asyncio.create_task(client.call("GET", at(MAPS, FAR)))
    await clock.advance(3)
    await reading
    text = (await client.call("GET", "/metrics")).raw.decode()
    name = "apiserver_watch_cache_read_wait_seconds"
    assert f'{name}_sum{{group="",resource="configmaps"}} 3\n' in text


async def test_what_the_cache_does_is_counted(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.create(SECRETS, {"metadata": {"name": name, "labels": {"only": name}}})
    await client.get(f"{SECRETS}?labelSelector=only%3Da")
    text = (await client.call("GET", "/metrics")).raw.decode()
    maps = 'group="",resource="secrets"'
    revision = client.server.store.revision
    for line in (
        'apiserver_cache_list_total{group="",index="",resource="secrets"} 1',
        'apiserver_cache_list_fetched_objects_total{group="",index="",resource="secrets"} 3',
        f"apiserver_cache_list_returned_objects_total{{{maps}}} 1",
        'apiserver_watch_cache_consistent_read_total{fallback="false",group="",resource="secrets",success="true"} 1',
        f"apiserver_watch_cache_events_received_total{{{maps}}} 3",
        f"apiserver_watch_cache_events_dispatched_total{{{maps}}} 3",
        f"apiserver_watch_cache_initializations_total{{{maps}}} 1",
        f"apiserver_watch_cache_resource_version{{{maps}}} {revision}",
        f"watch_cache_capacity{{{maps}}} 10000",
    ):
        assert f"\n{line}\n" in text, line


@pytest.mark.parametrize(
    "more", ["", "&allowWatchBookmarks=true", "&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"]
)
async def test_a_plain_watch_is_silent_until_its_version_has_come(
    client: Client, clock: FakeClock, more: str
) -> None:
    """Neither upstream's watch cache nor etcd looks whether a revision is there: they tell of what comes after it."""
    ahead = client.server.store.revision + 2
    watch = await client.watch(at(f"{MAPS}?watch=1&timeoutSeconds=300{more}", ahead))
    await clock.advance(61)
    for name in ("a", "b", "c"):
        await client.create(MAPS, {"metadata": {"name": name}})
    if not more:
        assert watch.summary() == [("ADDED", "c")]
    await clock.advance(60)
    assert ("ADDED", "a") not in (shown := watch.summary())
    assert shown.count(("BOOKMARK", "")) == (1 if "Bookmarks" in more else 0)
    assert watch.open
    await clock.advance(200)
    assert not watch.open


async def test_what_the_store_does_is_counted(client: Client) -> None:
    first = await client.create(SECRETS, {"metadata": {"name": "a"}, "data": {"k": "dg=="}})
    await client.create(SECRETS, {"metadata": {"name": "b"}})
    then = f"{SECRETS}?resourceVersionMatch=Exact&resourceVersion={first['metadata']['resourceVersion']}"
    assert [each["metadata"]["name"] for each in (await client.get(then))["items"]] == ["a"]
    text = (await client.call("GET", "/metrics")).raw.decode()
    labels = 'group="",resource="secrets"'
    for name, value in (
        ("apiserver_storage_list_total", 1),
        ("apiserver_storage_list_fetched_objects_total", 1),
        ("apiserver_storage_list_returned_objects_total", 1),
        ("apiserver_storage_events_received_total", 2),
        ("apiserver_resource_objects", 2),
    ):
        assert f"\n{name}{{{labels}}} {value}\n" in text, name
    (size,) = [
        line
        for line in text.splitlines()
        if line.startswith("apiserver_resource_size_estimate_bytes{" + labels)
    ]
    assert float(size.split()[-1]) > 100
    assert 'apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 0\n' in text
