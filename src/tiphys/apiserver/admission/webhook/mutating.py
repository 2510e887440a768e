"""MutatingAdmissionWebhook: one webhook after another, each sees what those before it have made of the object.

When one has changed it, the whole chain runs once more, in which those are called again who want that
(`reinvocationPolicy`), if somebody has changed the object after them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import orjson

from tiphys.api.resource import Object
from tiphys.api.types import GROUP_NAMES, schema_named, schema_of
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.configuration import Configuration
from tiphys.apiserver.admission.matching import Match, convert
from tiphys.apiserver.admission.webhook.calling import ADMIT, Asking, Failed, not_supported
from tiphys.apiserver.admission.webhook.hooks import Hook, Hooks
from tiphys.apiserver.admission.webhook.review import JSON_PATCH, Verdict
from tiphys.apiserver.webhooks.credentials import read_credentials
from tiphys.machinery import errors
from tiphys.machinery.patches import apply_json_patch
from tiphys.machinery.patches.errors import PatchError
from tiphys.machinery.quoting import quote
from tiphys.machinery.schema import DecodeError

_MUTATION = "mutation.webhook.admission.k8s.io/"
_PATCH = "patch.webhook.admission.k8s.io/"
_FOLDERS = {group: folder for folder, group in GROUP_NAMES.items()}


@dataclass(slots=True)
class _Rounds:
    """Which webhooks are called again in the second round."""

    waiting: set[int] = field(default_factory=set)
    """Called already; nobody has changed the object since."""
    due: set[int] = field(default_factory=set)
    output: bytes = b""
    """The object as webhooks left it in the first round."""

    def changed(self) -> None:
        self.due |= self.waiting
        self.waiting.clear()


class MutatingAdmissionWebhook:
    name = "MutatingAdmissionWebhook"

    def __init__(self, configuration: Configuration | None = None) -> None:
        self._hooks = Hooks("mutatingwebhookconfigurations", read_credentials(configuration))

    def follow(self, changed: Callable[[], None]) -> None:
        self._hooks.changed = changed

    def concerns(self, kind: str, attributes: Attributes) -> bool:
        return bool(self._hooks.matching(attributes))

    def admit(self, attributes: Attributes) -> Awaitable[None] | None:
        candidates = self._hooks.candidates(attributes)
        return self._ask_all(attributes, candidates) if candidates else None

    async def _ask_all(self, attributes: Attributes, candidates: tuple[Hook, ...]) -> None:
        rounds = attributes.recall(self.name, _Rounds)
        if attributes.again and _bytes(attributes.object) != rounds.output:
            rounds.changed()  # by plugins of the server's own, in their second round
        asking = Asking(attributes, ADMIT)
        clock, call = attributes.call.server.clock, attributes.call
        for hook in candidates:
            match = await asking.match(hook)
            if match is None or (attributes.again and hook.position not in rounds.due):
                continue
            began = clock.monotonic()
            try:
                changed = await _mutate(asking, hook, match)
            finally:
                call.excused_seconds += clock.monotonic() - began
            if changed:
                rounds.changed()
                attributes.changed = attributes.wants_again = True
            if hook.may_be_called_again:
                rounds.waiting.add(hook.position)
        if attributes.wants_again and not attributes.again:
            rounds.output = _bytes(attributes.object)


def _bytes(obj: Object | None) -> bytes:
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


async def _mutate(asking: Asking, hook: Hook, match: Match) -> bool:
    """Asks a webhook and does what it says. Whether that has changed the object. Raises StatusError."""
    attributes = asking.attributes
    place = f"round_{int(attributes.again)}_index_{hook.position}"
    of = {"configuration": hook.configuration, "webhook": hook.name}
    changed = False
    try:
        obj = await asking.object(match)
        verdict = await asking.ask(hook, match, obj)
        if verdict is None:
            attributes.call.annotate(f"failed-open.{_MUTATION}{place}", hook.name)
        elif verdict.patch:
            new = _patched(hook, match, obj, verdict)
            audit = attributes.call.audit
            if audit is not None and audit.wants_request:
                shown = {**of, "patch": verdict.patch, "patchType": JSON_PATCH}
                attributes.call.annotate(f"{_PATCH}{place}", orjson.dumps(shown).decode())
            changed = new != obj
            if changed:
                await _replace(attributes, match, new)
    finally:
        said = {**of, "mutated": changed}
        attributes.call.annotate(f"{_MUTATION}{place}", orjson.dumps(said).decode())
    return changed


def _patched(hook: Hook, match: Match, obj: Object | None, verdict: Verdict) -> Object:
    """The object after a patch, as if a client had sent it: decoded, pruned, with defaults."""
    if obj is None:
        raise not_supported(hook)
    if verdict.patch_type != JSON_PATCH:
        failure = Failed(hook.name, f"unsupported patch type {quote(verdict.patch_type)}", 400)
        raise errors.internal_error(str(failure))
    try:
        patched = apply_json_patch(obj, verdict.patch)
        of_row = match.kind == match.row.gvk
        schema = schema_of(match.row) if of_row else schema_named(_block(match))
        new: Object = schema.check(patched).object
    except (PatchError, DecodeError) as error:
        raise errors.internal_error(str(error)) from None
    new["kind"], new["apiVersion"] = match.kind.kind, match.kind.api_version
    if of_row and match.row.defaults is not None:
        match.row.defaults(new)
    return new


def _block(match: Match) -> str:
    """The types of what is sent below an object: "policy/v1.Eviction"."""
    kind = match.kind
    return f"{_FOLDERS.get(kind.group, kind.group) if kind.group else 'core'}/{kind.version}.{kind.kind}"


async def _replace(attributes: Attributes, match: Match, new: Object) -> None:
    """Puts a changed object in the place of the old one, in the version of the request."""
    assert attributes.object is not None
    if match.kind != attributes.kind and attributes.kind == attributes.row.gvk:
        new = await convert(match.row, attributes.row, new)
    attributes.object.clear()
    attributes.object.update(new)
