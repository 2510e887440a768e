"""The cluster's certificates: strict clients accept them, and they are made anew when they must be."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.cluster.pki import LEAF_DAYS, Authority, Leaf

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SERVER = Leaf("server", "kube-apiserver", names=("localhost", "127.0.0.1"))
ADMIN = Leaf("admin", "kubernetes-admin", ("system:masters",))


def test_leaves_are_signed_by_the_authority_and_say_who_they_are(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW)
    assert authority.ensure([SERVER, ADMIN]) == ["server", "admin"]
    ca = x509.load_pem_x509_certificate(authority.certificate_file.read_bytes())
    admin = x509.load_pem_x509_certificate(authority.certificate("admin").read_bytes())
    admin.verify_directly_issued_by(ca)
    assert admin.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "kubernetes-admin"
    assert admin.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"
    usage = admin.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    constraints = ca.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).critical


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    authority = Authority(tmp_path, NOW)
    authority.ensure([ADMIN])
    authority.ensure_signing_key("service-account")
    for name in ("ca", "admin", "service-account"):
        assert stat.S_IMODE(authority.key(name).stat().st_mode) == 0o600


def test_what_is_good_is_kept(tmp_path: Path) -> None:
    Authority(tmp_path, NOW).ensure([SERVER, ADMIN])
    before = (tmp_path / "server.crt").read_bytes()
    assert Authority(tmp_path, NOW + timedelta(days=30)).ensure([SERVER, ADMIN]) == []
    assert (tmp_path / "server.crt").read_bytes() == before


def test_what_will_expire_or_has_other_names_is_made_anew(tmp_path: Path) -> None:
    Authority(tmp_path, NOW).ensure([SERVER, ADMIN])
    renamed = Leaf("server", "kube-apiserver", names=("localhost", "10.0.0.1"))
    assert Authority(tmp_path, NOW).ensure([renamed, ADMIN]) == ["server"]
    late = NOW + timedelta(days=LEAF_DAYS - 30)
    assert Authority(tmp_path, late).ensure([renamed, ADMIN]) == ["server", "admin"]


def test_a_strict_client_shakes_hands(tmp_path: Path) -> None:
    authority = Authority(tmp_path, datetime.now(UTC))
    authority.ensure([SERVER])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority.certificate("server"), authority.key("server"))
    client = ssl.create_default_context(cafile=str(authority.certificate_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    ends = [ssl.MemoryBIO() for _ in range(2)]
    there = server.wrap_bio(ends[0], ends[1], server_side=True)
    here = client.wrap_bio(ends[1], ends[0], server_hostname="127.0.0.1")
    done = [False, False]
    for _ in range(10):
        for index, side in enumerate((here, there)):
            try:
                side.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                continue
    assert done == [True, True]
