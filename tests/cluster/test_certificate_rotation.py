"""Certificates are exchanged while servers and clients run: nobody is turned away, old connections go on, new ones have the new."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tiphys.cli import main
from tiphys.cluster.layout import ClusterConfig, Layout, remember, write_config
from tiphys.cluster.pki import LEAF_DAYS, Authority, Leaf
from tiphys.cluster.running_certificates import RENEW_SECONDS, RunningCertificates
from tiphys.machinery.errors import StatusError
from tiphys.net.client import HTTPClient
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.net.tls import client_context
from tiphys.testing.clock import FakeClock

LEAVES = [
    Leaf("apiserver", "kube-apiserver", names=("localhost", "127.0.0.1")),
    Leaf("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    Leaf("admin", "kubernetes-admin", ("system:masters",)),
]


class Running:
    """A server with the cluster's certificates, as the control plane runs it."""

    def __init__(self, pki: Path) -> None:
        self.pki, self.clock = pki, FakeClock(datetime.now(UTC))
        self.certificates = RunningCertificates(pki, self.clock)
        self.server = Server(lambda request: _who(request), ssl_context=self.certificates.for_clients(""))
        self.port = 0

    def authority(self) -> Authority:
        return Authority(self.pki, self.clock.now())

    def client(self, pki: Path | None = None) -> HTTPClient:
        pki = pki or self.pki
        context = client_context(
            ca_file=f"{pki}/ca.crt", cert_file=f"{pki}/admin.crt", key_file=f"{pki}/admin.key"
        )
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return HTTPClient(f"https://127.0.0.1:{self.port}", ssl_context=context)

    async def served(self, client: HTTPClient) -> bytes:
        answer = await client.request("GET", "/")
        await client.close()
        return answer.body

    async def serial(self) -> int:
        """Of the server's certificate for a new connection."""
        pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", self.port))
        return x509.load_pem_x509_certificate(pem.encode()).serial_number


def _who(request: Request) -> Response:
    certificate = request.connection.peer_certificate
    assert certificate is not None
    name = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    return Response(200, [], name.encode())


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    pki = tmp_path / "pki"
    Authority(pki, datetime.now(UTC)).ensure(LEAVES)
    made = Running(pki)
    made.port = (await made.server.listen(host="127.0.0.1", port=0)).port
    yield made
    await made.server.shutdown(grace_seconds=0.1)


def _copy(pki: Path, to: Path) -> Path:
    to.mkdir()
    for name in ("ca.crt", "admin.crt", "admin.key"):
        (to / name).write_bytes((pki / name).read_bytes())
    return to


ADMIN = b"CN=kubernetes-admin,O=system:masters"


async def test_new_connections_have_the_new_certificate_and_old_ones_go_on(running: Running) -> None:
    old = running.client()
    assert (await old.request("GET", "/")).body == ADMIN
    running.authority().renew(all_of_them=True)
    for files in running.certificates.watched:
        assert files.look()
        assert not files.look()
    assert (await old.request("GET", "/")).body == ADMIN
    await old.close()
    assert await running.served(running.client()) == ADMIN


async def test_another_authority_and_nobody_is_turned_away(running: Running, tmp_path: Path) -> None:
    before = _copy(running.pki, tmp_path / "before")
    assert set(running.authority().rotate_authority()) == {leaf.file for leaf in LEAVES}
    # Whoever trusts only the old authority reaches the server before it has looked, and after.
    assert await running.served(running.client(before)) == ADMIN
    for files in running.certificates.watched:
        files.look()
    assert await running.served(running.client(before)) == ADMIN
    assert await running.served(running.client()) == ADMIN
    first, second = x509.load_pem_x509_certificates((running.pki / "ca.crt").read_bytes())
    assert second == x509.load_pem_x509_certificate((before / "ca.crt").read_bytes())
    leaf = x509.load_pem_x509_certificate((running.pki / "admin.crt").read_bytes())
    leaf.verify_directly_issued_by(first)
    # The next time the first of them is forgotten.
    middle = _copy(running.pki, tmp_path / "middle")
    running.authority().rotate_authority()
    assert second not in x509.load_pem_x509_certificates((running.pki / "ca.crt").read_bytes())
    for files in running.certificates.watched:
        files.look()
    assert await running.served(running.client(middle)) == ADMIN


async def test_who_hands_the_authority_on_is_told_of_another(running: Running) -> None:
    """Until everything has taken it."""
    told: list[bytes] = []
    problems: list[Exception] = [StatusError(500, "InternalError", "not now")]

    async def follower() -> None:
        told.append((running.pki / "ca.crt").read_bytes())
        if problems:
            raise problems.pop()

    certificates = running.certificates
    certificates.followers.append(follower)
    await certificates.tell()
    assert told == []
    running.authority().renew(all_of_them=True)
    await certificates.tell()
    assert told == [], "leaves are nobody's business"
    running.authority().rotate_authority()
    for times in (1, 2, 2):
        await certificates.tell()
        assert told == [(running.pki / "ca.crt").read_bytes()] * times


async def test_a_rotation_that_was_interrupted_is_finished(running: Running) -> None:
    running.authority().rotate_authority()
    unfinished = running.pki / "ca-next.crt"
    unfinished.write_bytes((running.pki / "ca.crt").read_bytes())
    old = x509.load_pem_x509_certificates(unfinished.read_bytes())[1]
    (running.pki / "ca.crt").write_bytes(old.public_bytes(Encoding.PEM))
    assert running.authority().renew(all_of_them=True)
    assert len(x509.load_pem_x509_certificates((running.pki / "ca.crt").read_bytes())) == 2
    assert not unfinished.exists()


async def test_what_will_expire_is_renewed_while_running(running: Running) -> None:
    before = await running.serial()
    assert running.certificates.renew() == []
    await running.clock.advance(timedelta(days=LEAF_DAYS - 80).total_seconds())
    following = asyncio.get_running_loop().create_task(running.certificates.follow())
    await running.clock.advance(RENEW_SECONDS + 1)
    following.cancel()
    assert await running.serial() != before


def test_every_key_in_a_cluster_s_files_is_its_owner_s_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path, datetime.now(UTC))
    authority.ensure(LEAVES)
    authority.ensure_signing_key("service-account")
    authority.rotate_authority()
    walked = [path for path in tmp_path.rglob("*") if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in walked} >= {"ca.key", "admin.key", "service-account.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in walked} == {0o600}
    assert not list(tmp_path.glob("*.part"))


def test_certs_shows_and_rotates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIPHYS_HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "mine"))
    layout = Layout(tmp_path / "default")
    write_config(layout, ClusterConfig("default", 1, "sqlite", "simulated", 6443, 1))
    remember(tmp_path, "default", layout)
    Authority(layout.pki, datetime.now(UTC)).ensure(LEAVES)
    Authority(layout.front_proxy, datetime.now(UTC)).ensure(
        [Leaf("front-proxy-client", "front-proxy-client")]
    )
    assert main(["certs", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["FILE", "SUBJECT", "EXPIRES", "LEFT", "ISSUER"]
    assert [line.split()[0] for line in lines[1:]] == [
        "ca.crt",
        "front-proxy/ca.crt",
        "admin.crt",
        "apiserver-kubelet-client.crt",
        "apiserver.crt",
        "front-proxy/front-proxy-client.crt",
    ]
    before = (layout.pki / "admin.crt").read_bytes()
    assert main(["certs", "rotate", "--ca"]) == 0
    assert "ca.crt, admin.crt" in capsys.readouterr().err
    after = (layout.pki / "admin.crt").read_bytes()
    assert after != before
    assert base64.b64encode(after).decode() in layout.kubeconfig.read_text()
    assert main(["certs", "show", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["file"] for each in shown].count("ca.crt") == 2, "the new authority and the one before"
    assert shown[0].keys() == {"file", "subject", "expires", "issuer"}
