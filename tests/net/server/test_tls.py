"""TLS contexts, and reading a certificate's subject."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Pki
from tiphys.net.tls import Subject, client_context, server_context, subject_of

KEY = ec.generate_private_key(ec.SECP256R1())
DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def certificate(name: x509.Name) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]))
        .public_key(KEY.public_key())
        .serial_number(2**150 + 1)
        .not_valid_before(DAY)
        .not_valid_after(DAY)
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=16)


@given(TEXT, st.lists(TEXT, max_size=5))
@settings(max_examples=50, deadline=None)
def test_subjects(common_name: str, organizations: list[str]) -> None:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, value) for value in organizations]
    attributes.append(x509.NameAttribute(NameOID.COUNTRY_NAME, "GR"))
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    assert subject_of(certificate(x509.Name(attributes))) == Subject(common_name, tuple(organizations))


def test_several_attributes_in_one_relative_name() -> None:
    together = x509.RelativeDistinguishedName(
        [x509.NameAttribute(NameOID.COMMON_NAME, "a"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "o")]
    )
    last = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "b")])
    assert subject_of(certificate(x509.Name([together, last]))) == Subject("b", ("o",))


UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")


def test_a_subject_may_have_one_uid() -> None:
    name = x509.NameAttribute(NameOID.COMMON_NAME, "a")
    uids = [x509.NameAttribute(UID, value) for value in ("1-2", "3")]
    assert subject_of(certificate(x509.Name([name, uids[0]]))) == Subject("a", (), "1-2")
    with pytest.raises(ValueError, match="UID"):
        subject_of(certificate(x509.Name([name, *uids])))


def test_an_empty_subject() -> None:
    assert subject_of(certificate(x509.Name([]))) == Subject("", ())


VALID = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))


@given(st.one_of(st.binary(max_size=64), st.integers(0, 200).map(lambda size: VALID[:size])))
def test_no_certificate(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        subject_of(data)


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_a_damaged_certificate_is_a_value_error_at_worst(position: int, value: int) -> None:
    try:
        subject_of(VALID[:position] + bytes([value]) + VALID[position + 1 :])
    except ValueError:
        pass


def test_nothing_older_than_tls_1_2(pki: Pki) -> None:
    assert server_context(pki.server_cert, pki.server_key).minimum_version == ssl.TLSVersion.TLSv1_2
    assert client_context(ca_file=pki.ca).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_client_certificate_is_asked_for_only_with_an_authority(pki: Pki) -> None:
    assert server_context(pki.server_cert, pki.server_key).verify_mode == ssl.CERT_NONE
    assert server_context(pki.server_cert, pki.server_key, pki.ca).verify_mode == ssl.CERT_OPTIONAL


def test_a_client_verifies_unless_told_otherwise(pki: Pki) -> None:
    context = client_context(ca_file=pki.ca)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert client_context(insecure=True).verify_mode == ssl.CERT_NONE


def test_certificates_from_memory(pki: Pki) -> None:
    data = {name: Path(getattr(pki, name)).read_bytes() for name in ("ca", "client_cert", "client_key")}
    context = client_context(ca_data=data["ca"], cert_data=data["client_cert"], key_data=data["client_key"])
    assert len(context.get_ca_certs()) == 1
    with pytest.raises(ssl.SSLError):
        client_context(ca_data=data["ca"], cert_data=data["client_cert"], key_data=b"no key")
