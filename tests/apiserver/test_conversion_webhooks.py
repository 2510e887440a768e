"""Custom resources of several versions that a webhook converts: reads, lists, watches, writes, and what it may not do."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest
from definitions import DEFINITIONS, GROUP, TABS, define, definition, redefine, tab, version
from served import Answer, Client, Object, Watch
from webhook_server import Webhook, certificate, webhook

from tiphys.api.resource import Resource
from tiphys.apiserver.local import LocalAPI
from tiphys.client.inprocess import InProcessTransport
from tiphys.machinery.errors import StatusError
from tiphys.testing.clock import FakeClock

SECOND = TABS.replace("/v1/", "/v2/")
KIND = f"{GROUP}/v1, Kind=CronTab"


def converted(review: Object) -> Object:
    """Versions keep the same number under another name."""
    request = review["request"]
    desired = request["desiredAPIVersion"]
    objects = []
    for obj in request["objects"]:
        spec = dict(obj["spec"])
        if desired.endswith("/v2") and "replicas" in spec:
            spec["size"] = spec.pop("replicas")
        elif desired.endswith("/v1") and "size" in spec:
            spec["replicas"] = spec.pop("size")
        objects.append({**obj, "apiVersion": desired, "spec": spec})
    return respond(review, convertedObjects=objects)


def respond(review: Object, **response: object) -> Object:
    return {
        "apiVersion": review["apiVersion"],
        "kind": "ConversionReview",
        "response": {"uid": review["request"]["uid"], "result": {"status": "Success"}, **response},
    }


def v2(**more: object) -> Object:
    found = version("v2", storage=False, **more)
    spec = found["schema"]["openAPIV3Schema"]["properties"]["spec"]
    properties = {"cronSpec": {"type": "string"}, "size": {"type": "integer"}, "image": {"type": "string"}}
    return {
        **found,
        "schema": {
            "openAPIV3Schema": {"type": "object", "properties": {"spec": {**spec, "properties": properties}}}
        },
    }


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, str]:
    return certificate(Path(tmp_path_factory.mktemp("pki")), "127.0.0.1", "hook.default.svc")


@pytest.fixture
async def hook(identity: tuple[ssl.SSLContext, str]) -> AsyncIterator[Webhook]:
    async with webhook(*identity, converted) as found:
        yield found


def converting(hook: Webhook, *versions: Object, review_versions: tuple[str, ...] = ("v1",)) -> Object:
    conversion = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": hook.client_config, "conversionReviewVersions": list(review_versions)},
    }
    return definition(*(versions or (version("v1"), v2())), conversion=conversion)


async def until(holds: Callable[[], bool]) -> None:
    """The webhook is another program: its answer takes as long as it takes."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.001)


async def summary(watch: Watch, count: int) -> list[tuple[str, str, object]]:
    await until(lambda: watch.wire.data.count(b"\n") >= count)
    return [(kind, obj["metadata"]["name"], obj["spec"].get("size")) for kind, obj in watch.events()]


@pytest.mark.conformance(
    "CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR v1 to CR v2"
)
async def test_an_object_of_one_version_is_read_in_another(client: Client, hook: Webhook) -> None:
    """The conformance test "convert from CR v1 to CR v2"."""
    await define(client, converting(hook))
    made = await client.create(TABS, tab("a", replicas=3))
    found = await client.get(f"{SECOND}/a")
    assert found["apiVersion"] == f"{GROUP}/v2"
    assert found["spec"] == {"cronSpec": "* * * * *", "image": "busybox", "size": 3}
    assert found["metadata"] == made["metadata"]
    (review,) = hook.reviews
    assert (review["apiVersion"], review["kind"]) == ("apiextensions.k8s.io/v1", "ConversionReview")
    assert review["request"]["desiredAPIVersion"] == f"{GROUP}/v2"
    assert "resourceVersion" not in review["request"]["objects"][0]["metadata"]
    await client.get(f"{SECOND}/a")
    assert len(hook.reviews) == 1, "what was converted once is not asked for again"


@pytest.mark.conformance(
    "CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert a non homogeneous list of CRs"
)
async def test_lists_of_mixed_versions(client: Client, hook: Webhook) -> None:
    """The conformance test "convert a non homogeneous list of CRs"."""
    await define(client, converting(hook))
    await client.create(TABS, tab("a", replicas=1))
    await client.create(TABS, tab("b", replicas=2))
    stored_second = converting(hook, version("v1", storage=False), {**v2(), "storage": True})
    await redefine(client, stored_second)
    await client.create(SECOND, {**tab("c", version="v2"), "spec": {"size": 3}})
    hook.reviews.clear()
    for _ in range(2):
        listed = (await client.get(SECOND))["items"]
        assert [(item["apiVersion"], item["spec"]["size"]) for item in listed] == [
            (f"{GROUP}/v2", 1),
            (f"{GROUP}/v2", 2),
            (f"{GROUP}/v2", 3),
        ]
    (review,) = hook.reviews
    assert [obj["metadata"]["name"] for obj in review["request"]["objects"]] == ["a", "b"]


async def test_a_write_in_another_version_is_stored_converted(client: Client, hook: Webhook) -> None:
    await define(client, converting(hook))
    made = await client.create(SECOND, {**tab("a", version="v2"), "spec": {"size": 4}})
    assert (made["apiVersion"], made["spec"]["size"]) == (f"{GROUP}/v2", 4)
    (entry,) = client.server.store.list(f"/registry/{GROUP}/crontabs/").entries
    assert orjson.loads(entry.value)["spec"]["replicas"] == 4
    patched = await client.patch(f"{SECOND}/a", {"spec": {"size": 5}})
    assert patched["spec"]["size"] == 5
    assert (await client.get(f"{TABS}/a"))["spec"]["replicas"] == 5
    same = await client.patch(f"{SECOND}/a", {"spec": {"size": 5}})
    assert same["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]
    assert (await client.call("DELETE", f"{SECOND}/a")).status == 200


async def test_watches_convert_in_order(client: Client, hook: Webhook) -> None:
    await define(client, converting(hook))
    await client.create(TABS, tab("before", replicas=1))
    watch = await client.watch(f"{SECOND}?watch=1")
    assert await summary(watch, 1) == [("ADDED", "before", 1)]
    revision = (await client.get(TABS))["metadata"]["resourceVersion"]
    resumed = await client.watch(f"{SECOND}?watch=1&resourceVersion={revision}")
    plain = await client.watch(f"{TABS}?watch=1&resourceVersion={revision}")
    hook.gate.clear()
    hook.reviews.clear()
    for number in range(3):
        await client.create(TABS, tab(f"n{number}", replicas=number))
    await client.delete(f"{TABS}/n0")
    assert [name for _, name in plain.summary()] == ["n0", "n1", "n2", "n0"], "others do not wait"
    assert watch.events() == []
    hook.gate.set()
    expected = [("ADDED", "n0", 0), ("ADDED", "n1", 1), ("ADDED", "n2", 2), ("DELETED", "n0", 0)]
    assert await summary(watch, 5) == expected
    assert await summary(resumed, 4) == expected
    assert len(hook.reviews) == 2, "what waited is asked for together, once for both watches"


@pytest.mark.conformance(
    "CustomResourceFieldSelectors [Privileged:ClusterAdmin] CustomResourceFieldSelectors MUST list and watch custom resources matching the field selector"
)
async def test_field_selectors_see_the_version_of_the_request(client: Client, hook: Webhook) -> None:
    """The conformance test of selectable fields, with a version that must be converted."""
    first = version("v1", selectableFields=[{"jsonPath": ".spec.replicas"}])
    second = v2(selectableFields=[{"jsonPath": ".spec.size"}])
    await define(client, converting(hook, first, second))
    watch = await client.watch(f"{SECOND}?watch=1&fieldSelector=spec.size=1")
    for name, replicas in (("a", 1), ("b", 2), ("c", 1)):
        await client.create(TABS, tab(name, replicas=replicas))
    listed = await client.get(f"{SECOND}?fieldSelector=spec.size=1")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "c"]
    limited = await client.get(f"{SECOND}?fieldSelector=spec.size=1&limit=1")
    assert [item["metadata"]["name"] for item in limited["items"]] == ["a"]
    listed = await client.get(f"{TABS}?fieldSelector=spec.replicas=2")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]
    await client.patch(f"{TABS}/a", {"spec": {"replicas": 7}})
    gone = await client.delete(f"{SECOND}?fieldSelector=spec.size=1")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["c"]
    told = await summary(watch, 4)
    assert [(kind, name) for kind, name, _ in told] == [
        ("ADDED", "a"),
        ("ADDED", "c"),
        ("DELETED", "a"),
        ("DELETED", "c"),
    ]


async def test_old_reviews(client: Client, hook: Webhook) -> None:
    await define(client, converting(hook, review_versions=("v1beta1", "v1")))
    hook.answer = lambda review: {
        "response": {k: v for k, v in converted(review)["response"].items() if k != "uid"}
    }
    await client.create(TABS, tab("a", replicas=3))
    assert (await client.get(f"{SECOND}/a"))["spec"]["size"] == 3
    assert hook.reviews[0]["apiVersion"] == "apiextensions.k8s.io/v1beta1"


def _renamed(review: Object) -> Object:
    answer = converted(review)
    for obj in answer["response"]["convertedObjects"]:
        obj["metadata"] = {**obj["metadata"], "name": "other"}
    return answer


def _labelled(labels: object) -> Callable[[Object], Object]:
    def answer(review: Object) -> Object:
        made = converted(review)
        for obj in made["response"]["convertedObjects"]:
            obj["metadata"] = {**obj["metadata"], "labels": labels}
        return made

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda review: respond(review, result={"status": "Failure", "message": "no such thing"}),
            f"conversion webhook for {KIND} failed: no such thing",
        ),
        (
            lambda review: respond(review, result={}),
            f"conversion webhook for {KIND} failed: response.result.status was '', not 'Success'",
        ),
        (
            lambda review: {**respond(review), "kind": "Other"},
            f"conversion webhook for {KIND} failed: expected webhook response of apiextensions.k8s.io/v1, "
            "Kind=ConversionReview, got apiextensions.k8s.io/v1, Kind=Other",
        ),
        (
            lambda review: {"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview"},
            f"conversion webhook for {KIND} failed: no response provided",
        ),
        (
            lambda review: respond(review, convertedObjects=[]),
            f"conversion webhook for {KIND} returned 0 objects, expected 1",
        ),
        (
            lambda review: respond(review, convertedObjects=review["request"]["objects"]),
            f"conversion webhook for {KIND} returned invalid object at index 0: invalid groupVersion "
            f"(expected {GROUP}/v2, received {GROUP}/v1)",
        ),
        (
            _renamed,
            f"conversion webhook for {KIND} returned invalid object: must have the same name: a != other",
        ),
        (
            _labelled({"a": 1}),
            f"conversion webhook for {KIND} returned invalid metadata: metadata.labels[a] must be a string, but is int64 "
            "in converted object",
        ),
    ],
)
async def test_what_a_webhook_may_not_answer(
    client: Client, hook: Webhook, answer: Callable[[Object], Object], message: str
) -> None:
    await define(client, converting(hook))
    await client.create(TABS, tab("a"))
    hook.answer = answer
    refused = await client.call("GET", f"{SECOND}/a")
    assert (refused.status, refused.body["message"]) == (500, message)
    listed = await client.call("GET", SECOND)
    assert (listed.status, listed.body["message"]) == (500, message)
    watch = await client.watch(f"{SECOND}?watch=1")
    await until(lambda: not watch.open)
    ((kind, status),) = watch.events()
    assert (kind, status["code"], status["message"]) == ("ERROR", 500, message)


async def test_a_webhook_changes_labels_and_annotations_but_no_other_metadata(
    client: Client, hook: Webhook
) -> None:
    def answer(review: Object) -> Object:
        made = converted(review)
        for obj in made["response"]["convertedObjects"]:
            obj["metadata"] = {
                **obj["metadata"],
                "labels": {"by": "hook"},
                "generation": 99,
                "finalizers": ["x"],
            }
        return made

    await define(client, converting(hook))
    await client.create(TABS, tab("a"))
    hook.answer = answer
    found = (await client.get(f"{SECOND}/a"))["metadata"]
    assert (found["labels"], found["generation"], found.get("finalizers")) == ({"by": "hook"}, 1, None)
    assert len((await client.get(f"{SECOND}?labelSelector=by=hook"))["items"]) == 1
    assert (await client.get(f"{TABS}?labelSelector=by=hook"))["items"] == []


async def test_a_watch_ends_with_what_could_not_be_converted(client: Client, hook: Webhook) -> None:
    await define(client, converting(hook))
    watch = await client.watch(f"{SECOND}?watch=1")
    hook.status = 503
    await client.create(TABS, tab("a"))
    await until(lambda: not watch.open)
    ((kind, status),) = watch.events()
    assert kind == "ERROR"
    assert status["message"].startswith(f"conversion webhook for {KIND} failed: ")
    assert client.server.reads.feeds.open == []
    hook.status = 200
    assert (await client.get(f"{SECOND}/a"))["metadata"]["name"] == "a"


async def test_a_webhook_that_is_not_there(client: Client, hook: Webhook) -> None:
    wanted = converting(hook)
    wanted["spec"]["conversion"]["webhook"]["clientConfig"]["url"] = "https://127.0.0.1:1/convert"
    await define(client, wanted)
    await client.create(TABS, tab("a"))
    refused = await client.call("GET", f"{SECOND}/a")
    assert refused.body["message"] == (
        f'conversion webhook for {KIND} failed: Post "https://127.0.0.1:1/convert?timeout=30s": '
        "dial tcp 127.0.0.1:1: connect: connection refused"
    )
    # Objects that need no conversion are not touched by it, and the definition can still go.
    assert (await client.get(f"{TABS}/a"))["metadata"]["name"] == "a"
    await client.delete(f"{DEFINITIONS}/crontabs.{GROUP}")


async def test_a_webhook_whose_certificate_is_not_trusted(
    client: Client, hook: Webhook, tmp_path: Path
) -> None:
    _, other = certificate(tmp_path / "other", "127.0.0.1")
    hook.ca_bundle = other
    await define(client, converting(hook))
    await client.create(TABS, tab("a"))
    refused = await client.call("GET", f"{SECOND}/a")
    assert refused.status == 500
    assert "tls: failed to verify certificate: x509: " in refused.body["message"]


async def test_a_webhook_behind_a_service(client: Client, hook: Webhook) -> None:
    port = int(hook.url.split(":")[2].split("/")[0])
    services = "/api/v1/namespaces/default/services"
    reference = {"namespace": "default", "name": "hook", "path": "/crdconvert", "port": port}
    wanted = converting(hook)
    webhook_of(wanted)["clientConfig"] = {"service": reference, "caBundle": hook.ca_bundle}
    await define(client, wanted)
    await client.create(TABS, tab("a", replicas=3))
    where = f'Post "https://hook.default.svc:{port}/crdconvert?timeout=30s"'
    refused = await client.call("GET", f"{SECOND}/a")
    assert refused.body["message"] == (
        f'conversion webhook for {KIND} failed: {where}: service "hook" not found'
    )
    await client.create(services, {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": port}]}})
    refused = await client.call("GET", f"{SECOND}/a")
    assert refused.body["message"].endswith(f'{where}: no endpoints available for service "hook"')
    await client.delete(f"{services}/hook")
    outside = {"type": "ExternalName", "externalName": "localhost"}
    await client.create(services, {"metadata": {"name": "hook"}, "spec": outside})
    assert (await client.get(f"{SECOND}/a"))["spec"]["size"] == 3


async def test_a_cleanup_waits_for_the_webhook(client: Client, hook: Webhook, clock: FakeClock) -> None:
    await define(client, converting(hook))
    await client.create(TABS, tab("a"))
    await redefine(client, converting(hook, version("v1", storage=False), {**v2(), "storage": True}))
    hook.status = 503
    target = f"{DEFINITIONS}/crontabs.{GROUP}"
    await client.delete(target)

    async def told() -> Object:
        found = await client.call("GET", target)
        if found.status == 404:
            return {}
        (condition,) = (each for each in found.body["status"]["conditions"] if each["type"] == "Terminating")
        return dict(condition)

    async with asyncio.timeout(60):
        while (await told())["reason"] != "InstanceDeletionFailed":
            await asyncio.sleep(0.001)
        assert (await told())["message"].startswith("could not list instances: conversion webhook for ")
        hook.status = 200
        while await told():
            await clock.advance(1)


async def test_clients_in_this_process_see_their_version(client: Client, hook: Webhook) -> None:
    await define(client, converting(hook))
    await client.create(TABS, tab("before", replicas=1))
    row = Resource(group=GROUP, version="v2", kind="CronTab", plural="crontabs", namespaced=True)
    transport = InProcessTransport(LocalAPI(client.server), "admin", ("system:masters",))
    listing = await transport.list(row)
    assert [item["spec"]["size"] for item in listing.items] == [1]
    await client.create(TABS, tab("a", replicas=2))
    events = transport.watch(row, resource_version=listing.resource_version)
    first = await anext(events)
    await client.patch(f"{TABS}/a", {"spec": {"replicas": 3}})
    second = await anext(events)
    assert [(each.type, each.object["spec"]["size"]) for each in (first, second)] == [
        ("ADDED", 2),
        ("MODIFIED", 3),
    ]
    await client.delete(f"{DEFINITIONS}/crontabs.{GROUP}")
    with pytest.raises(StatusError) as ended:
        await _drain(events)
    assert ended.value.code == 410
    with pytest.raises(StatusError) as gone:
        await transport.list(row)
    assert gone.value.code == 404


async def _drain(events: AsyncIterator[object]) -> None:
    async for _ in events:
        pass


async def test_owners_of_fields_are_told_apart_in_their_own_versions(client: Client, hook: Webhook) -> None:
    """What one owns in v1 as `replicas` is what another would take in v2 as `size`."""
    await define(client, converting(hook))

    async def apply(manager: str, target: str, wanted: Object, *, force: bool = False) -> Answer:
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return await client.call(
            "PATCH", f"{target}/a{query}", wanted, content_type="application/apply-patch+yaml"
        )

    first = await apply("one", TABS, tab("a", replicas=1))
    assert first.status == 201, first.body
    second = {**tab("a", version="v2"), "spec": {"size": 2}}
    fight = await apply("two", SECOND, second)
    assert fight.status == 409, fight.body
    assert fight.body["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    won = await apply("two", SECOND, second, force=True)
    assert won.body["spec"]["size"] == 2
    owners = {
        each["manager"]: sorted(each["fieldsV1"]["f:spec"])
        for each in (await client.get(f"{TABS}/a"))["metadata"]["managedFields"]
    }
    assert owners == {"one": ["f:cronSpec"], "two": ["f:size"]}
    again = await client.patch(f"{TABS}/a", {"spec": {"image": "other"}})
    assert again["spec"]["replicas"] == 2


def webhook_of(wanted: Object) -> Object:
    found: Object = wanted["spec"]["conversion"]["webhook"]
    return found
