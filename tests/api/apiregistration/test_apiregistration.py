"""API services."""

import pytest

KIND = "apiregistration.k8s.io/v1 APIService"
NAME = "v1.example.com"
SERVICE = {"name": "s", "namespace": "default"}


def api(**change):
    spec = {"group": "example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100}
    return {"spec": {**spec, **change}}


def test_a_local_one_is_available_from_the_start(written):
    obj = written(KIND, api(), name=NAME, creationTimestamp="2026-11-22T10:00:00Z")
    assert obj["status"]["conditions"] == [
        {
            "type": "Available",
            "status": "True",
            "lastTransitionTime": "2026-11-22T10:00:00Z",
            "reason": "Local",
            "message": "Local APIServices are always available",
        }
    ]


def test_one_with_a_service_must_be_found_first(written):
    obj = written(KIND, api(service=SERVICE), name=NAME)
    assert obj["spec"]["service"]["port"] == 443
    assert obj["status"] == {}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (api(), []),
        (api(service=SERVICE, insecureSkipTLSVerify=True), []),
        (
            api(versionPriority=0),
            ["spec.versionPriority: Invalid value: 0: must be positive and less than 1000"],
        ),
        (
            api(groupPriorityMinimum=20001),
            ["spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000"],
        ),
        (
            api(insecureSkipTLSVerify=True, caBundle="AAAA"),
            [
                'spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle',
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ],
        ),
        (
            api(service=SERVICE, insecureSkipTLSVerify=True, caBundle="AAAA"),
            ["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
        ),
        (api(service={"name": "s"}), ["spec.service.namespace: Required value"]),
    ],
)
def test_services(refusals, fields, messages):
    assert refusals(KIND, fields, name=NAME) == messages


def test_the_name_is_made_of_two(refusals):
    assert refusals(KIND, api(), name="v2.example.com") == [
        'metadata.name: Invalid value: "v2.example.com": must be `spec.version+"."+spec.group`: "v1.example.com"'
    ]
