"""A certificate request says who asked, in the API server's words."""

from __future__ import annotations

from minimal import minimal
from served import Client

from tiphys.apiserver.server import APIServer

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


async def test_nobody_can_ask_in_anothers_name(client: Client, server: APIServer) -> None:
    row = server.scheme.by_resource("certificates.k8s.io", "v1", "certificatesigningrequests")
    assert row is not None
    request = minimal(row, "mine")
    request["spec"] |= {
        "username": "system:node:victim",
        "groups": ["system:nodes"],
        "uid": "1",
        "extra": {"a": ["b"]},
    }
    answer = await client.call("POST", PATH, request)
    assert answer.status == 201
    spec = answer.body["spec"]
    assert spec["username"] not in ("", "system:node:victim")
    assert "system:nodes" not in spec["groups"]
    assert "uid" not in spec
    assert "extra" not in spec
