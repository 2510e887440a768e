"""What every store must do, run over each of them (see conftest)."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tiphys.store.interface import Change, Compacted, Conflict, Entry, FutureRevision, Store, StoreClosed


async def put(store: Store, *keys: str) -> None:
    for key in keys:
        await store.write(key, f"{key}={store.revision + 1}".encode())


def names(entries: Sequence[Entry | Change]) -> list[str]:
    return [entry.key for entry in entries]


async def refusal(write: Any) -> Entry | None:
    with pytest.raises(Conflict) as raised:
        await write
    return raised.value.current


async def test_an_empty_store_is_at_revision_zero(store: Store) -> None:
    assert (store.revision, store.compact_revision) == (0, 0)
    assert store.get("/a") is None
    assert store.list("").entries == []
    assert list(store.changes(0)) == []


async def test_each_write_takes_the_next_revision_of_one_counter(store: Store) -> None:
    assert await store.write("/a", b"1") == 1
    assert await store.write("/b", b"2") == 2
    assert await store.write("/a", b"3") == 3
    assert store.revision == 3
    assert store.get("/a") == Entry("/a", b"3", 3)
    assert store.get("/b") == Entry("/b", b"2", 2)


async def test_a_write_is_not_visible_before_it_is_durable(store: Store) -> None:
    written = store.write("/a", b"1")
    assert store.get("/a") is None
    assert store.revision == 0
    await written
    assert store.get("/a") == Entry("/a", b"1", 1)


async def test_an_empty_value_is_no_deletion(store: Store) -> None:
    await store.write("/a", b"")
    assert store.get("/a") == Entry("/a", b"", 1)
    assert [change.value for change in store.changes(0)] == [b""]


async def test_create_needs_absence(store: Store) -> None:
    await store.write("/a", b"1", expected=0)
    assert await refusal(store.write("/a", b"2", expected=0)) == Entry("/a", b"1", 1)
    assert store.get("/a") == Entry("/a", b"1", 1)
    assert store.revision == 1, "a refused write takes no revision"


async def test_update_needs_the_expected_revision(store: Store) -> None:
    await put(store, "/a", "/a")
    assert await refusal(store.write("/a", b"x", expected=1)) == Entry("/a", b"/a=2", 2)
    assert await refusal(store.write("/b", b"x", expected=2)) is None
    assert await store.write("/a", b"x", expected=2) == 3


async def test_delete_needs_the_expected_revision(store: Store) -> None:
    await put(store, "/a")
    assert await refusal(store.write("/a", None, expected=7)) == Entry("/a", b"/a=1", 1)
    assert await store.write("/a", None, expected=1) == 2
    assert store.get("/a") is None


@pytest.mark.parametrize("expected", [None, 0, 5])
async def test_what_does_not_exist_cannot_be_deleted(store: Store, expected: int | None) -> None:
    assert await refusal(store.write("/a", None, expected=expected)) is None
    assert store.revision == 0


async def test_a_key_can_be_created_again_after_its_deletion(store: Store) -> None:
    await put(store, "/a")
    await store.write("/a", None)
    assert await store.write("/a", b"new", expected=0) == 3
    assert [change.previous for change in store.changes(0)] == [None, Entry("/a", b"/a=1", 1), None]


async def test_writes_of_one_turn_are_decided_on_top_of_each_other(store: Store) -> None:
    create = store.write("/a", b"1", expected=0)
    update = store.write("/a", b"2", expected=1)
    late = store.write("/a", b"3", expected=1)
    delete = store.write("/a", None, expected=2)
    gone = store.write("/a", b"4", expected=2)
    again = store.write("/a", b"5", expected=0)
    assert [await create, await update, await delete, await again] == [1, 2, 3, 4]
    assert await refusal(late) == Entry("/a", b"2", 2), "refused for what was there when it was decided"
    assert await refusal(gone) is None
    assert store.get("/a") == Entry("/a", b"5", 4)
    assert [change.revision for change in store.changes(0)] == [1, 2, 3, 4]


async def test_a_refusal_waits_for_the_write_it_was_decided_on(store: Store) -> None:
    order: list[str] = []
    first = store.write("/a", b"1")
    second = store.write("/a", b"2", expected=0)
    assert not second.done()
    first.add_done_callback(lambda _: order.append("written"))
    second.add_done_callback(lambda _: order.append("refused"))
    await asyncio.wait([first, second])
    assert order == ["written", "refused"]
    assert await refusal(second) == Entry("/a", b"1", 1)


async def test_cancelling_the_future_does_not_take_the_write_back(store: Store) -> None:
    store.write("/a", b"1").cancel()
    assert await store.write("/b", b"2") == 2
    assert store.get("/a") == Entry("/a", b"1", 1)


async def test_a_key_that_is_no_text_is_the_callers_error_alone(store: Store) -> None:
    written = store.write("/a", b"1")
    with pytest.raises(ValueError, match="surrogates"):
        store.write("/\udcff", b"1")
    assert await written == 1


async def test_list_is_ordered_and_bounded_by_the_prefix(store: Store) -> None:
    await put(store, "/b/2", "/a/1", "/b/1", "/b", "/c", "/b0")
    listing = store.list("/b/")
    assert listing.entries == [Entry("/b/1", b"/b/1=3", 3), Entry("/b/2", b"/b/2=1", 1)]
    assert (listing.revision, listing.remaining) == (6, 0)
    assert names(store.list("").entries) == ["/a/1", "/b", "/b/1", "/b/2", "/b0", "/c"]
    assert names(store.list("/x").entries) == []


@pytest.mark.parametrize("last", ["é", "\ud7ff", "\U0010ffff"])
async def test_a_prefix_may_end_in_any_character(store: Store, last: str) -> None:
    await put(store, f"/{last}", f"/{last}{last}", "/a", "/zz", "/\ue000")
    assert names(store.list(f"/{last}").entries) == [f"/{last}", f"/{last}{last}"]


async def test_list_in_pages(store: Store) -> None:
    await put(store, *(f"/p/{number}" for number in range(7)), "/q")
    first = store.list("/p/", limit=3)
    assert (names(first.entries), first.remaining) == (["/p/0", "/p/1", "/p/2"], 4)
    await store.write("/p/0", None)
    await store.write("/p/4", None)
    await put(store, "/p/22", "/p/5", "/r")
    second = store.list("/p/", revision=first.revision, start_after="/p/2", limit=3)
    assert (names(second.entries), second.remaining) == (["/p/3", "/p/4", "/p/5"], 1)
    assert second.entries[2] == Entry("/p/5", b"/p/5=6", 6)
    last = store.list("/p/", revision=first.revision, start_after="/p/5", limit=3)
    assert (names(last.entries), last.remaining, last.revision) == (["/p/6"], 0, 8)
    assert names(store.list("/p/", start_after="/a", limit=1).entries) == ["/p/1"]
    assert names(store.list("/p/", start_after="/z").entries) == []


async def test_list_at_every_past_revision(store: Store) -> None:
    expected: list[list[Entry]] = [[]]
    for key, value in [
        ("/a", b"1"),
        ("/b", b"2"),
        ("/a", b"3"),
        ("/a", None),
        ("/c", b"5"),
        ("/a", b"6"),
        ("/b", None),
    ]:
        await store.write(key, value)
        expected.append(store.list("").entries)
    for revision in range(1, 8):
        listing = store.list("", revision=revision)
        assert (listing.entries, listing.revision) == (expected[revision], revision)


async def test_changes_tell_the_whole_story(store: Store) -> None:
    await put(store, "/a", "/b", "/a")
    await store.write("/b", None)
    changes = store.changes(1)
    assert [(c.revision, c.key, c.value, c.previous) for c in changes] == [
        (2, "/b", b"/b=2", None),
        (3, "/a", b"/a=3", Entry("/a", b"/a=1", 1)),
        (4, "/b", None, Entry("/b", b"/b=2", 2)),
    ]
    assert list(store.changes(1, limit=2)) == list(changes)[:2]
    assert list(store.changes(4)) == []


async def test_the_future_cannot_be_read(store: Store) -> None:
    await put(store, "/a")
    with pytest.raises(FutureRevision, match="revision 2 is in the future, the newest is 1"):
        store.list("", revision=2)
    with pytest.raises(FutureRevision):
        store.changes(2)
    with pytest.raises(FutureRevision):
        await store.compact(2)


async def test_compaction_forgets_the_past_and_keeps_the_state(store: Store) -> None:
    await put(store, "/a", "/b", "/a", "/c")
    await store.write("/b", None)
    await put(store, "/a", "/c")
    at_five, after_five = store.list("", revision=5), list(store.changes(5))
    await store.compact(5)
    assert store.compact_revision == 5
    assert store.list("", revision=5) == at_five
    assert list(store.changes(5)) == after_five
    for read in (lambda: store.list("", revision=4), lambda: store.changes(4), lambda: store.changes(0)):
        with pytest.raises(Compacted) as raised:
            read()
        assert raised.value.compact_revision == 5
    assert names(store.list("").entries) == ["/a", "/c"]


async def test_compacting_twice_or_back_is_harmless(store: Store) -> None:
    await put(store, "/a", "/a", "/a")
    await store.compact(2)
    await store.compact(2)
    await store.compact(1)
    assert store.compact_revision == 2
    assert names(store.list("", revision=2).entries) == ["/a"]


async def test_writes_go_on_during_a_compaction(store: Store) -> None:
    await asyncio.gather(*(store.write(f"/{number % 7}", b"x") for number in range(1000)))
    compaction = asyncio.ensure_future(store.compact(990))
    written = [await store.write("/during", str(number).encode()) for number in range(20)]
    await compaction
    assert written == list(range(1001, 1021))
    assert len(store.list("").entries) == 8
    assert [change.revision for change in store.changes(990)] == list(range(991, 1021))


async def test_subscribers_hear_of_commits_in_order_before_the_writers(store: Store) -> None:
    heard: list[Change] = []
    order: list[str] = []

    def callback(changes: Sequence[Change]) -> None:
        assert store.revision == changes[-1].revision, "what is told can be read"
        heard.extend(changes)
        order.append("told")

    store.subscribe(callback)
    first = store.write("/a", b"1")
    first.add_done_callback(lambda _: order.append("acknowledged"))
    await first
    assert order == ["told", "acknowledged"]
    await asyncio.gather(*(store.write("/a", str(number).encode()) for number in range(5)))
    await store.write("/a", None)
    assert heard == list(store.changes(0))


async def test_what_a_subscriber_may_see_as_previous(store: Store) -> None:
    seen: list[tuple[bytes | None, Entry | None]] = []
    store.subscribe(lambda changes: seen.extend((c.value, c.previous) for c in changes))
    await asyncio.gather(store.write("/a", b"1"), store.write("/a", b"2"), store.write("/a", None))
    assert seen == [(b"1", None), (b"2", Entry("/a", b"1", 1)), (None, Entry("/a", b"2", 2))]


async def test_a_subscription_ends(store: Store) -> None:
    heard: list[int] = []
    unsubscribe = store.subscribe(lambda changes: heard.append(changes[-1].revision))
    await put(store, "/a")
    unsubscribe()
    unsubscribe()
    await put(store, "/a")
    assert heard == [1]


async def test_a_subscriber_may_write_and_unsubscribe(store: Store) -> None:
    writes: list[asyncio.Future[int]] = []

    def once(changes: Sequence[Change]) -> None:
        unsubscribe()
        writes.append(store.write("/a", b"again", expected=changes[-1].revision))

    unsubscribe = store.subscribe(once)
    await put(store, "/a")
    assert await writes[0] == 2


async def test_a_subscriber_that_raises_harms_nobody_else(store: Store) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    heard: list[int] = []

    def broken(changes: Sequence[Change]) -> None:
        raise ZeroDivisionError

    store.subscribe(broken)
    store.subscribe(lambda changes: heard.append(changes[-1].revision))
    await put(store, "/a", "/b")
    assert heard == [1, 2]
    assert [type(context["exception"]) for context in reported] == [ZeroDivisionError] * 2


async def test_close_finishes_what_waits_and_takes_no_more(store: Store) -> None:
    waiting = [store.write(f"/{number}", b"x") for number in range(5)]
    await asyncio.gather(store.close(), store.close())
    assert [await write for write in waiting] == [1, 2, 3, 4, 5]
    with pytest.raises(StoreClosed):
        await store.write("/a", b"1")
    for read in (lambda: store.get("/0"), lambda: store.list(""), lambda: store.changes(0)):
        with pytest.raises(StoreClosed):
            read()
    with pytest.raises(StoreClosed):
        await store.compact(1)
    await store.close()
