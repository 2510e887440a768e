"""What the `authorizer` of an expression asks: the server's own authorizers, in the name of who sent the request.

Expressions are evaluated at once, but an authorizer may have to ask elsewhere. Then the evaluation ends with `Undecided`, and
`settle` waits and evaluates again; answers are kept for as long as the request lasts.

    asked = Questions(attributes.call)
    bindings = {"authorizer": asked.authorizer, "authorizer.requestResource": asked.request_resource(...)}
    value = await asked.settle(lambda: program.evaluate(bindings))
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from tiphys.apiserver.authorization import Decision
from tiphys.apiserver.call import Call, User
from tiphys.apiserver.requests import RequestInfo
from tiphys.machinery.cel.library.authorizer import Answer, Authorizer, Question, ResourceCheck
from tiphys.machinery.selectors import SelectorError, parse_field_selector, parse_label_selector

_T = TypeVar("_T")


class Undecided(Exception):
    """An authorizer must ask elsewhere: wait for it, then evaluate again."""


class Questions:
    """All that the expressions of one request ask."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._answers: dict[Question, Answer] = {}
        self._waiting: dict[Question, Awaitable[Decision]] = {}
        self.authorizer = Authorizer(self.ask)

    def request_resource(
        self, group: str, resource: str, subresource: str, namespace: str, name: str
    ) -> ResourceCheck:
        """The check for what the request is about."""
        question = Question(
            None, group=group, resource=resource, subresource=subresource, namespace=namespace, name=name
        )
        return ResourceCheck(self.ask, question)

    def ask(self, question: Question) -> Answer:
        """The answer. Raises Undecided."""
        known = self._answers.get(question)
        if known is not None:
            return known
        if question not in self._waiting:
            decision = self._call.server.authorizer.authorize(self._user(question), info_of(question))
            if isinstance(decision, Decision):
                return self._keep(question, decision)
            self._waiting[question] = decision
        raise Undecided

    def _keep(self, question: Question, decision: Decision) -> Answer:
        answer = self._answers[question] = Answer(decision.allowed, decision.reason)
        return answer

    def _user(self, question: Question) -> User:
        if question.account is None:
            return self._call.user
        namespace, name = question.account
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return User(f"system:serviceaccount:{namespace}:{name}", groups)

    async def settle(self, evaluate: Callable[[], _T]) -> _T:
        """Evaluates until every answer that is needed is known."""
        try:
            while True:
                try:
                    return evaluate()
                except Undecided:
                    question, waiting = self._waiting.popitem()
                    self._keep(question, await waiting)
        finally:
            for waiting in self._waiting.values():
                if isinstance(waiting, Coroutine):
                    waiting.close()  # `true || …`: nobody needs to know
            self._waiting.clear()


def info_of(question: Question) -> RequestInfo:
    """A question as authorizers read it."""
    if question.path:
        return RequestInfo(question.path, question.verb)
    info = RequestInfo(
        "",
        question.verb,
        True,
        question.group,
        "*",
        question.namespace,
        question.resource,
        question.subresource,
        question.name,
    )
    info.field_selector = _parsable(question.field_selector, parse_field_selector)
    info.label_selector = _parsable(question.label_selector, parse_label_selector)
    return info


def _parsable(text: str, parse: Callable[[str], object]) -> str:
    try:
        parse(text)
    except SelectorError:
        return ""
    return text
