"""Claims, templates, classes, slices and taints of devices, in every version."""

import pytest

VERSIONS = ["v1", "v1beta2", "v1beta1"]


def kind(name, version="v1"):
    return f"resource.k8s.io/{version} {name}"


def claim(*requests):
    return {"spec": {"devices": {"requests": list(requests)}}}


GPU = {"deviceClassName": "gpu.example.com"}


def test_one_device_of_the_class(written):
    fields = claim({"name": "r", "exactly": GPU}, {"name": "s", "firstAvailable": [{"name": "t", **GPU}]})
    exact, choice = written(kind("ResourceClaim"), fields)["spec"]["devices"]["requests"]
    assert exact["exactly"] == {**GPU, "allocationMode": "ExactCount", "count": 1}
    assert choice["firstAvailable"][0]["count"] == 1
    everything = {**GPU, "allocationMode": "All"}
    (request,) = written(kind("ResourceClaim"), claim({"name": "r", "exactly": everything}))["spec"][
        "devices"
    ]["requests"]
    assert "count" not in request["exactly"]


def test_the_same_in_the_old_form(written):
    (request,) = written(kind("ResourceClaim", "v1beta1"), claim({"name": "r", **GPU}))["spec"]["devices"][
        "requests"
    ]
    assert request == {"name": "r", **GPU, "allocationMode": "ExactCount", "count": 1}


@pytest.mark.parametrize("version", VERSIONS)
def test_empty_claims_are_good_and_stay(refusals, version):
    assert refusals(kind("ResourceClaim", version), {"spec": {}}) == []
    assert refusals(kind("ResourceClaimTemplate", version), {"spec": {"spec": {}}}) == []
    request = {"name": "r", **GPU} if version == "v1beta1" else {"name": "r", "exactly": GPU}
    found = refusals(kind("ResourceClaim", version), claim(request), old={"spec": {}})
    assert [text.split(":")[0] for text in found] == ["spec"]


PLACE = "spec.devices.requests[0]"


@pytest.mark.parametrize(
    ("request_", "messages"),
    [
        ({"name": "r", "exactly": GPU}, []),
        (
            {"name": "r"},
            [f"{PLACE}: Required value: exactly one of `exactly` or `firstAvailable` is required"],
        ),
        ({"name": "r", "exactly": {}}, [f"{PLACE}.exactly.deviceClassName: Required value"]),
        (
            {"name": "r", "exactly": {**GPU, "count": -1}},
            [f"{PLACE}.exactly.count: Invalid value: -1: must be greater than zero"],
        ),
        (
            {"name": "r", "exactly": {**GPU, "allocationMode": "All", "count": 2}},
            [
                f"{PLACE}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
            ],
        ),
        (
            {"name": "r", "exactly": {**GPU, "allocationMode": "Some"}},
            [
                f'{PLACE}.exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"'
            ],
        ),
        ({"name": "", "exactly": GPU}, [f"{PLACE}.name: Required value"]),
    ],
)
def test_requests(refusals, request_, messages):
    assert refusals(kind("ResourceClaim"), claim(request_)) == messages


def test_names_of_requests_are_their_own(refusals):
    request = {"name": "r", "exactly": GPU}
    assert refusals(kind("ResourceClaim"), claim(request, request)) == [
        'spec.devices.requests[1].name: Duplicate value: "r"'
    ]


SLICE = {
    "driver": "d.example.com",
    "nodeName": "n",
    "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({}, []),
        ({"devices": [{"name": "a"}]}, []),
        ({"devices": [{"name": "a"}, {"name": "a"}]}, ["spec.devices[1].name"]),
        ({"driver": ""}, ["spec.driver"]),
        ({"nodeName": None}, ["spec"]),
        ({"allNodes": True}, ["spec"]),
        ({"pool": {"name": "p", "generation": 1}}, ["spec.pool.resourceSliceCount"]),
    ],
)
def test_slices(refusals, version, change, places):
    found = refusals(kind("ResourceSlice", version), {"spec": {**SLICE, **change}})
    assert [text.split(":")[0] for text in found] == places


@pytest.mark.parametrize("version", ["v1alpha3", "v1beta2"])
def test_taints(refusals, written, version):
    taint = {"key": "example.com/t", "effect": "NoSchedule"}
    name = kind("DeviceTaintRule", version)
    rule = written(name, {"spec": {"taint": taint}}, creationTimestamp="2026-11-22T10:00:00Z")
    assert rule["spec"]["taint"]["timeAdded"] == "2026-11-22T10:00:00Z"
    assert refusals(name, {"spec": {"taint": taint, "deviceSelector": {"driver": "d.example.com"}}}) == []
    assert refusals(name, {"spec": {"taint": {**taint, "effect": "Explode"}}}) == [
        'spec.taint.effect: Unsupported value: "Explode": supported values: "NoExecute", "NoSchedule", "None"'
    ]


@pytest.mark.parametrize(
    ("spec", "places"),
    [
        ({"driver": "d.example.com"}, []),
        ({"driver": "d.example.com", "poolName": "a/b", "limit": 1000}, []),
        ({}, ["spec.driver"]),
        ({"driver": "d.example.com", "limit": 1001}, ["spec.limit"]),
        ({"driver": "d.example.com", "poolName": ""}, ["spec.poolName"]),
    ],
)
def test_questions_about_pools(refusals, spec, places):
    found = refusals(kind("ResourcePoolStatusRequest", "v1alpha3"), {"spec": spec})
    assert [text.split(":")[0] for text in found] == places
