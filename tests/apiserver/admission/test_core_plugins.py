"""NamespaceLifecycle, ServiceAccount, Priority and DefaultTolerationSeconds, against upstream's rules and words."""

from __future__ import annotations

from typing import Any

import pytest
from counting import NAMESPACE, PODS, pod
from served import MERGE_PATCH, STRATEGIC, Client, running

from tiphys.testing.clock import FakeClock

ACCOUNTS = f"{NAMESPACE}/serviceaccounts"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
ENFORCED = {"kubernetes.io/enforce-mountable-secrets": "true"}
MIRROR = {"kubernetes.io/config.mirror": "x"}


async def answer_to(
    client: Client, path: str, body: Any, method: str = "POST", **headers: str
) -> tuple[int, str]:
    answer = await client.call(method, path, body, **headers)
    return answer.status, answer.body.get("message", "")


# NamespaceLifecycle


async def test_a_namespace_that_is_not_there(client: Client) -> None:
    """It is missed before anything in it is."""
    path = "/api/v1/namespaces/nowhere/pods"
    assert await answer_to(client, path, pod("p")) == (404, 'namespaces "nowhere" not found')


async def test_nothing_comes_into_a_namespace_that_is_going(client: Client) -> None:
    body = {"metadata": {"name": "x"}}
    await client.create("/api/v1/namespaces", body)
    await client.create("/api/v1/namespaces/x/serviceaccounts", {"metadata": {"name": "default"}})
    await client.create("/api/v1/namespaces/x/pods", pod("p"))
    await client.delete("/api/v1/namespaces/x")
    cause = "unable to create new content in namespace x because it is being terminated"
    assert await answer_to(client, "/api/v1/namespaces/x/pods", pod("q")) == (
        403,
        f'pods "q" is forbidden: {cause}',
    )
    binding = {"target": {"kind": "Node", "name": "n"}}
    assert (await answer_to(client, "/api/v1/namespaces/x/pods/p/binding", binding))[1].endswith(cause)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await answer_to(client, "/api/v1/namespaces/x/pods/p/eviction", eviction))[1].endswith(cause)
    # What is there may be changed and deleted.
    await client.patch("/api/v1/namespaces/x/pods/p", {"metadata": {"labels": {"a": "b"}}})
    await client.delete("/api/v1/namespaces/x/pods/p?gracePeriodSeconds=0")


# ServiceAccount


def secret_volume(name: str) -> dict[str, Any]:
    return {"volumes": [{"name": "v", "secret": {"secretName": name}}]}


def with_env(field: str, **container: Any) -> dict[str, Any]:
    return {field: [{"name": "e", "image": "i", **container}]}


KEY = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}]
ALL = [{"secretRef": {"name": "no"}}]
UNMOUNTABLE = (
    (secret_volume("no"), 'volume with secret.secretName="no"'),
    (
        with_env("initContainers", env=KEY),
        'init container e with envVar E referencing secret.secretName="no"',
    ),
    (
        with_env("initContainers", envFrom=ALL),
        'init container e with envFrom referencing secret.secretName="no"',
    ),
    (with_env("containers", env=KEY), 'container e with envVar E referencing secret.secretName="no"'),
    (with_env("containers", envFrom=ALL), 'container e with envFrom referencing secret.secretName="no"'),
)


@pytest.mark.parametrize(("spec", "message"), UNMOUNTABLE, ids=[row[1] for row in UNMOUNTABLE])
async def test_secrets_that_an_account_may_not_mount(client: Client, spec: Any, message: str) -> None:
    account = {"metadata": {"name": "a", "annotations": ENFORCED}, "secrets": [{"name": "yes"}]}
    await client.create(ACCOUNTS, account)
    status, found = await answer_to(client, PODS, pod("p", **{"serviceAccountName": "a", **spec}))
    assert (status, found) == (
        403,
        f'pods "p" is forbidden: {message} is not allowed because service account a does not reference that secret',
    )
    await client.create(PODS, pod("q", serviceAccountName="a", **secret_volume("yes")))
    await client.create(PODS, pod("r", **spec))  # another account


async def test_secrets_for_images_that_an_account_does_not_have(client: Client) -> None:
    account = {"metadata": {"name": "a", "annotations": ENFORCED}, "imagePullSecrets": [{"name": "yes"}]}
    await client.create(ACCOUNTS, account)
    pulling = pod("p", serviceAccountName="a", imagePullSecrets=[{"name": "yes"}, {"name": "no"}])
    assert (await answer_to(client, PODS, pulling))[1].endswith(
        'imagePullSecrets[1].name="no" is not allowed because service account a does not reference that imagePullSecret'
    )
    made = await client.create(PODS, pod("q", serviceAccountName="a"))
    assert made["spec"]["imagePullSecrets"] == [{"name": "yes"}]


async def test_secrets_of_ephemeral_containers(client: Client) -> None:
    await client.create(ACCOUNTS, {"metadata": {"name": "a", "annotations": ENFORCED}})
    await client.create(PODS, pod("p", serviceAccountName="a"))
    debugger = {"name": "d", "image": "i", "env": KEY}
    body = {"spec": {"ephemeralContainers": [debugger]}}
    status, message = await answer_to(
        client, f"{PODS}/p/ephemeralcontainers", body, "PATCH", content_type=STRATEGIC
    )
    assert (status, message) == (
        500,
        'ephemeral container d with envVar E referencing secret.secretName="no" is not allowed '
        "because service account a does not reference that secret",
    )


TOKEN = {"volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}
MIRRORS = (
    ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
    (secret_volume("s"), "a mirror pod may not reference secrets"),
    (with_env("containers", env=KEY), "a mirror pod may not reference secrets"),
    ({"imagePullSecrets": [{"name": "s"}]}, "a mirror pod may not reference secrets"),
    (TOKEN, "a mirror pod may not use ServiceAccountToken volume projections"),
)


@pytest.mark.parametrize(("spec", "message"), MIRRORS)
async def test_what_mirrors_of_static_pods_may_not_have(client: Client, spec: Any, message: str) -> None:
    body = pod("p", nodeName="n", **spec)
    body["metadata"]["annotations"] = MIRROR
    assert await answer_to(client, PODS, body) == (403, f'pods "p" is forbidden: {message}')


async def test_a_mirror_is_left_as_it_is(client: Client) -> None:
    body = pod("p", nodeName="n")
    body["metadata"]["annotations"] = MIRROR
    spec = (await client.create(PODS, body))["spec"]
    assert "serviceAccountName" not in spec
    assert "volumes" not in spec


async def test_an_account_that_is_not_there(client: Client) -> None:
    assert await answer_to(client, PODS, pod("p", serviceAccountName="no")) == (
        403,
        'pods "p" is forbidden: error looking up service account default/no: serviceaccount "no" not found',
    )


# Priority


async def test_there_is_one_default_class(client: Client) -> None:
    for name in ("a", "b"):
        await client.create(CLASSES, {"metadata": {"name": name}, "value": 5, "globalDefault": name == "a"})
    refused = (403, 'priorityclasses.scheduling.k8s.io "{}" is forbidden: PriorityClass a is already marked as '
               "default. Only one default can exist")  # fmt: skip
    another = {"metadata": {"name": "c"}, "value": 1, "globalDefault": True}
    assert await answer_to(client, CLASSES, another) == (refused[0], refused[1].format("c"))
    change = await answer_to(
        client, f"{CLASSES}/b", {"globalDefault": True}, "PATCH", content_type=MERGE_PATCH
    )
    assert change == (refused[0], refused[1].format("b"))
    await client.patch(f"{CLASSES}/a", {"description": "still"})


async def test_an_update_keeps_the_priority(client: Client) -> None:
    await client.create(CLASSES, {"metadata": {"name": "a"}, "value": 7, "preemptionPolicy": "Never"})
    made = await client.create(PODS, pod("p", priorityClassName="a"))
    assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (7, "Never")
    del made["spec"]["priority"], made["spec"]["preemptionPolicy"]
    made["metadata"]["labels"] = {"a": "b"}
    kept = await client.put(f"{PODS}/p", made)
    assert (kept["spec"]["priority"], kept["spec"]["preemptionPolicy"]) == (7, "Never")
    change = {"spec": {"priority": 9}}
    assert (await answer_to(client, f"{PODS}/p", change, "PATCH", content_type=MERGE_PATCH))[0] == 422


async def test_a_priority_that_the_class_does_not_give(client: Client) -> None:
    await client.create(CLASSES, {"metadata": {"name": "a"}, "value": 7})
    assert (await answer_to(client, PODS, pod("p", priority=9)))[1].endswith(
        "the integer value of priority (9) must not be provided in pod spec; "
        "priority admission controller computed 0 from the given PriorityClass name"
    )
    assert (await answer_to(client, PODS, pod("p", priorityClassName="a", preemptionPolicy="Never")))[
        1
    ].endswith(
        "the string value of PreemptionPolicy (Never) must not be provided in pod spec; "
        "priority admission controller computed PreemptLowerPriority from the given PriorityClass name"
    )
    assert (await answer_to(client, PODS, pod("p", priorityClassName="no")))[1].endswith(
        "no PriorityClass with name no was found"
    )
    system = await client.create(PODS, pod("s", priorityClassName="system-node-critical"))
    assert system["spec"]["priority"] == 2_000_001_000


# DefaultTolerationSeconds


async def test_tolerations_may_be_shorter(clock: FakeClock, signing_key: bytes) -> None:
    seconds = {"default_not_ready_toleration_seconds": 10, "default_unreachable_toleration_seconds": 20}
    async with running(clock, signing_key, **seconds) as server:
        made = await Client(server).create(PODS, pod("p"))
    assert {each["key"]: each["tolerationSeconds"] for each in made["spec"]["tolerations"]} == {
        "node.kubernetes.io/not-ready": 10,
        "node.kubernetes.io/unreachable": 20,
    }
