"""Environments: where values come from, which wins, and what is said when one is missing."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.kubelet.downward import Surroundings, UnknownField, field_value, resource_value
from tiphys.kubelet.env import BadEnvironment, EnvironmentInput, environment, needs, service_variables
from tiphys.kubelet.expansion import expand
from tiphys.machinery.quantity import parse

AROUND = Surroundings(
    "node-1", ["10.0.0.1", "fd00::1"], ["10.1.0.2", "fd01::2"], {"cpu": parse("4"), "memory": parse("8Gi")}
)
POD: dict[str, Any] = {
    "metadata": {
        "name": "web",
        "namespace": "default",
        "uid": "u1",
        "labels": {"b": "2", "a": 'x"y'},
        "annotations": {"note": "hi\nthere"},
    },
    "spec": {"containers": [{"name": "web"}], "serviceAccountName": "robot"},
}
CONFIG = {"kind": "ConfigMap", "data": {"key": "value", "other": "o"}, "binaryData": {"raw": "AAE="}}
SECRET = {"kind": "Secret", "data": {"password": base64.b64encode(b"hunter2").decode()}}


def env_of(
    container: dict[str, Any], services: dict[str, str] | None = None, **objects: Any
) -> dict[str, str]:
    found = {("configmap", "cfg"): CONFIG, ("secret", "sec"): SECRET}
    found |= {("configmap", name): obj for name, obj in objects.items()}
    return environment(
        EnvironmentInput(POD, {"name": "web", **container}, found, services or {}, AROUND)  # type: ignore[arg-type]
    )


# Expansion


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(MISSING)", "$(MISSING)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(A)$(A)", "11"),
        ("$($$)", "$($$)"),
        ("", ""),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text(alphabet="ab$", max_size=20))
def test_without_known_names_only_dollars_change(text: str) -> None:
    assert expand(text, {}) == text.replace("$$", "$")


def test_values_are_not_expanded_again() -> None:
    assert expand("$(A)", {"A": "$(B)", "B": "no"}) == "$(B)"


# Sources


def test_needs_names_every_object_once_asked_for() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
        "env": [
            {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "d", "key": "k"}}},
            {"name": "Z", "value": "1"},
        ],
    }
    assert list(needs(container)) == [
        ("configmap", "a"),
        ("secret", "b"),
        ("configmap", "c"),
        ("secret", "d"),
    ]


def test_env_wins_over_env_from_and_env_from_over_services() -> None:
    found = env_of(
        {"envFrom": [{"configMapRef": {"name": "cfg"}}], "env": [{"name": "key", "value": "mine"}]},
        services={"other": "service", "HOST": "10.96.0.1"},
    )
    assert found["key"] == "mine"
    assert found["other"] == "o"
    assert found["HOST"] == "10.96.0.1"


def test_env_from_with_prefix_and_binary_data() -> None:
    found = env_of({"envFrom": [{"prefix": "P_", "configMapRef": {"name": "cfg"}}]})
    assert found["P_key"] == "value"
    assert found["P_raw"] == "\x00\x01"


def test_a_value_refers_to_earlier_ones_and_to_services() -> None:
    found = env_of(
        {
            "env": [
                {"name": "LATER", "value": "$(FIRST)"},
                {"name": "FIRST", "value": "1"},
                {"name": "BOTH", "value": "$(FIRST) $(HOST)"},
            ]
        },
        services={"HOST": "10.96.0.1"},
    )
    assert found["LATER"] == "$(FIRST)"
    assert found["BOTH"] == "1 10.96.0.1"


def test_keys_of_config_maps_and_secrets() -> None:
    found = env_of(
        {
            "env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "key"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "password"}}},
            ]
        }
    )
    assert (found["A"], found["B"]) == ("value", "hunter2")


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "nope"}}]}, 'configmap "nope" not found'),
        ({"envFrom": [{"secretRef": {"name": "nope"}}]}, 'secret "nope" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "k"}}}]},
            'configmap "nope" not found',
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "k"}}}]},
            "couldn't find key k in ConfigMap default/cfg",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "k"}}}]},
            "couldn't find key k in Secret default/sec",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]},
            "unsupported fieldPath: spec.nope",
        ),
    ],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    with pytest.raises(BadEnvironment, match=message.replace("(", r"\(")):
        env_of(container)


def test_what_is_optional_may_be_missing() -> None:
    assert env_of(
        {
            "envFrom": [{"configMapRef": {"name": "nope", "optional": True}}],
            "env": [
                {
                    "name": "A",
                    "valueFrom": {"configMapKeyRef": {"name": "nope", "key": "k", "optional": True}},
                },
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "k", "optional": True}}},
                {"name": "C", "value": "c"},
            ],
        }
    ) == {"C": "c"}


# The downward API


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "u1"),
        ("metadata.labels", 'a="x\\"y"\nb="2"'),
        ("metadata.annotations", 'note="hi\\nthere"'),
        ("metadata.labels['b']", "2"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "robot"),
        ("status.hostIP", "10.0.0.1"),
        ("status.hostIPs", "10.0.0.1,fd00::1"),
        ("status.podIP", "10.1.0.2"),
        ("status.podIPs", "10.1.0.2,fd01::2"),
    ],
)
def test_fields_of_the_pod(path: str, value: str) -> None:
    assert field_value(POD, path, AROUND) == value


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "500"),
        ({"resource": "requests.memory"}, "67108864"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "8"),
        ({"resource": "requests.cpu", "divisor": "0"}, "0"),
        ({"resource": "limits.cpu", "containerName": "other"}, "4"),
    ],
)
def test_resources_of_containers(reference: dict[str, str], value: str) -> None:
    """A limit that is not set is what the node can give; amounts are rounded up."""
    container = {"name": "web", "resources": {"limits": {"cpu": "500m"}, "requests": {"memory": "64Mi"}}}
    pod = {**POD, "spec": {"containers": [container, {"name": "other"}]}}
    assert resource_value(pod, container, reference, AROUND) == value


def test_resources_of_an_unknown_container() -> None:
    with pytest.raises(UnknownField, match="container none not found"):
        resource_value(POD, None, {"resource": "limits.cpu", "containerName": "none"}, AROUND)


# Services


def service(title: str, namespace: str = "default", ip: str = "10.96.0.9", **port: Any) -> dict[str, Any]:
    ports = [{"port": 80, "protocol": "TCP", **port}]
    return {"metadata": {"name": title, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}


def test_variables_of_a_service() -> None:
    assert service_variables(POD, [service("my-web", name="http")]) == {
        "MY_WEB_SERVICE_HOST": "10.96.0.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP": "80",
        "MY_WEB_PORT": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.96.0.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.96.0.9",
    }


def test_the_api_servers_service_is_always_there() -> None:
    services = [
        service("kubernetes", ip="10.96.0.1"),
        service("web"),
        service("far", "other"),
        service("x", ip="None"),
    ]
    elsewhere = {"metadata": {"namespace": "other"}, "spec": {"enableServiceLinks": False}}
    found = service_variables(elsewhere, services)
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert {name.partition("_")[0] for name in found} == {"KUBERNETES"}
    here = service_variables(POD, services)
    assert {name.partition("_")[0] for name in here} == {"KUBERNETES", "WEB"}
