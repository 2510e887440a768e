"""How large an object may be: what etcd would not take, nobody stores here."""

from __future__ import annotations

from served import Client, Object

PODS = "/api/v1/namespaces/default/pods"
TOO_LARGE = "etcdserver: request is too large"


def pod(size_bytes: int) -> Object:
    env = [{"name": "LARGE", "value": "x" * size_bytes}]
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}


async def test_an_object_that_no_etcd_would_take(client: Client) -> None:
    answer = await client.call("POST", PODS, pod(3 << 19))
    assert (answer.status, answer.body["message"], answer.body.get("reason", "")) == (500, TOO_LARGE, "")
    assert (await client.call("GET", f"{PODS}/p")).status == 404


async def test_one_that_grows_too_large(client: Client) -> None:
    made = await client.create(PODS, pod((3 << 19) - 10_000))
    note = {"metadata": {"annotations": {"note": "x" * 20_000}}}
    answer = await client.call("PATCH", f"{PODS}/p", note, content_type="application/merge-patch+json")
    assert (answer.status, answer.body["message"]) == (500, TOO_LARGE)
    kept = await client.get(f"{PODS}/p")
    assert kept["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
