"""matchConditions of webhooks: who is called, and what a failing expression means."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from admission_hooks import (
    MAPS,
    MUTATING,
    VALIDATING,
    add,
    config_map,
    deny,
    patch,
    register,
    requests,
    rule,
    webhook_entry,
)
from served import Client, Object
from webhook_server import Webhook

FAILS = "object.data.nothing == 'x'"
NO_KEY = f"expression '{FAILS}' resulted in error: no such key: nothing"


def conditions(expressions: Sequence[str]) -> list[Object]:
    return [{"name": f"c{number}", "expression": text} for number, text in enumerate(expressions)]


@pytest.mark.parametrize(
    ("expressions", "called"),
    [
        (["true"], True),
        (["true", "false"], False),
        ([FAILS, "false"], False),
        (["request.operation == 'CREATE' && request.resource.resource == 'configmaps'"], True),
        (["request.userInfo.username != 'admin'"], False),
        (["'system:masters' in request.userInfo.groups"], True),
        (["oldObject == null && namespaceObject == null"], True),
        (["object.data.a == 'b'"], True),
        (["request.options.kind == 'CreateOptions' && !request.dryRun"], True),
        (["has(request.subResource)"], False),
        (["authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"], True),
        (["authorizer.requestResource.check('create').allowed()"], True),
        (["authorizer.serviceAccount('default', 'x').path('/metrics').check('get').allowed()"], False),
    ],
)
async def test_who_is_called(client: Client, hook: Webhook, expressions: list[str], called: bool) -> None:
    await register(
        client, VALIDATING, webhook_entry(hook.client_config, matchConditions=conditions(expressions))
    )
    await client.create(MAPS, config_map())
    assert bool(hook.reviews) is called


@pytest.mark.parametrize("where", [VALIDATING, MUTATING])
async def test_failures(client: Client, hook: Webhook, where: str) -> None:
    entry = webhook_entry(hook.client_config, matchConditions=conditions(["true", FAILS]))
    made = await register(client, where, entry)
    refused = await client.call("POST", MAPS, config_map())
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert refused.body["message"] == f'configmaps "a" is forbidden: {NO_KEY}'
    made["webhooks"][0]["matchConditions"] = conditions([FAILS, FAILS.replace("nothing", "other")])
    made = await client.put(f"{where}/hooks", made)
    refused = await client.call("POST", MAPS, config_map())
    both = f"[{NO_KEY}, {NO_KEY.replace('nothing', 'other')}]"
    assert refused.body["message"] == f'configmaps "a" is forbidden: {both}'
    made["webhooks"][0]["failurePolicy"] = "Ignore"
    await client.put(f"{where}/hooks", made)
    await client.create(MAPS, config_map())
    assert hook.reviews == []


async def test_their_cost_is_limited(client: Client, hook: Webhook) -> None:
    check = "authorizer.path('/{}').check('get').allowed()"
    dear = conditions(
        [" && ".join(check.format(f"{number}-{each}") for each in range(2)) for number in range(4)]
    )
    await register(client, VALIDATING, webhook_entry(hook.client_config, matchConditions=dear))
    refused = await client.call("POST", MAPS, config_map())
    assert refused.body["message"] == (
        'configmaps "a" is forbidden: validation failed due to running out of cost budget, '
        "no further validation rules will be run"
    )


async def test_a_user_who_may_break_the_glass(client: Client, hook: Webhook) -> None:
    """The example of the documentation."""
    hook.answer = deny("no")
    text = "!authorizer.group('admissionregistration.k8s.io').resource('validatingwebhookconfigurations').name('hooks').check('breakglass').allowed()"
    await register(client, VALIDATING, webhook_entry(hook.client_config, matchConditions=conditions([text])))
    await client.create(MAPS, config_map())
    verbs = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
    roles = "/apis/rbac.authorization.k8s.io/v1"
    await client.create(f"{roles}/clusterroles", {"metadata": {"name": "r"}, "rules": [verbs]})
    subject = {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}
    reference = {"kind": "ClusterRole", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": reference}
    await client.create(f"{roles}/clusterrolebindings", binding)
    refused = await client.as_user("eve", "system:authenticated").call("POST", MAPS, config_map("b"))
    assert refused.body["message"] == 'admission webhook "check.example.com" denied the request: no'


async def test_conditions_see_what_webhooks_before_have_made(client: Client, hook: Webhook) -> None:
    hook.answers["/1"] = patch(add("/data/x", "y"))
    seen = conditions(["has(object.data.x)"])
    first = webhook_entry(hook.at("/1"), "1.b.c")
    second = webhook_entry(hook.at("/2"), "2.b.c", rule(), matchConditions=seen)
    await register(client, MUTATING, second, name="a")
    await register(client, MUTATING, first, name="b")
    await register(client, MUTATING, second, name="c")
    await client.create(MAPS, config_map())
    assert hook.asked == ["/1", "/2"]
    assert requests(hook)[1]["object"]["data"] == {"a": "b", "x": "y"}
