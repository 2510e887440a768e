"""From settings and their files to the issuers whose tokens are read; `follow` takes a changed file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.apiserver.authentication.oidc.authenticator import IDTokens
from tiphys.apiserver.authentication.oidc.configuration import Configuration, read
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.machinery import yaml
from tiphys.machinery.yaml_lines import placed

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

_LOOK_SECONDS = 5.0
_FLAG = "--authentication-config"


def configuration(settings: Settings) -> Configuration:
    """Raises ConfigurationError."""
    if settings.authentication_config:
        if settings.oidc_issuer_url or settings.oidc_client_id:
            raise ConfigurationError("authentication-config file and oidc-* flags are mutually exclusive")
        path = Path(settings.authentication_config)
        return _read_file(path, _bytes_of(path), settings)
    if not settings.oidc_issuer_url and not settings.oidc_client_id:
        return Configuration()
    if not settings.oidc_issuer_url or not settings.oidc_client_id:
        raise ConfigurationError(
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
        )
    return _of_flags(settings)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{_FLAG}: {path}: {error.strerror}") from None


def _read_file(path: Path, text: bytes, settings: Settings) -> Configuration:
    try:
        document = yaml.load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_FLAG}: {path}: {' '.join(str(error).split())}") from None
    found, problems = read(document, settings.issuers)
    if found.says_anonymous and not settings.anonymous_auth:
        problems.append(
            "--anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"
        )
    if problems:
        problems = [placed(text, problem) for problem in problems]
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise ConfigurationError(f"{_FLAG}: {path}: {' '.join(listed.split())}")
    return found


def _of_flags(settings: Settings) -> Configuration:
    """The same as a file would say; a prefix that is not given is upstream's: the issuer, for all claims but email."""
    claim, prefix = settings.oidc_username_claim, settings.oidc_username_prefix
    if not prefix and claim != "email":
        prefix = f"{settings.oidc_issuer_url}#"
    mappings: dict[str, Any] = {"username": {"claim": claim, "prefix": "" if prefix == "-" else prefix}}
    if settings.oidc_groups_claim:
        mappings["groups"] = {"claim": settings.oidc_groups_claim, "prefix": settings.oidc_groups_prefix}
    issuer = {"url": settings.oidc_issuer_url, "audiences": [settings.oidc_client_id]}
    if settings.oidc_ca_file:
        try:
            issuer["certificateAuthority"] = Path(settings.oidc_ca_file).read_text()
        except OSError as error:
            raise ConfigurationError(f"--oidc-ca-file: {settings.oidc_ca_file}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"--oidc-ca-file: {settings.oidc_ca_file}: {error}") from None
    rules = [{"claim": name, "requiredValue": value} for name, value in settings.oidc_required_claims]
    entry = {"issuer": issuer, "claimMappings": mappings, "claimValidationRules": rules}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [entry],
    }
    from dataclasses import replace

    from tiphys.apiserver.authentication.jose import ALGORITHMS

    unknown = [name for name in settings.oidc_signing_algs if name not in ALGORITHMS]
    if unknown:
        raise ConfigurationError(f"--oidc-signing-algs: oidc: unsupported signing alg: {unknown[0]}")
    found, problems = read(document, settings.issuers)
    if problems:
        raise ConfigurationError(f"--oidc-issuer-url: {problems[0]}")
    issuers = tuple(replace(each, algorithms=settings.oidc_signing_algs) for each in found.issuers)
    return replace(found, issuers=issuers)


def id_tokens(server: APIServer, configured: Configuration) -> IDTokens:
    """The reader of their tokens."""
    reader = IDTokens(server.service_dialer, server.clock.now, server.clock.monotonic)
    reader.replace(configured.issuers)
    return reader


async def follow(server: APIServer) -> None:
    """Looks at the file again and again. One that cannot be used changes nothing, and is said in the log."""
    settings = server.settings
    path = Path(settings.authentication_config)
    before: bytes | None = path.read_bytes()
    server.authentication_reloads.in_use(before or b"")
    while True:
        await server.clock.sleep(_LOOK_SECONDS)
        try:
            text = _bytes_of(path)
            if text == before:
                continue
            before = text
            found = _read_file(path, text, settings)
        except ConfigurationError as error:
            if before is not None:
                log.error("the authentication configuration stays as it was: %s", error)
            server.authentication_reloads.failed(server.clock.now())
            continue
        server.id_tokens.replace(found.issuers)
        server.authentication_reloads.succeeded(text, server.clock.now())
        log.info("the authentication configuration was read again")
