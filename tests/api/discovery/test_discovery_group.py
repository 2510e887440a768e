"""Endpoint slices."""

import pytest

KIND = "discovery.k8s.io/v1 EndpointSlice"


def endpoints(*addresses, kind="IPv4", **more):
    return {"addressType": kind, "endpoints": [{"addresses": list(addresses), **more}]}


def test_what_a_slice_is_given(written):
    fields = {**endpoints("10.0.0.1"), "ports": [{"port": 80}]}
    obj = written(KIND, fields)
    assert obj["ports"] == [{"port": 80, "name": "", "protocol": "TCP"}]
    assert obj["endpoints"][0]["conditions"] == {}
    assert written(KIND, {"addressType": "IPv4"})["endpoints"] == []


def test_labels_count_as_intent(written):
    old = written(KIND, {"addressType": "IPv4"}, generation=4)
    relabelled = written(KIND, {"addressType": "IPv4"}, old=old, generation=4, labels={"a": "b"})
    assert relabelled["metadata"]["generation"] == 5
    assert written(KIND, {"addressType": "IPv4"}, old=old, generation=4)["metadata"]["generation"] == 4


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (endpoints("10.0.0.1"), []),
        (endpoints("fd00::1", kind="IPv6"), []),
        (endpoints("web.example.com", kind="FQDN"), []),
        ({}, ["addressType: Required value"]),
        (
            {"addressType": "MAC"},
            ['addressType: Unsupported value: "MAC": supported values: "FQDN", "IPv4", "IPv6"'],
        ),
        (endpoints(), ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
        (
            endpoints("fd00::1"),
            ['endpoints[0].addresses[0]: Invalid value: "fd00::1": must be a valid IPv4 address'],
        ),
        (
            endpoints("127.0.0.1"),
            [
                'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'
            ],
        ),
        (
            endpoints("web", kind="FQDN"),
            [
                'endpoints[0].addresses[0]: Invalid value: "web": should be a domain with at least two segments separated by dots'
            ],
        ),
        (
            endpoints("10.0.0.1", hints={"forZones": [{"name": "a"}, {"name": "a"}]}),
            ['endpoints[0].hints.forZones[1].name: Duplicate value: "a"'],
        ),
        (
            {"addressType": "IPv4", "ports": [{"port": 1}, {"port": 2, "protocol": "ICMP"}]},
            [
                'ports[1].name: Duplicate value: ""',
                'ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
            ],
        ),
    ],
)
def test_slices(refusals, fields, messages):
    assert refusals(KIND, fields) == messages


def test_the_kind_of_addresses_stays(refusals):
    assert refusals(KIND, {"addressType": "IPv6"}, old={"addressType": "IPv4"}) == [
        'addressType: Invalid value: "IPv6": field is immutable'
    ]
