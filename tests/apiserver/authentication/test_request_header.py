"""A proxy that says whom it speaks for."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served import Client

from tiphys.apiserver.authentication.request_header import RequestHeaders
from tiphys.apiserver.server import APIServer
from tiphys.machinery.clock import SystemClock
from tiphys.net.http import repeated

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def certificate(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = SystemClock().now()
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    dated = builder.serial_number(1).not_valid_before(now).not_valid_after(now)
    return dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


PROXY, OTHER = certificate("proxy"), certificate("other")


@pytest.fixture(autouse=True)
def _trusted(server: APIServer) -> None:
    server.request_headers = RequestHeaders(lambda der: der in (PROXY, OTHER), allowed_names=("proxy",))


async def who(client: Client, shown: bytes | None, **headers: str) -> Any:
    request = client.anonymous().request("POST", WHO, {}, **headers)
    request.connection.peer_certificate = shown
    response = await client.respond(request)
    import orjson

    assert isinstance(response.body, bytes)
    return orjson.loads(response.body)["status"]["userInfo"] if response.status == 201 else response.status


async def test_its_word_is_believed(client: Client) -> None:
    extra = {"x-remote-extra-acme.com%2fscope": repeated("a", "b", ", ")}
    groups = repeated("devs, and their friends", "ops", ", ")
    user = repeated("alice", "bob", ", ")
    assert await who(client, PROXY, x_remote_user=user, x_remote_group=groups, x_remote_uid="9", **extra) == {
        "username": "alice",
        "uid": "9",
        "groups": ["devs, and their friends", "ops", "system:authenticated"],
        "extra": {"acme.com/scope": ["a", "b"]},
    }


async def test_nobody_elses_is(client: Client) -> None:
    assert await who(client, None, x_remote_user="alice") == 403
    stranger = certificate("proxy")
    assert (await who(client, stranger, x_remote_user="alice"))["username"] == "proxy"


async def test_its_authority_vouches_for_proxies_only(client: Client) -> None:
    assert await who(client, OTHER, x_remote_user="alice") == 401
    assert await who(client, PROXY) == 401
