"""The authorizers by the names of `--authorization-mode`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tiphys.apiserver.authorization.chain import Authorizers
from tiphys.apiserver.authorization.configuration import Entry, read
from tiphys.apiserver.authorization.default_roles import defaults
from tiphys.apiserver.authorization.interface import (
    ALLOWED,
    Authorizer,
    Decision,
    Lookup,
    Rules,
    Verdict,
)
from tiphys.apiserver.authorization.node import NodeAuthorizer
from tiphys.apiserver.authorization.rbac import RBAC
from tiphys.apiserver.authorization.rules import EVERYTHING
from tiphys.apiserver.authorization.webhook import WebhookAuthorizer, WebhookSettings
from tiphys.apiserver.call import User
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.service_dialer import ServiceDialer
from tiphys.apiserver.settings import ConfigurationError, Settings
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, KubeconfigWebhook
from tiphys.machinery import yaml
from tiphys.machinery.yaml_lines import placed

if TYPE_CHECKING:
    from tiphys.apiserver.server import APIServer

log = logging.getLogger("tiphys.apiserver")

_LOOK_SECONDS = 5.0


class AlwaysAllow:
    def authorize(self, user: User, info: RequestInfo) -> Decision:
        return ALLOWED

    def rules(self, user: User, namespace: str) -> Rules:
        return Rules(EVERYTHING)


class AlwaysDeny:
    def authorize(self, user: User, info: RequestInfo) -> Decision:
        return Decision(Verdict.NO_OPINION, "Everything is forbidden.")

    def rules(self, user: User, namespace: str) -> Rules:
        return Rules()


class Modes:
    """The authorizers as the server's settings, or its file, have them. `close` ends the webhooks' connections."""

    def __init__(
        self, lookup: Lookup, rbac: RBAC, dialer: ServiceDialer, monotonic: Callable[[], float]
    ) -> None:
        self._lookup = lookup
        self._rbac = rbac
        self._dialer = dialer
        self._monotonic = monotonic
        self._webhooks: list[KubeconfigWebhook] = []

    def make(self, entries: Sequence[Entry]) -> Authorizers:
        """Raises ConfigurationError; then everything is as it was."""
        webhooks: list[KubeconfigWebhook] = []
        made = Authorizers([self._one(entry, webhooks) for entry in entries])
        self._webhooks += webhooks  # questions on their way still need the older ones
        return made

    def _one(self, entry: Entry, webhooks: list[KubeconfigWebhook]) -> Authorizer:
        if entry.type == "Node":
            return NodeAuthorizer(self._lookup, lambda: defaults().rules_of("system:node"))
        if entry.type == "RBAC":
            return self._rbac
        if entry.type == "Webhook":
            try:
                webhooks.append(KubeconfigWebhook(Path(entry.kubeconfig), self._dialer))
            except KubeconfigError as error:
                raise ConfigurationError(f"authorizer {entry.name}: {error}") from None
            return WebhookAuthorizer(webhooks[-1], entry.webhook, self._monotonic)
        return AlwaysAllow() if entry.type == "AlwaysAllow" else AlwaysDeny()

    async def close(self) -> None:
        for webhook in self._webhooks:
            await webhook.close()


def entries(settings: Settings) -> tuple[Entry, ...]:
    """What the flags or the file say. Raises ConfigurationError."""
    if settings.authorization_config:
        if settings.authorization_webhook_config_file:
            raise ConfigurationError(
                "--authorization-config can not be specified when --authorization-webhook-config-file is"
            )
        return read_file(Path(settings.authorization_config))
    if "Webhook" in settings.authorization_mode and not settings.authorization_webhook_config_file:
        raise ConfigurationError(
            "authorization-mode Webhook's authorization config file not passed: --authorization-webhook-config-file"
        )
    webhook = WebhookSettings(
        authorized_seconds=settings.authorization_webhook_authorized_seconds,
        unauthorized_seconds=settings.authorization_webhook_unauthorized_seconds,
        version=settings.authorization_webhook_version,
    )
    file = settings.authorization_webhook_config_file
    return tuple(Entry(mode, mode.lower(), webhook, file) for mode in settings.authorization_mode)


def read_file(path: Path) -> tuple[Entry, ...]:
    """Raises ConfigurationError."""
    try:
        text = path.read_bytes()
        document = yaml.load(text)
    except OSError as error:
        raise ConfigurationError(f"--authorization-config: {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--authorization-config: {path}: {' '.join(str(error).split())}") from None
    found, problems = read(document)
    if problems:
        problems = [placed(text, problem) for problem in problems]
        listed = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise ConfigurationError(f"--authorization-config: {path}: {' '.join(listed.split())}")
    return found


async def follow(server: APIServer) -> None:
    """Looks at the file again and again. One that cannot be used changes nothing, and is said in the log."""
    path = Path(server.settings.authorization_config)
    before = path.read_bytes()
    server.authorization_reloads.in_use(before)
    while True:
        await server.clock.sleep(_LOOK_SECONDS)
        try:
            text = path.read_bytes()
            if text == before:
                continue
            before = text
            server.authorizer = server.authorization_modes.make(read_file(path))
        except (OSError, ConfigurationError) as error:
            log.error("the authorization configuration stays as it was: %s", error)
            server.authorization_reloads.failed(server.clock.now())
            continue
        server.authorization_reloads.succeeded(text, server.clock.now())
        log.info("the authorization configuration was read again")
