"""Leases and candidates."""

import pytest

LEASE, CANDIDATE = "coordination.k8s.io/v1 Lease", "coordination.k8s.io/v1beta1 LeaseCandidate"
GOOD = {
    "leaseName": "l",
    "binaryVersion": "1.36.0",
    "emulationVersion": "1.36.0",
    "strategy": "OldestEmulationVersion",
}


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        ({}, []),
        ({"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0}, []),
        (
            {"leaseDurationSeconds": 0},
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            {"leaseTransitions": -1},
            ["spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            {"preferredHolder": "you"},
            ['spec.preferredHolder: Invalid value: "you": may only be specified if `strategy` is defined'],
        ),
        (
            {"strategy": "Youngest"},
            ['spec.strategy: Unsupported value: "Youngest": supported values: "OldestEmulationVersion"'],
        ),
    ],
)
def test_leases(refusals, spec, messages):
    assert refusals(LEASE, {"spec": spec}) == messages


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({}, []),
        ({"leaseName": ""}, ["spec.leaseName"]),
        ({"binaryVersion": "new"}, ["spec.binaryVersion"]),
        ({"emulationVersion": ""}, ["spec.emulationVersion"]),
        ({"strategy": ""}, ["spec.strategy"]),
    ],
)
def test_candidates(refusals, change, places):
    assert [text.split(":")[0] for text in refusals(CANDIDATE, {"spec": {**GOOD, **change}})] == places
