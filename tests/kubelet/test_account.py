"""What pods take of their node: one account for those who come and those who grow."""

from __future__ import annotations

from typing import Any

from tiphys.kubelet.account import Account
from tiphys.kubelet.fit import shortages
from tiphys.machinery.quantity import parse

Object = dict[str, Any]
ROOM = {"cpu": parse("4"), "memory": parse("8Gi"), "pods": parse("10")}


def pod(uid: str, cpu: str) -> Object:
    resources = {"requests": {"cpu": cpu}}
    return {"metadata": {"uid": uid}, "spec": {"containers": [{"name": "c", "resources": resources}]}}


def test_who_comes_and_who_grows_are_held_against_the_same_account() -> None:
    account = Account(ROOM)
    account.take(pod("a", "2"))
    assert account.ask(pod("a", "4"), print) is None
    account.take(pod("a", "4"))
    newcomer = pod("b", "1")
    assert [short.used for short in shortages({"cpu": 1000}, account.others(newcomer), ROOM)] == [4000]
    account.take(pod("a", "2"))
    assert shortages({"cpu": 1000}, account.others(newcomer), ROOM) == []


def test_a_pod_is_not_held_against_itself() -> None:
    account = Account(ROOM)
    account.take(pod("a", "3"))
    assert account.others(pod("a", "1")) == []
    assert account.others(pod("b", "1")) == [{"cpu": 3000}]


def test_who_waits_for_room_is_woken_when_some_is_given_back_and_only_then() -> None:
    account = Account(ROOM)
    woken: list[str] = []
    account.take(pod("a", "2"))
    account.take(pod("b", "2"))
    refused = account.ask(pod("a", "3"), woken.append)
    assert refused is not None
    assert refused.reason == "Deferred"
    account.take(pod("b", "2"))
    assert woken == []
    account.release("b")
    assert woken == ["pods_removed"]
    assert account.ask(pod("a", "3"), print) is None


def test_less_is_always_granted_even_on_a_node_that_has_given_away_too_much() -> None:
    account = Account(ROOM)
    for uid in ("a", "b"):
        account.take(pod(uid, "4"))
    assert account.ask(pod("a", "3"), print) is None


def test_who_has_cpus_of_his_own_keeps_as_many_as_he_has() -> None:
    account = Account(ROOM, fixed={"cpu"})
    amounts = {"cpu": "2", "memory": "1Gi"}
    both = {"requests": amounts, "limits": amounts}
    own = {"metadata": {"uid": "own"}, "spec": {"containers": [{"name": "c", "resources": both}]}}
    account.take(own)
    refused = account.ask(own, print, {"cpu"})
    assert refused is not None
    assert (refused.reason, refused.detail) == ("Infeasible", "guaranteed_pod_cpu_manager_static_policy")
    assert refused.message == (
        'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"'
    )
    assert account.ask(own, print, {"memory"}) is None
    assert account.ask(pod("shares", "1"), print, {"cpu"}) is None
