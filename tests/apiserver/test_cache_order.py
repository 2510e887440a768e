"""The watch cache's keys: in order for whoever reads, however many were written since the last look."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.apiserver.cache import SORTING_FACTOR, ResourceCache
from tiphys.store.interface import Change

PREFIX = "/registry/core/configmaps/"


class _Model:
    """A cache, and what should be in it."""

    def __init__(self) -> None:
        self.cache = ResourceCache(PREFIX, 0)
        self.keys: set[str] = set()
        self.revision = 0

    def write(self, namespace: str, name: str, *, gone: bool = False) -> None:
        self.revision += 1
        key = f"{PREFIX}{namespace}/{name}"
        obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"namespace": namespace, "name": name}}
        value = None if gone else orjson.dumps(obj)
        self.cache.apply(Change(self.revision, key, value, None), 0.0)
        (self.keys.discard if gone else self.keys.add)(key)

    def look(self, namespace: str = "", *, limit: int = 0) -> None:
        expected = sorted(key for key in self.keys if key.startswith(f"{PREFIX}{namespace}"))
        records, remaining = self.cache.page(namespace, limit=limit)
        shown = [record.key for record in records]
        assert shown == (expected[:limit] if limit else expected)
        assert remaining == len(expected) - len(shown)
        assert len(self.cache) == len(self.keys)


steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "look", "size"]), st.sampled_from("ab"), st.integers(0, 30)
    ),
    max_size=80,
)


@given(steps)
def test_whoever_looks_sees_all_in_order(steps: list[tuple[str, str, int]]) -> None:
    model = _Model()
    for step, namespace, number in steps:
        match step:
            case "write":
                model.write(namespace, str(number))
            case "delete":
                model.write(namespace, str(number), gone=True)
            case "look":
                model.look(namespace, limit=number % 4)
            case "size":
                assert (model.cache.average_bytes(3) > 0) == bool(model.keys)
    model.look()


@pytest.mark.parametrize("new", [1, 4, 6, 50])
def test_a_few_and_many_among_those_that_there_are(new: int) -> None:
    model = _Model()
    for number in range(5 * SORTING_FACTOR):
        model.write("a", f"{number}-old")
    model.look()
    for number in range(new):
        model.write("a", f"{number * 17}-new")
    assert len(model.cache) == len(model.keys)
    model.look("a", limit=7)
    model.write("a", "17-new", gone=True)
    model.look()
