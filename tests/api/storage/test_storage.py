"""Storage classes, drivers and attachments."""

import pytest

CLASS, DRIVER, NODE, CAPACITY, ATTACHMENT, ATTRIBUTES = (
    f"storage.k8s.io/v1 {kind}"
    for kind in (
        "StorageClass",
        "CSIDriver",
        "CSINode",
        "CSIStorageCapacity",
        "VolumeAttachment",
        "VolumeAttributesClass",
    )
)


def test_what_they_are_given(written):
    fields = written(CLASS, {"provisioner": "example.com/p"})
    assert (fields["reclaimPolicy"], fields["volumeBindingMode"]) == ("Delete", "Immediate")
    assert written(DRIVER, {})["spec"] == {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
        "seLinuxMount": False,
        "volumeLifecycleModes": ["Persistent"],
    }
    assert written(ATTACHMENT, {})["status"] == {"attached": False}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        ({"provisioner": "example.com/p"}, []),
        ({}, ["provisioner: Required value"]),
        (
            {"provisioner": "p", "reclaimPolicy": "Recycle"},
            ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"'],
        ),
        (
            {"provisioner": "p", "volumeBindingMode": "Later"},
            [
                'volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"'
            ],
        ),
        (
            {"provisioner": "p", "allowedTopologies": [{"matchLabelExpressions": [{"key": "zone"}]}]},
            ["allowedTopologies[0].matchLabelExpressions[0].values: Required value"],
        ),
    ],
)
def test_storage_classes(refusals, fields, messages):
    assert refusals(CLASS, fields) == messages


def test_what_stays_of_a_storage_class(refusals):
    old = {"provisioner": "p", "parameters": {"a": "b"}}
    assert refusals(
        CLASS,
        {"provisioner": "q", "reclaimPolicy": "Retain", "volumeBindingMode": "WaitForFirstConsumer"},
        old=old,
    ) == [
        "parameters: Forbidden: updates to parameters are forbidden.",
        "provisioner: Forbidden: updates to provisioner are forbidden.",
        "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
        'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable',
    ]
    assert refusals(CLASS, {**old, "allowVolumeExpansion": True}, old=old) == []


def test_attributes_classes(refusals):
    good = {"driverName": "d.example.com", "parameters": {"iops": "1"}}
    assert refusals(ATTRIBUTES, good) == []
    assert refusals(ATTRIBUTES, {"driverName": "d.example.com"}) == [
        "parameters: Required value: must contain at least one key/value pair"
    ]
    assert refusals(ATTRIBUTES, {**good, "parameters": {"iops": "2"}}, old=good) == [
        "parameters: Forbidden: updates to parameters are forbidden."
    ]


def test_attachments(refusals):
    good = {"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}}
    assert refusals(ATTACHMENT, good) == []
    assert refusals(ATTACHMENT, {"spec": {"attacher": "d", "nodeName": "n"}}) == [
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    ]
    changed = {"spec": {**good["spec"], "nodeName": "m"}}
    assert [text.split(":")[0] for text in refusals(ATTACHMENT, changed, old=good)] == ["spec"]


def test_drivers(refusals):
    assert refusals(DRIVER, {"spec": {}}, name="d.example.com") == []
    requests = [{"audience": "a"}, {"audience": "a", "expirationSeconds": 1}]
    fields = {"spec": {"fsGroupPolicy": "All", "volumeLifecycleModes": ["Short"], "tokenRequests": requests}}
    assert refusals(DRIVER, fields) == [
        'spec.volumeLifecycleModes[0]: Unsupported value: "Short": supported values: "Persistent", "Ephemeral"',
        'spec.fsGroupPolicy: Unsupported value: "All": supported values: "File", "None", "ReadWriteOnceWithFSType"',
        'spec.tokenRequests[1].audience: Duplicate value: "a"',
        "spec.tokenRequests[1].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
    ]
    assert refusals(DRIVER, {"spec": {"attachRequired": False}}, old={"spec": {}}) == [
        "spec.attachRequired: Invalid value: false: field is immutable"
    ]


def test_drivers_of_nodes(refusals):
    driver = {"name": "d", "nodeID": "n", "topologyKeys": ["zone"]}
    good = {"spec": {"drivers": [driver]}}
    assert refusals(NODE, good) == []
    assert refusals(NODE, {"spec": {"drivers": [driver, {"name": "d"}]}}) == [
        "spec.drivers[1].nodeID: Required value",
        'spec.drivers[1].name: Duplicate value: "d"',
    ]
    changed = {"spec": {"drivers": [{**driver, "nodeID": "m", "allocatable": {"count": 3}}]}}
    assert refusals(NODE, changed, old=good) == [
        'spec.drivers[0].nodeID: Invalid value: "m": field is immutable'
    ]


def test_capacities(refusals):
    good = {"storageClassName": "fast", "capacity": "1Gi"}
    assert refusals(CAPACITY, good) == []
    assert refusals(CAPACITY, {**good, "capacity": "-1"}) == [
        'capacity: Invalid value: "-1": must be greater than or equal to 0'
    ]
    assert refusals(CAPACITY, {**good, "storageClassName": "slow"}, old=good) == [
        'storageClassName: Invalid value: "slow": field is immutable'
    ]
