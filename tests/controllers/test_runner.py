"""What the runner promises to every controller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from tiphys.client.cache import View
from tiphys.client.resources import CONFIGMAPS, PODS
from tiphys.controllers import catalog
from tiphys.controllers.actions import NORMAL, Create, Delete, Note, Patch, Plan, RecordEvent, Update
from tiphys.controllers.executor import batches
from tiphys.controllers.runner import Controller, Watch, owner_keys
from tiphys.machinery import meta
from tiphys.machinery.errors import conflict, internal_error
from tiphys.testing.world import World

Object = dict[str, Any]


def configmap(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def pods_of(obj: Object, view: View) -> Sequence[Object]:
    return view.list(PODS, "default")


def one_pod(obj: Object, observed: Sequence[Object], now: datetime) -> Plan:
    """Counts on seeing its own pod: otherwise it would make a second one."""
    if observed:
        return Plan()
    pod = {"metadata": {"generateName": "p-", "namespace": "default"}, "spec": {}}
    return Plan((Create(PODS, pod, done=Note(NORMAL, "Made", "made {name}")),))


def controller(plan: Any = one_pod, **more: Any) -> Controller[Any]:
    watches = [Watch(PODS, lambda pod, view: [meta.namespaced_name(obj) for obj in view.list(CONFIGMAPS)])]
    return Controller(
        name="test-controller",
        kind=CONFIGMAPS,
        observe=pods_of,
        plan=plan,
        watches=more.pop("watches", watches),
        **more,
    )


async def test_it_sees_its_own_writes_before_it_looks_again(world: World) -> None:
    world.api.put(CONFIGMAPS, configmap("a"))
    await world.start(controller())
    for number in range(20):
        world.api.put(CONFIGMAPS, configmap("a", number=str(number)))
        await world.settle(0)
    assert len(world.pods()) == 1
    assert world.events() == [("a", "Made", f"made {meta.name(world.pods()[0])}")]


async def test_a_watch_that_is_behind_delays_the_key_and_no_longer(world: World) -> None:
    await world.start(controller())
    informer_pods = world.informers.cache(PODS)
    world.api.refuse(lambda method, path: (method, path) == ("WATCH", "pods"), internal_error("down"))
    world.api.disconnect()
    await world.settle(0)
    world.api.put(CONFIGMAPS, configmap("a"))
    await world.clock.advance(5)
    world.api.put(CONFIGMAPS, configmap("a", changed="yes"))
    await world.clock.advance(5)
    assert len(world.pods()) == 1
    assert len(informer_pods) == 0
    world.api.accept_all()
    await world.clock.advance(60)
    assert len(informer_pods) == 1
    assert len(world.pods()) == 1


async def test_it_looks_only_at_what_concerns_it(world: World) -> None:
    looked: list[str] = []

    def look(obj: Object, observed: Any, now: datetime) -> Plan:
        looked.append(f"{meta.name(obj)} {obj.get('data')}")
        return Plan()

    def is_marked(obj: Object) -> bool:
        return "mark" in (obj.get("data") or {})

    world.api.put(CONFIGMAPS, configmap("a", mark="1"))
    world.api.put(CONFIGMAPS, configmap("b"))
    await world.start(controller(look, concerns=is_marked))
    assert looked == ["a {'mark': '1'}"]
    world.api.put(CONFIGMAPS, configmap("b", mark="2"))
    world.api.put(CONFIGMAPS, configmap("a"))  # it concerned it a moment ago
    await world.settle(0)
    assert sorted(looked[1:]) == ["a {}", "b {'mark': '2'}"]


async def test_a_deletion_is_waited_for_too(world: World) -> None:
    deletions: list[str] = []

    def all_gone(obj: Object, observed: Sequence[Object], now: datetime) -> Plan:
        deletions.extend(meta.name(pod) for pod in observed)
        return Plan(tuple(Delete(PODS, meta.name(pod), "default", uid=meta.uid(pod)) for pod in observed))

    world.api.put(PODS, {"metadata": {"name": "p", "namespace": "default"}, "spec": {}})
    world.api.put(CONFIGMAPS, configmap("a"))
    await world.start(controller(all_gone))
    assert deletions == ["p"]


async def test_a_fault_of_one_key_is_tried_again_and_stops_no_other(world: World) -> None:
    tried: list[str] = []

    def faulty(obj: Object, observed: Any, now: datetime) -> Plan:
        tried.append(meta.name(obj))
        if meta.name(obj) == "bad":
            raise RuntimeError("a bug")
        return Plan()

    for name in ("bad", "good"):
        world.api.put(CONFIGMAPS, configmap(name))
    await world.start(controller(faulty))
    assert tried.count("good") == 1
    # 5, 10, 20, 40, 80, 160, 320 ms: seven more in the first second.
    assert 7 <= tried.count("bad") <= 9


async def test_a_failure_is_told_to_the_controller_and_backs_off(world: World) -> None:
    world.api.refuse(lambda method, path: method == "POST" and path.endswith("/pods"), internal_error("no"))
    failures: list[str] = []

    def failed(obj: Object, observed: Any, failure: Any, now: datetime) -> Plan:
        failures.append(str(failure.error))
        return Plan((RecordEvent(NORMAL, "Told", "told"),))

    world.api.put(CONFIGMAPS, configmap("a"))
    await world.start(controller(failed=failed))
    assert "no" in failures[0]
    assert ("a", "Told", "told") in world.events()
    world.api.accept_all()
    await world.settle(5)
    assert len(world.pods()) == 1
    assert world.runners[0].queue.failures("default/a") == 0


async def test_a_conflict_is_only_a_reason_to_look_again(world: World) -> None:
    def stamp(obj: Object, observed: Any, now: datetime) -> Plan:
        if "stamp" in (obj.get("data") or {}):
            return Plan()
        return Plan((Update(CONFIGMAPS, {**obj, "data": {"stamp": "1"}}),))

    world.api.put(CONFIGMAPS, configmap("a"))
    world.api.refuse(
        lambda method, path: method == "PUT", conflict(CONFIGMAPS.group_resource, "a"), once=True
    )
    await world.start(controller(stamp))
    assert world.api.objects(CONFIGMAPS)[0]["data"] == {"stamp": "1"}


async def test_a_write_to_what_is_gone_is_no_failure(world: World) -> None:
    def ghost(obj: Object, observed: Any, now: datetime) -> Plan:
        return Plan(
            (
                Patch(PODS, "ghost", {"metadata": {}}, "default"),
                Delete(PODS, "ghost", "default", uid="u"),
            )
        )

    world.api.put(CONFIGMAPS, configmap("a"))
    await world.start(controller(ghost))
    assert world.runners[0].queue.failures("default/a") == 0


async def test_it_comes_back_when_the_plan_says_so(world: World) -> None:
    seen: list[datetime] = []

    def patient(obj: Object, observed: Any, now: datetime) -> Plan:
        seen.append(now)
        return Plan(requeue_after_seconds=30)

    world.api.put(CONFIGMAPS, configmap("a"))
    await world.start(controller(patient))
    await world.settle(100)
    assert len(seen) == 4


async def test_what_is_gone_is_cleaned_up_by_those_who_ask(world: World) -> None:
    gone: list[str] = []

    def clean(key: str, view: View) -> Plan:
        gone.append(key)
        return Plan()

    world.api.put(CONFIGMAPS, configmap("a"))
    await world.start(controller(lambda obj, observed, now: Plan(), gone=clean))
    await world.client.delete(CONFIGMAPS, "a", "default")
    await world.settle()
    assert gone == ["default/a"]


async def test_one_at_a_time_sees_each_write_before_the_next_key(world: World) -> None:
    def numbered(obj: Object, observed: Sequence[Object], now: datetime) -> Plan:
        if "number" in (obj.get("data") or {}):
            return Plan()
        return Plan((Update(CONFIGMAPS, {**obj, "data": {"number": str(len(observed))}}),))

    def given(obj: Object, view: View) -> Sequence[Object]:
        return [each for each in view.list(CONFIGMAPS) if "number" in (each.get("data") or {})]

    for name in "abcdef":
        world.api.put(CONFIGMAPS, configmap(name))
    serial = Controller(name="serial", kind=CONFIGMAPS, observe=given, plan=numbered, one_at_a_time=True)
    await world.start(serial)
    numbers = [obj["data"]["number"] for obj in world.api.objects(CONFIGMAPS)]
    assert sorted(numbers) == ["0", "1", "2", "3", "4", "5"]


def test_creations_start_slowly_and_deletions_go_together() -> None:
    create, delete = Create(PODS, {}), Delete(PODS, "a")
    sizes = [len(batch) for batch in batches([create] * 100 + [delete] * 70 + [create])]
    assert sizes == [1, 2, 4, 8, 16, 32, 37, 64, 6, 1]


def test_owner_keys_name_the_controlling_owner_of_the_kind() -> None:
    keys = owner_keys("ReplicaSet")
    view = View([])
    owner = {"kind": "ReplicaSet", "name": "web", "controller": True}
    pod = {"metadata": {"namespace": "default", "ownerReferences": [owner]}}
    assert list(keys(pod, view)) == ["default/web"]
    assert list(keys({"metadata": {"ownerReferences": [{**owner, "kind": "Job"}]}}, view)) == []
    assert list(keys({"metadata": {}}, view)) == []


def test_the_catalog_switches_controllers_as_upstream_does() -> None:
    everything = [entry.name for entry in catalog.enabled(["*"])]
    assert "replicaset-controller" in everything
    assert [entry.name for entry in catalog.enabled(["namespace-controller"])] == ["namespace-controller"]
    without = [entry.name for entry in catalog.enabled(["*", "-namespace-controller"])]
    assert set(everything) - set(without) == {"namespace-controller"}
    with pytest.raises(LookupError, match="no controller 'nonsense'"):
        catalog.enabled(["*", "-nonsense"])


@pytest.mark.parametrize("entry", catalog.CATALOG, ids=lambda entry: entry.name)
def test_every_controller_of_the_catalog_can_be_made(entry: catalog.Entry, world: World) -> None:
    work = catalog.run(entry.name, catalog.Options(), world.informers, clock=world.clock, client=world.client)
    work.close()
