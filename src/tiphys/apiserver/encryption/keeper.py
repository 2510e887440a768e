"""Who keeps the encryption of a server: reads the file at the start, asks KMS plugins how they are, and reads the file again.

Made with the server, started and ended with it. A file that cannot be used at the start ends the start; one that cannot be used
later leaves everything as it was, and is said in the log and counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tiphys.apiserver.config_reloads import ConfigReloads
from tiphys.apiserver.encryption.configuration import (
    ANY,
    BadConfiguration,
    Entry,
    GroupResource,
    Provider,
    parse,
)
from tiphys.apiserver.encryption.kms import KMS, POLL_AFTER_FAILURE_SECONDS, POLL_SECONDS
from tiphys.apiserver.encryption.kms_wire import Plugin
from tiphys.apiserver.encryption.store import EncryptedStore
from tiphys.apiserver.encryption.transformers import (
    CBC,
    ENCRYPTED,
    GCM,
    Chain,
    Identity,
    Prefixed,
    Random,
    SecretBox,
    Transformer,
)
from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery.clock import Clock

log = logging.getLogger("tiphys.apiserver")

RELOAD_SECONDS = 60.0
_LOCAL: dict[str, tuple[Callable[[bytes, Random], Transformer], str]] = {
    "aesgcm": (GCM, "AES"),
    "aescbc": (CBC, "AES"),
    "secretbox": (SecretBox, "Secretbox"),
}


class Keeper:
    """`store` is what the server shall use. Raises ConfigurationError."""

    def __init__(
        self, path: Path, store: EncryptedStore, clock: Clock, *, reloads: ConfigReloads, reload: bool
    ) -> None:
        self.store = store
        self._path, self._clock, self.reload = path, clock, reload
        self._reloads = reloads
        self._plugins: list[KMS] = []
        self._seen = b""
        self._running = False
        self._content = b""
        self._use(self._read())
        self._reloads.in_use(self._content)
        self._running = True

    def health(self) -> dict[str, Callable[[], str | None]]:
        """The checks by name: one for all plugins when they may change, else one for each."""
        if self.reload:
            return {
                "kms-providers": lambda: (
                    "; ".join(each.problem for each in self._plugins if each.problem) or None
                )
            }
        return {
            f"kms-provider-{number}": lambda plugin=plugin: plugin.problem or None  # type: ignore[misc]
            for number, plugin in enumerate(self._plugins)
        }

    def _read(self) -> list[Entry]:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"--encryption-provider-config: error opening encryption provider configuration file "
                f'"{self._path}": {error.strerror}'
            ) from None
        self._content, self._seen = content, hashlib.sha256(content).digest()
        try:
            if not content:
                raise BadConfiguration(f'encryption provider configuration file "{self._path}" is empty')
            return parse(content.decode())
        except (BadConfiguration, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"--encryption-provider-config: {self._path}: error while parsing file: {error}"
            ) from None

    def _use(self, entries: Sequence[Entry]) -> None:
        plugins: list[KMS] = []
        transformers = make(entries, lambda provider: self._plugin(provider, plugins))
        for plugin in plugins:
            plugin.poll()
        ill = [plugin.problem for plugin in plugins if plugin.problem]
        if ill and self._running:
            # As upstream: what works is not exchanged for what does not.
            for plugin in plugins:
                plugin.close()
            raise ConfigurationError(f"--encryption-provider-config: {'; '.join(ill)}")
        before, self._plugins = self._plugins, plugins
        self.store.use(transformers)
        for plugin in before:
            plugin.close()

    def _plugin(self, provider: Provider, plugins: list[KMS]) -> KMS:
        wire = Plugin(provider.socket_path, provider.timeout_seconds)
        plugins.append(KMS(provider.name, wire, self._clock.now, os.urandom))
        return plugins[-1]

    async def poll(self) -> None:
        """Asks the plugins, for as long as the server runs."""
        while True:
            ill = any(plugin.problem for plugin in self._plugins)
            await self._clock.sleep(POLL_AFTER_FAILURE_SECONDS if ill else POLL_SECONDS)
            await self.ask()

    async def ask(self) -> None:
        for plugin in self._plugins:
            await asyncio.to_thread(plugin.poll)

    async def follow(self) -> None:
        """Reads the file again and again, for as long as the server runs."""
        while True:
            await self._clock.sleep(RELOAD_SECONDS)
            self.look()

    def look(self) -> None:
        before = self._seen
        try:
            entries = self._read()
            if self._seen == before:
                return
            self._use(entries)
        except ConfigurationError as error:
            if self._seen != before:
                self._seen = before  # it is tried again the next time
                log.error("the encryption configuration stays as it was: %s", error)
                self._reloads.failed(self._clock.now())
            return
        log.info("the encryption configuration has been reloaded")
        self._reloads.succeeded(self._content, self._clock.now())

    def close(self) -> None:
        for plugin in self._plugins:
            plugin.close()


def make(
    entries: Sequence[Entry], kms: Callable[[Provider], Transformer]
) -> Mapping[GroupResource, Transformer]:
    """A chain for every resource that is named. What an earlier wildcard covers is left out; a resource named twice has both."""
    links: dict[GroupResource, list[Prefixed]] = {}
    for entry in entries:
        own = [_link(provider, kms) for provider in entry.providers]
        for resource in entry.resources:
            masked = [wide for wide in ((resource[0], "*"), ANY) if wide in links]
            if masked:
                log.warning(
                    "%s in the encryption configuration has no effect: an earlier wildcard covers it",
                    resource,
                )
                continue
            links[resource] = [*links.get(resource, ()), *own]
    return {resource: Chain(found, "no matching prefix found") for resource, found in links.items()}


def _link(provider: Provider, kms: Callable[[Provider], Transformer]) -> Prefixed:
    if provider.kind == "identity":
        return Prefixed(b"", Identity())
    if provider.kind == "kms":
        return Prefixed(ENCRYPTED + f"kms:v2:{provider.name}:".encode(), kms(provider))
    make_transformer, title = _LOCAL[provider.kind]
    keys = [
        Prefixed(f"{key.name}:".encode(), make_transformer(key.secret, os.urandom)) for key in provider.keys
    ]
    unknown = f"no matching key was found for the provided {title} transformer"
    return Prefixed(ENCRYPTED + f"{provider.kind}:v1:".encode(), Chain(keys, unknown))
