"""The SubjectAccessReview family: what may be asked, and in which words a question is refused."""

from __future__ import annotations

from typing import Any

import pytest
from served import Client, Object

REVIEWS = "/apis/authorization.k8s.io/v1"
LOCAL = f"{REVIEWS}/namespaces/default/localsubjectaccessreviews"
PODS = {"verb": "get", "resource": "pods", "namespace": "default"}


def spec(**more: Any) -> Object:
    return {"spec": {"user": "u", "resourceAttributes": {**PODS, **more}}}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"spec": {"user": "u"}}, "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"),
        ({"spec": {"user": "u", "resourceAttributes": {}, "nonResourceAttributes": {}}}, "cannot be specified in combination with resourceAttributes"),
        ({"spec": {"resourceAttributes": {}}}, 'spec.user: Invalid value: "": at least one of user or group must be specified'),
        ({**spec(), "metadata": {"name": "x"}}, "metadata: Invalid value"),
        (spec(fieldSelector={"rawSelector": "foo", "requirements": [{"key": "a"}]}), 'spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: "foo": may not specified at the same time as requirements'),
        (spec(fieldSelector={}), "spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"),
        (spec(fieldSelector={"requirements": [{"key": "", "operator": "Exists"}]}), "spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be specified"),
        (spec(fieldSelector={"requirements": [{"key": "k", "operator": "In"}]}), "fieldSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"),
        (spec(labelSelector={"requirements": [{"key": "k", "operator": "Exists", "values": ["v"]}]}), "labelSelector.requirements[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
        (spec(labelSelector={"requirements": [{"key": "a b", "operator": "Exists"}]}), 'labelSelector.requirements[0].key: Invalid value: "a b"'),
    ],
)  # fmt: skip
async def test_questions_that_are_none(client: Client, body: Object, complaint: str) -> None:
    answer = await client.call("POST", f"{REVIEWS}/subjectaccessreviews", body)
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert complaint in answer.body["message"]
    assert answer.body["message"].startswith('SubjectAccessReview.authorization.k8s.io "" is invalid: ')


async def test_a_local_question_stays_in_its_namespace(client: Client) -> None:
    assert (await client.create(LOCAL, spec()))["status"]["allowed"] is False
    for body, said in (
        (
            spec(namespace="other"),
            'spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace',
        ),
        (
            {"spec": {"user": "u", "nonResourceAttributes": {"path": "/", "verb": "get"}}},
            "disallowed on this kind of request",
        ),
    ):
        answer = await client.call("POST", LOCAL, body)
        assert (answer.status, said in answer.body["message"]) == (422, True), answer.body
    answer = await client.call("POST", LOCAL, {**spec(), "metadata": {"namespace": "other"}})
    assert answer.status == 400


async def test_a_question_about_oneself_names_nobody(client: Client) -> None:
    path = f"{REVIEWS}/selfsubjectaccessreviews"
    body = {
        "metadata": {"creationTimestamp": None},
        "spec": {"nonResourceAttributes": {"path": "/livez", "verb": "get"}},
    }
    assert (await client.as_user("u", "system:authenticated").create(path, body))["status"]["allowed"] is True
    assert (await client.call("POST", path, {"spec": {}})).status == 422


async def test_an_operator_of_a_newer_client_narrows_nothing(client: Client) -> None:
    requirement = {"key": "a", "operator": "Near", "values": ["b"]}
    body = spec(labelSelector={"requirements": [requirement]}, fieldSelector={"requirements": [requirement]})
    assert (await client.create(f"{REVIEWS}/subjectaccessreviews", body))["status"]["allowed"] is False
