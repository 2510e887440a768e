"""What a controller says it goes by is all that its questions about pods depend on."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiphys.client.cache import BY_CONTROLLER, BY_NODE, BY_OWNER, Index
from tiphys.client.parts import changed_parts
from tiphys.client.resources import PODS
from tiphys.controllers import (
    daemonset,
    deployment,
    disruption,
    endpoints,
    endpointslice,
    node_lifecycle,
    pod_gc,
    pvc_protection,
    replicaset,
    replicationcontroller,
    statefulset,
    taint_eviction,
)
from tiphys.controllers.catalog import Options
from tiphys.controllers.jobs import job, orphans
from tiphys.controllers.jobs.making import TRACKING
from tiphys.controllers.runner import Controller

CONTROLLERS: list[Controller[Any]] = [
    daemonset.make(Options()),
    deployment.CONTROLLER,
    disruption.CONTROLLER,
    disruption.CONDITIONS,
    job.CONTROLLER,
    orphans.ORPHANS,
    endpoints.CONTROLLER,
    endpointslice.CONTROLLER,
    node_lifecycle.make(Options()),
    pod_gc.CONTROLLER,
    pvc_protection.CONTROLLER,
    replicaset.CONTROLLER,
    replicationcontroller.CONTROLLER,
    statefulset.CONTROLLER,
    taint_eviction.CONTROLLER,
]
INDEXES: list[Index] = [
    BY_CONTROLLER,
    BY_NODE,
    BY_OWNER,
    pod_gc.BY_FINISHED,
    pvc_protection.BY_CLAIM,
]
WATCHES = [watch for each in CONTROLLERS for watch in each.watches if watch.resource is PODS]

words = st.sampled_from(["a", "b"])
conditions = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Ready", "DisruptionTarget"]),
            "status": st.sampled_from(["True", "False"]),
            "lastTransitionTime": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"]),
        }
    ),
    max_size=2,
    unique_by=lambda each: each["type"],
)
volumes = st.one_of(
    st.builds(lambda name: {"name": name, "persistentVolumeClaim": {"claimName": name}}, words),
    st.builds(lambda name: {"name": name, "ephemeral": {}}, words),
)
parts = {
    ("metadata", "labels"): st.dictionaries(words, words),
    ("metadata", "annotations"): st.dictionaries(words, words),
    ("metadata", "finalizers"): st.lists(st.sampled_from(["a", TRACKING])),
    ("status", "containerStatuses"): st.lists(
        st.fixed_dictionaries({"name": words, "restartCount": st.integers(0, 1)})
    ),
    ("metadata", "ownerReferences"): st.lists(
        st.fixed_dictionaries(
            {"uid": words, "name": words, "kind": st.just("ReplicaSet")},
            optional={"controller": st.just(True)},
        ),
        max_size=2,
    ),
    ("metadata", "deletionTimestamp"): st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"]),
    ("metadata", "deletionGracePeriodSeconds"): st.sampled_from([0, 30]),
    ("spec", "nodeName"): words,
    ("spec", "hostname"): words,
    ("spec", "subdomain"): words,
    ("spec", "volumes"): st.lists(volumes, max_size=2),
    ("status", "phase"): st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
    ("status", "conditions"): conditions,
    ("status", "podIPs"): st.lists(st.fixed_dictionaries({"ip": words}), max_size=2),
}


@st.composite
def updates(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A pod, and the same after a few of its fields were set or taken away."""
    old: dict[str, Any] = {
        "metadata": {"name": "pod", "namespace": "default", "uid": "uid"},
        "spec": {},
        "status": {},
    }
    for (outer, name), values in parts.items():
        if draw(st.booleans()):
            old[outer][name] = draw(values)
    new = copy.deepcopy(old)
    for outer, name in draw(st.lists(st.sampled_from(sorted(parts)), max_size=2)):
        if draw(st.booleans()):
            new[outer][name] = draw(parts[outer, name])
        else:
            new[outer].pop(name, None)
    return old, new


@given(updates())
def test_no_watch_is_concerned_by_what_it_does_not_go_by(
    update: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    changed = changed_parts(*update)
    for watch in WATCHES:
        if watch.changed is not None and not changed & watch.parts:
            assert not watch.changed(*update)


@given(updates())
def test_no_controller_looks_after_a_pod_because_of_what_it_does_not_go_by(
    update: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    old, new = update
    changed = changed_parts(old, new)
    for controller in CONTROLLERS:
        if controller.kind is PODS and controller.concerns and not changed & controller.parts:
            assert controller.concerns(old) == controller.concerns(new)


@given(updates())
def test_no_index_files_a_pod_by_what_it_does_not_go_by(
    update: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    old, new = update
    changed = changed_parts(old, new)
    for index in INDEXES:
        if not changed & index.parts:
            assert list(index.values(old)) == list(index.values(new))
