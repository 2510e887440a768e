"""A certificate request's three writers: who asks, who approves, who signs."""

from minimal import minimal
from served import MERGE_PATCH, Client

from tiphys.api.scheme import built_in
from tiphys.machinery.gvk import GroupVersionKind

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


async def test_a_signer_cannot_approve(client: Client) -> None:
    assert ROW is not None
    await client.create(PATH, minimal(ROW))
    tried = await client.patch(f"{PATH}/one/status", {"status": {"conditions": [APPROVED]}}, MERGE_PATCH)
    assert not tried["status"].get("conditions")
