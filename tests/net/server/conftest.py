"""Running servers, on both event loops, with and without TLS."""

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from wire_peers import Site, Wire

from tiphys.net.http import Handler
from tiphys.net.server import Server
from tiphys.net.service import Limits
from tiphys.net.tls import client_context, server_context


def pytest_asyncio_loop_factories(
    config: Any, item: Any
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass(frozen=True)
class Pki:
    """Files: an authority, a server's and a client's certificate and key."""

    ca: str
    server_cert: str
    server_key: str
    client_cert: str
    client_key: str


def _write_pair(folder: Path, name: str, subject: list[x509.NameAttribute[str]], signer: Any = None) -> Any:
    key = ec.generate_private_key(ec.SECP256R1())
    own_name = x509.Name(subject)
    issuer_name, issuer_key = signer or (own_name, key)
    today = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own_name)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
    )
    certificate = builder.sign(issuer_key, hashes.SHA256())
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return own_name, key


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    folder = tmp_path_factory.mktemp("pki")
    authority = _write_pair(folder, "ca", [x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    _write_pair(folder, "server", [x509.NameAttribute(NameOID.COMMON_NAME, "server")], authority)
    client = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "crew"),
        x509.NameAttribute(NameOID.COMMON_NAME, "tiphys"),
    ]
    _write_pair(folder, "client", client, authority)
    names = ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")
    return Pki(*(str(folder / name) for name in names))


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve(pki: Pki) -> AsyncIterator[Serve]:
    """`await serve(handler, tls=True, path=…, **options of Server)`; ended after the test."""
    sites: list[Site] = []

    async def start(handler: Handler, *, tls: bool = False, path: str | None = None, **options: Any) -> Site:
        context = server_context(pki.server_cert, pki.server_key, pki.ca) if tls else None
        server = Server(handler, ssl_context=context, **options)
        address = await (server.listen(path=path) if path else server.listen(host="127.0.0.1", port=0))
        sites.append(Site(server, address, client_context(ca_file=pki.ca) if tls else None))
        return sites[-1]

    yield start
    for site in sites:
        for peer in site.peers:
            await peer.close()
        await site.server.shutdown(grace_seconds=0)


MakeWire = Callable[..., Wire]


@pytest.fixture
async def wire() -> AsyncIterator[MakeWire]:
    wires: list[Wire] = []

    def make(handler: Handler, *, window_bytes: int = 65535, manual: bool = False, **limits: float) -> Wire:
        wires.append(Wire(handler, Limits(**limits), window_bytes=window_bytes, manual=manual))  # type: ignore[arg-type]
        return wires[-1]

    yield make
    for one in wires:
        one.connection.connection_lost(None)


@pytest.fixture(params=[False, True], ids=["cleartext", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
