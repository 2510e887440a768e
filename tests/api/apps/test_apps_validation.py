"""What is refused of workloads, in upstream's words; and what a write of one sets."""

import copy

import pytest

from tiphys.api.apps import defaults, prepare, validation


def workload(**spec):
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
    }
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


def made(default, **spec):
    obj = workload(**spec)
    default(obj)
    return obj


def texts(errors):
    return [str(error) for error in errors]


KINDS = [
    (defaults.deployment, validation.deployment),
    (defaults.replica_set, validation.replica_set),
    (defaults.daemon_set, validation.daemon_set),
    (defaults.stateful_set, validation.stateful_set),
]


@pytest.mark.parametrize(("default", "validate"), KINDS)
def test_good_workloads(default, validate):
    obj = made(default)
    assert texts(validate(obj, None)) == []
    assert texts(validate(copy.deepcopy(obj), obj)) == []


@pytest.mark.parametrize(("default", "validate"), KINDS)
def test_the_selector_selects_the_template(default, validate):
    obj = made(default, selector={"matchLabels": {"app": "other"}})
    assert texts(validate(obj, None)) == [
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    ]


@pytest.mark.parametrize(("default", "validate"), KINDS[:3])
def test_the_selector_stays(default, validate):
    old = made(default)
    new = copy.deepcopy(old)
    new["spec"]["template"]["metadata"]["labels"]["tier"] = "front"
    new["spec"]["selector"]["matchLabels"]["tier"] = "front"
    assert texts(validate(new, old)) == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"front"}}: field is immutable'
    ]


def test_an_empty_selector():
    assert texts(validation.deployment(made(defaults.deployment, selector={}), None)) == [
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
    ]


def test_a_missing_selector():
    obj = made(defaults.deployment)
    del obj["spec"]["selector"]
    assert texts(validation.deployment(obj, None)) == [
        "spec.selector: Required value",
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
    ]


@pytest.mark.parametrize(("default", "validate"), KINDS)
def test_pods_of_controllers_run_for_ever(default, validate):
    obj = made(default)
    obj["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    assert texts(validate(obj, None)) == [
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"replicas": -1}, ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
            ],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
            [
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            ],
        ),
        (
            {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": '
                "must not be greater than 100%"
            ],
        ),
        (
            {"progressDeadlineSeconds": 5, "minReadySeconds": 5},
            ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
        ),
    ],
)
def test_deployments(spec, expected):
    assert texts(validation.deployment(made(defaults.deployment, **spec), None)) == expected


def test_an_unknown_strategy():
    found = texts(validation.deployment(made(defaults.deployment, strategy={"type": "Yolo"}), None))
    assert found == [
        'spec.strategy: Unsupported value: {"type":"Yolo"}: supported values: "Recreate", "RollingUpdate"'
    ]


def test_status_of_deployments():
    old, new = workload(), workload()
    old["status"] = {"collisionCount": 2}
    new["status"] = {"replicas": 1, "readyReplicas": 1, "availableReplicas": 2, "collisionCount": 1}
    assert texts(validation.deployment_status(new, old)) == [
        "status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
        "status.collisionCount: Invalid value: 1: cannot be decremented",
    ]


def test_daemon_sets_surge_or_are_unavailable():
    both = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    assert texts(validation.daemon_set(made(defaults.daemon_set, updateStrategy=both), None)) == [
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
    ]
    neither = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}
    assert texts(validation.daemon_set(made(defaults.daemon_set, updateStrategy=neither), None)) == [
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"
    ]


def test_most_of_a_stateful_set_stays():
    old = made(defaults.stateful_set, serviceName="a")
    new = copy.deepcopy(old)
    new["spec"].update(replicas=5, minReadySeconds=3, revisionHistoryLimit=2)
    assert texts(validation.stateful_set(new, old)) == []
    new["spec"]["serviceName"] = "b"
    assert texts(validation.stateful_set(new, old)) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
        "are forbidden"
    ]


def test_a_stateful_set_is_named_after_a_service():
    new = made(defaults.stateful_set, serviceName="a.b")
    assert texts(validation.stateful_set(new, None)) == [
        'spec.serviceName: Invalid value: "a.b": must not contain dots'
    ]
    # One from before there was that rule may be changed otherwise.
    assert texts(validation.stateful_set(copy.deepcopy(new), new)) == []
    assert texts(validation.stateful_set(made(defaults.stateful_set, serviceName=""), None)) == []


def test_controller_revisions_stay():
    old = {"data": {"a": 1}, "revision": 1}
    assert texts(validation.controller_revision({"data": {"a": 1}, "revision": 2}, old)) == []
    assert texts(validation.controller_revision({"data": {"a": 2}, "revision": 1}, old)) == [
        'data: Invalid value: {"a":2}: field is immutable'
    ]
    assert texts(validation.controller_revision({"revision": 1}, None)) == [
        "data: Required value: data is mandatory"
    ]


def test_annotations_of_a_deployment_count_as_intent():
    old = made(defaults.deployment)
    old["metadata"]["generation"] = 3
    new = copy.deepcopy(old)
    prepare.deployment(new, old)
    assert new["metadata"]["generation"] == 3
    new["metadata"]["annotations"] = {"a": "b"}
    prepare.deployment(new, old)
    assert new["metadata"]["generation"] == 4


def test_a_daemon_set_counts_its_templates():
    key = prepare.TEMPLATE_GENERATION
    old = made(defaults.daemon_set)
    prepare.daemon_set(old, None)
    assert old["metadata"]["annotations"] == {key: "1"}
    new = copy.deepcopy(old)
    new["metadata"]["annotations"] = {key: "77"}
    prepare.daemon_set(new, old)
    assert new["metadata"]["annotations"] == {key: "1"}
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:2"
    prepare.daemon_set(new, old)
    assert new["metadata"]["annotations"] == {key: "2"}
