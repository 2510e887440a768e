"""The webhooks of all configurations of a kind, in the order in which they are called."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.matching import Criteria, configures_admission
from tiphys.apiserver.admission.webhook.conditions import Conditions
from tiphys.apiserver.webhooks.client import Caller, Webhooks
from tiphys.apiserver.webhooks.credentials import Credentials
from tiphys.machinery.frozen import frozen

GROUP = "admissionregistration.k8s.io"
DEFAULT_TIMEOUT_SECONDS = 10
SERVER_USER = "system:apiserver"
_WITHOUT_EFFECTS = ("None", "NoneOnDryRun")


@frozen
class Hook:
    """One webhook, read once."""

    position: int
    """Among all webhooks of its kind."""
    configuration: str
    name: str
    criteria: Criteria
    conditions: Conditions | None
    call: Caller
    review_versions: tuple[str, ...]
    timeout_seconds: float
    ignores_failure: bool
    takes_dry_runs: bool
    may_be_called_again: bool


def read_hooks(configurations: Sequence[Object], clients: Webhooks, credentials: Credentials) -> list[Hook]:
    """The webhooks of configurations that are in the order of their names."""
    found: list[Hook] = []
    for configuration in configurations:
        for webhook in configuration.get("webhooks") or ():
            name = configuration["metadata"]["name"]
            found.append(
                _read(len(found), name, webhook, clients.caller(webhook["clientConfig"], credentials))
            )
    return found


def _read(position: int, configuration: str, webhook: Object, call: Caller) -> Hook:
    ignores = webhook.get("failurePolicy") == "Ignore"
    conditions = webhook.get("matchConditions")
    return Hook(
        position=position,
        configuration=configuration,
        name=webhook["name"],
        criteria=Criteria(webhook, webhook.get("rules") or (), needs_rules=True),
        conditions=Conditions(conditions, ignores_failure=ignores) if conditions else None,
        call=call,
        review_versions=tuple(webhook["admissionReviewVersions"]),
        timeout_seconds=webhook.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS,
        ignores_failure=ignores,
        takes_dry_runs=webhook.get("sideEffects") in _WITHOUT_EFFECTS,
        may_be_called_again=webhook.get("reinvocationPolicy") == "IfNeeded",
    )


class Hooks:
    """Follows the configurations in the watch cache, which tells of a change before its writer is answered: a webhook is
    called from the very next request on. What may be called for a kind of request is found once, so that a write
    for which there is no webhook costs one look into a dictionary.
    """

    namespace = ""

    def __init__(self, plural: str, credentials: Credentials) -> None:
        self._plural = plural
        self._credentials = credentials
        self._cache: object = None
        self._hooks: list[Hook] | None = None
        self.changed: Callable[[], None] = lambda: None
        """Who wants to know that other webhooks may be called now."""
        self._revision = -1
        self._found: dict[tuple[str, ...], tuple[Hook, ...]] = {}

    def deliver(self, event: object) -> None:
        """A configuration has changed."""
        self._hooks = None
        self.changed()

    def candidates(self, attributes: Attributes) -> tuple[Hook, ...]:
        """Those that are to be asked, if their selectors say so, in order."""
        found = self.matching(attributes)
        return () if found and _begins(attributes) else found

    def matching(self, attributes: Attributes) -> tuple[Hook, ...]:
        """Those whose rules a request may meet, in order."""
        hooks = self._hooks
        if hooks is None:
            hooks = self._read(attributes)
        if not hooks:
            return ()
        revision = attributes.call.server.scheme.revision
        if revision != self._revision:
            self._found.clear()
            self._revision = revision
        row = attributes.row
        key = (row.group, row.version, row.plural, attributes.subresource, attributes.operation)
        found = self._found.get(key)
        if found is None:
            exempt = configures_admission(row)
            found = tuple(hook for hook in hooks if not exempt and hook.criteria.could_match(attributes))
            self._found[key] = found
        return found

    def _read(self, attributes: Attributes) -> list[Hook]:
        cache = attributes.objects.cache(GROUP, self._plural)
        if cache is not self._cache:
            self._cache = cache
            cache.watch(self)
        records, _ = cache.page()
        self._found.clear()
        clients = attributes.call.server.webhooks
        self._hooks = read_hooks([record.object for record in records], clients, self._credentials)
        return self._hooks


def _begins(attributes: Attributes) -> bool:
    """Whether the server writes what it needs before it serves anybody: a webhook in the cluster cannot be there yet, and one that
    is lost would keep the server from ever starting again. (Upstream's server starts and tries these writes until they succeed.)
    """
    return not attributes.call.server.bootstrapped and attributes.user.name == SERVER_USER
