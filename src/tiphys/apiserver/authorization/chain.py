"""The authorizers of a server as one, and the step of the pipeline that asks it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace

from tiphys.apiserver.authorization.interface import ALLOWED, Authorizer, Decision, Rules, Verdict
from tiphys.apiserver.call import Call, User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery import errors
from tiphys.machinery.gvk import GroupResource

MASTERS = "system:masters"


class Authorizers:
    """Asks one after the other until somebody decides. No task is made unless somebody must ask elsewhere."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self._authorizers = tuple(authorizers)

    def authorize(self, user: User, info: RequestInfo) -> Decision | Awaitable[Decision]:
        if MASTERS in user.groups:
            return ALLOWED
        reasons: list[str] = []
        for position, authorizer in enumerate(self._authorizers):
            decision = authorizer.authorize(user, info)
            if not isinstance(decision, Decision):
                return self._later(decision, user, info, position + 1, reasons)
            if decision.verdict is not Verdict.NO_OPINION:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return _nobody(reasons)

    async def _later(
        self,
        waiting: Awaitable[Decision],
        user: User,
        info: RequestInfo,
        position: int,
        reasons: list[str],
    ) -> Decision:
        decision = await waiting
        for authorizer in (*self._authorizers[position:], None):
            if decision.verdict is not Verdict.NO_OPINION:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
            if authorizer is not None:
                answer = authorizer.authorize(user, info)
                decision = answer if isinstance(answer, Decision) else await answer
        return _nobody(reasons)

    def rules(self, user: User, namespace: str) -> Rules:
        """What all of them together would allow."""
        found = [authorizer.rules(user, namespace) for authorizer in self._authorizers]
        errors_found = [each.error for each in found if each.error]
        text = (
            errors_found[0]
            if len(errors_found) == 1
            else f"[{', '.join(errors_found)}]"
            if errors_found
            else ""
        )
        return Rules(
            [rule for each in found for rule in each.rules], any(each.incomplete for each in found), text
        )


def _nobody(reasons: Iterable[str]) -> Decision:
    return Decision(Verdict.NO_OPINION, "\n".join(reasons))


def authorize(call: Call) -> Awaitable[None] | None:
    """The step: raises 403 in upstream's words."""
    server = call.server
    now = server.clock.monotonic
    began = now()
    decision = server.authorizer.authorize(call.user, call.info)
    if not isinstance(decision, Decision):
        return _wait(call, decision, began)
    server.authorization_metrics.decided(decision, now() - began)
    if call.audit is not None or decision.verdict is not Verdict.ALLOW:
        _enforce(call, decision)
    return None


async def _wait(call: Call, waiting: Awaitable[Decision], began: float) -> None:
    decision = await waiting
    server = call.server
    server.authorization_metrics.decided(decision, server.clock.monotonic() - began)
    _enforce(call, decision)


async def authorize_create(call: Call) -> None:
    """Raises 403 unless the caller may create, too: of an update, the object that is missing; of a GET that a WebSocket
    begins with, what a POST would begin (exec, attach, portforward)."""
    if call.info.verb == "create":
        return
    info = replace(call.info, verb="create")
    decision = call.server.authorizer.authorize(call.user, info)
    if not isinstance(decision, Decision):
        decision = await decision
    if not decision.allowed:
        raise refusal(call.user, info, decision.reason)


def _enforce(call: Call, decision: Decision) -> None:
    if call.audit is not None:
        call.annotate("authorization.k8s.io/decision", "allow" if decision.allowed else "forbid")
        call.annotate("authorization.k8s.io/reason", decision.reason)
    if not decision.allowed:
        raise refusal(call.user, call.info, decision.reason)


def refusal(user: User, info: RequestInfo, reason: str) -> errors.StatusError:
    """The 403 for what a user may not do."""
    if not info.is_resource:
        return errors.forbidden_path(user.name, info.verb, info.path, reason=reason)
    return errors.forbidden_resource(
        user.name,
        info.verb,
        GroupResource(info.group, info.resource),
        subresource=info.subresource,
        namespace=info.namespace,
        name=info.name,
        reason=reason,
    )
