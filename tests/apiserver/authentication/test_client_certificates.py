"""Who a client certificate says that somebody is."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served import Client

from tiphys.machinery.clock import SystemClock

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")


def certificate(**more: str | list[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, "alice")]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in more.get("groups", ())]
    attributes += [x509.NameAttribute(UID, each) for each in more.get("uids", ())]
    subject, now = x509.Name(attributes), SystemClock().now()
    named = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    dated = named.serial_number(1).not_valid_before(now).not_valid_after(now).public_key(key.public_key())
    return dated.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


async def who(client: Client, shown: bytes) -> Any:
    request = client.anonymous().request("POST", WHO, {})
    request.connection.peer_certificate = shown
    response = await client.respond(request)
    assert isinstance(response.body, bytes)
    return orjson.loads(response.body)["status"]["userInfo"] if response.status == 201 else response.status


async def test_a_user_with_groups_and_a_uid(client: Client) -> None:
    shown = certificate(groups=["crew", "system:masters"], uids=["7"])
    assert await who(client, shown) == {
        "username": "alice",
        "groups": ["crew", "system:masters", "system:authenticated"],
        "uid": "7",
        "extra": {"authentication.kubernetes.io/credential-id": [f"X509SHA256={sha256(shown).hexdigest()}"]},
    }


async def test_nobody_has_two_uids(client: Client) -> None:
    assert await who(client, certificate(uids=["7", "8"])) == 401
    assert "uid" not in await who(client, certificate())
