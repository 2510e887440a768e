"""A certificate request's three writers: who asks, who approves, who signs."""

from minimal import minimal
from served import MERGE_PATCH, Client, Object

from tiphys.api.scheme import built_in
from tiphys.machinery.gvk import GroupVersionKind
from tiphys.testing.clock import FakeClock

ROW = built_in().by_kind(GroupVersionKind("certificates.k8s.io", "v1", "CertificateSigningRequest"))
PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
APPROVED = {"type": "Approved", "status": "True", "reason": "Tested", "message": "fine"}


async def test_asked_approved_and_signed(client: Client) -> None:
    assert ROW is not None
    asked = await client.create(PATH, minimal(ROW))
    verdict = {**asked, "status": {"conditions": [APPROVED], "certificate": "AA=="}}
    approved = await client.put(f"{PATH}/one/approval", verdict)
    assert [condition["type"] for condition in approved["status"]["conditions"]] == ["Approved"]
    assert "certificate" not in approved["status"]
    signed = await client.patch(f"{PATH}/one/status", {"status": {"certificate": "AA=="}}, MERGE_PATCH)
    assert signed["status"]["certificate"] == "AA=="
    assert signed["status"]["conditions"] == approved["status"]["conditions"]
    table = await client.call("GET", PATH, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table.body["rows"][0]["cells"][-1] == "Approved,Issued"
    selected = await client.get(f"{PATH}?fieldSelector=spec.signerName=example.com/s")
    assert len(selected["items"]) == 1


async def test_conditions_get_the_times_that_their_writers_leave_out(
    client: Client, clock: FakeClock
) -> None:
    assert ROW is not None
    asked = await client.create(PATH, minimal(ROW))

    async def write(path: str, *conditions: Object) -> list[list[str]]:
        answer = await client.patch(path, {"status": {"conditions": list(conditions)}}, MERGE_PATCH)
        return [
            [each["lastUpdateTime"], each["lastTransitionTime"]] for each in answer["status"]["conditions"]
        ]

    first, later, last = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z")
    assert await write(f"{PATH}/one/approval", APPROVED) == [[first, first]]
    await clock.advance(3600)
    again = {**APPROVED, "message": "still fine"}
    assert await write(f"{PATH}/one/approval", again) == [[later, first]], "it has not changed"
    failed = {**APPROVED, "type": "Failed"}
    assert await write(f"{PATH}/one/status", failed) == [[later, first], [later, later]]
    await clock.advance(3600)
    own = {**failed, "lastUpdateTime": first, "lastTransitionTime": first}
    assert await write(f"{PATH}/one/status", own, {**failed, "type": "Other"}) == [
        [later, first],
        [first, first],
        [last, last],
    ]
    before = await client.get(f"{PATH}/one")
    assert before["metadata"]["uid"] == asked["metadata"]["uid"]
    unchanged = await client.patch(f"{PATH}/one", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH)
    assert unchanged["status"] == before["status"]


async def test_a_signer_cannot_approve(client: Client) -> None:
    assert ROW is not None
    await client.create(PATH, minimal(ROW))
    tried = await client.patch(f"{PATH}/one/status", {"status": {"conditions": [APPROVED]}}, MERGE_PATCH)
    assert not tried["status"].get("conditions")


async def test_what_conformance_asks_of_the_api(client: Client) -> None:
    """[sig-auth] Certificates API: should support CSR API operations."""
    assert ROW is not None
    groups = await client.get("/apis")
    assert "certificates.k8s.io" in [group["name"] for group in groups["groups"]]
    listed = await client.get("/apis/certificates.k8s.io/v1")
    served = {each["name"]: set(each["verbs"]) for each in listed["resources"]}
    assert {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"} <= served[
        "certificatesigningrequests"
    ]
    for below in ("approval", "status"):
        assert served[f"certificatesigningrequests/{below}"] == {"get", "patch", "update"}
    watch = await client.watch(f"{PATH}?watch=1&labelSelector=mine=yes")
    asked = minimal(ROW)
    asked["metadata"] = {"name": "one", "labels": {"mine": "yes"}}
    made = await client.create(PATH, asked)
    assert (await client.get(f"{PATH}/one"))["metadata"]["uid"] == made["metadata"]["uid"]
    assert len((await client.get(f"{PATH}?labelSelector=mine=yes"))["items"]) == 1
    patched = await client.patch(
        f"{PATH}/one", {"metadata": {"annotations": {"patched": "true"}}}, MERGE_PATCH
    )
    patched["metadata"]["annotations"]["updated"] = "true"
    await client.put(f"{PATH}/one", patched)
    await client.patch(f"{PATH}/one/approval", {"status": {"conditions": [APPROVED]}}, MERGE_PATCH)
    approval = await client.get(f"{PATH}/one/approval")
    assert approval["status"]["conditions"][0]["type"] == "Approved"
    more = {"type": "ApprovalUpdated", "status": "True", "reason": "Tested", "message": "Set from e2e test"}
    approval["status"]["conditions"].append(more)
    await client.put(f"{PATH}/one/approval", approval)
    signed = await client.patch(f"{PATH}/one/status", {"status": {"certificate": "AA=="}}, MERGE_PATCH)
    signed["status"]["conditions"].append({**more, "type": "StatusUpdated"})
    stored = await client.put(f"{PATH}/one/status", signed)
    kinds = [condition["type"] for condition in stored["status"]["conditions"]]
    assert kinds[0] == "Approved"
    assert "StatusUpdated" in kinds
    await client.delete(f"{PATH}/one")
    seen = [kind for kind, _ in watch.events()]
    assert (seen[0], seen[1], seen[-1]) == ("ADDED", "MODIFIED", "DELETED")
    await client.create(PATH, asked)
    await client.delete(f"{PATH}?labelSelector=mine=yes")
    assert (await client.get(f"{PATH}?labelSelector=mine=yes"))["items"] == []
