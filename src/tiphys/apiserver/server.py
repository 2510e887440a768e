"""The API server: one object that holds what the steps of the pipeline need, made by `cluster/` and ended by it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any
from uuid import uuid4

from tiphys.api.resource import Resource
from tiphys.api.scheme import Scheme
from tiphys.api.types import TYPES
from tiphys.apiserver.access_metrics import AuthenticationMetrics, AuthorizationMetrics
from tiphys.apiserver.admission.chain import Chain
from tiphys.apiserver.admission.configuration import read_configurations
from tiphys.apiserver.admission.pod_security.metrics import PodSecurityMetrics
from tiphys.apiserver.admission.policy.metrics import PolicyMetrics
from tiphys.apiserver.admission.webhook.metrics import WebhookMetrics
from tiphys.apiserver.aggregation.aggregator import Aggregator
from tiphys.apiserver.aggregation.identity import FrontProxy, context_for_probes
from tiphys.apiserver.allocators import Allocators
from tiphys.apiserver.audit.auditor import auditor
from tiphys.apiserver.audit.metrics import AuditMetrics
from tiphys.apiserver.authentication import setup as authentication
from tiphys.apiserver.authentication.oidc import setup as oidc
from tiphys.apiserver.authorization import modes
from tiphys.apiserver.authorization.rbac import RBAC
from tiphys.apiserver.cache import WatchCache
from tiphys.apiserver.cache_metrics import CacheMetrics
from tiphys.apiserver.call import Call, User
from tiphys.apiserver.catalog import Catalog
from tiphys.apiserver.config_reloads import ConfigReloads
from tiphys.apiserver.cors import CrossOrigin
from tiphys.apiserver.customresources.kinds import Kinds
from tiphys.apiserver.customresources.lifecycle import Lifecycle
from tiphys.apiserver.deadlines import Deadlines
from tiphys.apiserver.encryption.setup import encryption
from tiphys.apiserver.fairness.controller import Fairness
from tiphys.apiserver.fairness.metrics import FairnessMetrics
from tiphys.apiserver.fairness.upkeep import Upkeep
from tiphys.apiserver.health import HealthMetrics
from tiphys.apiserver.inflight import Gate, Inflight, InflightLimits
from tiphys.apiserver.ip_addresses import IPAddresses
from tiphys.apiserver.legacy_token_tracking import LegacyTokenTracking
from tiphys.apiserver.object_metrics import AdmissionMetrics, AllocatorMetrics, ObjectMetrics, WatchMetrics
from tiphys.apiserver.openapi.library import Library
from tiphys.apiserver.pipeline import handle, steps_of
from tiphys.apiserver.registry.reads import Reads
from tiphys.apiserver.registry.writes import Writes
from tiphys.apiserver.request_metrics import RequestMetrics
from tiphys.apiserver.responses import failure
from tiphys.apiserver.served_versions import served_scheme
from tiphys.apiserver.service_dialer import Connect, ServiceDialer
from tiphys.apiserver.settings import Settings
from tiphys.apiserver.usage.serving import scraper
from tiphys.apiserver.version import GIT_VERSION
from tiphys.apiserver.webhooks.client import Webhooks
from tiphys.machinery import errors
from tiphys.machinery.clock import Clock, SystemClock
from tiphys.machinery.gvk import parse_api_version
from tiphys.machinery.metrics import ALPHA, BETA, Registry
from tiphys.machinery.names import Random
from tiphys.machinery.protobuf import encode_envelope
from tiphys.net.client import HTTPClient
from tiphys.net.dial import dial
from tiphys.net.http import Request, Response
from tiphys.store.interface import Compacted, Store, StoreError

log = logging.getLogger("tiphys.apiserver")

COMPACTION_SECONDS = 300.0
"""History is kept for at least this long, and at most twice as long (upstream's --etcd-compaction-interval)."""
BODY_LIMIT_BYTES = 3 << 20
INTERNAL = User("system:apiserver", ("system:masters",))
KubeletClient = Callable[[str, str, int], HTTPClient]
"""(node name, host, port) → a client for that node's kubelet."""


class APIServer:
    """Handles Requests over a Store. Must be made on a running event loop; `close` before the store is closed."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        kubelet_client: KubeletClient,
        connect: Connect = dial,
        clock: Clock | None = None,
        names: Random | None = None,
        scheme: Scheme | None = None,
        metrics: Registry | None = None,
    ) -> None:
        self.settings = settings
        self.loop = asyncio.get_running_loop()  # kept: Python 3.11 asks the kernel for it
        self.clock = clock or SystemClock()
        self.scheme = scheme or served_scheme(settings)
        self.metrics = metrics or Registry()
        self.encryption = encryption(settings, store, self.clock, self._reloads_of("encryption", ALPHA))
        if self.encryption is not None:
            store = self.encryption.store
        self.store = store
        self.kubelet_client = kubelet_client
        self.advertised = settings.advertised
        self.front_proxy = settings.front_proxy
        self.cache = WatchCache(store, self.clock)
        # Generated names must differ, not be secret: asking the kernel for each letter costs more than all the rest of a name.
        chosen = names or random.Random(os.urandom(32))
        self.reads = Reads(
            self.cache,
            self.scheme,
            clock=self.clock,
            encode=self.encode,
            metrics=CacheMetrics(self.metrics, self.cache),
            watch_seconds=settings.min_request_timeout_seconds,
        )
        chain = Chain(
            enable=settings.enable_admission_plugins,
            disable=settings.disable_admission_plugins,
            configurations=read_configurations(settings.admission_control_config_file),
        )
        self.writes = Writes(store, self.cache, self.scheme, chain=chain, clock=self.clock, random=chosen)
        if self.encryption is not None:
            self.writes.is_stale = self.encryption.store.is_stale
        self.service_network = IPv4Network(settings.service_cidr)
        self.addresses = IPAddresses(self, self.service_network)
        self.allocators = Allocators(
            lambda: self.writes.cache("", "services"), self.addresses, clock=self.clock, random=chosen
        )
        self._make_doors(settings, connect)
        self.aggregator = Aggregator(self)
        self.catalog = Catalog(self.scheme, self.aggregator)
        self.library = Library(self.scheme, self.aggregator)
        self.webhooks = Webhooks(self.service_dialer)
        self.usage = scraper(self)
        self.token_tracking = LegacyTokenTracking(self)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.kinds = Kinds(self)
        self.component_checks: dict[str, Callable[[], str]] = {}
        self.started = False
        self._compactor: asyncio.Task[None] | None = None
        self._make_outer_steps(settings)

    def _reloads_of(self, file: str, stability: str = BETA) -> ConfigReloads:
        return ConfigReloads(self.metrics, file, self.settings.identity, stability)

    def _make_doors(self, settings: Settings, connect: Connect) -> None:
        """Who is let in, and who may do what."""
        self.closed_last: list[Callable[[], Awaitable[None]]] = []
        """What holds connections of its own."""
        self.signer = authentication.signer(settings)
        self.service_dialer = ServiceDialer(self.writes.cache, connect)
        configured = oidc.configuration(settings)
        self.id_tokens = oidc.id_tokens(self, configured)
        self.token_readers = authentication.token_readers(self, settings)
        self.request_headers = authentication.request_headers(settings)
        """Whose word about users is believed; None: nobody's."""
        self.anonymous_paths = authentication.anonymous_paths(settings, configured)
        """Where those without credentials are let in; None: everywhere, as far as roles allow."""
        self.auditor = auditor(settings, self, AuditMetrics(self.metrics))
        self.rbac = RBAC(self.writes.cache)
        self.authorization_modes = modes.Modes(
            self.writes.cache, self.rbac, self.service_dialer, self.clock.monotonic
        )
        self.authorizer = self.authorization_modes.make(modes.entries(settings))

    def _make_outer_steps(self, settings: Settings) -> None:
        """What every request meets before and after its handler."""
        self.bootstrapped = False
        self.shutting_down = False
        self.began_at = self.clock.now()
        self.request_timeout_seconds = settings.request_timeout_seconds
        self.deadlines = Deadlines(self.clock, settings.request_timeout_seconds)
        origins = settings.cors_allowed_origins
        self.cross_origin = CrossOrigin(origins) if origins else None
        self.slis = Registry()
        self.health_metrics = HealthMetrics(self.slis)
        self.inflights = Inflight(), Inflight()
        self.request_metrics = RequestMetrics(self.metrics, self.inflights)
        self.authentication_metrics = AuthenticationMetrics(self.metrics)
        self.authentication_reloads = self._reloads_of("authentication")
        self.authorization_reloads = self._reloads_of("authorization")
        self.authorization_metrics = AuthorizationMetrics(self.metrics)
        self.watch_metrics = WatchMetrics(self.metrics)
        self.admission_metrics = AdmissionMetrics(self.metrics)
        self.policy_metrics = PolicyMetrics(self.metrics)
        self.webhook_metrics = WebhookMetrics(self.metrics)
        self.pod_security_metrics = PodSecurityMetrics(self.metrics)
        self.object_metrics = ObjectMetrics(self.metrics, self)
        self.allocator_metrics = AllocatorMetrics(self.metrics, self.allocators)
        self._audit_prefix = f"{uuid4()}"[:24]
        self._audit_count = 0
        self.upkeep: Upkeep | None = None
        self.gate: Gate = self._make_gate(settings)
        self.steps = steps_of(self)

    def _make_gate(self, settings: Settings) -> Gate:
        read_only, mutating = settings.max_requests_inflight, settings.max_mutating_requests_inflight
        if not settings.fairness:
            return InflightLimits(self.inflights, read_only=read_only, mutating=mutating)
        self.upkeep = Upkeep(self)
        counted = FairnessMetrics(self.metrics)
        fairness = Fairness(
            self.upkeep, counted, self.inflights, seats=read_only + mutating, clock=self.clock
        )
        self.metrics.before_scrape(fairness.collect)
        self.upkeep.fairness = fairness
        return fairness

    def take_identities(self, client_ca: bytes, front_proxy: FrontProxy | None) -> None:
        """The authority of clients, and how other API servers know this one, have changed. Raises ssl.SSLError for a certificate
        whose key is another one (yet)."""
        context_for_probes(front_proxy)
        self.settings = replace(self.settings, client_ca=client_ca, front_proxy=front_proxy)
        self.front_proxy = front_proxy
        self.aggregator.reconnect()

    def handle(self, request: Request) -> Response | Awaitable[Response]:
        """The Handler that the HTTP server calls, and clients in this process too."""
        call = Call(self, request)
        call.received_at = self.clock.monotonic()
        return handle(call)

    def new_audit_id(self) -> str:
        """A UUID that no other answer has, by which this one is found again in logs: they must differ, not be secret."""
        self._audit_count += 1
        return f"{self._audit_prefix}{self._audit_count:012x}"

    def start(self) -> None:
        """Begins what runs by itself: compaction of history, the life of definitions, what is registered."""
        self._compactor = asyncio.get_running_loop().create_task(self._compact())
        self.spawn(Lifecycle(self, self.kinds).run())
        self.aggregator.start()
        if self.settings.authentication_config:
            self.spawn(oidc.follow(self))
        if self.settings.authorization_config:
            self.spawn(modes.follow(self))
        if self.encryption is not None:
            self.spawn(self.encryption.poll())
            if self.encryption.reload:
                self.spawn(self.encryption.follow())
        if self.upkeep is not None:
            self.upkeep.start()
        self.started = True

    async def _compact(self) -> None:
        """Every five minutes, everything before the state of five minutes ago."""
        before = self.store.revision
        while True:
            await self.clock.sleep(COMPACTION_SECONDS)
            newest = self.store.revision
            try:
                if before:
                    await self.store.compact(before)
            except (Compacted, StoreError) as error:
                log.warning("compaction failed: %s", error)
            before = newest

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs something beside a request; its failure is logged, and `close` ends it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed", exc_info=task.exception())

    def internal_call(self, row: Resource, namespace: str, name: str, *, subresource: str = "") -> Call:
        """A Call of the server's own, for a write that one request makes on another object."""
        call = Call(self, Request("PUT", "/", {"user-agent": f"kube-apiserver/{GIT_VERSION}"}))
        call.user, call.row = INTERNAL, row
        call.info.is_resource = True
        call.info.group, call.info.version, call.info.resource = row.group, row.version, row.plural
        call.info.namespace, call.info.name, call.info.subresource = namespace, name, subresource
        call.subresource = row.subresource(subresource) if subresource else None
        return call

    def crashed(self, request: Request, error: BaseException) -> Response:
        """The answer when a handler failed in a way that nobody foresaw; a store that refuses is foreseen."""
        if isinstance(error, StoreError):
            log.error("%s %s: %s", request.method, request.path, error)
            return failure(None, errors.internal_error(f"the store cannot write: {error}"))
        if isinstance(error, RecursionError):
            return failure(None, errors.bad_request("json: exceeded max depth"))
        log.error("%s %s failed", request.method, request.target, exc_info=error)
        return failure(None, errors.internal_error(error))

    def component_health(self, name: str) -> str:
        check = self.component_checks.get(name)
        return "ok" if check is None else check()

    def encode(self, obj: dict[str, Any]) -> bytes:
        """Any object that is sent, in protobuf. Raises 406 for kinds that have none."""
        row = self._row_of(obj)
        if row is None:
            raise errors.not_acceptable(("application/json", "application/yaml"))
        return encode_envelope(TYPES.struct(row), obj)

    def _row_of(self, obj: dict[str, Any]) -> str | None:
        """The types block of any object that is sent: a kind of the scheme, its list, or one of meta's."""
        version = parse_api_version(obj["apiVersion"])
        found = self.scheme.by_kind(version.with_kind(obj["kind"]))
        if found is not None:
            return found.type or None
        found = self.scheme.by_kind(version.with_kind(obj["kind"].removesuffix("List")))
        if found is not None:
            return f"{found.type}List" if found.type else None
        if obj["kind"] == "Scale":
            return "autoscaling/v1.Scale"
        return f"meta/v1.{obj['kind']}" if version.group in ("", "meta.k8s.io") else None

    async def drain(self) -> None:
        """Says that the server is going: /readyz fails at once, and for a while requests are still taken, until those who
        send them have noticed."""
        self.shutting_down = True
        await self.clock.sleep(self.settings.shutdown_delay_seconds)

    async def close(self) -> None:
        """Ends every watch cleanly and stops what runs by itself."""
        for stream in tuple(self.reads.streams):
            stream.close()
        self.reads.bookmarks.close()
        if self.upkeep is not None:
            self.upkeep.close()
        self.addresses.close()
        self.token_tracking.close()
        self.deadlines.close()
        tasks = [*self._tasks, *([self._compactor] if self._compactor else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.id_tokens.close()
        await self.authorization_modes.close()
        for close in self.closed_last:
            await close()
        await self.aggregator.close()
        await self.webhooks.close()
        await self.writes.chain.close()
        self.kinds.close()
        self.cache.close()
        if self.encryption is not None:
            self.encryption.close()
        if self.auditor is not None:
            await self.auditor.close()
