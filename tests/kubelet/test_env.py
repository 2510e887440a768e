"""Environments: where values come from, which wins, and what is said when one is missing."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiphys.kubelet.downward import Surroundings, UnknownField, field_value, resource_value
from tiphys.kubelet.env import (
    BadEnvironment,
    EnvironmentInput,
    environment,
    file_needs,
    needs,
    service_variables,
)
from tiphys.kubelet.env_files import BadEnvFile, read, value_of
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
    "spec": {
        "containers": [{"name": "web"}],
        "serviceAccountName": "robot",
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}
FILES = {
    ("data", "config.env"): "DB='address'\nEMPTY=''\n",
    ("data", "missing"): None,
    ("data", "bad"): "X=y\n",
}
CONFIG = {"kind": "ConfigMap", "data": {"key": "value", "other": "o"}, "binaryData": {"raw": "AAE="}}
SECRET = {"kind": "Secret", "data": {"password": base64.b64encode(b"hunter2").decode()}}


def env_of(
    container: dict[str, Any], services: dict[str, str] | None = None, **objects: Any
) -> dict[str, str]:
    found = {("configmap", "cfg"): CONFIG, ("secret", "sec"): SECRET}
    found |= {("configmap", name): obj for name, obj in objects.items()}
    return environment(
        EnvironmentInput(POD, {"name": "web", **container}, found, FILES, services or {}, AROUND)  # type: ignore[arg-type]
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


def test_env_from_with_a_prefix_of_any_characters_and_without_binary_data() -> None:
    found = env_of({"envFrom": [{"prefix": "1-.p:", "configMapRef": {"name": "cfg"}}]})
    assert found == {"1-.p:key": "value", "1-.p:other": "o"}
    reference = {"configMapKeyRef": {"name": "cfg", "key": "raw"}}
    with pytest.raises(BadEnvironment, match="couldn't find key raw in ConfigMap default/cfg"):
        env_of({"env": [{"name": "RAW", "valueFrom": reference}]})


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


def test_annotations_are_quoted_as_go_quotes() -> None:
    pod = {**POD, "metadata": {"annotations": {"note": "bell \a, delete \x7f, é, <b>"}}}
    assert field_value(pod, "metadata.annotations", AROUND) == 'note="bell \\a, delete \\x7f, é, <b>"'


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


# Files


def from_file(key: str, path: str = "config.env", volume: str = "data", **more: Any) -> dict[str, Any]:
    reference = {"volumeName": volume, "path": path, "key": key, **more}
    return {"env": [{"name": "FOUND", "valueFrom": {"fileKeyRef": reference}}]}


def test_a_value_from_a_file() -> None:
    assert list(file_needs(from_file("DB"))) == [("data", "config.env")]
    assert env_of(from_file("DB")) == {"FOUND": "address"}
    assert env_of(from_file("ABSENT", optional=True)) == {}
    assert env_of(from_file("EMPTY", optional=True)) == {}


@pytest.mark.parametrize(
    ("container", "message"),
    [
        (from_file("ABSENT"), 'environment variable key "ABSENT" not found in file "config.env"'),
        (from_file("DB", "missing", optional=True), "couldn't parse env file"),
        (from_file("X", "bad"), "couldn't parse env file"),
        (from_file("X", volume="other"), 'cannot find the volume "other" referenced by FileKeyRef'),
    ],
)
def test_a_value_that_no_file_has(container: dict[str, Any], message: str) -> None:
    with pytest.raises(BadEnvironment) as refused:
        env_of(container)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("   A='1'\n\t\tB='2'\nC='3'", "B", "2"),
        ("# comment\n\n  # another\nB='bar'\n", "B", "bar"),
        ("A='x # no comment = $HOME \\n' # comment\n", "A", "x # no comment = $HOME \\n"),
        ("A='one\n\n  three'\nB='2'", "A", "one\n\n  three"),
        ("A='one\n\n  three'\nB='2'", "B", "2"),
        ("A='1'\nA='2'\n", "A", "1"),
        ("A='1'\r\nB='2'\r\n", "B", "2"),
        ("A='1'\nB=\n", "A", "1"),
        ("A='1'\n", "B", ""),
        ("", "A", ""),
    ],
)
def test_what_a_file_says(text: str, key: str, value: str) -> None:
    assert value_of(text, key) == value


@pytest.mark.parametrize(
    "line",
    [
        "A = '1'",
        "A=1",
        'A="1"',
        "A= '1'",
        "='1'",
        "A",
        "A='1''2'",
        "A='1'2",
        "A='1",
        "A='it\\'s'",
        "export A='1'",
    ],
)
def test_what_is_more_than_a_file_may_say(line: str) -> None:
    with pytest.raises(BadEnvFile, match="at line 2"):
        value_of(f"FIRST='1'\n{line}\nB='2'\n", "B")


def test_no_file_leads_out_of_its_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "below").mkdir(parents=True)
    (volume / "below" / "a.env").write_text("A='1'")
    (volume / "inner").symlink_to("below/a.env")
    assert read(volume, "below/a.env") == read(volume, "inner") == "A='1'"
    (tmp_path / "secret").write_text("A='2'")
    (volume / "outer").symlink_to("../secret")
    (volume / "absolute").symlink_to(tmp_path / "secret")
    (volume / "circle").symlink_to("circle")
    os.mkfifo(volume / "pipe")
    (volume / "large").write_bytes(b"#" * ((1 << 20) + 1))
    for path in ("outer", "absolute", "circle", "pipe", "large", "below", "missing", "../secret", "/", "\0"):
        with pytest.raises(BadEnvFile):
            read(volume, path)
