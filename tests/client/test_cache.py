"""An indexed read-only view that equals what was put in, whatever the order of events."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.client.cache import BY_CONTROLLER, BY_NAMESPACE, BY_NODE, Cache, View, by_label
from tiphys.client.resources import NODES, PODS


def pod(name: str, version: int = 1, *, node: str = "", uid: str = "", **metadata: Any) -> dict[str, Any]:
    meta = {
        "namespace": "default",
        "name": name,
        "uid": uid or name,
        "resourceVersion": str(version),
        **metadata,
    }
    return {"metadata": meta, "spec": {"nodeName": node}}


def names(objects: list[dict[str, Any]]) -> list[str]:
    return sorted(obj["metadata"]["name"] for obj in objects)


def test_an_index_follows_every_change() -> None:
    cache = Cache(PODS)
    cache.replace([pod("a", node="n1"), pod("b", node="n1")], "5")
    assert names(cache.by(BY_NODE, "n1")) == ["a", "b"]
    cache.apply("MODIFIED", pod("a", 6, node="n2"))
    assert names(cache.by(BY_NODE, "n1")) == ["b"]
    assert names(cache.by(BY_NODE, "n2")) == ["a"]
    cache.apply("DELETED", pod("b", 7, node="n1"))
    assert cache.by(BY_NODE, "n1") == []


def test_an_object_without_controller_is_filed_as_orphan_of_its_namespace() -> None:
    cache = Cache(PODS)
    owned = pod("a", ownerReferences=[{"uid": "rs", "controller": True}])
    cache.replace([owned, pod("b", ownerReferences=[{"uid": "x"}])], "1")
    assert names(cache.by(BY_CONTROLLER, "rs")) == ["a"]
    assert names(cache.by(BY_CONTROLLER, "orphan/default")) == ["b"]


def test_a_label_index_leaves_out_objects_without_it() -> None:
    cache = Cache(PODS)
    app = by_label("app")
    cache.replace([pod("a", labels={"app": "web"}), pod("b")], "1")
    assert names(cache.by(app, "web")) == ["a"]


def test_handlers_hear_what_is_there_and_what_changes() -> None:
    cache = Cache(PODS)
    cache.replace([pod("a")], "1")
    heard: list[tuple[str, str, str]] = []

    def version(obj: dict[str, Any] | None) -> str:
        return obj["metadata"]["resourceVersion"] if obj else ""

    detach = cache.add_handler(lambda type, old, new: heard.append((type, version(old), version(new))))
    cache.apply("MODIFIED", pod("a", 2))
    cache.apply("DELETED", pod("a", 3))
    detach()
    cache.apply("ADDED", pod("c", 4))
    assert heard == [("ADDED", "", "1"), ("MODIFIED", "1", "2"), ("DELETED", "2", "")]


def test_listing_again_tells_only_differences() -> None:
    cache = Cache(PODS)
    cache.replace([pod("a"), pod("b"), pod("c"), pod("d", uid="old")], "1")
    heard: list[tuple[str, str]] = []
    cache.add_handler(lambda type, old, new: heard.append((type, (new or old or {})["metadata"]["name"])))
    heard.clear()
    cache.replace([pod("a"), pod("b", 5), pod("d", 6, uid="new")], "9")
    assert sorted(heard) == [("ADDED", "d"), ("DELETED", "c"), ("DELETED", "d"), ("MODIFIED", "b")]
    assert cache.resource_version == 9


def test_a_broken_handler_stops_nobody() -> None:
    cache = Cache(PODS)
    heard: list[str] = []

    def broken(type: str, old: object, new: object) -> None:
        raise RuntimeError("broken")

    cache.add_handler(broken)
    cache.add_handler(lambda type, old, new: heard.append(type))
    cache.apply("ADDED", pod("a"))
    assert heard == ["ADDED"]


def test_a_write_is_seen_once_its_version_is_reached() -> None:
    cache = Cache(PODS)
    seen: list[int] = []
    for version in (7, 3, 5):
        cache.when_seen(version, lambda version=version: seen.append(version))  # type: ignore[misc]
    cache.apply("ADDED", pod("a", 4))
    assert seen == [3]
    cache.advance("6")  # a bookmark
    assert seen == [3, 5]
    cache.replace([], "9")
    assert seen == [3, 5, 7]
    cache.when_seen(8, lambda: seen.append(8))
    assert seen[-1] == 8


def test_a_view_says_which_kind_is_not_watched() -> None:
    view = View([Cache(PODS)])
    assert view.list(PODS) == []
    with pytest.raises(LookupError, match="nodes are not watched here"):
        view.list(NODES)


events = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(["n1", "n2"]),
        st.sampled_from(["ADDED", "MODIFIED", "DELETED"]),
    )
)


@given(events)
def test_every_index_equals_a_scan(history: list[tuple[str, str, str]]) -> None:
    cache = Cache(PODS)
    cache.by(BY_NODE, "n1")
    cache.by(BY_NAMESPACE, "default")
    for version, (name, node, type) in enumerate(history):
        cache.apply(type, pod(name, version, node=node))
    for node in ("n1", "n2"):
        scan = [obj for obj in cache.list() if obj["spec"]["nodeName"] == node]
        assert names(cache.by(BY_NODE, node)) == names(scan)
    assert names(cache.list("default")) == names(cache.list())
