"""What the plugins of a node give a pod for an image: those are asked whose patterns match, and their answers kept as long as they say.

A plugin may be asked on behalf of the pod's service account: with a token of it, made for the plugin's audience. What comes of that
is for this account's pods only. A plugin that fails gives nothing, and its failure is told in the log: other credentials may do.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tiphys.client.client import Client
from tiphys.client.resources import SERVICEACCOUNTS
from tiphys.kubelet.credentials.plugin import Answer, PluginFailure, Question, ask
from tiphys.kubelet.credentials.settings import TOKEN, Provider, ProviderSettings, TokenAttributes
from tiphys.kubelet.images.keyring import AccountSource, Credential, is_meant, matching
from tiphys.kubelet.images.names import InvalidName, parse
from tiphys.kubelet.metrics import ProviderMetrics
from tiphys.kubelet.runtimes.interface import RegistryAuth
from tiphys.kubelet.spec import Object
from tiphys.kubelet.volumes.request import VolumeFailure
from tiphys.kubelet.volumes.tokens import Tokens
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote

log = logging.getLogger(__name__)

PURGE_SECONDS = 15 * 60.0
_GLOBAL = "global"

Auth = Mapping[str, RegistryAuth]
Ask = Callable[[Provider, Question], Awaitable[Answer]]


@frozen
class _OnBehalf:
    """Of whom a plugin is asked. `key`: whose answers are not another's."""

    key: tuple[object, ...] = ()
    source: AccountSource | None = None
    token: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


class _NotAsked(Exception):
    """Why a plugin is not asked for this pod; empty when that is as it should be."""


class CredentialProviders:
    """Of one node. `tokens` must be told when a pod is gone."""

    def __init__(
        self,
        settings: ProviderSettings,
        client: Client,
        tokens: Tokens,
        clock: Clock,
        metrics: ProviderMetrics,
    ) -> None:
        async def ask_plugin(provider: Provider, question: Question) -> Answer:
            began, has_failed = clock.monotonic(), True
            try:
                answer = await ask(provider, settings.directory, question, clock)
                has_failed = False
            except PluginFailure as failure:
                has_failed = not failure.was_run
                raise
            else:
                return answer
            finally:
                metrics.asked(provider.name, clock.monotonic() - began, has_failed=has_failed)

        metrics.configured(settings.digest)
        accounts = _Accounts(client, tokens)
        self._plugins = [_Plugin(each, ask_plugin, accounts, clock) for each in settings.providers]

    async def credentials(self, pod: Object, image: str) -> tuple[Credential, ...]:
        try:
            repository = parse(image).repository
        except InvalidName:
            return ()
        found = []
        for plugin in self._plugins:
            found += await plugin.provide(pod, repository)
        return matching(image, found)


class _Accounts:
    """On behalf of whom a plugin is asked that wants to know."""

    def __init__(self, client: Client, tokens: Tokens) -> None:
        self._client = client
        self._tokens = tokens

    async def find(self, pod: Object, wanted: TokenAttributes) -> _OnBehalf:
        """Raises _NotAsked."""
        name, namespace = pod["spec"].get("serviceAccountName") or "", meta.namespace(pod)
        if not name:
            if wanted.is_account_required:
                raise _NotAsked
            return _OnBehalf()
        try:
            account = await self._client.get(SERVICEACCOUNTS, name, namespace)
        except (StatusError, OSError, TimeoutError) as error:
            raise _NotAsked(f"Failed to get service account {namespace}/{name}: {error}") from None
        has = account["metadata"].get("annotations") or {}
        if any(key not in has for key in wanted.required_annotations):
            # So a workload may say that it does not want this plugin.
            raise _NotAsked
        keys = (*wanted.required_annotations, *wanted.optional_annotations)
        annotations = {key: has[key] for key in keys if key in has}
        try:
            token = (await self._tokens.get(pod, {"audience": wanted.audience})).text
        except VolumeFailure as failure:
            told = f"Error getting service account token {namespace}/{name}: {failure}"
            raise _NotAsked(told) from None
        source = AccountSource(meta.uid(account), namespace, name)
        key: tuple[object, ...] = (source, *sorted(annotations.items()))
        if wanted.cache_type == TOKEN:
            key = (*key, meta.uid(pod), hashlib.sha256(token.encode()).hexdigest())
        return _OnBehalf(key, source, token, annotations)


@frozen
class _Kept:
    auth: Auth
    until: float


@dataclass(slots=True)
class _Plugin:
    provider: Provider
    ask: Ask
    accounts: _Accounts
    clock: Clock
    _kept: dict[tuple[str, tuple[object, ...]], _Kept] = field(default_factory=dict)
    _running: dict[tuple[object, ...], asyncio.Task[Answer]] = field(default_factory=dict)
    _purged_at: float = 0.0

    async def provide(self, pod: Object, repository: str) -> list[tuple[str, Credential]]:
        """Server → credential, as the plugin says; nothing when it fails."""
        provider = self.provider
        if not any(is_meant(pattern, repository) for pattern in provider.match_images):
            return []
        try:
            behalf = await self.accounts.find(pod, provider.token) if provider.token else _OnBehalf()
            auth = self._found(repository, behalf)
            if auth is None:
                auth = await self._new(repository, behalf)
        except _NotAsked as error:
            if str(error):
                log.error("credential provider %s: %s", provider.name, error)
            return []
        except PluginFailure as failure:
            log.error("Failed getting credential from external registry credential provider: %s", failure)
            return []
        return [(server, Credential(entry, behalf.source)) for server, entry in auth.items()]

    def _found(self, repository: str, behalf: _OnBehalf) -> Auth | None:
        now = self.clock.monotonic()
        if now > self._purged_at + PURGE_SECONDS:
            self._kept = {key: kept for key, kept in self._kept.items() if kept.until >= now}
            self._purged_at = now
        for base in (repository, _registry(repository), _GLOBAL):
            kept = self._kept.get((base, behalf.key))
            if kept is not None and kept.until >= now:
                return kept.auth
        return None

    async def _new(self, repository: str, behalf: _OnBehalf) -> Auth:
        answer = await self._asked_once(Question(repository, behalf.token, behalf.annotations), behalf)
        token = self.provider.token
        is_echo = behalf.token and any(entry.password == behalf.token for entry in answer.auth.values())
        if is_echo and token is not None and token.cache_type != TOKEN:
            told = "Credential provider plugin returned the service account token as the password for image "
            why = "which is not allowed when service account cache type is not set to 'Token'"
            raise PluginFailure(f"{told}{quote(repository)}, {why}")
        seconds = answer.cache_seconds
        if seconds is None:
            seconds = self.provider.default_cache_seconds
        if seconds:
            base = {"Image": repository, "Registry": _registry(repository)}.get(
                answer.cache_key_type, _GLOBAL
            )
            self._kept[base, behalf.key] = _Kept(answer.auth, self.clock.monotonic() + seconds)
        return answer.auth

    async def _asked_once(self, question: Question, behalf: _OnBehalf) -> Answer:
        """Those who ask the same at the same time are told the same."""
        key = (question.image, question.token, behalf.key)
        task = self._running.get(key)
        if task is None:
            work = self.ask(self.provider, question)
            task = self._running[key] = asyncio.ensure_future(work)
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return await asyncio.shield(task)


def _registry(repository: str) -> str:
    return repository.partition("/")[0]
