"""The cluster's own certificates: one authority, and a leaf for every component that speaks or is spoken to.

Subjects are upstream's (kubeadm): the common name is the user, the organization the group. Keys are EC P-256; files with keys are
0600. Python 3.13 and others check strictly: authorities carry keyUsage and basicConstraints (critical), leaves key identifiers.

An authority can be exchanged while clients run (`rotate_authority`): `ca.crt` then has the new one and, for as long as it is valid,
the one before it, and every certificate brings along the new authority as the old one certified it (`ca-cross.crt`). So who knows only
the old authority trusts the new leaves, and who shows a leaf of the old one is still believed.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.machinery.frozen import frozen

if TYPE_CHECKING:
    from cryptography import x509

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
RENEW_BEFORE_DAYS = 90
CROSS = "ca-cross.crt"
NODES = "system:nodes"
_ONLY_SERVER = "server"
_BACKDATE = timedelta(minutes=5)


@frozen
class Leaf:
    """A certificate to be. `names` are DNS names or IP addresses; without any it is a client's only.

    `only_server`: nobody can be a client with it.
    """

    file: str
    user: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    only_server: bool = False


class Authority:
    """The CA in a directory: made once, then read. `ensure` makes what is missing or about to expire."""

    def __init__(self, directory: Path, now: datetime) -> None:
        self._directory = directory
        self._now = now
        self._loaded: tuple[x509.Certificate, Any] | None = None
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def directory(self) -> Path:
        return self._directory

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

    def renew(self, *, all_of_them: bool = False, spare: str = "") -> list[str]:
        """Makes those of the leaves that are there anew that will expire, or all; which ones. `spare`: none of that group."""
        due = []
        for note in sorted(self._directory.glob("*.for")):
            leaf = _described(note)
            if leaf is None or spare in leaf.groups:
                continue
            if all_of_them or not self._is_good(leaf):
                due.append(leaf)
        if due:
            certificate, key = self._authority()
            for leaf in due:
                self._issue(leaf, certificate, key)
        return [leaf.file for leaf in due]

    def rotate_authority(self) -> list[str]:
        """A new authority beside the old one, and all leaves anew from it; which ones. It can be interrupted and done again."""
        old, old_key = self._authority()
        key, new = self._new_authority()
        cross = self._cross(new, old, old_key)
        new_file, new_key = self._directory / "ca-next.crt", self._directory / "ca-next.key"
        _write_certificates(new_file, new, old)
        _write_certificates(self._directory / CROSS, cross)
        _write_key(new_key, key)
        new_key.replace(self.key("ca"))
        new_file.replace(self.certificate_file)
        self._loaded = None
        return self.renew(all_of_them=True)

    def _cross(self, new: x509.Certificate, old: x509.Certificate, old_key: Any) -> x509.Certificate:
        """The new authority as the old one certifies it."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        builder = (
            x509.CertificateBuilder()
            .subject_name(new.subject)
            .issuer_name(old.subject)
            .public_key(new.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(new.not_valid_before_utc)
            .not_valid_after(min(old.not_valid_after_utc, new.not_valid_after_utc))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(old_key.public_key()), critical=False
            )
        )
        for extension in new.extensions:
            builder = builder.add_extension(extension.value, critical=extension.critical)
        return builder.sign(old_key, hashes.SHA256())

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

            key: Any = serialization.load_pem_private_key(self.key("ca").read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            unfinished = self._directory / "ca-next.crt"
            if certificate.public_key() != key.public_key() and unfinished.exists():
                # A rotation was interrupted between its two last steps.
                unfinished.replace(self.certificate_file)
                certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            if certificate.public_key() != key.public_key():
                raise ValueError("ca.key is not the key of ca.crt")
            self._loaded = (certificate, key)
        return self._loaded

    def _make_authority(self) -> None:
        key, certificate = self._new_authority()
        _write_key(self.key("ca"), key)
        _write_certificates(self.certificate_file, certificate)

    def _new_authority(self) -> tuple[Any, x509.Certificate]:
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
        return key, certificate

    def _issue(self, leaf: Leaf, authority: x509.Certificate, authority_key: Any) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        purposes = [] if leaf.only_server else [ExtendedKeyUsageOID.CLIENT_AUTH]
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
        note = self._directory / f"{leaf.file}.for"
        note.unlink(
            missing_ok=True
        )  # of two that do not belong together nobody shall think that they are good
        _write_key(self.key(leaf.file), key)
        _write_certificates(self.certificate(leaf.file), certificate, *self._crossed(authority))
        until = (self._now + timedelta(days=LEAF_DAYS)).isoformat()
        note.write_text(f"{_description(leaf)}\n{until}\n")

    def _crossed(self, authority: x509.Certificate) -> list[x509.Certificate]:
        """What leaves bring along: the authority as the one before it certified it, for as long as that is good."""
        from cryptography import x509

        try:
            cross = x509.load_pem_x509_certificate((self._directory / CROSS).read_bytes())
        except OSError:
            return []
        is_of_it = cross.public_key() == authority.public_key()
        return [cross] if is_of_it and cross.not_valid_after_utc > self._now else []

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
    kind = (_ONLY_SERVER,) if leaf.only_server else ()
    return "|".join((leaf.user, ",".join(leaf.groups), ",".join(leaf.names), *kind))


def _described(note: Path) -> Leaf | None:
    """The leaf that a note is about; None when it cannot be read."""
    try:
        user, groups, names, *kind = note.read_text().split("\n")[0].split("|")
    except (OSError, ValueError):
        return None
    return Leaf(
        note.stem,
        user,
        tuple(filter(None, groups.split(","))),
        tuple(filter(None, names.split(","))),
        only_server=_ONLY_SERVER in kind,
    )


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
    _replace(path, data, 0o600)


def _write_certificates(path: Path, *certificates: x509.Certificate) -> None:
    from cryptography.hazmat.primitives import serialization

    _replace(path, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates), 0o644)


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Whoever reads it meanwhile reads all of the old or all of the new."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
