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
    assert account.ask(pod("a", "4"), lambda: None) is None
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
    account, woken = Account(ROOM), []
    account.take(pod("a", "2"))
    account.take(pod("b", "2"))
    refused = account.ask(pod("a", "3"), lambda: woken.append("a"))
    assert refused is not None
    assert refused.reason == "Deferred"
    account.take(pod("b", "2"))
    assert woken == []
    account.release("b")
    assert woken == ["a"]
    assert account.ask(pod("a", "3"), lambda: None) is None


def test_less_is_always_granted_even_on_a_node_that_has_given_away_too_much() -> None:
    account = Account(ROOM)
    for uid in ("a", "b"):
        account.take(pod(uid, "4"))
    assert account.ask(pod("a", "3"), lambda: None) is None
