"""Certificate requests from the question to the certificate, over the real API server and with the controllers' own rights."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from served import Client, Object, running

from tiphys.apiserver.local import LocalAPI
from tiphys.cluster.components import Components
from tiphys.cluster.pki import Authority
from tiphys.controllers.catalog import Options
from tiphys.testing.clock import START, FakeClock

CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SWITCHES = [f"certificatesigningrequest-{name}-controller" for name in ("signing", "approving", "cleaner")]
NODE = "system:node:n1"
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING = "kubernetes.io/kubelet-serving"
API_CLIENT = "kubernetes.io/kube-apiserver-client"
CLIENT = ("digital signature", "client auth")
SERVER = ("digital signature", "server auth")
DNS, IP = x509.DNSName("n1"), x509.IPAddress(ip_address("10.0.0.1"))
EMAIL, URI = x509.RFC822Name("a@example.com"), x509.UniformResourceIdentifier("https://example.com")


class Place:
    """A server with the three controllers beside it."""

    def __init__(self, client: Client, clock: FakeClock, authority: Authority) -> None:
        self.client, self.clock, self.authority = client, clock, authority

    async def ask(
        self, signer: str, request: str, *usages: str, by: Client | None = None, **spec: Any
    ) -> Object:
        obj = {
            "metadata": {"generateName": "r-"},
            "spec": {"signerName": signer, "request": request, "usages": list(usages), **spec},
        }
        return await (by or self.client).create(CSRS, obj)

    async def decide(self, csr: Object, kind: str) -> None:
        verdict = {"type": kind, "status": "True", "reason": "Test", "message": "so be it"}
        verdict["lastUpdateTime"] = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"{CSRS}/{csr['metadata']['name']}/approval"
        await self.client.put(path, {**csr, "status": {"conditions": [verdict]}})
        await self.clock.advance(1)

    async def now(self, csr: Object) -> Object:
        return await self.client.get(f"{CSRS}/{csr['metadata']['name']}")

    async def approved(self, signer: str, request: str, *usages: str, **spec: Any) -> Object:
        csr = await self.ask(signer, request, *usages, **spec)
        await self.decide(csr, "Approved")
        return await self.now(csr)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with _place(tmp_path) as made:
        yield made


@asynccontextmanager
async def _place(tmp_path: Path) -> AsyncIterator[Place]:
    clock, authority = FakeClock(), Authority(tmp_path, START)
    authority.ensure([])
    key = authority.ensure_signing_key("service-account").read_bytes()
    options = Options(
        signing_certificate_file=str(authority.certificate_file), signing_key_file=str(authority.key("ca"))
    )
    async with running(clock, key) as server:
        components = Components(LocalAPI(server), clock, options, SWITCHES, scheduler=False)
        components.start()
        await clock.advance(1)
        yield Place(Client(server), clock, authority)
        await components.stop()


def request(user: str = NODE, *groups: str, names: tuple[x509.GeneralName, ...] = ()) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups or ("system:nodes",)
    ]
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def certificate(csr: Object) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(csr["status"]["certificate"]))


async def test_a_client_s_certificate(place: Place) -> None:
    csr = await place.approved(API_CLIENT, request("jane", "developers"), "client auth", "key encipherment")
    made = certificate(csr)
    made.verify_directly_issued_by(
        x509.load_pem_x509_certificate(place.authority.certificate_file.read_bytes())
    )
    assert made.subject.rfc4514_string() == "CN=jane,O=developers"
    assert made.not_valid_before_utc == START + timedelta(seconds=1) - timedelta(minutes=5)
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=365)
    purposes = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_encipherment, usage.value.digital_signature) == (True, False)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert [each["type"] for each in csr["status"]["conditions"]] == ["Approved"]


async def test_how_long_a_certificate_lives(place: Place) -> None:
    for seconds, life in (
        (3600, timedelta(hours=1, minutes=5)),
        (600, timedelta(minutes=15)),
        (8 * 3600, timedelta(hours=8)),
        (10**9, timedelta(days=365)),
    ):
        csr = await place.approved(
            API_CLIENT, request("jane", "devs"), "client auth", expirationSeconds=seconds
        )
        made = certificate(csr)
        assert made.not_valid_after_utc - made.not_valid_before_utc == life


async def test_a_kubelet_s_serving_certificate_has_its_names(place: Place) -> None:
    made = certificate(await place.approved(SERVING, request(names=(DNS, IP)), *SERVER))
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [DNS, IP]
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]


@pytest.mark.parametrize(
    ("signer", "asked", "usages", "message"),
    [
        (
            API_CLIENT,
            request("jane", "x"),
            ("server auth",),
            "invalid usage for client certificate: server auth",
        ),
        (
            API_CLIENT,
            request("jane", "x"),
            ("digital signature",),
            "missing required usage for client certificate: client auth",
        ),
        (KUBELET, request(NODE, "others"), CLIENT, "subject organization is not system:nodes"),
        (KUBELET, request("jane"), CLIENT, "subject common name does not begin with system:node:"),
        (KUBELET, request(names=(DNS,)), CLIENT, "DNS subjectAltNames are not allowed"),
        (KUBELET, request(names=(IP,)), CLIENT, "IP subjectAltNames are not allowed"),
        (KUBELET, request(names=(EMAIL,)), CLIENT, "Email subjectAltNames are not allowed"),
        (KUBELET, request(names=(URI,)), CLIENT, "URI subjectAltNames are not allowed"),
        (
            KUBELET,
            request(),
            ("client auth",),
            "usages did not match [client auth digital signature key encipherment]",
        ),
        (SERVING, request(), SERVER, "DNS or IP subjectAltName is required"),
        (
            SERVING,
            request("jane", names=(DNS,)),
            SERVER,
            "subject common name does not begin with system:node:",
        ),
        (SERVING, request(names=(DNS, URI)), SERVER, "URI subjectAltNames are not allowed"),
        (
            SERVING,
            request(names=(DNS,)),
            CLIENT,
            "usages did not match [digital signature key encipherment server auth]",
        ),
    ],
)
async def test_what_no_signer_signs(
    place: Place, signer: str, asked: str, usages: tuple[str, ...], message: str
) -> None:
    csr = await place.approved(signer, asked, *usages)
    assert "certificate" not in csr["status"]
    failed = csr["status"]["conditions"][-1]
    assert (failed["type"], failed["status"]) == ("Failed", "True")
    assert (failed["reason"], failed["message"]) == ("SignerValidationFailure", message)


async def test_denied_pending_and_other_signers_requests_are_left_alone(place: Place) -> None:
    denied = await place.ask(API_CLIENT, request("jane", "x"), "client auth")
    await place.decide(denied, "Denied")
    other = await place.approved("example.com/signer", request("jane", "x"), "client auth")
    pending = await place.ask(API_CLIENT, request("jane", "x"), "client auth")
    await place.clock.advance(5)
    for csr in (denied, other, pending):
        assert "certificate" not in ((await place.now(csr)).get("status") or {})


async def test_a_kubelet_that_may_renews_its_own_certificate(place: Place) -> None:
    bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    rbac = "rbac.authorization.k8s.io"
    role = "system:certificates.k8s.io:certificatesigningrequests:{}"

    async def bind(kind: str, group: str) -> None:
        ref = {"apiGroup": rbac, "kind": "ClusterRole", "name": role.format(kind)}
        subjects = [{"kind": "Group", "apiGroup": rbac, "name": group}]
        await place.client.create(
            bindings, {"metadata": {"name": kind}, "roleRef": ref, "subjects": subjects}
        )

    kubelet = place.client.as_user(NODE, "system:nodes", "system:authenticated")
    first = await place.ask(KUBELET, request(), *CLIENT, by=kubelet)
    await place.clock.advance(2)
    assert not (await place.now(first)).get("status"), "without the right nobody approves"

    await bind("selfnodeclient", "system:nodes")
    own = await place.ask(KUBELET, request(), *CLIENT, by=kubelet)
    with pytest.raises(AssertionError, match=f"can only create a node CSR with CN={NODE}"):
        await place.ask(KUBELET, request("system:node:n2"), *CLIENT, by=kubelet)
    await place.clock.advance(2)
    found = await place.now(own)
    approved = found["status"]["conditions"][0]
    assert (approved["reason"], approved["message"]) == (
        "AutoApproved",
        "Auto approving self kubelet client certificate after SubjectAccessReview.",
    )
    assert certificate(found).subject.rfc4514_string() == f"CN={NODE},O=system:nodes"

    await bind("nodeclient", "system:bootstrappers")
    grants = {"apiGroup": rbac, "kind": "ClusterRole", "name": "system:node-bootstrapper"}
    subjects = [{"kind": "Group", "apiGroup": rbac, "name": "system:bootstrappers"}]
    await place.client.create(bindings, {"metadata": {"name": "b"}, "roleRef": grants, "subjects": subjects})
    newcomer = place.client.as_user("system:bootstrap:abc", "system:bootstrappers", "system:authenticated")
    csr = await place.ask(KUBELET, request("system:node:n9"), *CLIENT, by=newcomer)
    await place.clock.advance(2)
    message = (await place.now(csr))["status"]["conditions"][0]["message"]
    assert message == "Auto approving kubelet client certificate after SubjectAccessReview."


async def test_what_is_done_with_goes(place: Place) -> None:
    async def names() -> list[str]:
        return [each["metadata"]["name"] for each in (await place.client.get(CSRS))["items"]]

    signed = await place.approved(API_CLIENT, request("jane", "x"), "client auth")
    denied = await place.ask(API_CLIENT, request("jane", "x"), "client auth")
    await place.decide(denied, "Denied")
    failed = await place.approved(API_CLIENT, request("jane", "x"), "server auth")
    unsigned = await place.approved("example.com/signer", request("jane", "x"), "client auth")
    pending = await place.ask(API_CLIENT, request("jane", "x"), "client auth")
    await place.clock.advance(3500)
    assert len(await names()) == 5
    await place.clock.advance(200)
    left = {unsigned["metadata"]["name"], pending["metadata"]["name"]}
    assert set(await names()) == left
    assert signed["metadata"]["name"] not in left
    assert failed["metadata"]["name"] not in left
    await place.clock.advance(24 * 3600)
    assert await names() == []
