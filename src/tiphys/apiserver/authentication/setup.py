"""From settings and the files that they name to the ways in. What is wrong with a file is said at the start, with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from tiphys.apiserver.authentication.chain import TokenReader
from tiphys.apiserver.authentication.request_header import RequestHeaders
from tiphys.apiserver.authentication.static_tokens import BadTokenFile, read_token_file
from tiphys.apiserver.settings import ConfigurationError, Settings

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer


def token_readers(server: APIServer, settings: Settings) -> list[TokenReader]:
    """In upstream's order. Raises ConfigurationError."""
    readers: list[TokenReader] = []
    if settings.token_auth_file:
        try:
            readers.append(read_token_file(Path(settings.token_auth_file)).get)
        except BadTokenFile as error:
            raise ConfigurationError(f"--token-auth-file: {error}") from None
    readers.append(server.tokens)
    if settings.bootstrap_tokens:
        readers.append(BootstrapTokens(lambda: server.writes.cache("", "secrets"), server.clock.now))
    return readers


def request_headers(settings: Settings) -> RequestHeaders | None:
    """Raises ConfigurationError."""
    if not settings.requestheader_client_ca_file:
        return None
    return RequestHeaders(
        _signed_by(Path(settings.requestheader_client_ca_file)),
        settings.requestheader_allowed_names,
        settings.requestheader_username_headers,
        settings.requestheader_uid_headers,
        settings.requestheader_group_headers,
        settings.requestheader_extra_headers_prefix,
    )


def _signed_by(path: Path) -> Callable[[bytes], bool]:
    """Whether one of the authorities in a file signed a certificate (DER); remembered, for it is asked at every request."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        authorities = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--requestheader-client-ca-file: {path}: {error}") from None
    known: dict[bytes, bool] = {}

    def signed(certificate: bytes) -> bool:
        if certificate not in known:
            if len(known) > 1024:
                known.clear()
            known[certificate] = any(_issued(certificate, authority) for authority in authorities)
        return known[certificate]

    def _issued(certificate: bytes, authority: x509.Certificate) -> bool:
        try:
            x509.load_der_x509_certificate(certificate).verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    return signed
