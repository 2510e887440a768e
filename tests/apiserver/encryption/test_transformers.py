"""Byte layouts of the local providers, and which key of several reads and writes."""

from __future__ import annotations

import base64
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from encrypted import IDENTITY, KEY_ONE, KEY_TWO, entry, local, text

from tiphys.apiserver.encryption.configuration import parse
from tiphys.apiserver.encryption.keeper import make
from tiphys.apiserver.encryption.store import etcd_path
from tiphys.apiserver.encryption.transformers import CBC, GCM, SecretBox, Transformer, TransformError

PATH = b"/registry/secrets/default/s"
KEY = bytes(range(32))


def chain(*providers: dict) -> Transformer:  # type: ignore[type-arg]
    def no_plugin(provider: object) -> Transformer:
        raise AssertionError(provider)

    return make(parse(text(entry(list(providers)))), no_plugin)["", "secrets"]


@pytest.mark.parametrize("kind", ["aesgcm", "aescbc", "secretbox"])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 4096])
def test_what_goes_in_comes_out_under_the_provider_s_prefix(kind: str, size: int) -> None:
    data = os.urandom(size)
    stored = chain(local(kind, KEY_ONE)).encrypt(data, PATH)
    assert stored.startswith(f"k8s:enc:{kind}:v1:key1:".encode())
    assert chain(local(kind, KEY_ONE)).decrypt(stored, PATH) == (data, False)
    assert stored != chain(local(kind, KEY_ONE)).encrypt(data, PATH), "a nonce is used twice"


def test_gcm_is_nonce_then_ciphertext_and_authenticates_the_path() -> None:
    assert GCM(KEY, lambda count: b"n" * count).encrypt(b"data", PATH) == b"n" * 12 + AESGCM(KEY).encrypt(
        b"n" * 12, b"data", PATH
    )
    stored = GCM(KEY, os.urandom).encrypt(b"data", PATH)
    with pytest.raises(TransformError, match="cipher: message authentication failed"):
        GCM(KEY, os.urandom).decrypt(stored, b"/registry/secrets/default/other")


def test_cbc_is_as_openssl_makes_it() -> None:
    # printf data | openssl enc -aes-256-cbc -K 000102…1f -iv 6e6e…6e | base64
    stored = CBC(KEY, lambda count: b"n" * count).encrypt(b"data", PATH)
    assert stored == b"n" * 16 + base64.b64decode("Sh/rCrFjO8qKa/mcBerO9g==")


def test_secretbox_is_as_nacl_s_own_tests_have_it() -> None:
    """The test vector of "Cryptography in NaCl", section 10: its first bytes."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    message = bytes.fromhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a"
        "1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057"
        "e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040"
        "e082f937763848645e0705"
    )
    stored = SecretBox(key, lambda count: nonce).encrypt(message, PATH)
    assert stored[:40] == nonce + bytes.fromhex("f3ffc7703f9400e52a7dfb4b3d3305d9")
    assert SecretBox(key, os.urandom).decrypt(stored, PATH) == (message, False)


def test_the_first_writes_all_read_and_what_the_others_read_is_stale() -> None:
    old = chain(local("aescbc", KEY_ONE)).encrypt(b"data", PATH)
    rotated = chain(local("aescbc", KEY_TWO, KEY_ONE))
    assert rotated.decrypt(old, PATH) == (b"data", True)
    assert rotated.encrypt(b"data", PATH).startswith(b"k8s:enc:aescbc:v1:key2:")
    moved = chain(local("aesgcm", KEY_TWO), local("aescbc", KEY_ONE), IDENTITY)
    assert moved.decrypt(old, PATH) == (b"data", True)
    assert moved.decrypt(b"data", PATH) == (b"data", True)
    left = chain(IDENTITY, local("aescbc", KEY_ONE))
    assert left.encrypt(b"data", PATH) == b"data"
    assert left.decrypt(old, PATH) == (b"data", True)


@pytest.mark.parametrize(
    ("providers", "reason"),
    [
        ([local("aescbc", KEY_TWO)], "no matching key was found for the provided AES transformer"),
        ([local("secretbox", KEY_ONE)], "no matching prefix found"),
        ([IDENTITY], "no matching prefix found"),
        ([local("aescbc", {**KEY_TWO, "name": "key1"})], "invalid padding on input"),
    ],
)
def test_why_a_value_cannot_be_read(providers: list[dict], reason: str) -> None:  # type: ignore[type-arg]
    stored = chain(local("aescbc", KEY_ONE)).encrypt(b"d" * 4096, PATH)
    with pytest.raises(TransformError, match=reason):
        chain(*providers).decrypt(stored, PATH)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("core/secrets/default/s", "secrets/default/s"),
        ("core/services/default/web", "services/specs/default/web"),
        ("core/nodes/n1", "minions/n1"),
        ("apps/deployments/default/web", "deployments/default/web"),
        ("networking.k8s.io/ingresses/default/web", "ingress/default/web"),
        (
            "apiextensions.k8s.io/customresourcedefinitions/x",
            "apiextensions.k8s.io/customresourcedefinitions/x",
        ),
    ],
)
def test_the_authenticated_path_is_that_in_etcd(key: str, path: str) -> None:
    assert etcd_path(f"/registry/{key}", custom=False) == f"/registry/{path}".encode()
    assert (
        etcd_path("/registry/example.com/widgets/ns/w", custom=True) == b"/registry/example.com/widgets/ns/w"
    )
