"""The loop's half of a store, with a disk that ends when the test says so: what is on its way, and what fails with it."""

import asyncio

import pytest

from tiphys.store.group_commit import Batch, GroupCommitStore
from tiphys.store.interface import Change, Conflict, Entry, StoreFull


class SlowStore(GroupCommitStore):
    """Commits when told to."""

    def __init__(self) -> None:
        super().__init__(revision=0, compact_revision=0)
        self.entries: dict[str, Entry] = {}
        self.batches: list[Batch] = []

    def get(self, key: str) -> Entry | None:
        return self.entries.get(key)

    def _revision_of(self, key: str) -> int:
        return self.entries[key].revision if key in self.entries else 0

    def _commit(self, batch: Batch) -> None:
        self.batches.append(batch)

    def succeed(self) -> None:
        batch = self.batches.pop(0)
        for write in batch.writes:
            if write.value is None:
                del self.entries[write.key]
            else:
                self.entries[write.key] = Entry(write.key, write.value, write.revision)
        self._committed(batch, [Change(w.revision, w.key, w.value, None) for w in batch.writes])

    def fail(self) -> None:
        self._failed(self.batches.pop(0), StoreFull("no space"))


async def turn() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def failure(future: asyncio.Future[int]) -> type[BaseException]:
    return type(future.exception())


async def test_writes_of_one_turn_share_a_commit_and_later_ones_share_the_next() -> None:
    store = SlowStore()
    first = [store.write(f"/{number}", b"") for number in range(3)]
    await turn()
    later = [store.write(f"/{number}", b"") for number in range(3)]
    await turn()
    later += [store.write("/x", b"")]
    await turn()
    assert [len(batch.writes) for batch in store.batches] == [3], "one commit at a time"
    store.succeed()
    assert [future.result() for future in first] == [1, 2, 3]
    assert not any(future.done() for future in later)
    await turn()
    assert [len(batch.writes) for batch in store.batches] == [4]
    store.succeed()
    assert [future.result() for future in later] == [4, 5, 6, 7]


async def test_a_refusal_ends_with_the_commit_it_depends_on_not_with_a_later_one() -> None:
    store = SlowStore()
    store.write("/a", b"1")
    await turn()
    store.write("/b", b"2")
    on_running, on_waiting = store.write("/a", b"", expected=0), store.write("/b", b"", expected=0)
    store.succeed()
    assert failure(on_running) is Conflict
    assert not on_waiting.done()
    await turn()
    store.succeed()
    assert failure(on_waiting) is Conflict


async def test_a_refusal_on_what_is_committed_is_immediate() -> None:
    store = SlowStore()
    store.write("/a", b"1")
    await turn()
    store.succeed()
    store.write("/b", b"2")
    assert failure(store.write("/a", b"", expected=0)) is Conflict


async def test_all_that_was_decided_on_a_failed_commit_fails_with_it() -> None:
    store = SlowStore()
    lost = [store.write("/a", b"1")]
    await turn()
    lost += [
        store.write("/a", b"2", expected=1),
        store.write("/a", b"3", expected=0),
        store.write("/b", b"4"),
    ]
    lost += [store.write("/b", b"5", expected=0)]
    store.fail()
    assert {failure(future) for future in lost} == {StoreFull}
    assert store.revision == 0
    await turn()
    assert store.batches == []


async def test_after_a_failure_decisions_are_made_on_what_is_committed() -> None:
    store = SlowStore()
    lost = store.write("/a", b"1")
    await turn()
    store.fail()
    assert failure(lost) is StoreFull
    created = store.write("/a", b"2", expected=0)
    await turn()
    store.succeed()
    assert created.result() == 2, "the revision of the failed write is not given to another"
    assert store.get("/a") == Entry("/a", b"2", 2)


async def test_a_cancelled_write_does_not_disturb_the_end_of_its_batch() -> None:
    store = SlowStore()
    futures = [store.write("/a", b"1"), store.write("/a", b"2"), store.write("/a", b"", expected=0)]
    await turn()
    futures[0].cancel()
    futures[2].cancel()
    store.succeed()
    assert futures[1].result() == 2
    lost = store.write("/a", b"3")
    await turn()
    lost.cancel()
    store.fail()
    assert store.revision == 2


async def test_a_commit_does_not_hide_that_the_next_write_of_its_key_is_on_its_way() -> None:
    store = SlowStore()
    store.write("/a", b"1")
    await turn()
    store.write("/a", b"2")
    store.succeed()
    update = store.write("/a", b"3", expected=2)
    await turn()
    store.succeed()
    assert update.result() == 3


async def test_a_subscriber_that_unsubscribes_another_does_not_skip_it_in_this_round() -> None:
    store = SlowStore()
    heard: list[str] = []
    endings = []
    store.subscribe(lambda _: (heard.append("first"), endings[0]())[0])
    endings.append(store.subscribe(lambda _: heard.append("second")))
    for _ in range(2):
        store.write("/a", b"")
        await turn()
        store.succeed()
    assert heard == ["first", "second", "first"]


async def test_writing_needs_a_running_loop_and_says_so() -> None:
    store = SlowStore()
    with pytest.raises(RuntimeError, match="no running event loop"):
        await asyncio.to_thread(store.write, "/a", b"")
