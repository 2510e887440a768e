"""What is wrong with the options of a write is said each time, remembered or not, and of each verb."""

from __future__ import annotations

import pytest
from served import Client

from tiphys.apiserver.options import REMEMBERED_CHARACTERS

MAPS = "/api/v1/namespaces/default/configmaps"
BAD = 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'


@pytest.mark.parametrize("more", ["", "&pretty=" + "f" * REMEMBERED_CHARACTERS])
async def test_the_same_query_is_refused_each_time(client: Client, more: str) -> None:
    for _ in range(2):
        answer = await client.call("POST", f"{MAPS}?dryRun=Some{more}", {"metadata": {"name": "a"}})
        assert (answer.status, answer.body["message"]) == (422, BAD)
    answer = await client.call("POST", f"{MAPS}?dryRun=All{more}", {"metadata": {"name": "a"}})
    assert answer.status == 201


async def test_one_query_means_something_else_for_another_verb(client: Client) -> None:
    await client.create(MAPS, {"metadata": {"name": "a"}})
    query = "fieldManager=me&force=true&fieldValidation=Loose"
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    merge, apply = "application/merge-patch+json", "application/apply-patch+yaml"
    found = []
    for kind, body in ((merge, {}), (apply, applied), (merge, {})):
        answer = await client.call("PATCH", f"{MAPS}/a?{query}", body, content_type=kind)
        found.append([cause["field"] for cause in answer.body["details"]["causes"]])
    assert found == [["force", "fieldValidation"], ["fieldValidation"], ["force", "fieldValidation"]]
    answer = await client.call("DELETE", f"{MAPS}/a?{query}")
    assert answer.status == 200, "none of them is an option of deletions"
