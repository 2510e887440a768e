"""The cluster's own certificates: one authority, and a leaf for every component that speaks or is spoken to.

Subjects are upstream's (kubeadm): the common name is the user, the organization the group. Keys are EC P-256; files with keys are
0600. Python 3.13 and others check strictly: authorities carry keyUsage and basicConstraints (critical), leaves key identifiers.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
RENEW_BEFORE_DAYS = 90
_BACKDATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate to be. `names` are DNS names or IP addresses; without any it is a client's only."""

    file: str
    user: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Authority:
    """The CA in a directory: made once, then read. `ensure` makes what is missing or about to expire."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        self._now = now
        self._loaded: tuple[x509.Certificate, Any] | None = None
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def certificate_file(self) -> Path:
        return self._directory / "ca.crt"

    def certificate(self, name: str) -> Path:
        return self._directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self._directory / f"{name}.key"

    def ensure(self, leaves: Iterable[Leaf]) -> list[str]:
        """Makes the authority and the leaves that are missing, stale, or for other names; which ones it made."""
        made = [leaf for leaf in leaves if not self._is_good(leaf)]
        if not made and self.certificate_file.exists():
            return []
        certificate, key = self._authority()
        for leaf in made:
            self._issue(leaf, certificate, key)
        return [leaf.file for leaf in made]

    def ensure_signing_key(self, name: str) -> Path:
        """A bare key pair, for service account tokens."""
        path = self.key(name)
        if not path.exists():
            from cryptography.hazmat.primitives.asymmetric import ec

            _write_key(path, ec.generate_private_key(ec.SECP256R1()))
        return path

    def _is_good(self, leaf: Leaf) -> bool:
        note = self._directory / f"{leaf.file}.for"
        if not self.certificate(leaf.file).exists() or not self.key(leaf.file).exists():
            return False
        try:
            wanted, until = note.read_text().split("\n")[:2]
        except (OSError, ValueError):
            return False
        left = datetime.fromisoformat(until) - self._now
        return wanted == _description(leaf) and left > timedelta(days=RENEW_BEFORE_DAYS)

    def _authority(self) -> tuple[x509.Certificate, Any]:
        if self._loaded is None:
            if not self.certificate_file.exists():
                self._make_authority()
            from cryptography import x509
            from cryptography.hazmat.primitives import serialization

            certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(self.key("ca").read_bytes(), None)
            self._loaded = (certificate, key)
        return self._loaded

    def _make_authority(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("kubernetes", ())
        public = key.public_key()
        usage = _key_usage(key_cert_sign=True, crl_sign=True, digital_signature=True)
        certificate = (
            self._builder(name, name, public, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write_key(self.key("ca"), key)
        _write_certificate(self.certificate_file, certificate)

    def _issue(self, leaf: Leaf, authority: x509.Certificate, authority_key: Any) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            self._builder(_name(leaf.user, leaf.groups), authority.subject, public, LEAF_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        if leaf.names:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_alternative, leaf.names))), critical=False
            )
        certificate = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False).sign(
            authority_key, hashes.SHA256()
        )
        _write_key(self.key(leaf.file), key)
        _write_certificate(self.certificate(leaf.file), certificate)
        until = (self._now + timedelta(days=LEAF_DAYS)).isoformat()
        (self._directory / f"{leaf.file}.for").write_text(f"{_description(leaf)}\n{until}\n")

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, public: Any, days: int
    ) -> x509.CertificateBuilder:
        from cryptography import x509

        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BACKDATE)
            .not_valid_after(self._now + timedelta(days=days))
        )


def _description(leaf: Leaf) -> str:
    return "|".join((leaf.user, ",".join(leaf.groups), ",".join(leaf.names)))


def _name(user: str, groups: tuple[str, ...]) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _alternative(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: Any) -> None:
    from cryptography.hazmat.primitives import serialization

    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    from cryptography.hazmat.primitives import serialization

    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
