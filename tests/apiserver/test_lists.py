"""Lists: which revision, which page, which objects."""

import asyncio
from urllib.parse import unquote

import pytest
from served import Answer, Client, Object

from tiphys.apiserver.server import APIServer

MAPS = "/api/v1/namespaces/default/configmaps"


async def make(client: Client, *names: str, namespace: str = "default", **labels: str) -> list[Object]:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    return [await client.create(path, {"metadata": {"name": name, "labels": labels}}) for name in names]


def names(listed: Object) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_an_empty_list_is_a_list(client: Client) -> None:
    listed = await client.get(MAPS)
    assert (listed["kind"], listed["apiVersion"], listed["items"]) == ("ConfigMapList", "v1", [])
    assert listed["metadata"]["resourceVersion"] == str(client.server.store.revision)


async def test_a_list_is_in_the_order_of_keys_and_of_one_namespace(client: Client) -> None:
    await make(client, "b", "a")
    await make(client, "c", namespace="kube-system")
    await make(client, "a", namespace="kube-public")
    assert names(await client.get(MAPS)) == ["a", "b"]
    everywhere = await client.get("/api/v1/configmaps")
    found = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in everywhere["items"]]
    own = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking")
    assert found == [("default", "a"), ("default", "b"), ("kube-public", "a"), ("kube-system", "c"), own]


async def test_a_namespace_is_no_prefix_of_another(client: Client) -> None:
    await client.create("/api/v1/namespaces", {"metadata": {"name": "default-2"}})
    await make(client, "x", namespace="default-2")
    assert names(await client.get(MAPS)) == []


# Pages


async def test_pages_show_one_revision_whatever_happens_between_them(client: Client) -> None:
    await make(client, "a", "b", "c", "d", "e")
    first = await client.get(f"{MAPS}?limit=2")
    assert names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 3
    await make(client, "bb", "f")
    await client.delete(f"{MAPS}/c")
    await client.patch(f"{MAPS}/d", {"data": {"late": "yes"}})
    second = await client.get(f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (names(second), second["metadata"]["remainingItemCount"]) == (["c", "d"], 1)
    assert "data" not in second["items"][1]
    third = await client.get(f"{MAPS}?limit=2&continue={second['metadata']['continue']}")
    assert names(third) == ["e"]
    assert "continue" not in third["metadata"]
    assert "remainingItemCount" not in third["metadata"]
    revisions = {page["metadata"]["resourceVersion"] for page in (first, second, third)}
    assert len(revisions) == 1


async def test_a_page_that_is_the_last_one_says_so(client: Client) -> None:
    await make(client, "a", "b")
    assert "continue" not in (await client.get(f"{MAPS}?limit=2"))["metadata"]


@pytest.mark.parametrize("more", ["", "&labelSelector=parity=0"])
async def test_a_limit_below_nothing_is_none(client: Client, more: str) -> None:
    assert names(await client.get(f"{MAPS}?limit=-1{more}")) == []
    await make(client, "a", "b", parity="0")
    assert names(await client.get(f"{MAPS}?limit=-1{more}")) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "invalid syntax"),
        ("%C2%B2", "invalid syntax"),
        ("1_0", "invalid syntax"),
        ("%201", "invalid syntax"),
        ("9223372036854775808", "value out of range"),
        ("9" * 5000, "value out of range"),
    ],
)
async def test_numbers_are_those_of_64_bits(client: Client, text: str, problem: str) -> None:
    (made,) = await make(client, "a")
    past = f"resourceVersion={made['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
    await make(client, "b")
    for method, target in (
        ("GET", f"{MAPS}?{past}&limit={text}"),
        ("GET", f"{MAPS}?timeoutSeconds={text}"),
        ("DELETE", f"{MAPS}/a?gracePeriodSeconds={text}"),
    ):
        answer = await client.call(method, target)
        assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
        assert answer.body["message"] == f'strconv.ParseInt: parsing "{unquote(text)}": {problem}'
    future = await client.call("GET", f"{MAPS}?resourceVersion={'9' * 5000}")
    assert (future.status, "value out of range" in future.body["message"]) == (422, True)
    longest = await client.get(f"{MAPS}?{past}&limit=9223372036854775807")
    assert names(longest) == ["a"]


async def test_pages_of_a_selection_do_not_count_what_remains(client: Client) -> None:
    for number in range(6):
        await make(client, f"x{number}", parity=str(number % 2))
    first = await client.get(f"{MAPS}?limit=2&labelSelector=parity=0")
    assert names(first) == ["x0", "x2"]
    assert "remainingItemCount" not in first["metadata"]
    second = await client.get(
        f"{MAPS}?limit=2&labelSelector=parity=0&continue={first['metadata']['continue']}"
    )
    assert names(second) == ["x4"]
    assert "continue" not in second["metadata"]


async def test_a_token_of_a_compacted_revision_is_expired_and_comes_with_an_inconsistent_one(
    client: Client, server: APIServer
) -> None:
    await make(client, "a", "b", "c", "d")
    first = await client.get(f"{MAPS}?limit=2")
    await make(client, "e")
    await server.store.compact(server.store.revision)
    gone = await client.call("GET", f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (gone.status, gone.body["reason"], gone.body["code"]) == (410, "Expired", 410)
    assert gone.body["message"].startswith(
        "The provided continue parameter is too old to display a consistent list result."
    )
    rest = await client.get(f"{MAPS}?continue={gone.body['metadata']['continue']}")
    assert names(rest) == ["c", "d", "e"]
    assert rest["metadata"]["resourceVersion"] == str(server.store.revision)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("%21%21", "continue key is not valid: illegal base64 data at input byte 0"),
        ("YWJj-a%21a", "continue key is not valid: illegal base64 data at input byte 6"),
        ("e30", "continue key is not valid: server does not recognize this encoded version"),
        ("eyJ2IjoieCIsInJ2IjoxLCJzdGFydCI6ImEifQ", "server does not recognize this encoded version"),
        # {"v":"meta.k8s.io/v1","rv":1,"start":"../x"}
        ("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi94In0", "continue key is not valid: "),
    ],
)
async def test_bad_tokens(client: Client, token: str, message: str) -> None:
    answer = await client.call("GET", f"{MAPS}?continue={token}")
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert answer.body["message"].startswith("invalid continue token: continue key is not valid: ")
    assert message in answer.body["message"]


async def test_a_token_and_a_resource_version_do_not_go_together(client: Client) -> None:
    await make(client, "a", "b")
    token = (await client.get(f"{MAPS}?limit=1"))["metadata"]["continue"]
    answer = await client.call("GET", f"{MAPS}?continue={token}&resourceVersion=5")
    assert (answer.status, answer.body["message"]) == (
        400,
        "specifying resource version is not allowed when using continue",
    )


# Revisions


async def test_exact_gives_the_past(client: Client) -> None:
    (made,) = await make(client, "a")
    then = made["metadata"]["resourceVersion"]
    await make(client, "b")
    await client.delete(f"{MAPS}/a")
    past = await client.get(f"{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")
    assert (names(past), past["metadata"]["resourceVersion"]) == (["a"], then)


async def test_not_older_than_and_any_give_the_present(client: Client) -> None:
    (made,) = await make(client, "a")
    await make(client, "b")
    for query in (
        "0",
        f"{made['metadata']['resourceVersion']}&resourceVersionMatch=NotOlderThan",
        "0&limit=1",
    ):
        listed = await client.get(f"{MAPS}?resourceVersion={query}")
        assert listed["metadata"]["resourceVersion"] == str(client.server.store.revision)


async def test_a_limit_with_a_resource_version_is_exact(client: Client) -> None:
    (made,) = await make(client, "a")
    await make(client, "b")
    then = made["metadata"]["resourceVersion"]
    assert names(await client.get(f"{MAPS}?limit=5&resourceVersion={then}")) == ["a"]


async def test_the_compacted_past_is_expired(client: Client, server: APIServer) -> None:
    (made,) = await make(client, "a")
    await make(client, "b")
    await server.store.compact(server.store.revision)
    then = made["metadata"]["resourceVersion"]
    answer = await client.call("GET", f"{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")
    assert (answer.status, answer.body["reason"]) == (410, "Expired")
    assert answer.body["message"] == "The resourceVersion for the provided list is too old."


async def test_any_known_version_of_one_object_will_do(client: Client) -> None:
    (made,) = await make(client, "a")
    for revision in ("", "0", made["metadata"]["resourceVersion"]):
        assert (await client.call("GET", f"{MAPS}/a?resourceVersion={revision}")).status == 200


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch",
            "forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Nearly",
            "resourceVersionMatch",
            'Unsupported value: "Nearly"',
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch",
            'forbidden for resourceVersion "0"',
        ),
        ("resourceVersion=x", "resourceVersion", 'Invalid value: "x"'),
        ("sendInitialEvents=true", "sendInitialEvents", "sendInitialEvents is forbidden for list"),
        ("resourceVersionMatch=NotOlderThan&watch=1", "resourceVersionMatch", "forbidden for watch unless"),
        ("sendInitialEvents=true&watch=1", "resourceVersionMatch", "requires setting resourceVersionMatch"),
    ],
)
async def test_options_that_make_no_sense(client: Client, query: str, field: str, message: str) -> None:
    answer = await client.call("GET", f"{MAPS}?{query}")
    assert (answer.status, answer.body["reason"]) == (422, "Invalid"), answer.body
    assert answer.body["details"]["kind"] == "ListOptions"
    assert answer.body["details"]["causes"][0]["field"] == field
    assert message in answer.body["message"]


# Selectors


async def test_label_selectors(client: Client) -> None:
    await make(client, "a", tier="front", env="prod")
    await make(client, "b", tier="back", env="prod")
    await make(client, "c")
    for selector, expected in {
        "tier=front": ["a"],
        "tier!%3Dfront": ["b", "c"],
        "tier in (front,back)": ["a", "b"],
        "tier notin (front)": ["b", "c"],
        "tier": ["a", "b"],
        "!tier": ["c"],
        "env=prod,tier=back": ["b"],
        "": ["a", "b", "c"],
    }.items():
        target = f"{MAPS}?labelSelector={selector.replace(' ', '%20')}"
        assert names(await client.get(target)) == expected, selector


async def test_field_selectors(client: Client) -> None:
    await make(client, "a", "b")
    await make(client, "a", namespace="kube-system")
    assert names(await client.get(f"{MAPS}?fieldSelector=metadata.name%3Db")) == ["b"]
    assert names(await client.get(f"{MAPS}?fieldSelector=metadata.name!%3Db")) == ["a"]
    everywhere = await client.get(
        "/api/v1/configmaps?fieldSelector=metadata.name%3Da,metadata.namespace%3Dkube-system"
    )
    assert [item["metadata"]["namespace"] for item in everywhere["items"]] == ["kube-system"]


async def _refused(client: Client, query: str) -> Answer:
    answer = await client.call("GET", f"{MAPS}?{query}")
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    return answer


async def test_bad_selectors_in_upstreams_words(client: Client) -> None:
    label = await _refused(client, "labelSelector=a%20b")
    assert label.body["message"].startswith("unable to parse requirement: ")
    assert label.body["message"].count("unable to parse requirement") == 1
    assert (await _refused(client, "fieldSelector=spec.x%3D1")).body[
        "message"
    ] == "field label not supported: spec.x"
    assert "can't understand" in (await _refused(client, "fieldSelector=nonsense")).body["message"]
    assert 'parsing "x": invalid syntax' in (await _refused(client, "limit=x")).body["message"]


async def test_many_lists_and_writes_at_once_stay_consistent(client: Client) -> None:
    await make(client, *(f"m{number:03}" for number in range(40)))

    async def walk() -> list[str]:
        found: list[str] = []
        token = ""
        while True:
            page = await client.get(f"{MAPS}?limit=7{'&continue=' + token if token else ''}")
            found += names(page)
            await asyncio.sleep(0)
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    async def churn() -> None:
        for number in range(0, 40, 3):
            await client.delete(f"{MAPS}/m{number:03}")

    first, second, _ = await asyncio.gather(walk(), walk(), churn())
    assert first == second == [f"m{number:03}" for number in range(40)]
