"""Whether a pod fits on the node, and which ones go for a critical one."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.kubelet.fit import Offer, misfits, requests, shortages
from tiphys.kubelet.preemption import NobodyToPreempt, victims
from tiphys.machinery import meta
from tiphys.machinery.quantity import parse

Object = dict[str, Any]
ALLOCATABLE = {name: parse(text) for name, text in (("cpu", "2"), ("memory", "4Gi"), ("pods", "3"))}
CRITICAL = 2_000_000_000


def pod(name: str = "p", *, priority: int = 0, guaranteed: bool = False, **amounts: str) -> Object:
    resources: Object = {"requests": amounts} if amounts else {}
    if guaranteed:
        resources["limits"] = amounts
    containers = [{"name": "main", "resources": resources}]
    return {"metadata": {"name": name, "uid": name}, "spec": {"priority": priority, "containers": containers}}


def short(wanted: Object, *others: Object) -> list[tuple[str, str]]:
    found = shortages(requests(wanted), [requests(other) for other in others], ALLOCATABLE)
    return [(shortage.rejection.reason, shortage.rejection.message) for shortage in found]


def test_what_is_missing_is_told_in_upstreams_order_and_words() -> None:
    assert short(pod(memory="8Gi", cpu="1500m"), pod(cpu="1")) == [
        ("OutOfcpu", "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000"),
        (
            "OutOfmemory",
            "Node didn't have enough resource: memory, requested: 8589934592, used: 0, capacity: 4294967296",
        ),
    ]
    assert short(pod(), pod(), pod(), pod()) == [
        ("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3")
    ]
    assert short(pod(cpu="1"), pod(cpu="1")) == []


def test_extended_resources_that_the_node_does_not_know_are_no_business_of_its() -> None:
    wanted = pod(**{"example.com/gpu": "1"})
    assert short(wanted) == []
    known = {**ALLOCATABLE, "example.com/gpu": parse("0")}
    [missing] = shortages(requests(wanted), [], known)
    assert missing.rejection.reason == "OutOfexample.com/gpu"
    [huge] = shortages({"hugepages-2Mi": 1}, [], ALLOCATABLE)
    assert huge.capacity == 0


def with_spec(**spec: Any) -> Object:
    wanted = pod()
    return {**wanted, "spec": {**wanted["spec"], **spec}}


def reasons(wanted: Object, *others: Object, **offer: Any) -> list[str]:
    found = misfits(wanted, others, Offer("n1", ALLOCATABLE, **{"labels": {"disk": "ssd"}, **offer}))
    return [rejection.message for rejection in found]


AFFINITY = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"


def required(values: list[str]) -> Object:
    expression = {"key": "disk", "operator": "In", "values": values}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def test_the_node_must_be_of_the_kind_that_is_asked_for() -> None:
    assert reasons(with_spec(nodeSelector={"disk": "ssd"})) == []
    assert reasons(with_spec(nodeSelector={"disk": "hdd"})) == [AFFINITY]
    assert reasons(with_spec(nodeSelector={"disk": "hdd"}), labels=None) == []
    assert reasons(with_spec(affinity=required(["ssd"]))) == []
    assert reasons(with_spec(affinity=required(["hdd"]))) == [AFFINITY]


def test_a_port_of_the_node_is_given_once() -> None:
    def on(port: int, **more: str) -> Object:
        return with_spec(containers=[{"name": "main", "ports": [{"hostPort": port, **more}]}])

    taken = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    assert reasons(on(80), on(80)) == [taken]
    assert reasons(on(80, hostIP="127.0.0.1"), on(80)) == [taken]
    assert reasons(on(80, hostIP="127.0.0.1"), on(80, hostIP="127.0.0.2")) == []
    assert reasons(on(80, protocol="UDP"), on(80)) == []


def test_only_taints_that_end_pods_keep_one_out_and_no_static_one() -> None:
    taint = {"key": "gone", "effect": "NoExecute"}
    message = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    assert reasons(pod(), taints=(taint,)) == [message]
    assert reasons(pod(), taints=({**taint, "effect": "NoSchedule"},)) == []
    assert reasons(with_spec(tolerations=[{"operator": "Exists"}]), taints=(taint,)) == []
    static = {**pod(), "metadata": {"uid": "s", "annotations": {"kubernetes.io/config.source": "file"}}}
    assert reasons(static, taints=(taint,)) == []


# Preemption


def going(needs: dict[str, int], *pods: Object, priority: int = CRITICAL) -> list[str]:
    return [meta.name(victim) for victim in victims(pod("new", priority=priority), pods, needs)]


def test_as_few_as_possible_go_and_the_least_important_class_first() -> None:
    small, large = pod("small", cpu="200m"), pod("large", cpu="600m")
    important = pod("important", guaranteed=True, cpu="1", memory="1Gi")
    assert going({"cpu": 500}, small, large, important) == ["large"]
    assert going({"cpu": 200}, small, large, important) == ["small"]
    assert going({"cpu": 800}, small, large, important) == ["large", "small"]
    assert going({"cpu": 1500}, small, large, important) == ["large", "important"]
    assert going({"pods": 1}, large, pod("besteffort"), important) == ["besteffort"]


def test_nobody_goes_for_one_that_is_not_more_important() -> None:
    critical = pod("critical", priority=CRITICAL, cpu="1")
    with pytest.raises(
        NobodyToPreempt,
        match=r"no set of running pods found to reclaim resources: \[\(res: cpu, q: 500\), \]",
    ):
        going({"cpu": 500}, critical)
    assert going({"cpu": 500}, critical, priority=CRITICAL + 1000) == ["critical"]
