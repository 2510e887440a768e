"""Every store against a model that keeps a copy of the whole map per revision: whatever is done, they agree."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tiphys.store.interface import Change, Compacted, Conflict, Entry, Listing, Store
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SQLiteStore
from tiphys.store.sqlite_pointers import FlushPolicy

KEYS = ["/a/1", "/a/2", "/a/21", "/b/1", "/b/é"]
PREFIXES = ["", "/", "/a/", "/a/2", "/b/", "/b/é", "/c"]
POLICIES = [FlushPolicy(), FlushPolicy(rows=1, slice_keys=1), FlushPolicy(rows=5, slice_keys=2)]
Result = TypeVar("Result")

keys = st.sampled_from(KEYS)
fraction = st.floats(0, 1)
write = st.tuples(
    keys,
    st.one_of(st.none(), st.binary(max_size=40)),
    st.sampled_from(["any", "absent", "current", "current", "stale"]),
)


class Model:
    """What the interface promises, in the plainest way."""

    def __init__(self) -> None:
        self.states: list[dict[str, Entry]] = [{}]
        self.history: list[Change] = []
        self.compact_revision = 0

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def write(self, key: str, value: bytes | None, expected: int | None) -> int | Entry | None:
        """The new revision, or what was there instead."""
        current = self.states[-1].get(key)
        at = current.revision if current else 0
        if expected not in (None, at) or (value is None and current is None):
            return current
        state = {name: entry for name, entry in self.states[-1].items() if name != key}
        if value is not None:
            state[key] = Entry(key, value, self.revision + 1)
        self.states.append(state)
        self.history.append(Change(self.revision, key, value, current))
        return self.revision

    def list(self, prefix: str, revision: int, start_after: str, limit: int) -> Listing:
        state = self.states[revision]
        found = [state[key] for key in sorted(state) if key.startswith(prefix) and key > start_after]
        page = found[:limit] if limit else found
        return Listing(page, revision, len(found) - len(page))


class StoreMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = Path(tempfile.mkdtemp(prefix="tiphys-store-"))
        self.model = Model()
        self.heard: dict[str, list[Change]] = {}
        self.stores: dict[str, Store] = {}
        self.add("memory", MemoryStore())
        self.reopen("inline", POLICIES[0])
        self.reopen("thread", POLICIES[2])

    def add(self, name: str, store: Store) -> None:
        self.stores[name] = store
        store.subscribe(self.heard.setdefault(name, []).extend)

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(coroutine)

    @rule(mode=st.sampled_from(["inline", "thread"]), policy=st.sampled_from(POLICIES))
    def reopen(self, mode: Any, policy: FlushPolicy) -> None:
        if mode in self.stores:
            self.run(self.stores[mode].close())
        (self.directory / mode).mkdir(exist_ok=True)
        self.add(mode, SQLiteStore(self.directory / mode / "store.db", writer=mode, flush=policy))

    @rule(mode=st.sampled_from(["inline", "thread"]))
    def kill(self, mode: str) -> None:
        """What a process that is killed now leaves behind, wherever its flush of pointers is."""
        left = shutil.copytree(self.directory / mode, self.directory / "killed")
        survivor = SQLiteStore(left / "store.db")
        assert survivor.list("") == self.model.list("", self.model.revision, "", 0)
        self.run(survivor.compact(self.model.revision))
        assert survivor.list("") == self.model.list("", self.model.revision, "", 0)
        self.run(survivor.close())
        shutil.rmtree(left)

    @rule(writes=st.lists(write, min_size=1, max_size=12))
    def write_together(self, writes: list[tuple[str, bytes | None, str]]) -> None:
        decided = [(key, value, self.expected(key, how)) for key, value, how in writes]
        expected = [self.model.write(*each) for each in decided]
        for name, store in self.stores.items():
            assert self.run(self.outcomes(store, decided)) == expected, name

    def expected(self, key: str, how: str) -> int | None:
        """Seen from before the batch: within it, the same expectation may come true or false again."""
        current = self.model.states[-1].get(key)
        at = current.revision if current else 0
        return {"any": None, "absent": 0, "current": at, "stale": max(at - 1, 1)}[how]

    @staticmethod
    async def outcomes(
        store: Store, writes: list[tuple[str, bytes | None, int | None]]
    ) -> list[int | Entry | None]:
        futures = [store.write(key, value, expected=expected) for key, value, expected in writes]
        results = await asyncio.gather(*futures, return_exceptions=True)
        return [result.current if isinstance(result, Conflict) else result for result in results]  # type: ignore[misc]

    @rule(
        prefix=st.sampled_from(PREFIXES),
        at=fraction,
        start_after=st.one_of(st.just(""), keys),
        limit=st.integers(0, 4),
    )
    def list_at(self, prefix: str, at: float, start_after: str, limit: int) -> None:
        revision = round(at * self.model.revision)
        expected: Listing | int
        if revision and revision < self.model.compact_revision:
            expected = self.model.compact_revision
        else:
            expected = self.model.list(prefix, revision or self.model.revision, start_after, limit)
        for name, store in self.stores.items():
            try:
                found: Listing | int = store.list(
                    prefix, revision=revision, start_after=start_after, limit=limit
                )
            except Compacted as error:
                found = error.compact_revision
            assert found == expected, name

    @rule(at=fraction, limit=st.integers(0, 5))
    def changes_after(self, at: float, limit: int) -> None:
        after = round(at * self.model.revision)
        for name, store in self.stores.items():
            if after < self.model.compact_revision:
                try:
                    store.changes(after)
                except Compacted:
                    continue
                raise AssertionError(f"{name} tells a history that was compacted")
            expected = [change for change in self.model.history if change.revision > after]
            assert list(store.changes(after, limit=limit)) == expected[: limit or None], name

    @rule(at=fraction)
    def compact(self, at: float) -> None:
        revision = round(at * self.model.revision)
        self.model.compact_revision = max(revision, self.model.compact_revision)
        for store in self.stores.values():
            self.run(store.compact(revision))

    @invariant()
    def they_agree(self) -> None:
        for name, store in self.stores.items():
            assert store.revision == self.model.revision, name
            assert store.compact_revision == self.model.compact_revision, name
            assert [store.get(key) for key in KEYS] == [self.model.states[-1].get(key) for key in KEYS], name

    def teardown(self) -> None:
        told = [(change.revision, change.key, change.value) for change in self.model.history]
        for name, store in self.stores.items():
            assert [(change.revision, change.key, change.value) for change in self.heard[name]] == told, name
            self.run(store.close())
        self.runner.close()
        shutil.rmtree(self.directory)


TestStores = StoreMachine.TestCase
TestStores.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
