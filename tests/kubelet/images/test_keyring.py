"""Which credentials are for which image."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tiphys.kubelet.images.keyring import BAD_AUTH, Credentials, lookup


def docker_config(auths: dict[str, Any], name: str = "s") -> dict[str, Any]:
    data = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    return {
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": data},
    }


def passwords(credentials: Credentials) -> list[str]:
    return [credential.auth.password for credential in credentials.found]


@pytest.mark.parametrize(
    ("server", "image", "is_meant"),
    [
        ("https://index.docker.io/v1/", "busybox", True),
        ("index.docker.io", "docker.io/me/app:1", True),
        ("docker.io", "busybox", True),
        ("docker.io/library", "busybox", True),
        ("https://index.docker.io/v1/", "quay.io/me/app", False),
        ("registry.example.com", "registry.example.com/a/b:1", True),
        ("registry.example.com", "busybox", False),
        ("registry.example.com:5000", "registry.example.com/a", False),
        ("http://localhost:5000/v2/", "localhost:5000/x", True),
        ("*.example.com", "registry.example.com/a", True),
        ("*.example.com", "a.registry.example.com/a", False),
        ("reg*.example.com:5000", "registry.example.com:5000/a", True),
        ("registry.example.com/team", "registry.example.com/team/app", True),
        ("registry.example.com/team", "registry.example.com/other/app", False),
        ("registry.example.com/team/app", "registry.example.com/team", False),
        ("registry.example.com", "registry.example.com/a@sha256:" + "0" * 64, True),
    ],
)
def test_what_an_entry_is_for(server: str, image: str, is_meant: bool) -> None:
    secret = docker_config({server: {"username": "me", "password": "pw"}})
    assert passwords(lookup([secret], image)) == (["pw"] if is_meant else [])


def test_all_that_match_are_tried_the_most_specific_first() -> None:
    first = docker_config(
        {
            "quay.io": {"username": "a", "password": "host"},
            "quay.io/team": {"username": "a", "password": "path"},
        }
    )
    second = docker_config({"quay.io": {"username": "b", "password": "other secret"}}, "t")
    found = lookup([first, second], "quay.io/team/app")
    assert passwords(found) == ["path", "host", "other secret"]
    assert [c.source.name for c in found.found if c.source] == ["s", "s", "t"]


def test_both_in_one_field() -> None:
    [found] = lookup([docker_config({"quay.io": {"auth": "bWU6cDp3"}})], "quay.io/a").found
    assert (found.auth.username, found.auth.password) == ("me", "p:w")


def test_the_old_form() -> None:
    data = base64.b64encode(json.dumps({"quay.io": {"username": "me", "password": "pw"}}).encode()).decode()
    secret = {"metadata": {"name": "old"}, "type": "kubernetes.io/dockercfg", "data": {".dockercfg": data}}
    assert passwords(lookup([secret], "quay.io/a")) == ["pw"]


def test_secrets_of_another_type_have_none() -> None:
    secret = {**docker_config({"quay.io": {"username": "me", "password": "pw"}}), "type": "Opaque"}
    assert lookup([secret], "quay.io/a") == Credentials()


@pytest.mark.parametrize("auth", ["!", base64.b64encode(b"no colon").decode()])
def test_a_secret_that_is_none_fails_the_pull(auth: str) -> None:
    assert lookup([docker_config({"quay.io": {"auth": auth}})], "quay.io/a").problem == BAD_AUTH


def test_the_nodes_own_credentials_come_last_and_are_anybodys() -> None:
    config = json.dumps({"auths": {"quay.io": {"auth": "bWU6cDp3"}, "*.example.com": {}}}).encode()
    secret = docker_config({"quay.io": {"username": "me", "password": "mine"}})
    found = lookup([secret], "quay.io/a", config)
    assert passwords(found) == ["mine", "p:w"]
    assert [credential.source is None for credential in found.found] == [False, True]
    assert lookup([], "gcr.io/a", config) == Credentials()
    assert lookup([], "quay.io/a", b"{") == Credentials()
    assert lookup([], "quay.io/a", b'{"auths": {"quay.io": 7}}') == Credentials()
