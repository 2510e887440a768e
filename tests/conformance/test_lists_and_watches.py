"""Pages of large lists, and what watches see."""

from __future__ import annotations

import random

import pytest
from served import Client, Object, Watch

MAPS = "/api/v1/namespaces/default/configmaps"
TEMPLATES = "/api/v1/namespaces/default/podtemplates"
MANY = 400
LABEL = "watch-this-configmap"


async def make_many(client: Client) -> None:
    spec = {"containers": [{"name": "test", "image": "test2"}]}
    for number in range(MANY):
        name = f"template-{number:04}"
        await client.create(TEMPLATES, {"metadata": {"name": name}, "template": {"spec": spec}})


def check_page(page: Object, before: int, limit: int) -> int:
    """How many were seen after this page."""
    names = [item["metadata"]["name"] for item in page["items"]]
    assert len(names) <= limit
    assert names == [f"template-{number:04}" for number in range(before, before + len(names))]
    remaining = page["metadata"].get("remainingItemCount")
    if "continue" in page["metadata"]:
        assert remaining + len(names) + before == MANY
    else:
        assert remaining is None
    return before + len(names)


async def follow(client: Client, page: Object, seen: int, dice: random.Random) -> int:
    """Reads on from a page to the end, all of one revision."""
    revision = page["metadata"]["resourceVersion"]
    while token := page["metadata"].get("continue"):
        limit = dice.randint(1, MANY // 10)
        page = await client.get(f"{TEMPLATES}?limit={limit}&continue={token}")
        assert page["metadata"]["resourceVersion"] == revision
        seen = check_page(page, seen, limit)
    return seen


@pytest.mark.conformance(
    "Servers with support for API chunking should return chunks of results for list calls"
)
async def test_pages(client: Client, dice: random.Random) -> None:
    await make_many(client)
    for _ in range(3):
        limit = dice.randint(1, MANY // 10)
        page = await client.get(f"{TEMPLATES}?limit={limit}")
        assert await follow(client, page, check_page(page, 0, limit), dice) == MANY
    assert len((await client.get(f"{TEMPLATES}?limit={MANY + 1}"))["items"]) == MANY


@pytest.mark.conformance(
    "Servers with support for API chunking should support continue listing from the last key if the original version has been compacted away, though the list is inconsistent [Slow]"
)
async def test_pages_of_a_forgotten_revision(client: Client, dice: random.Random) -> None:
    await make_many(client)
    limit = MANY // 10
    first = await client.get(f"{TEMPLATES}?limit={limit}")
    assert check_page(first, 0, limit) == limit
    await client.create(MAPS, {"metadata": {"name": "later"}})
    store = client.server.store
    await store.compact(store.revision)
    token = first["metadata"]["continue"]
    gone = await client.call("GET", f"{TEMPLATES}?limit={limit}&continue={token}")
    assert (gone.status, gone.body["reason"]) == (410, "Expired")
    token = gone.body["metadata"]["continue"]
    second = await client.get(f"{TEMPLATES}?limit={limit}&continue={token}")
    assert second["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]
    assert len(second["items"]) == limit
    assert await follow(client, second, check_page(second, limit, limit), dice) == MANY


# Watches


async def open_watch(client: Client, *values: str, revision: str = "") -> Watch:
    selector = f"{LABEL}%20in%20({','.join(values)})"
    return await client.watch(f"{MAPS}?watch=true&labelSelector={selector}&resourceVersion={revision}")


async def make(client: Client, name: str, value: str) -> Object:
    return await client.create(MAPS, {"metadata": {"name": name, "labels": {LABEL: value}}})


async def mutate(client: Client, name: str, mutation: str) -> Object:
    current = await client.get(f"{MAPS}/{name}")
    return await client.put(f"{MAPS}/{name}", {**current, "data": {"mutation": mutation}})


async def relabel(client: Client, name: str, value: str) -> Object:
    current = await client.get(f"{MAPS}/{name}")
    current["metadata"]["labels"][LABEL] = value
    return await client.put(f"{MAPS}/{name}", current)


@pytest.mark.conformance("Watchers should observe add, update, and delete watch notifications on configmaps")
async def test_watches_of_labels(client: Client) -> None:
    watches = [await open_watch(client, *values) for values in ("A", "B", "AB")]

    def see(a: list[tuple[str, Object | None]], b: list[tuple[str, Object | None]]) -> None:
        """What the watches of A, of B and of both have seen since; of a deletion, only that."""
        for watch, wanted in zip(watches, (a, b, a + b), strict=True):
            assert [(how, None if how == "DELETED" else obj) for how, obj in watch.events()] == wanted

    see([("ADDED", await make(client, "a", "A"))], [])
    for mutation in "12":
        see([("MODIFIED", await mutate(client, "a", mutation))], [])
    await client.delete(f"{MAPS}/a")
    see([("DELETED", None)], [])
    see([], [("ADDED", await make(client, "b", "B"))])
    await client.delete(f"{MAPS}/b")
    see([], [("DELETED", None)])


@pytest.mark.conformance("Watchers should be able to start watching from a specific resource version")
async def test_a_watch_from_a_revision(client: Client) -> None:
    await make(client, "a", "A")
    first, second = [await mutate(client, "a", mutation) for mutation in "12"]
    await client.delete(f"{MAPS}/a")
    watch = await open_watch(client, "A", revision=first["metadata"]["resourceVersion"])
    (modified, deleted) = watch.events()
    assert (modified, deleted[0]) == (("MODIFIED", second), "DELETED")


@pytest.mark.conformance(
    "Watchers should be able to restart watching from the last resource version observed by the previous watch"
)
async def test_a_watch_from_where_another_ended(client: Client) -> None:
    broken = await open_watch(client, "A")
    made = await make(client, "a", "A")
    await mutate(client, "a", "1")
    (added, modified) = broken.events()
    assert (added, modified[0]) == (("ADDED", made), "MODIFIED")
    broken.leave()
    second = await mutate(client, "a", "2")
    restarted = await open_watch(client, "A", revision=modified[1]["metadata"]["resourceVersion"])
    await client.delete(f"{MAPS}/a")
    (modified, deleted) = restarted.events()
    assert (modified, deleted[0]) == (("MODIFIED", second), "DELETED")


@pytest.mark.conformance(
    "Watchers should observe an object deletion if it stops meeting the requirements of the selector"
)
async def test_an_object_that_leaves_and_comes_back(client: Client) -> None:
    watch = await open_watch(client, "A")
    made, first = await make(client, "a", "A"), await mutate(client, "a", "1")
    away = await relabel(client, "a", "wrong-value")
    seen = watch.events()
    assert seen[:2] == [("ADDED", made), ("MODIFIED", first)]
    ((how, left),) = seen[2:]
    assert (how, left["metadata"]["labels"]) == ("DELETED", {LABEL: "A"})
    assert left["metadata"]["resourceVersion"] == away["metadata"]["resourceVersion"]
    await mutate(client, "a", "2")
    assert watch.events() == []
    back, third = await relabel(client, "a", "A"), await mutate(client, "a", "3")
    await client.delete(f"{MAPS}/a")
    seen = watch.events()
    assert seen[:2] == [("ADDED", back), ("MODIFIED", third)]
    assert [how for how, _ in seen[2:]] == ["DELETED"]


@pytest.mark.conformance("Watchers should receive events on concurrent watches in same order")
async def test_watches_from_every_event_see_the_same_order(client: Client, dice: random.Random) -> None:
    start = (await client.get(MAPS))["metadata"]["resourceVersion"]
    whole = await client.watch(f"{MAPS}?watch=true&resourceVersion={start}")
    watches, there, number, order = [], [], 0, []
    for _ in range(100):
        choice = dice.choice(["create", "update", "delete"]) if there else "create"
        if choice == "create":
            name, number = f"cm-{number}", number + 1
            await client.create(MAPS, {"metadata": {"name": name}, "data": {"x": str(number)}})
            there.append(name)
        elif choice == "update":
            await client.patch(f"{MAPS}/{dice.choice(there)}", {"data": {"x": f"{dice.random()}"}})
        else:
            await client.delete(f"{MAPS}/{there.pop(dice.randrange(len(there)))}")
        ((_, obj),) = whole.events()
        order.append(obj["metadata"]["resourceVersion"])
        watches.append(await client.watch(f"{MAPS}?watch=true&resourceVersion={order[-1]}"))
    for position, watch in enumerate(watches, 1):
        assert [obj["metadata"]["resourceVersion"] for _, obj in watch.events()] == order[position:]
