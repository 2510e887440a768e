"""The life of a definition: names and conditions, changes under open watches, the end with everything it defined."""

import asyncio

import pytest
from definitions import (
    DEFINITIONS,
    GROUP,
    TABS,
    conditions,
    define,
    definition,
    redefine,
    tab,
    version,
    with_schema,
)
from served import JSON_PATCH, Client, Object, no_kubelet, running, settle

from tiphys.apiserver.customresources.status import Taken, accept_names, plan, taken_by
from tiphys.apiserver.server import APIServer, Settings
from tiphys.store.memory import MemoryStore
from tiphys.testing.clock import START, FakeClock

CRONTABS = f"{DEFINITIONS}/crontabs.{GROUP}"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


async def gone(client: Client, target: str = CRONTABS) -> bool:
    await settle()
    return (await client.call("GET", target)).status == 404


# Names and conditions


@pytest.mark.parametrize(
    ("wanted", "reason", "message"),
    [
        ({"plural": "tabs"}, "PluralConflict", '"tabs" is already in use'),
        ({"singular": "tab"}, "SingularConflict", '"tab" is already in use'),
        (
            {"shortNames": ["t", "u", "v"]},
            "ShortNamesConflict",
            '["t" is already in use, "u" is already in use]',
        ),
        ({"kind": "Tab"}, "KindConflict", '"Tab" is already in use'),
        ({"listKind": "TabList"}, "ListKindConflict", '"TabList" is already in use'),
    ],
)
def test_a_name_that_another_definition_has_is_refused(wanted: Object, reason: str, message: str) -> None:
    taken = taken_by(
        [
            {
                "plural": "tabs",
                "singular": "tab",
                "shortNames": ["t", "u"],
                "kind": "Tab",
                "listKind": "TabList",
            }
        ]
    )
    names = {"plural": "others", "singular": "other", "kind": "Other", "listKind": "OtherList"} | wanted
    accepted, verdict = accept_names(names, {}, taken)
    assert verdict == ("False", reason, message)
    (field,) = wanted
    assert not accepted.get(field)


def test_names_that_were_accepted_before_stay() -> None:
    accepted = {
        "plural": "tabs",
        "singular": "tab",
        "kind": "Tab",
        "listKind": "TabList",
        "shortNames": ["t"],
    }
    taken = Taken(frozenset({"u"}), frozenset())
    names, verdict = accept_names({**accepted, "shortNames": ["u"]}, accepted, taken)
    assert (names["shortNames"], verdict[1]) == (["t"], "ShortNamesConflict")
    names, verdict = accept_names({**accepted, "shortNames": ["tabs"]}, accepted, taken)
    assert (names["shortNames"], verdict[1]) == (["tabs"], "NoConflicts")


@pytest.mark.parametrize(
    ("annotation", "condition"),
    [
        ("https://github.com/kubernetes/kubernetes/pull/1", ("True", "ApprovedAnnotation")),
        ("unapproved, an experiment", ("False", "UnapprovedAnnotation")),
        ("", ("False", "MissingAnnotation")),
        ("yes", ("False", "InvalidAnnotation")),
    ],
)
def test_approval_of_kinds_in_groups_of_kubernetes(annotation: str, condition: tuple[str, str]) -> None:
    found = definition(group="tests.k8s.io")
    found["metadata"]["annotations"] = {"api-approved.kubernetes.io": annotation} if annotation else {}
    status = plan(found, Taken(), START)
    assert conditions({"status": status})["KubernetesAPIApprovalPolicyConformant"] == condition


def test_a_settled_status_is_left_alone() -> None:
    found = definition()
    found["status"] = plan(found, Taken(), START)
    assert plan(found, Taken(), START) == found["status"]


async def test_a_kind_with_a_taken_name_waits_for_it(client: Client) -> None:
    await define(client, definition(plural="ones", kind="One", names={"plural": "ones", "kind": "Same"}))
    second = await define(client, definition(plural="twos", names={"plural": "twos", "kind": "Same"}))
    assert conditions(second) == {
        "NamesAccepted": ("False", "ListKindConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert (await client.call("GET", f"/apis/{GROUP}/v1/twos")).status == 404
    await client.delete(f"{DEFINITIONS}/ones.{GROUP}")
    await settle()
    second = await client.get(f"{DEFINITIONS}/twos.{GROUP}")
    assert conditions(second)["Established"] == ("True", "InitialNamesAccepted")
    assert (await client.get(f"/apis/{GROUP}/v1/twos"))["items"] == []


async def test_formats_that_nobody_checks_are_warned_of(client: Client) -> None:
    def formed(**formats: str) -> Object:
        fields = {name: {"type": "string", "format": form} for name, form in formats.items()}
        fields["count"] = {"type": "integer", "format": "int32"}
        return definition(with_schema({"type": "object", "properties": fields}))

    made = await client.call("POST", DEFINITIONS, formed(at="date-time", what="strange"))
    assert made.warnings == ('299 - "unrecognized format \\"strange\\""',)
    await settle()
    current = await client.get(CRONTABS)
    changed = {**current, "spec": formed(what="strange", more="stranger")["spec"]}
    answer = await client.call("PUT", CRONTABS, changed)
    assert answer.warnings == ('299 - "unrecognized format \\"stranger\\""',)


# Changes


async def test_watches_end_when_a_definition_changes_and_go_on_when_it_does_not(client: Client) -> None:
    await define(client)
    watch = await client.watch(f"{TABS}?watch=1")
    await client.patch(CRONTABS, {"metadata": {"labels": {"a": "b"}}})
    await settle()
    assert watch.open
    await redefine(
        client,
        definition(
            version(),
            scope="Namespaced",
            names={"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
        ),
    )
    assert not watch.open
    watch = await client.watch(f"{TABS}?watch=1")
    await client.create(TABS, tab("a"))
    assert watch.summary() == [("ADDED", "a")]


async def test_a_version_that_is_no_longer_served_is_gone_at_once(client: Client) -> None:
    await define(client, definition(version("v1"), version("v2", storage=False)))
    second = TABS.replace("/v1/", "/v2/")
    assert (await client.call("GET", second)).status == 200
    await redefine(client, definition(version("v1"), version("v2", storage=False, served=False)))
    assert (await client.call("GET", second)).status == 404
    assert (await client.call("GET", f"/apis/{GROUP}/v2")).status == 404
    assert (await client.call("GET", TABS)).status == 200


async def test_discovery_follows(client: Client) -> None:
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    below = {"status": {}, "scale": scale}
    await define(client, definition(version("v1beta1", storage=False), version("v1", subresources=below)))
    group = await client.get(f"/apis/{GROUP}")
    assert [each["version"] for each in group["versions"]] == ["v1", "v1beta1"]
    assert group["preferredVersion"]["version"] == "v1"
    found = await client.get(f"/apis/{GROUP}/v1")
    assert [(each["name"], each["kind"]) for each in found["resources"]] == [
        ("crontabs", "CronTab"),
        ("crontabs/status", "CronTab"),
        ("crontabs/scale", "Scale"),
    ]
    assert found["resources"][0]["singularName"] == "crontab"
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    whole = await client.get("/apis", accept=aggregated)
    (items,) = (each for each in whole["items"] if each["metadata"]["name"] == GROUP)
    assert [each["version"] for each in items["versions"]] == ["v1", "v1beta1"]
    kind = {"group": GROUP, "version": "v1", "kind": "CronTab"}
    assert items["versions"][0]["resources"] == [
        {
            "resource": "crontabs",
            "responseKind": kind,
            "scope": "Namespaced",
            "singularResource": "crontab",
            "verbs": ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"],
            "subresources": [
                {"subresource": "status", "responseKind": kind, "verbs": ["get", "patch", "update"]},
                {
                    "subresource": "scale",
                    "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
                    "verbs": ["get", "patch", "update"],
                },
            ],
        }
    ]
    await client.delete(CRONTABS)
    assert await gone(client)
    assert (await client.call("GET", f"/apis/{GROUP}")).status == 404
    whole = await client.get("/apis", accept=aggregated)
    assert GROUP not in [each["metadata"]["name"] for each in whole["items"]]


async def test_openapi_follows(client: Client) -> None:
    await define(client)
    document = await client.get(f"/openapi/v3/apis/{GROUP}/v1")
    schema = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert schema["properties"]["spec"]["properties"]["image"] == {"type": "string", "default": "busybox"}
    assert f"/apis/{GROUP}/v1/namespaces/{{namespace}}/crontabs" in document["paths"]
    swagger = await client.get("/openapi/v2")
    assert "com.example.stable.v1.CronTab" in swagger["definitions"]
    await client.delete(CRONTABS)
    assert await gone(client)
    assert (await client.call("GET", f"/openapi/v3/apis/{GROUP}/v1")).status == 404
    assert "com.example.stable.v1.CronTab" not in (await client.get("/openapi/v2"))["definitions"]


async def test_definitions_that_go_while_openapi_is_made(client: Client) -> None:
    for position in range(30):
        await client.create(DEFINITIONS, definition(group=f"g{position}.example.com"))
    await settle()
    asking = asyncio.create_task(client.call("GET", "/openapi/v2"))
    await asyncio.sleep(0)
    await client.delete(DEFINITIONS)
    assert (await asking).status == 200
    await settle()
    found = (await client.get("/openapi/v2"))["definitions"]
    assert not [name for name in found if name.startswith("com.example")]


# Conformance: CustomResourceDefinition resources, and watching them


@pytest.mark.conformance(
    "CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition creating/deleting custom resource definition objects works"
)
async def test_definitions_are_made_and_deleted(client: Client) -> None:
    await define(client)
    answer = await client.call("DELETE", CRONTABS)
    assert answer.status == 200
    assert await gone(client)


@pytest.mark.conformance(
    "CustomResourceDefinition resources [Privileged:ClusterAdmin] Simple CustomResourceDefinition listing custom resource definition objects works"
)
async def test_definitions_are_listed_and_deleted_by_label(client: Client) -> None:
    for position in range(10):
        wanted = definition(plural=f"tabs{position}", kind=f"Tab{position}")
        wanted["metadata"]["labels"] = {"run": "list"}
        await client.create(DEFINITIONS, wanted)
    await define(client)
    assert len((await client.get(f"{DEFINITIONS}?labelSelector=run=list"))["items"]) == 10
    await client.delete(f"{DEFINITIONS}?labelSelector=run=list")
    await settle()
    left = (await client.get(DEFINITIONS))["items"]
    assert [item["metadata"]["name"] for item in left] == [f"crontabs.{GROUP}"]


async def test_the_status_of_a_definition_is_read_updated_and_patched(client: Client) -> None:
    await define(client)
    found = await client.get(f"{CRONTABS}/status")
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from a test"}
    found["status"]["conditions"].append(condition)
    await client.put(f"{CRONTABS}/status", found)
    assert conditions(await client.get(CRONTABS))["StatusUpdate"] == ("True", "E2E")
    condition = {"type": "StatusPatched", "status": "True", "reason": "E2E"}
    patch = [{"op": "add", "path": "/status/conditions/-", "value": condition}]
    patched = await client.patch(f"{CRONTABS}/status", patch, JSON_PATCH)
    assert conditions(patched)["StatusPatched"] == ("True", "E2E")
    assert conditions(patched)["StatusUpdate"] == ("True", "E2E")


@pytest.mark.conformance(
    "CustomResourceDefinition resources [Privileged:ClusterAdmin] should include custom resource definition resources in discovery documents"
)
async def test_definitions_are_in_discovery(client: Client) -> None:
    groups = (await client.get("/apis"))["groups"]
    assert "apiextensions.k8s.io" in [each["name"] for each in groups]
    resources = (await client.get("/apis/apiextensions.k8s.io/v1"))["resources"]
    assert "customresourcedefinitions" in [each["name"] for each in resources]


@pytest.mark.conformance(
    "CustomResourceDefinition Watch [Privileged:ClusterAdmin] CustomResourceDefinition Watch watch on custom resource definition objects"
)
async def test_custom_resources_of_two_names_are_watched_apart(client: Client) -> None:
    """The conformance test "watch on custom resource definition objects"."""
    await define(client, definition(scope="Cluster"))
    everywhere = f"/apis/{GROUP}/v1/crontabs"
    first = await client.watch(f"{everywhere}?watch=1&fieldSelector=metadata.name=first")
    second = await client.watch(f"{everywhere}?watch=1&fieldSelector=metadata.name=second")
    for name in ("first", "second"):
        await client.create(everywhere, tab(name))
        await client.patch(f"{everywhere}/{name}", {"spec": {"replicas": 1}})
        await client.delete(f"{everywhere}/{name}")
    assert first.summary() == [("ADDED", "first"), ("MODIFIED", "first"), ("DELETED", "first")]
    assert second.summary() == [("ADDED", "second"), ("MODIFIED", "second"), ("DELETED", "second")]


# The end


async def test_a_definition_goes_after_its_objects(client: Client) -> None:
    await define(client)
    watch = await client.watch(f"{TABS}?watch=1")
    definitions = await client.watch(f"{DEFINITIONS}?watch=1")
    await client.create(TABS, tab("a"))
    dying = await client.delete(CRONTABS)
    assert dying["metadata"]["finalizers"] == [CLEANUP]
    assert conditions(dying)["Terminating"] == ("True", "InstanceDeletionPending")
    assert await gone(client)
    assert watch.summary() == [("ADDED", "a"), ("DELETED", "a")]
    assert not watch.open
    told = [conditions(obj).get("Terminating") for _, obj in definitions.events()]
    assert [each[1] for each in told[-3:] if each] == [
        "InstanceDeletionPending",
        "InstanceDeletionInProgress",
        "InstanceDeletionInProgress",  # the last state, of the event of its deletion
    ]
    assert (await client.call("GET", TABS)).status == 404
    # Defined again, it has nothing of before.
    await define(client)
    assert (await client.get(TABS))["items"] == []


async def test_objects_with_finalizers_keep_a_definition(client: Client, clock: FakeClock) -> None:
    await define(client)
    held = {**tab("a"), "metadata": {"name": "a", "finalizers": ["example.com/hold"]}}
    await client.create(TABS, held)
    await client.delete(CRONTABS)
    await settle()
    refused = await client.call("POST", TABS, tab("b"))
    assert (refused.status, refused.body["reason"], refused.body["message"]) == (
        405,
        "MethodNotAllowed",
        "create not allowed while custom resource definition is terminating",
    )
    assert (await client.get(f"{TABS}/a"))["metadata"]["deletionTimestamp"]
    (told,) = (await client.get(f"/apis/{GROUP}/v1"))["resources"]
    assert told["verbs"] == ["delete", "deletecollection", "get", "list", "watch"]
    await clock.advance(61)
    await settle()
    condition = (await client.get(CRONTABS))["status"]["conditions"][-1]
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "True",
        "InstanceDeletionCheck",
        "could not confirm zero CustomResources remaining: timed out waiting for the condition",
    )
    await clock.advance(1)
    await client.patch(f"{TABS}/a", {"metadata": {"finalizers": None}})
    assert await gone(client)


async def test_a_definition_that_was_never_established_goes_at_once(client: Client) -> None:
    await define(client, definition(plural="ones", names={"plural": "ones", "kind": "Same"}))
    await define(client, definition(plural="twos", names={"plural": "twos", "kind": "Same"}))
    await client.delete(f"{DEFINITIONS}/twos.{GROUP}")
    assert await gone(client, f"{DEFINITIONS}/twos.{GROUP}")


async def test_definitions_come_and_go_in_a_storm(client: Client) -> None:
    for turn in range(5):
        names = [(f"storms{position}", f"Storm{position}") for position in range(20)]
        await asyncio.gather(
            *(client.create(DEFINITIONS, definition(plural=plural, kind=kind)) for plural, kind in names)
        )
        await settle()
        await settle()
        for plural, kind in names:
            made = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": f"turn{turn}"}}
            await client.create(f"/apis/{GROUP}/v1/namespaces/default/{plural}", made)
        await asyncio.gather(*(client.delete(f"{DEFINITIONS}/{plural}.{GROUP}") for plural, _ in names))
        for plural, _ in names:
            assert await gone(client, f"{DEFINITIONS}/{plural}.{GROUP}")
    assert not client.server.store.list(f"/registry/{GROUP}/").entries
    assert not client.server.reads.feeds.open


# After a restart


class Unclosed(MemoryStore):
    """A store that outlives the server over it, as a file does."""

    async def close(self) -> None:
        """The next server needs it."""


async def test_everything_is_served_from_the_first_request_after_a_restart(
    clock: FakeClock, signing_key: bytes
) -> None:
    store = Unclosed()
    async with running(clock, signing_key, store=store) as server:
        await define(Client(server))
        await Client(server).create(TABS, tab("a"))
    server = APIServer(store, Settings(signing_key), kubelet_client=no_kubelet, clock=clock)
    try:
        found = await Client(server).get(f"{TABS}/a")  # nothing was started yet
        assert found["spec"]["image"] == "busybox"
    finally:
        await server.close()


@pytest.mark.parametrize("step", ["created", "terminating"])
async def test_a_server_that_was_killed_between_two_steps_goes_on(
    clock: FakeClock, signing_key: bytes, step: str
) -> None:
    """Only what is in the store counts: the first server is never started, so it takes no step by itself."""
    store = Unclosed()
    async with running(clock, signing_key, store=store) as server:
        if step == "terminating":
            await define(Client(server))
            await Client(server).create(TABS, tab("a"))
    idle = APIServer(store, Settings(signing_key), kubelet_client=no_kubelet, clock=clock)
    if step == "created":
        await Client(idle).create(DEFINITIONS, definition())
    else:
        await Client(idle).delete(CRONTABS)
    await settle()
    before = await Client(idle).get(CRONTABS)
    assert "Established" not in conditions(before) or conditions(before)["Terminating"][0] == "True"
    await idle.close()
    revived = APIServer(store, Settings(signing_key), kubelet_client=no_kubelet, clock=clock)
    revived.start()
    try:
        await settle()
        if step == "created":
            assert (await Client(revived).call("GET", TABS)).status == 200
        else:
            assert await gone(Client(revived))
            assert not store.list(f"/registry/{GROUP}/").entries
    finally:
        await revived.close()
