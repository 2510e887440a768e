"""Whatever a client sends, the answer is never that the server has failed."""

import asyncio
import os
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from minimal import collection, minimal, name_of
from served import JSON_PATCH, MERGE_PATCH, PROTOBUF, STRATEGIC, Client, running

from tiphys.api.resource import Resource
from tiphys.api.scheme import built_in
from tiphys.api.types import TYPES
from tiphys.apiserver.registry.freshness import WAIT_SECONDS
from tiphys.machinery.protobuf import encode_envelope
from tiphys.net.http import Response
from tiphys.testing.clock import FakeClock

STORED = [row for row in built_in() if not row.virtual]
VIRTUAL = [row for row in built_in() if row.virtual and "create" in row.verbs]
SPOILED = int(os.environ.get("SPOILED_EXAMPLES", "4"))
OFTEN = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
MAPS = "/api/v1/namespaces/default/configmaps"

texts = st.one_of(
    st.sampled_from(["", "a", "-", "a/b", "\0", "\u00e9", "x" * 300, "1", "None", "10.0.0.1", "1Gi", "80%"]),
    st.text(max_size=8),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70_000),
    st.just(1 << 63),
    st.just(1e300),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)


def failed(status: int, body: Any) -> bool:
    """Whether an answer says that something broke. Some strategic patches are refused by a 500 without a reason: upstream's."""
    return status == 500 and b'"reason":"InternalError"' in body


def run(signing_key: bytes, method: str, target: str, body: bytes, **headers: str) -> int:
    """One request to a server of its own; its status, 500 only if something broke."""

    async def ask() -> int:
        clock = FakeClock()
        async with running(clock, signing_key) as server:
            client = Client(server)
            await client.create(MAPS, {"metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}})
            answer = client.server.handle(client.request(method, target, body, **headers))
            if isinstance(answer, Response):
                response = answer
            else:
                waiting = asyncio.ensure_future(answer)
                await clock.advance(WAIT_SECONDS)  # for a revision of the future
                response = await waiting
            assert response.status != 500 or isinstance(response.body, bytes)
            return response.status if response.status != 500 or failed(500, response.body) else 499

    return asyncio.run(ask())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def spoiled(draw: st.DrawFn, row: Resource) -> Any:
    """A valid object with one or two places changed into something else."""
    obj: Any = minimal(row)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places(obj)))
        obj = replaced(obj, place, draw(values))
        if not isinstance(obj, dict):
            break
    return obj


class Forms:
    """How a body is written."""

    JSON = "application/json"
    YAML = "application/yaml"


@pytest.mark.parametrize("row", STORED + VIRTUAL, ids=lambda row: f"{row.api_version}-{row.kind}")
def test_spoiled_objects(row: Resource, signing_key: bytes) -> None:
    @settings(max_examples=SPOILED, deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def spoil(data: st.DataObject) -> None:
        asyncio.run(_spoil_many(row, data, signing_key))

    spoil()


async def _spoil_many(row: Resource, data: st.DataObject, signing_key: bytes) -> None:
    """Several in one server: to make one costs more than to ask it."""
    async with running(FakeClock(), signing_key) as server:
        client = Client(server)
        if not row.virtual:
            await client.call(
                "POST", collection(row), minimal(row, "kept") if name_of(row) == "one" else minimal(row)
            )
        one = f"{collection(row)}/{'kept' if name_of(row) == 'one' else name_of(row)}"
        for _ in range(4):
            body = data.draw(spoiled(row) if not row.virtual else values, label="body")
            sent = orjson.dumps(body, option=orjson.OPT_PASSTHROUGH_DATACLASS)
            method, target = (
                ("POST", collection(row))
                if row.virtual
                else data.draw(
                    st.sampled_from(
                        [("POST", collection(row)), ("PUT", one), ("PATCH", one), ("PATCH", f"{one}/status")]
                    ),
                    label="how",
                )
            )
            kind = data.draw(st.sampled_from([MERGE_PATCH, STRATEGIC])) if method == "PATCH" else Forms.JSON
            answer = await client.call(method, target, sent, content_type=kind)
            assert not failed(answer.status, answer.raw), (method, target, answer.body)


@OFTEN
@given(
    operations=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "spin"]) | values,
                "path": st.sampled_from(
                    [
                        "",
                        "/",
                        "/data",
                        "/data/k",
                        "/data/-",
                        "/metadata",
                        "/metadata/name",
                        "/metadata/labels/x",
                        "/kind",
                        "/a~2",
                        "/data/0",
                    ]
                )
                | values,
                "from": st.sampled_from(["", "/data", "/metadata"]) | values,
                "value": values,
            },
        )
        | values,
        max_size=4,
    )
)
def test_json_patches(operations: list[Any], signing_key: bytes) -> None:
    assert run(signing_key, "PATCH", f"{MAPS}/a", orjson.dumps(operations), content_type=JSON_PATCH) < 500


@OFTEN
@given(body=values, kind=st.sampled_from([MERGE_PATCH, STRATEGIC]), row=st.sampled_from(["configmaps/a"]))
def test_merge_patches(body: Any, kind: str, row: str, signing_key: bytes) -> None:
    assert (
        run(signing_key, "PATCH", f"/api/v1/namespaces/default/{row}", orjson.dumps(body), content_type=kind)
        < 500
    )


@OFTEN
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(["application/json", "application/yaml", PROTOBUF, MERGE_PATCH, "", "x"]),
    method=st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]),
)
def test_bytes(body: bytes, kind: str, method: str, signing_key: bytes) -> None:
    target = MAPS if method == "POST" else f"{MAPS}/a"
    assert run(signing_key, method, target, body, content_type=kind) < 500


@OFTEN
@given(text=st.text(st.sampled_from("abk:-[]{}&*!|>%@`'\"#,?\n\t 01.~é\u2028"), max_size=40))
def test_yaml(text: str, signing_key: bytes) -> None:
    assert run(signing_key, "POST", MAPS, text.encode(), content_type="application/yaml") < 500


@OFTEN
@given(row=st.sampled_from(STORED), data=st.data())
def test_broken_protobuf(row: Resource, data: st.DataObject, signing_key: bytes) -> None:
    whole = bytearray(encode_envelope(TYPES.struct(row.type), minimal(row)))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(4, len(whole)))])
    assert run(signing_key, "POST", collection(row), cut, content_type=PROTOBUF) < 500


NAMES = [
    "labelSelector",
    "fieldSelector",
    "continue",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
    "watch",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "dryRun",
    "fieldValidation",
    "propagationPolicy",
    "gracePeriodSeconds",
    "orphanDependents",
    "includeObject",
    "pretty",
    "shardSelector",
]
parameters = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(["", "0", "1", "-1", "true", "a", "a=b", "a in (b)", "metadata.name=a", "metadata.name!=a", "Exact", "NotOlderThan", "99999999999999999999", "All", "Orphan"]) | st.text(st.characters(codec="utf-8"), max_size=12),
    ),
    max_size=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    query=parameters,
    method=st.sampled_from(["GET", "DELETE", "POST", "PUT", "PATCH"]),
    one=st.booleans(),
    accept=st.sampled_from(["", "application/json;as=Table;v=v1;g=meta.k8s.io", PROTOBUF]),
)
def test_queries(
    query: list[tuple[str, str]], method: str, one: bool, accept: str, signing_key: bytes
) -> None:
    from urllib.parse import urlencode

    target = f"{MAPS}{'/a' if one else ''}?{urlencode(query)}"
    status = run(
        signing_key,
        method,
        target,
        b'{"metadata":{"name":"a"}}',
        accept=accept,
        content_type=MERGE_PATCH if method == "PATCH" else "application/json",
    )
    assert status < 500 or status == 504, target  # 504: a revision of the future


@OFTEN
@given(
    token=st.text(st.sampled_from("abcXYZ012_-=+/.eyJ"), max_size=60)
    | st.binary(max_size=40).map(lambda raw: __import__("base64").urlsafe_b64encode(raw).decode())
)
def test_continue_tokens(token: str, signing_key: bytes) -> None:
    assert run(signing_key, "GET", f"{MAPS}?limit=1&continue={token}", b"") < 500


@OFTEN
@given(
    token=st.fixed_dictionaries(
        {},
        optional={
            "v": st.just("meta.k8s.io/v1") | values,
            "rv": st.integers(-3, 40) | values,
            "start": texts | values,
        },
    )
)
def test_continue_tokens_of_the_right_shape(token: Any, signing_key: bytes) -> None:
    import base64

    text = base64.urlsafe_b64encode(orjson.dumps(token)).decode().rstrip("=")
    assert run(signing_key, "GET", f"{MAPS}?limit=1&continue={text}", b"") in (200, 400, 410, 504)


segments = st.sampled_from(
    [
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "default",
        "pods",
        "configmaps",
        "deployments",
        "a",
        "",
        "..",
        "watch",
        "status",
        "log",
        "exec",
        "proxy",
        "scale",
        "openapi",
        "v2",
        "v3",
        "healthz",
        "livez",
        "%00",
        "%2F",
        "é",
        "finalize",
        "token",
        "binding",
        "eviction",
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parts=st.lists(segments, max_size=8),
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "x"]),
    body=st.sampled_from([b"", b"{}", b"[]", b"x"]),
)
def test_paths(parts: list[str], method: str, body: bytes, signing_key: bytes) -> None:
    target = "/" + "/".join(parts)
    assert (
        run(
            signing_key,
            method,
            target,
            body,
            content_type=MERGE_PATCH if method == "PATCH" else "application/json",
        )
        < 500
    ), target


PODS = "/api/v1/namespaces/default/pods"
WEB = "/apis/apps/v1/namespaces/default/deployments/one"
BELOW = {
    f"{PODS}/one/binding": {
        "metadata": {"name": "one", "annotations": {"a": "b"}},
        "target": {"kind": "Node", "name": "n"},
    },
    f"{PODS}/one/eviction": {
        "metadata": {"name": "one"},
        "deleteOptions": {"gracePeriodSeconds": 0, "preconditions": {"uid": "x"}},
    },
    f"{PODS}/one/ephemeralcontainers": {
        "metadata": {"name": "one"},
        "spec": {"ephemeralContainers": [{"name": "d", "image": "i"}]},
    },
    "/api/v1/namespaces/default/serviceaccounts/default/token": {
        "spec": {
            "audiences": ["a"],
            "expirationSeconds": 700,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "one"},
        }
    },
    "/api/v1/namespaces/default/bindings": {"metadata": {"name": "one"}, "target": {"name": "n"}},
    f"{WEB}/scale": {"metadata": {"name": "one", "namespace": "default"}, "spec": {"replicas": 3}},
    "/api/v1/namespaces/kube-public/finalize": {
        "metadata": {"name": "kube-public"},
        "spec": {"finalizers": ["a"]},
    },
    "/apis/authentication.k8s.io/v1/tokenreviews": {"spec": {"token": "a.b.c", "audiences": ["a"]}},
    "/apis/authorization.k8s.io/v1/subjectaccessreviews": {
        "spec": {"user": "u", "groups": ["g"], "resourceAttributes": {"verb": "get", "resource": "pods"}}
    },
}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_subresources_and_reviews(data: st.DataObject, signing_key: bytes) -> None:
    async def spoil() -> None:
        async with running(FakeClock(), signing_key) as server:
            client = Client(server)
            for plural in ("pods", "deployments"):
                row = next(row for row in STORED if row.plural == plural)
                await client.create(collection(row), minimal(row))
            for _ in range(4):
                target = data.draw(st.sampled_from(list(BELOW)), label="target")
                body: Any = BELOW[target]
                for _ in range(data.draw(st.integers(0, 2))):
                    body = replaced(body, data.draw(st.sampled_from(places(body))), data.draw(values))
                method = data.draw(st.sampled_from(["POST", "PUT", "PATCH"]), label="method")
                kind = (
                    data.draw(st.sampled_from([MERGE_PATCH, STRATEGIC])) if method == "PATCH" else Forms.JSON
                )
                answer = await client.call(method, target, orjson.dumps(body), content_type=kind)
                assert not failed(answer.status, answer.raw), (method, target, answer.body)

    asyncio.run(spoil())
