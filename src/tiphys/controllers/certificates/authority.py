"""The authority that signs requests, by upstream's "permissive" policy: names are the request's, usages the object's, and all
other extensions are left out (`pkg/controller/certificates/authority`)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Purposes
from cryptography.x509.oid import ObjectIdentifier

from tiphys.controllers.certificates.requests import alternative_names
from tiphys.machinery.frozen import frozen

BACKDATE = timedelta(minutes=5)
_SHORT = timedelta(hours=8)
"""Of a shorter life the backdating is not taken away."""
_SHORTEST = timedelta(minutes=10)
_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_PURPOSES = {
    "any": Purposes.ANY_EXTENDED_KEY_USAGE,
    "server auth": Purposes.SERVER_AUTH,
    "client auth": Purposes.CLIENT_AUTH,
    "code signing": Purposes.CODE_SIGNING,
    "email protection": Purposes.EMAIL_PROTECTION,
    "s/mime": Purposes.EMAIL_PROTECTION,
    "ipsec end system": ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": Purposes.TIME_STAMPING,
    "ocsp signing": Purposes.OCSP_SIGNING,
    "microsoft sgc": ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": ObjectIdentifier("2.16.840.1.113730.4.1"),
}
"""In the order in which a certificate lists them."""


class CannotSign(Exception):
    """Why, in a line."""


@frozen
class SigningAuthority:
    """The files are read at each signature, which is rare: a rotated authority signs from then on."""

    certificate_file: Path
    key_file: Path
    longest: timedelta
    serial: Callable[[], int] = x509.random_serial_number

    def life(self, seconds: int | None) -> timedelta:
        """How long a certificate shall live for which so many seconds are asked."""
        if seconds is None:
            return self.longest
        return max(_SHORTEST, min(self.longest, timedelta(seconds=seconds)))

    def sign(
        self, request: x509.CertificateSigningRequest, usages: Collection[str], life: timedelta, now: datetime
    ) -> bytes:
        """PEM. Raises CannotSign."""
        if not request.is_signature_valid:
            raise CannotSign("unable to verify certificate request signature")
        try:
            issuer = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
            key = serialization.load_pem_private_key(self.key_file.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise CannotSign(f"cannot use the authority in {self.certificate_file}: {error}") from None
        last = issuer.not_valid_after_utc
        if last <= now:
            raise CannotSign(f"refusing to sign a certificate that expired in the past: NotAfter={last}")
        until = now + life - (timedelta() if life < _SHORT else BACKDATE)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(issuer.subject)
            .public_key(request.public_key())
            .serial_number(self.serial())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(until, last))
        )
        for extension, critical in _extensions(request, usages, issuer):
            builder = builder.add_extension(extension, critical=critical)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise CannotSign(f"cannot sign with the key in {self.key_file}")
        algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def _extensions(
    request: x509.CertificateSigningRequest, usages: Collection[str], issuer: x509.Certificate
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    used = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
    if used:
        if not used & {"key_agreement"}:
            used -= {"encipher_only", "decipher_only"}
        found.append((x509.KeyUsage(**{name: name in used for name in _KEY_USAGES.values()}), True))
    purposes = dict.fromkeys(purpose for usage, purpose in _PURPOSES.items() if usage in usages)
    if purposes:
        found.append((x509.ExtendedKeyUsage(purposes), False))
    found.append((x509.BasicConstraints(ca=False, path_length=None), True))
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        found.append((x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False))
    except x509.ExtensionNotFound:
        pass
    names = alternative_names(request)
    if names:
        found.append((x509.SubjectAlternativeName(names), not list(request.subject)))
    return found
