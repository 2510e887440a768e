"""What is wrong with encryption configurations, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest
from encrypted import IDENTITY, KEY_ONE, entry, local, text

from tiphys.apiserver.encryption.configuration import BadConfiguration, parse

AES = local("aescbc", KEY_ONE)
KMS = {"name": "hsm", "endpoint": "unix:///tmp/kms.sock", "apiVersion": "v2"}
FIRST = "resources[0].providers[0]"


def kms(**changes: Any) -> dict[str, Any]:
    return entry([{"kms": {**KMS, **changes}}])


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([], "resources: Required value: at least one resources is required"),
        (
            [{"providers": [AES]}],
            "resources[0].resources: Required value: at least one resources[0].resources is required",
        ),
        (
            [{"resources": ["secrets"]}],
            "resources[0].providers: Required value: at least one resources[0].providers is required",
        ),
        ([entry([AES], "secrets", "secrets")], "the same resource cannot be specified multiple times"),
        (
            [entry([AES], "secrets", "*.")],
            "using overlapping resources such as 'secrets' and '*.' in the same",
        ),
        (
            [entry([AES], "secrets", "*.*")],
            "using overlapping resources such as 'secrets' and '*.' in the same",
        ),
        ([entry([AES], "Secrets")], "resource name should not contain capital letters"),
        (
            [entry([AES], "*")],
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all",
        ),
        ([entry([AES], "events.events.k8s.io")], "Use 'events' instead in the config file"),
        (
            [entry([AES], "x.extensions")],
            "'extensions' group has been removed and cannot be used for encryption",
        ),
        ([entry([AES], "secrets.*")], "encrypting the same resource across groups is not supported"),
        ([entry([AES], "apiserveripinfo")], "resources which do not have REST API/s cannot be encrypted"),
        ([entry([{}])], "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC"),
        (
            [entry([{**AES, **IDENTITY}])],
            "more than one provider specified in a single element, should split",
        ),
        ([entry([{"aesgcm": {}}])], f"{FIRST}.aesgcm.keys: Required value: at least one keys is required"),
        (
            [entry([local("aesgcm", {"secret": KEY_ONE["secret"]})])],
            f"{FIRST}.aesgcm.keys[0].name: Required value: name is a mandatory field for a key",
        ),
        (
            [entry([local("aesgcm", {"name": "k"})])],
            f"{FIRST}.aesgcm.keys[0].secret: Required value: secret is a mandatory field for a key",
        ),
        (
            [entry([local("aesgcm", {"name": "k", "secret": "%"})])],
            f'{FIRST}.aesgcm.keys[0].secret: Invalid value: "REDACTED": secrets must be base64 encoded',
        ),
        (
            [entry([local("secretbox", {"name": "k", "secret": "c2hvcnQ="})])],
            "secret is not of the expected length, got 5, expected one of [32]",
        ),
        ([kms(name="")], f"{FIRST}.kms.name: Required value: name is a mandatory field for a provider"),
        ([kms(name="a:b")], "invalid KMS provider name a:b, must not contain ':'"),
        ([kms(), kms()], "duplicate KMS provider name hsm, names must be unique"),
        ([kms(endpoint="")], "endpoint is a mandatory field for a kms"),
        ([kms(endpoint="tcp://x")], 'unsupported scheme "tcp" for KMS provider, only unix is supported'),
        ([kms(timeout="-1s")], "timeout should be a positive value"),
        ([kms(cachesize=5)], "cachesize is not supported in v2"),
        ([kms(apiVersion="v1")], "KMSv1 is deprecated and will only receive security updates going forward."),
        (
            [kms(apiVersion="v3")],
            "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported",
        ),
    ],
)
def test_what_is_refused(entries: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        parse(text(*entries))
    assert said in str(raised.value)
    assert KEY_ONE["secret"] not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("kind: EncryptionConfiguration\nresources: [", "error converting YAML to JSON: yaml: line "),
        ("- 1", "it is not an EncryptionConfiguration"),
        ("{apiVersion: v1, kind: EncryptionConfig}", "got unexpected config type: v1, Kind=EncryptionConfig"),
        (
            text(entry([AES])).replace('"secrets"', "17"),
            'line 1: "resources[0].resources[0]" must be a string',
        ),
    ],
)
def test_what_is_not_even_one(content: str, said: str) -> None:
    with pytest.raises(BadConfiguration, match=said.replace("[", r"\[")):
        parse(content)


def test_what_is_read() -> None:
    found = parse(text(entry([AES, IDENTITY], "secrets", "*.apps"), kms(timeout="1m")))
    assert [each.resources for each in found] == [(("", "secrets"), ("apps", "*")), (("", "secrets"),)]
    (plugin,) = found[1].providers
    assert (plugin.socket_path, plugin.timeout_seconds, plugin.name) == ("/tmp/kms.sock", 60.0, "hsm")
    assert found[0].providers[0].keys[0].secret == b"1" * 32
