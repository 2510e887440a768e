"""Asks one webhook about one request, and tells the client, the audit log and the metrics what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tiphys.api.resource import Object
from tiphys.apiserver.admission.attributes import Attributes
from tiphys.apiserver.admission.matching import Match, in_version
from tiphys.apiserver.admission.request import admission_request, namespace_of
from tiphys.apiserver.admission.webhook.hooks import Hook
from tiphys.apiserver.admission.webhook.review import BadAnswer, Verdict, denial, read_answer, review_of
from tiphys.apiserver.registry.metadata import random_uid
from tiphys.apiserver.webhooks.client import WebhookError
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.machinery.quoting import quote

if TYPE_CHECKING:
    from tiphys.apiserver.admission.authorizer import Questions

ADMIT, VALIDATING = "admit", "validating"
_CALLING, _INTERNAL, _NO_ERROR = "calling_webhook_error", "apiserver_internal_error", "no_error"


class Failed(Exception):
    """A webhook that could not be asked. `code` is for the metrics."""

    def __init__(self, name: str, reason: str, code: int) -> None:
        super().__init__(f"failed calling webhook {quote(name)}: {reason}")
        self.code = code


@dataclass(slots=True)
class Asking:
    """All questions to webhooks about one request, in one step. `step`: ADMIT or VALIDATING."""

    attributes: Attributes
    step: str
    _old: dict[GroupVersionKind, Object | None] = field(default_factory=dict)
    _questions: Questions | None = None

    async def match(self, hook: Hook) -> Match | None:
        """As what a webhook sees the request; None: it is not called. Raises 403 when its conditions cannot be evaluated."""
        match = hook.criteria.match(self.attributes)
        if match is None or hook.conditions is None:
            return match
        return match if await self._meets_conditions(hook, match) else None

    async def _meets_conditions(self, hook: Hook, match: Match) -> bool:
        attributes, conditions = self.attributes, hook.conditions
        assert conditions is not None
        server = attributes.call.server
        from tiphys.apiserver.admission.authorizer import Questions  # and CEL

        questions = self._questions = self._questions or Questions(attributes.call)
        request = admission_request(attributes, match)
        bindings = {
            "object": await self.object(match),
            "oldObject": await self.old(match),
            "request": request,
            "namespaceObject": None,
            "authorizer": questions.authorizer,
            "authorizer.requestResource": questions.request_resource(
                attributes.row.group,
                attributes.row.plural,
                attributes.subresource,
                namespace_of(attributes),
                attributes.name,
            ),
        }
        labels = ("webhook", hook.name, attributes.operation, self.step)
        began = server.clock.monotonic()
        outcome = await questions.settle(lambda: conditions.evaluate(bindings))
        server.webhook_metrics.conditions_took(labels, server.clock.monotonic() - began)
        for _ in range(outcome.failed):
            server.webhook_metrics.condition_failed(labels)
        if outcome.error:
            raise attributes.forbidden(outcome.error)
        if not outcome.matches:
            server.webhook_metrics.excluded(labels)
        return outcome.matches

    async def object(self, match: Match) -> Object | None:
        return await in_version(self.attributes, match, self.attributes.object)

    async def old(self, match: Match) -> Object | None:
        if match.kind not in self._old:
            self._old[match.kind] = await in_version(self.attributes, match, self.attributes.old)
        return self._old[match.kind]

    async def ask(self, hook: Hook, match: Match, obj: Object | None) -> Verdict | None:
        """What the webhook decides; None: it failed, and that does not matter. Raises StatusError when the request is refused."""
        server, operation = self.attributes.call.server, self.attributes.operation
        metrics, began = server.webhook_metrics, server.clock.monotonic()
        rejected, code, error_type = True, 0, _INTERNAL
        try:
            verdict = await self._verdict(hook, match, obj)
            if verdict.allowed:
                rejected, code = False, 200
                return verdict
            refusal = denial(hook.name, verdict.status)
            code, error_type = refusal.code, _NO_ERROR
            raise refusal
        except Failed as failure:
            rejected, code, error_type = not hook.ignores_failure, failure.code, _CALLING
            if rejected:
                raise errors.internal_error(str(failure)) from None
            metrics.failed_open(hook.name, self.step)
            return None
        finally:
            seconds = server.clock.monotonic() - began
            metrics.called(hook.name, self.step, operation, seconds, outcome=(rejected, code))
            if rejected:
                metrics.rejected(hook.name, self.step, operation, error_type, code=code)

    async def _verdict(self, hook: Hook, match: Match, obj: Object | None) -> Verdict:
        attributes = self.attributes
        if attributes.dry_run and not hook.takes_dry_runs:
            raise errors.bad_request(f"admission webhook {quote(hook.name)} does not support dry run")
        request = {"uid": random_uid(), **admission_request(attributes, match)}
        request["object"], request["oldObject"] = obj, await self.old(match)
        try:
            review = review_of(hook.review_versions, request)
            answer = await hook.call(review, hook.timeout_seconds)
            verdict = read_answer(review, answer, mutating=self.step == ADMIT)
        except WebhookError as error:
            raise Failed(hook.name, f"failed to call webhook: {error}", 503) from None
        except BadAnswer as error:
            raise Failed(hook.name, str(error), 503) from None
        for key, value in verdict.annotations.items():
            attributes.call.annotate(f"{hook.name}/{key}", value)
        for warning in verdict.warnings:
            attributes.call.warn(warning)
        return verdict


def not_supported(hook: Hook) -> StatusError:
    """What a patch is answered where there is no object that could be changed."""
    return errors.internal_error(
        f"admission webhook {quote(hook.name)} attempted to modify the object, "
        "which is not supported for this operation"
    )
