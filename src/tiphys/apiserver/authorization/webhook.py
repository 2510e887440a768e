"""Somebody elsewhere decides: a SubjectAccessReview is sent to a URL, and the answer is kept for a while.

https://kubernetes.io/docs/reference/access-authn-authz/webhook/
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from tiphys.apiserver.authorization.interface import NO_OPINION, Decision, Rules, Verdict
from tiphys.apiserver.call import User
from tiphys.apiserver.requests import RequestInfo
from tiphys.apiserver.webhooks.client import WebhookError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.selectors import SelectorError, parse_field_selector, parse_label_selector

if TYPE_CHECKING:
    from tiphys.machinery.cel import Program

log = logging.getLogger("tiphys.apiserver")

Object = dict[str, Any]
Ask = Callable[[Object, float], Awaitable[Object]]
"""(review, timeout in seconds) → the answered review. Raises WebhookError."""
_KEPT = 8192
_LONGEST_KEPT = 10_000
"""Of what the asker chose: longer questions are not kept, for they may be sent to fill the memory."""
_NO_RULES = "webhook authorizer does not support user rule resolution"


@frozen
class WebhookSettings:
    """The names are those of WebhookConfiguration. A lifetime of 0: such answers are not kept."""

    timeout_seconds: float = 30.0
    authorized_seconds: float = 300.0
    unauthorized_seconds: float = 30.0
    version: str = "v1"
    denies_on_failure: bool = False
    conditions: tuple[Program, ...] = ()


class WebhookAuthorizer:
    def __init__(self, ask: Ask, settings: WebhookSettings, monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._settings = settings
        self._monotonic = monotonic
        self._answers: OrderedDict[bytes, tuple[float, Decision]] = OrderedDict()
        self._on_failure = Verdict.DENY if settings.denies_on_failure else Verdict.NO_OPINION

    def authorize(self, user: User, info: RequestInfo) -> Decision | Awaitable[Decision]:
        spec = spec_of(user, info)
        unasked = self._unasked(spec)
        if unasked is not None:
            return unasked
        key = orjson.dumps(spec)
        known = self._answers.get(key)
        if known is not None and known[0] > self._monotonic():
            self._answers.move_to_end(key)
            return known[1]
        return self._review(key, spec, info)

    def rules(self, user: User, namespace: str) -> Rules:
        """It can only be asked, not listed."""
        return Rules((), True, _NO_RULES)

    def _unasked(self, spec: Object) -> Decision | None:
        """What is decided without asking; None: ask. A condition that is false counts before one that fails."""
        from tiphys.machinery.cel import CelRuntimeError

        failure = ""
        for program in self._settings.conditions:
            try:
                if program.evaluate({"request": spec}) is not True:
                    return NO_OPINION
            except CelRuntimeError as error:
                failure = (
                    failure or f"cel evaluation error: expression '{program.text}' resulted in error: {error}"
                )
        return Decision(self._on_failure, failure) if failure else None

    async def _review(self, key: bytes, spec: Object, info: RequestInfo) -> Decision:
        version = self._settings.version
        sent = spec if version == "v1" else as_v1beta1(spec)
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": f"authorization.k8s.io/{version}",
            "metadata": {},
            "spec": sent,
        }
        try:
            answer = await self._ask(review, self._settings.timeout_seconds)
        except WebhookError as error:
            log.error("Failed to make webhook authorizer request: %s", error)
            return Decision(self._on_failure, str(error))
        decision = _decision(answer.get("status"))
        seconds = (
            self._settings.authorized_seconds if decision.allowed else self._settings.unauthorized_seconds
        )
        if seconds > 0 and _chosen_length(info) < _LONGEST_KEPT:
            self._answers[key] = (self._monotonic() + seconds, decision)
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return decision


def _decision(status: Any) -> Decision:
    if not isinstance(status, dict):
        return NO_OPINION
    reason = status.get("reason")
    text = reason if isinstance(reason, str) else ""
    if status.get("denied") is True:
        return Decision(Verdict.DENY, text)
    return Decision(Verdict.ALLOW if status.get("allowed") is True else Verdict.NO_OPINION, text)


def spec_of(user: User, info: RequestInfo) -> Object:
    """The question as a SubjectAccessReviewSpec (v1)."""
    spec: Object = {}
    if info.is_resource:
        attributes = {
            "namespace": info.namespace,
            "verb": info.verb,
            "group": info.group,
            "version": info.version,
            "resource": info.resource,
            "subresource": info.subresource,
            "name": info.name,
        }
        spec["resourceAttributes"] = {name: value for name, value in attributes.items() if value}
        for name, requirements in (
            ("fieldSelector", _field_requirements(info.field_selector)),
            ("labelSelector", _label_requirements(info.label_selector)),
        ):
            if requirements:
                spec["resourceAttributes"][name] = {"requirements": requirements}
    else:
        spec["nonResourceAttributes"] = {"path": info.path, "verb": info.verb}
    named = (("user", user.name), ("groups", list(user.groups)), ("extra", user.extra), ("uid", user.uid))
    return spec | {name: value for name, value in named if value}


def as_v1beta1(spec: Object) -> Object:
    """The old version calls the groups `group` and knows no selectors."""
    old = {("group" if name == "groups" else name): value for name, value in spec.items()}
    if "resourceAttributes" in old:
        without = ("fieldSelector", "labelSelector")
        old["resourceAttributes"] = {k: v for k, v in old["resourceAttributes"].items() if k not in without}
    return old


def _field_requirements(text: str) -> list[Object]:
    """What cannot be read narrows nothing: whoever decides then sees more asked for, never less."""
    try:
        found = parse_field_selector(text).requirements if text else ()
    except SelectorError:
        return []
    operators = {"=": "In", "!=": "NotIn"}
    return [
        {"key": each.field, "operator": operators[each.operator], "values": [each.value]} for each in found
    ]


def _label_requirements(text: str) -> list[Object]:
    try:
        found: Sequence[Any] = parse_label_selector(text).requirements if text else ()
    except SelectorError:
        return []
    requirements = []
    for each in found:
        operator = _OPERATORS.get(each.operator.value)
        if operator is None:
            continue  # `gt` and `lt` cannot be said in a review
        requirement: Object = {"key": each.key, "operator": operator}
        if operator in ("In", "NotIn"):
            requirement["values"] = sorted(each.values)
        requirements.append(requirement)
    return requirements


_OPERATORS = {
    "in": "In", "=": "In", "==": "In", "notin": "NotIn", "!=": "NotIn", "exists": "Exists", "!": "DoesNotExist",
}  # fmt: skip


def _chosen_length(info: RequestInfo) -> int:
    parts = (
        info.namespace,
        info.verb,
        info.group,
        info.version,
        info.resource,
        info.subresource,
        info.name,
        info.path,
    )
    return sum(map(len, parts)) + len(info.field_selector) + len(info.label_selector)
