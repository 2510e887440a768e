"""Ingresses, network policies, addresses and ranges: what they are given and what is refused of them."""

import pytest

from tiphys.api.networking import ingress_validation, validation

INGRESS, CLASS = "networking.k8s.io/v1 Ingress", "networking.k8s.io/v1 IngressClass"
POLICY = "networking.k8s.io/v1 NetworkPolicy"
ADDRESS, RANGE = "networking.k8s.io/v1 IPAddress", "networking.k8s.io/v1 ServiceCIDR"
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def ingress(path="/", kind="Prefix", host="a.example.com", backend=BACKEND):
    each = {"path": path, "pathType": kind, "backend": backend}
    return {"spec": {"rules": [{"host": host, "http": {"paths": [each]}}]}}


def test_what_an_ingress_is_given(written):
    assert written(INGRESS, {})["status"] == {"loadBalancer": {}}
    fields = {"spec": {"defaultBackend": {"service": {"name": "web"}}}}
    assert written(INGRESS, fields)["spec"]["defaultBackend"] == {"service": {"name": "web", "port": {}}}


PATH = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (ingress(), []),
        (ingress(host="*.example.com"), []),
        (ingress("", "ImplementationSpecific"), []),
        ({"spec": {"defaultBackend": BACKEND}}, []),
        ({}, ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]),
        (ingress(kind=None), [f"{PATH}.pathType: Required value: pathType must be specified"]),
        (
            ingress(kind="Regex"),
            [
                f'{PATH}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"'
            ],
        ),
        (ingress("web"), [f'{PATH}.path: Invalid value: "web": must be an absolute path']),
        (ingress(""), [f'{PATH}.path: Invalid value: "": must be an absolute path']),
        (ingress("/a//b"), [f"{PATH}.path: Invalid value: \"/a//b\": must not contain '//'"]),
        (ingress("/a/.."), [f"{PATH}.path: Invalid value: \"/a/..\": cannot end with '/..'"]),
        (
            ingress(host="10.0.0.1"),
            ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
        ),
        (
            ingress(backend={}),
            [f'{PATH}.backend: Invalid value: "": resource or service backend is required'],
        ),
        (
            ingress(backend={"service": {"name": "web"}}),
            [f"{PATH}.backend: Required value: port name or number is required"],
        ),
        (
            ingress(backend={"service": {"name": "web", "port": {"name": "http", "number": 80}}}),
            [f'{PATH}.backend: Invalid value: "": cannot set both port name & port number'],
        ),
        (
            ingress(backend={"service": {"name": "web", "port": {"number": 70000}}}),
            [
                f"{PATH}.backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive"
            ],
        ),
        (
            ingress(backend={**BACKEND, "resource": {"kind": "Bucket", "name": "b"}}),
            [f'{PATH}.backend: Invalid value: "": cannot set both resource and service backends'],
        ),
        ({"spec": {"rules": [{"http": {"paths": []}}]}}, ["spec.rules[0].http.paths: Required value"]),
    ],
)
def test_ingresses(refusals, fields, messages):
    assert refusals(INGRESS, fields) == messages


def test_the_annotation_of_old_and_the_class_do_not_go_together(refusals):
    fields = {"spec": {"ingressClassName": "nginx", "defaultBackend": BACKEND}}
    old_way = {"kubernetes.io/ingress.class": "nginx"}
    assert refusals(INGRESS, fields, annotations=old_way) == [
        'annotations.kubernetes.io/ingress.class: Invalid value: "nginx": can not be set when the class field is also set'
    ]
    assert refusals(INGRESS, fields, old=fields, annotations=old_way) == []


def test_status_of_ingresses():
    points = [{"ip": "10.0.0.300"}, {"hostname": "10.0.0.1"}, {"ip": "10.0.0.1"}]
    errors = ingress_validation.ingress_status({"status": {"loadBalancer": {"ingress": points}}}, None)
    assert [error.field for error in errors] == [
        "status.loadBalancer.ingress[0].ip",
        "status.loadBalancer.ingress[1].hostname",
    ]


def test_ingress_classes(refusals, written):
    good = {"spec": {"controller": "example.com/c", "parameters": {"kind": "K", "name": "n"}}}
    assert written(CLASS, good)["spec"]["parameters"]["scope"] == "Cluster"
    assert refusals(CLASS, good) == []
    assert refusals(CLASS, {}) == ["spec.controller: Required value"]
    assert refusals(CLASS, {"spec": {"controller": "example.com/other"}}, old=good) == [
        'spec.controller: Invalid value: "example.com/other": field is immutable'
    ]
    scoped = {"kind": "K", "name": "n", "scope": "Namespace"}
    assert refusals(CLASS, {"spec": {"controller": "a.b/c", "parameters": scoped}}) == [
        "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"
    ]


# Network policies


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_what_a_policy_is_about(written, spec, types):
    policy = written(POLICY, {"spec": spec})
    assert policy["spec"]["policyTypes"] == types
    assert policy["spec"]["podSelector"] == {}


def incoming(*, ports=(), peers=()):
    return {"spec": {"ingress": [{"ports": list(ports), "from": list(peers)}]}}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (incoming(ports=[{"port": 80}, {"port": "http"}, {"port": 80, "endPort": 90}]), []),
        (
            incoming(ports=[{"port": 0, "protocol": "ICMP"}]),
            [
                'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
                "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            incoming(ports=[{"endPort": 90}, {"port": "http", "endPort": 90}, {"port": 91, "endPort": 90}]),
            [
                "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is not specified",
                "spec.ingress[0].ports[1].endPort: Invalid value: 90: may not be specified when `port` is non-numeric",
                "spec.ingress[0].ports[2].endPort: Invalid value: 91: must be greater than or equal to `port`",
            ],
        ),
        (incoming(peers=[{}]), ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
        (
            incoming(peers=[{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]),
            ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
        ),
        (incoming(peers=[{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]), []),
        (
            incoming(peers=[{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16", "10.0.0.0/8"]}}]),
            [
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
                'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
            ],
        ),
        (
            {"spec": {"policyTypes": ["Sideways"]}},
            ['spec.policyTypes: Unsupported value: "Sideways": supported values: "Ingress", "Egress"'],
        ),
    ],
)
def test_network_policies(refusals, fields, messages):
    assert refusals(POLICY, fields) == messages


# Addresses


@pytest.mark.parametrize(
    ("name", "good"), [("10.9.8.7", True), ("fd00::1", True), ("fd00:0::1", False), ("web", False)]
)
def test_names_of_addresses(name, good):
    assert (validation.ip_address_name(name) == []) == good


def test_addresses(refusals):
    parent = {"resource": "services", "namespace": "default", "name": "web"}
    assert refusals(ADDRESS, {"spec": {"parentRef": parent}}) == []
    assert refusals(ADDRESS, {"spec": {}}) == ["spec.parentRef: Required value"]
    assert refusals(ADDRESS, {"spec": {"parentRef": {}}}) == [
        "spec.parentRef.resource: Required value",
        "spec.parentRef.name: Required value",
    ]
    other = {"spec": {"parentRef": {**parent, "name": "other"}}}
    assert len(refusals(ADDRESS, other, old={"spec": {"parentRef": parent}})) == 1


def cidrs(*ranges):
    return {"spec": {"cidrs": list(ranges)}}


@pytest.mark.parametrize(
    ("ranges", "messages"),
    [
        (["10.0.0.0/16"], []),
        (["10.0.0.0/16", "fd00::/64"], []),
        ([], ["spec.cidrs: Required value: at least one CIDR required"]),
        (
            ["10.0.0.0/16", "10.1.0.0/16"],
            [
                'spec.cidrs: Invalid value: ["10.0.0.0/16","10.1.0.0/16"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64'
            ],
        ),
        (
            ["10.0.0.1/16"],
            ['spec.cidrs[0]: Invalid value: "10.0.0.1/16": must be in canonical form ("10.0.0.0/16")'],
        ),
    ],
)
def test_ranges(refusals, ranges, messages):
    assert refusals(RANGE, cidrs(*ranges)) == messages


def test_a_range_may_get_a_second_family_and_no_other_change(refusals):
    old = cidrs("10.0.0.0/16")
    assert refusals(RANGE, cidrs("10.0.0.0/16", "fd00::/64"), old=old) == []
    assert refusals(RANGE, cidrs("10.1.0.0/16"), old=old) == [
        'spec.cidrs: Invalid value: ["10.1.0.0/16"]: field is immutable'
    ]
