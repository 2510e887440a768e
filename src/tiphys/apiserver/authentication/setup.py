"""From settings and the files that they name to the ways in. What is wrong with a file is said at the start, with its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.apiserver.authentication.bootstrap_tokens import BootstrapTokens
from tiphys.apiserver.authentication.chain import TokenReaders
from tiphys.apiserver.authentication.jose import BadKey, SigningKey, public_keys
from tiphys.apiserver.authentication.oidc.configuration import Configuration
from tiphys.apiserver.authentication.request_header import RequestHeaders
from tiphys.apiserver.authentication.service_account_tokens import LAST_USED, ServiceAccountTokens
from tiphys.apiserver.authentication.static_tokens import BadTokenFile, StaticTokens, read_token_file
from tiphys.apiserver.authentication.token_webhook import TokenWebhook
from tiphys.apiserver.authentication.tokens import TokenReader
from tiphys.apiserver.service_accounts import Signer
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, KubeconfigWebhook
from tiphys.machinery.errors import StatusError

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

Object = dict[str, Any]


def signer(settings: Settings) -> Signer:
    """Raises ConfigurationError for a key file that is no such thing."""
    key = settings.signing_key_pem  # our own was made well, and need not be read yet
    if settings.service_account_signing_key_file:
        path = settings.service_account_signing_key_file
        key = _read("service-account-signing-key-file", path, SigningKey)
    publics = [
        _read("service-account-key-file", path, public_keys) for path in settings.service_account_key_files
    ]
    return Signer(key, settings.issuers, settings.api_audiences, public_key_pems=publics)


def _read(flag: str, path: str, check: Callable[[bytes], object]) -> bytes:
    try:
        pem = Path(path).read_bytes()
        check(pem)
    except OSError as error:
        raise ConfigurationError(f"--{flag}: {path}: {error.strerror}") from None
    except BadKey as error:
        raise ConfigurationError(f"--{flag}: {path}: {error}") from None
    return pem


def token_readers(server: APIServer, settings: Settings) -> TokenReaders:
    """In upstream's order. Raises ConfigurationError."""
    readers: list[TokenReader] = []
    if settings.token_auth_file:
        try:
            readers.append(StaticTokens(read_token_file(Path(settings.token_auth_file))))
        except BadTokenFile as error:
            raise ConfigurationError(f"--token-auth-file: {error}") from None
    readers.append(
        ServiceAccountTokens(server.signer, server.writes.cache, server.clock.now, _note_use(server))
    )
    readers.append(server.id_tokens)
    if settings.bootstrap_tokens:
        readers.append(BootstrapTokens(lambda: server.writes.cache("", "secrets"), server.clock.now))
    if settings.authentication_token_webhook_config_file:
        readers.append(_token_webhook(server, settings))
    return TokenReaders(readers, server.signer.audiences)


def _token_webhook(server: APIServer, settings: Settings) -> TokenReader:
    version = settings.authentication_token_webhook_version
    if version not in ("v1", "v1beta1"):
        raise ConfigurationError(
            f'--authentication-token-webhook-version: unsupported webhook authenticator version "{version}", '
            'supported versions are "v1", "v1beta1"'
        )
    try:
        ask = KubeconfigWebhook(
            Path(settings.authentication_token_webhook_config_file), server.service_dialer
        )
    except KubeconfigError as error:
        raise ConfigurationError(f"--authentication-token-webhook-config-file: {error}") from None
    server.closed_last.append(ask.close)
    return TokenWebhook(
        ask,
        version=version,
        kept_seconds=settings.authentication_token_webhook_kept_seconds,
        monotonic=server.clock.monotonic,
    )


def _note_use(server: APIServer) -> Callable[[str, str, str], None]:
    """Labels a secret with the day on which the token in it was last used."""

    async def label(namespace: str, name: str, date: str) -> None:
        row = server.scheme.by_resource("", "v1", "secrets")
        assert row is not None

        def change(secret: Object) -> Object:
            metadata = secret["metadata"]
            return {
                **secret,
                "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), LAST_USED: date}},
            }

        with suppress(StatusError):  # somebody else wrote it, or removed it: the next use tries again
            await server.writes.update(server.internal_call(row, namespace, name), change)

    return lambda namespace, name, date: server.spawn(label(namespace, name, date))


def anonymous_paths(settings: Settings, configured: Configuration) -> frozenset[str] | None:
    """Where those without credentials are let in; None: everywhere."""
    if configured.says_anonymous:
        return configured.anonymous_paths
    return None if settings.anonymous_auth else frozenset()


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
    except OSError as error:
        raise ConfigurationError(f"--requestheader-client-ca-file: {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(
            f"--requestheader-client-ca-file: {path}: data does not contain any valid certificates"
        ) from None
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
