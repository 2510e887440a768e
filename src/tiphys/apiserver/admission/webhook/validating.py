"""ValidatingAdmissionWebhook: all webhooks at once; one that refuses is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.configuration import Configuration
from tiphys.apiserver.admission.matching import Match
from tiphys.apiserver.admission.webhook.calling import VALIDATING, Asking
from tiphys.apiserver.admission.webhook.hooks import Hook, Hooks
from tiphys.apiserver.webhooks.credentials import read_credentials

_FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io/round_0_index_"


class ValidatingAdmissionWebhook:
    name = "ValidatingAdmissionWebhook"

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._hooks = Hooks("validatingwebhookconfigurations", read_credentials(configuration))

    def follow(self, changed: Callable[[], None]) -> None:
        self._hooks.changed = changed

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return bool(self._hooks.matching(attributes))

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        candidates = self._hooks.candidates(attributes)
        return _ask_all(attributes, candidates) if candidates else None


async def _ask_all(attributes: Attributes, candidates: tuple[Hook, ...]) -> None:
    asking = Asking(attributes, VALIDATING)
    called: list[tuple[Hook, Match]] = []
    for hook in candidates:
        match = await asking.match(hook)
        if match is not None:
            await asking.old(match)
            called.append((hook, match))
    if not called:
        return
    clock, call = attributes.call.server.clock, attributes.call
    began = clock.monotonic()
    try:
        if len(called) == 1:
            await _ask(asking, 0, *called[0])
            return
        asked = [_ask(asking, index, hook, match) for index, (hook, match) in enumerate(called)]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
    finally:
        call.excused_seconds += clock.monotonic() - began


async def _ask(asking: Asking, index: int, hook: Hook, match: Match) -> None:
    """Raises StatusError when the request is refused."""
    verdict = await asking.ask(hook, match, await asking.object(match))
    if verdict is None:
        asking.attributes.call.annotate(f"{_FAILED_OPEN}{index}", hook.name)
