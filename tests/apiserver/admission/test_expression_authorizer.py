"""Expressions that ask the server's authorizers."""

from __future__ import annotations

from collections.abc import Awaitable

from served import Client

from tiphys.api.admissionregistration.expressions import condition_problem, environment
from tiphys.apiserver.admission.authorizer import Questions
from tiphys.apiserver.authorization.interface import Decision, Rules, Verdict
from tiphys.apiserver.call import Call, User
from tiphys.apiserver.requests import RequestInfo

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def questions(client: Client, user: User) -> Questions:
    call = Call(client.server, client.request("GET", "/api/v1/pods"))
    call.user = user
    return Questions(call)


async def evaluate(asked: Questions, text: str) -> object:
    program = environment().compile(text)
    bindings = {
        "authorizer": asked.authorizer,
        "authorizer.requestResource": asked.request_resource("", "pods", "", "default", "a"),
    }
    return await asked.settle(lambda: program.evaluate(bindings))


async def test_roles_decide(client: Client) -> None:
    role = {
        "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    await client.create(f"{RBAC}/namespaces/default/roles", role)
    subjects = [
        {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"},
        {"kind": "ServiceAccount", "name": "robot", "namespace": "shop"},
    ]
    reference = {"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "b"}, "subjects": subjects, "roleRef": reference}
    await client.create(f"{RBAC}/namespaces/default/rolebindings", binding)
    asked = questions(client, User("eve"))
    pods = "authorizer.group('').resource('pods').namespace('default')"
    assert await evaluate(asked, f"{pods}.check('get').allowed()") is True
    assert await evaluate(asked, f"{pods}.check('delete').allowed()") is False
    assert await evaluate(asked, "authorizer.requestResource.check('get').allowed()") is True
    assert await evaluate(asked, "authorizer.path('/metrics').check('get').allowed()") is False
    robot = "authorizer.serviceAccount('shop', 'robot').group('').resource('pods').namespace('default')"
    assert await evaluate(asked, f"{robot}.check('get').allowed()") is True
    assert "eve" in str(await evaluate(asked, f"{pods}.check('get').reason()"))


class Elsewhere:
    """An authorizer that must ask somebody else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def authorize(self, user: User, info: RequestInfo) -> Awaitable[Decision]:
        async def decide() -> Decision:
            self.asked.append(f"{user.name} {info.verb} {info.resource} {info.field_selector}")
            return Decision(Verdict.ALLOW if info.verb == "get" else Verdict.DENY, "asked")

        return decide()

    def rules(self, user: User, namespace: str) -> Rules:
        return Rules()


async def test_an_authorizer_that_asks_elsewhere_is_asked_once_a_question(client: Client) -> None:
    elsewhere = Elsewhere()
    client.server.authorizer = elsewhere  # type: ignore[assignment]
    asked = questions(client, User("eve"))
    check = "authorizer.group('').resource('pods').fieldSelector('a=b').check"
    assert await evaluate(asked, f"{check}('put').allowed() || {check}('get').allowed()") is True
    assert sorted(elsewhere.asked) == ["eve get pods a=b"], "the other answer would change nothing"
    assert await evaluate(asked, f"{check}('put').allowed() || {check}('put').reason() == ''") is False
    assert elsewhere.asked[1:] == ["eve put pods a=b"]
    broken = "authorizer.group('').resource('pods').fieldSelector('a').check('get').allowed()"
    assert await evaluate(asked, broken) is True
    assert elsewhere.asked[2:] == ["eve get pods "]


def test_what_is_no_condition() -> None:
    assert condition_problem("request.operation == 'CREATE' && object.spec.replicas < 5") == ""
    assert condition_problem("authorizer.requestResource.check('get').allowed()") == ""
    assert condition_problem("params.a == 1", params=True) == ""
    assert condition_problem("params.a == 1") == (
        "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n"
        " | params.a == 1\n | ^"
    )
    assert condition_problem("object.spec.replicas") == "must evaluate to bool but got dyn"
    assert condition_problem("request.nope == ''").startswith(
        "compilation failed: ERROR: <input>:1:8: undefined field 'nope'"
    )
