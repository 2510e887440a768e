"""Sums that stay right through any history."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiphys.api.core.taints import tolerates
from tiphys.scheduler.snapshot import PodInfo, Snapshot, build, normalized_image


def pod(uid: str, cpu: str = "100m", node: str = "") -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": "1Gi"}}
    return {
        "metadata": {"uid": uid, "name": uid},
        "spec": {"nodeName": node, "containers": [{"resources": resources}]},
    }


def node(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    }


steps = st.lists(
    st.tuples(
        st.sampled_from(["place", "remove", "node", "drop"]),
        st.sampled_from("abc"),
        st.sampled_from(["n1", "n2"]),
    )
)


@given(steps)
def test_sums_equal_those_of_a_fresh_snapshot(history: list[tuple[str, str, str]]) -> None:
    snapshot = Snapshot()
    nodes: set[str] = set()
    places: dict[str, str] = {}
    for step, uid, name in history:
        if step == "place":
            snapshot.place(PodInfo(pod(uid)), name)
            places[uid] = name
        elif step == "remove":
            snapshot.remove_pod(uid)
            places.pop(uid, None)
        elif step == "node":
            snapshot.set_node(node(name))
            nodes.add(name)
        else:
            snapshot.remove_node(name)
            nodes.discard(name)
    fresh = build(map(node, sorted(nodes)), [pod(uid, node=name) for uid, name in places.items()])
    assert {each.name for each in snapshot.nodes()} == nodes
    for name in nodes:
        one, other = snapshot.node(name), fresh.node(name)
        assert one is not None
        assert other is not None
        assert +one.requested == +other.requested
        assert (one.scored_cpu, one.scored_memory) == (other.scored_cpu, other.scored_memory)
        assert one.pods.keys() == other.pods.keys()


def test_a_container_that_states_nothing_is_guessed_for_scores_only() -> None:
    info = PodInfo(
        {"metadata": {"uid": "a"}, "spec": {"containers": [{}, {"resources": {"requests": {"cpu": "1"}}}]}}
    )
    assert info.requests == {"cpu": 1000}
    assert info.scored_requests == (1100, 2 * 200 * 1024 * 1024)


def test_tolerations() -> None:
    taint = {"key": "a", "value": "1", "effect": "NoSchedule"}
    assert tolerates({"operator": "Exists"}, taint)
    assert tolerates({"key": "a", "operator": "Exists"}, taint)
    assert tolerates({"key": "a", "value": "1"}, taint)
    assert tolerates({"key": "a", "operator": "Equal", "value": "1", "effect": "NoSchedule"}, taint)
    assert not tolerates({"key": "a", "value": "2"}, taint)
    assert not tolerates({"key": "b", "operator": "Exists"}, taint)
    assert not tolerates({"key": "a", "operator": "Exists", "effect": "NoExecute"}, taint)
    assert not tolerates({}, taint)


def test_an_image_without_a_tag_is_the_latest() -> None:
    assert normalized_image("web") == "web:latest"
    assert normalized_image("registry:5000/web") == "registry:5000/web:latest"
    assert normalized_image("web:1") == "web:1"
    assert normalized_image("web@sha256:0") == "web@sha256:0"
