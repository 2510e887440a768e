"""What expressions ask an authorizer, and what they make of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.machinery.cel import CelError, CelRuntimeError, Environment
from tiphys.machinery.cel.library import KUBERNETES
from tiphys.machinery.cel.library.authorizer import (
    AUTHORIZER,
    AUTHORIZER_TYPE,
    RESOURCE_CHECK_TYPE,
    Answer,
    Authorizer,
    Question,
    ResourceCheck,
)

ENVIRONMENT = Environment(
    {"authorizer": AUTHORIZER_TYPE, "authorizer.requestResource": RESOURCE_CHECK_TYPE},
    libraries=(*KUBERNETES, AUTHORIZER),
)


def evaluate(text: str, *answers: Answer) -> tuple[Any, list[Question], int]:
    asked: list[Question] = []
    left = list(answers or (Answer(True),))

    def ask(question: Question) -> Answer:
        asked.append(question)
        return left.pop(0) if len(left) > 1 else left[0]

    requested = ResourceCheck(
        ask, Question(None, group="apps", resource="deployments", namespace="n", name="d")
    )
    bindings = {"authorizer": Authorizer(ask), "authorizer.requestResource": requested}
    value, cost = ENVIRONMENT.compile(text).evaluate_with_cost(bindings)
    return value, asked, cost


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("authorizer.path('/healthz').check('get')", Question(None, "get", "/healthz")),
        (
            "authorizer.group('apps').resource('deployments').subresource('status').namespace('n').name('d').check('get')",
            Question(None, "get", "", "apps", "deployments", "status", "n", "d"),
        ),
        (
            "authorizer.group('').resource('pods').fieldSelector('spec.nodeName=a').labelSelector('a in (b)').check('list')",
            Question(
                None, "list", resource="pods", field_selector="spec.nodeName=a", label_selector="a in (b)"
            ),
        ),
        (
            "authorizer.serviceAccount('shop', 'robot').group('').resource('pods').check('get')",
            Question(("shop", "robot"), "get", resource="pods"),
        ),
        (
            "authorizer.requestResource.subresource('scale').check('update')",
            Question(None, "update", "", "apps", "deployments", "scale", "n", "d"),
        ),
    ],
)
def test_questions(text: str, question: Question) -> None:
    assert evaluate(f"{text}.allowed()")[:2] == (True, [question])


def test_answers() -> None:
    check = "authorizer.path('/x').check('get')"
    refused = Answer(False, "because", "broken")
    found = [evaluate(f"{check}.{name}()", refused)[0] for name in ("allowed", "reason", "errored", "error")]
    assert found == [False, "because", True, "broken"]
    assert evaluate(f"{check}.errored()")[0] is False
    either = "authorizer.path('/x').check('get').allowed() || authorizer.path('/y').check('get').allowed()"
    assert evaluate(either, Answer(False), Answer(True))[0] is True


def test_a_check_is_dear() -> None:
    assert evaluate("authorizer.path('/x').check('get').allowed()")[2] >= 350_000
    two = "authorizer.path('/x').check('get').allowed() && authorizer.path('/y').check('get').allowed()"
    assert evaluate(two)[2] >= 700_000
    three = two + " && authorizer.path('/z').check('get').allowed()"
    with pytest.raises(CelRuntimeError, match="actual cost limit exceeded"):
        evaluate(three)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("authorizer.path(' ').check('get')", "path must not be empty"),
        ("authorizer.group('').resource('').check('get')", "resource must not be empty"),
        ("authorizer.serviceAccount('a', 'B').path('/').check('get')", "Invalid service account name"),
        ("authorizer.serviceAccount('a.b', 'b').path('/').check('get')", "Invalid service account namespace"),
    ],
)
def test_what_cannot_be_asked(text: str, message: str) -> None:
    with pytest.raises(CelRuntimeError, match=message):
        evaluate(f"{text}.allowed()")


def test_types() -> None:
    with pytest.raises(CelError, match="found no matching overload for 'resource' applied to"):
        ENVIRONMENT.compile("authorizer.resource('pods')")
    with pytest.raises(CelError, match="does not support field selection"):
        ENVIRONMENT.compile("authorizer.verb")
