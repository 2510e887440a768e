"""Custom resources are served as built-in kinds are: every verb, by the definition's own words."""

from typing import Any

import pytest
from definitions import (
    DEFINITIONS,
    GROUP,
    SPEC,
    TABS,
    conditions,
    define,
    definition,
    redefine,
    tab,
    version,
    with_schema,
)
from served import JSON_PATCH, PROTOBUF, STRATEGIC, Client, settle

from tiphys.testing.clock import FakeClock

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def test_a_kind_is_served_once_it_is_established(client: Client) -> None:
    made = await client.create(DEFINITIONS, definition())
    assert made["status"]["storedVersions"] == ["v1"]
    # How soon is not promised: it may be served already.
    await settle()
    found = await client.get(f"{DEFINITIONS}/crontabs.{GROUP}")
    assert conditions(found) == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    assert found["status"]["acceptedNames"] == {
        "plural": "crontabs",
        "singular": "crontab",
        "kind": "CronTab",
        "listKind": "CronTabList",
    }
    listed = await client.get(TABS)
    assert (listed["kind"], listed["apiVersion"], listed["items"]) == ("CronTabList", f"{GROUP}/v1", [])


async def test_a_kind_whose_names_are_taken_is_not_served(client: Client) -> None:
    await define(client)
    found = await define(client, definition(plural="tabs"))
    assert conditions(found) == {
        "NamesAccepted": ("False", "ListKindConflict"),
        "Established": ("False", "NotAccepted"),
    }
    assert (await client.call("GET", TABS.replace("crontabs", "tabs"))).status == 404


async def test_create_read_update_and_delete(client: Client) -> None:
    await define(client)
    made = await client.create(TABS, tab("a", unknown=1))
    assert made["spec"] == {"cronSpec": "* * * * *", "image": "busybox"}
    assert (made["metadata"]["generation"], made["metadata"]["namespace"]) == (1, "default")
    assert await client.get(f"{TABS}/a") == made
    made["spec"]["replicas"] = 3
    changed = await client.put(f"{TABS}/a", made)
    assert (changed["spec"]["replicas"], changed["metadata"]["generation"]) == (3, 2)
    patched = await client.patch(f"{TABS}/a", {"spec": {"image": "nginx"}})
    assert patched["spec"]["image"] == "nginx"
    patched = await client.patch(
        f"{TABS}/a", [{"op": "replace", "path": "/spec/image", "value": "a"}], JSON_PATCH
    )
    assert patched["spec"]["image"] == "a"
    assert [item["metadata"]["name"] for item in (await client.get(TABS))["items"]] == ["a"]
    gone = await client.delete(f"{TABS}/a")
    assert gone["details"] == {
        "name": "a",
        "group": GROUP,
        "kind": "crontabs",
        "uid": made["metadata"]["uid"],
    }
    assert (await client.call("GET", f"{TABS}/a")).body["message"] == f'crontabs.{GROUP} "a" not found'


async def test_a_dry_run_changes_nothing(client: Client) -> None:
    await define(client)
    tried = await client.create(f"{TABS}?dryRun=All", tab("a"))
    assert (tried["spec"]["image"], "resourceVersion" in tried["metadata"]) == ("busybox", False)
    made = await client.create(TABS, tab("a"))
    assert (await client.call("POST", f"{TABS}?dryRun=All", tab("a"))).status == 409
    changed = await client.patch(f"{TABS}/a?dryRun=All", {"spec": {"image": "other"}})
    assert changed["spec"]["image"] == "other"
    assert await client.get(f"{TABS}/a") == made


async def test_an_update_must_name_the_state_it_is_of(client: Client) -> None:
    await define(client)
    made = await client.create(TABS, tab("a"))
    del made["metadata"]["resourceVersion"]
    refused = await client.call("PUT", f"{TABS}/a", made)
    assert refused.status == 422
    assert refused.body["message"].endswith(
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    )


async def test_what_is_not_served_by_custom_resources(client: Client) -> None:
    await define(client)
    await client.create(TABS, tab("a"))
    strategic = await client.call("PATCH", f"{TABS}/a", {"spec": {}}, content_type=STRATEGIC)
    assert strategic.status == 415
    assert (await client.call("POST", TABS, b"k8s\0", content_type=PROTOBUF)).status == 415
    assert (await client.call("GET", f"{TABS}/a", accept=PROTOBUF)).status == 406
    assert (await client.call("GET", f"{TABS}/a/status")).body["message"] == f'crontabs.{GROUP} "a" not found'
    everywhere = await client.call("POST", f"/apis/{GROUP}/v1/crontabs", tab("b"))
    assert everywhere.status == 404
    assert (await client.call("GET", f"/apis/{GROUP}/v2/crontabs")).status == 404


async def test_unknown_fields_go_by_field_validation(client: Client) -> None:
    await define(client)
    warned = await client.call("POST", TABS, tab("a", foo=1))
    assert warned.warnings == ('299 - "unknown field \\"spec.foo\\""',)
    strict = await client.call("POST", f"{TABS}?fieldValidation=Strict", tab("b", foo=1))
    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.foo"' in strict.body["message"]


async def test_status_is_written_by_itself_when_it_is_a_subresource(client: Client) -> None:
    await define(client, definition(version(subresources={"status": {}})))
    made = await client.create(TABS, {**tab("a"), "status": {"replicas": 9}})
    assert "status" not in made
    done = await client.put(
        f"{TABS}/a/status", {**made, "spec": {"cronSpec": "no"}, "status": {"replicas": 2}}
    )
    assert (done["status"], done["spec"]) == ({"replicas": 2}, made["spec"])
    assert done["metadata"]["generation"] == 1
    labelled = {**done, "metadata": {**done["metadata"], "labels": {"a": "b"}}, "status": {"replicas": 3}}
    done = await client.put(f"{TABS}/a/status", labelled)
    assert "labels" not in done["metadata"]
    kept = await client.put(f"{TABS}/a", {**done, "status": {"replicas": 7}})
    assert kept["status"] == {"replicas": 3}
    refused = await client.call("DELETE", f"{TABS}/a/status")
    assert (refused.status, refused.body["message"]) == (
        405,
        f'delete is not supported on resources of kind "crontabs.{GROUP}"',
    )


async def test_everything_but_metadata_raises_the_generation(client: Client) -> None:
    await define(client)
    made = await client.create(TABS, {**tab("a"), "status": {"replicas": 1}})
    assert made["status"] == {"replicas": 1}
    made = await client.patch(f"{TABS}/a", {"metadata": {"labels": {"a": "b"}}})
    assert made["metadata"]["generation"] == 1
    made = await client.patch(f"{TABS}/a", {"status": {"replicas": 2}})
    assert made["metadata"]["generation"] == 2


SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.labelSelector",
}


async def test_scale(client: Client) -> None:
    await define(client, definition(version(subresources={"status": {}, "scale": SCALE})))
    await client.create(TABS, tab("a", replicas=2))
    await client.patch(f"{TABS}/a/status", {"status": {"replicas": 1, "labelSelector": "app=a"}})
    scale = await client.get(f"{TABS}/a/scale")
    assert (scale["apiVersion"], scale["kind"]) == ("autoscaling/v1", "Scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "app=a"})
    scale["spec"]["replicas"] = 5
    await client.put(f"{TABS}/a/scale", scale)
    assert (await client.get(f"{TABS}/a"))["spec"]["replicas"] == 5
    binary = await client.call("GET", f"{TABS}/a/scale", accept=PROTOBUF)
    assert binary.headers["content-type"] == PROTOBUF
    assert binary.raw.startswith(b"k8s\0")
    await client.create(TABS, tab("b"))
    unset = await client.call("GET", f"{TABS}/b/scale")
    assert (unset.status, unset.body["message"]) == (
        500,
        'Internal error occurred: the spec replicas field ".spec.replicas" does not exist',
    )
    negative = await client.call("POST", TABS, tab("c", replicas=-1))
    assert ".spec.replicas: Invalid value: -1: should be a non-negative integer" in negative.body["message"]


async def test_columns(client: Client, clock: FakeClock) -> None:
    columns = [
        {"name": "Image", "type": "string", "jsonPath": ".spec.image", "description": "What runs."},
        {"name": "Wanted", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Since", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Labels", "type": "string", "jsonPath": ".metadata.labels"},
    ]
    await define(client, definition(version(additionalPrinterColumns=columns)))
    await client.create(TABS, {**tab("a", replicas=2), "metadata": {"name": "a", "labels": {"b": "c"}}})
    await client.create(TABS, tab("b"))
    await clock.advance(120)
    table = await client.get(TABS, accept=TABLE)
    named = [(each["name"], each["type"], each["priority"]) for each in table["columnDefinitions"]]
    assert named == [
        ("Name", "string", 0),
        ("Image", "string", 0),
        ("Wanted", "integer", 1),
        ("Since", "date", 0),
        ("Labels", "string", 0),
    ]
    assert table["columnDefinitions"][2]["description"] == (
        "Custom resource definition column (in JSONPath format): .spec.replicas"
    )
    assert [row["cells"] for row in table["rows"]] == [
        ["a", "busybox", 2, "2m", '{"b":"c"}'],
        ["b", "busybox", None, "2m", None],
    ]


@pytest.mark.parametrize(
    ("value", "cells"),
    [
        (1e300, [-(2**63), 1e300, None]),
        (2**63 - 1, [2**63 - 1, float(2**63), None]),
        ("0001-01-01T00:00:00+01:00", [None, None, "<invalid>"]),
        ("9999-12-31T23:59:59-01:00", [None, None, "<invalid>"]),
        ("\0x\0", [None, None, "<invalid>"]),
        ({"a": 1}, [None, None, None]),
    ],
)
async def test_no_value_is_too_odd_to_be_printed(client: Client, value: Any, cells: list[Any]) -> None:
    """A long list is on its way when such a row is made."""
    kinds = ("integer", "number", "date")
    columns = [{"name": kind, "type": kind, "jsonPath": ".spec.x"} for kind in kinds]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"openAPIV3Schema": anything}
    await define(client, definition(version(schema=schema, additionalPrinterColumns=columns)))
    await client.create(TABS, {**tab("a"), "spec": {"x": value}})
    table = await client.get(TABS, accept=TABLE)
    assert table["rows"][0]["cells"] == ["a", *cells]


async def test_rules_are_timed(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {**SPEC, "x-kubernetes-validations": [{"rule": "self.replicas < 5"}]}},
    }
    await define(client, definition(with_schema(schema)))
    await client.create(TABS, tab("a", replicas=2))
    assert (await client.call("POST", TABS, tab("b", replicas=7))).status == 422
    text = (await client.call("GET", "/metrics")).raw.decode()
    assert "\napiserver_cel_compilation_duration_seconds_count 1\n" in text
    assert "\napiserver_cel_evaluation_duration_seconds_count 2\n" in text


async def test_the_age_is_the_column_of_a_kind_without_columns(client: Client) -> None:
    await define(client)
    await client.create(TABS, tab("a"))
    table = await client.get(TABS, accept=TABLE)
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Age"]
    assert table["rows"][0]["cells"] == ["a", "0s"]


async def test_field_selectors(client: Client) -> None:
    fields = [{"jsonPath": ".spec.image"}, {"jsonPath": ".spec.replicas"}]
    await define(client, definition(version(selectableFields=fields)))
    watch = await client.watch(f"{TABS}?watch=1&fieldSelector=spec.image=nginx")
    await client.create(TABS, tab("a", image="nginx", replicas=1))
    await client.create(TABS, tab("b", replicas=2))

    async def names(selector: str) -> list[str]:
        return [
            item["metadata"]["name"]
            for item in (await client.get(f"{TABS}?fieldSelector={selector}"))["items"]
        ]

    assert await names("spec.image=nginx") == ["a"]
    assert await names("spec.replicas=2") == ["b"]
    assert await names("spec.image!=nginx,metadata.name=b") == ["b"]
    await client.patch(f"{TABS}/a", {"spec": {"image": "other"}})
    assert watch.summary() == [("ADDED", "a"), ("DELETED", "a")]
    refused = await client.call("GET", f"{TABS}?fieldSelector=spec.cronSpec=x")
    assert (refused.status, refused.body["message"]) == (400, "field label not supported: spec.cronSpec")


async def test_watches_and_their_tables(client: Client) -> None:
    await define(client)
    watch = await client.watch(f"{TABS}?watch=1")
    table = await client.watch(f"{TABS}?watch=1", accept=TABLE)
    await client.create(TABS, tab("a"))
    await client.patch(f"{TABS}/a", {"spec": {"replicas": 1}})
    await client.delete(f"{TABS}/a")
    assert watch.summary() == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert [event[1]["rows"][0]["cells"][0] for event in table.events()] == ["a", "a", "a"]
    assert (await client.get(TABS))["items"] == []


async def test_delete_collection_by_label(client: Client) -> None:
    await define(client)
    for name in ("a", "b", "c"):
        labels = {"pick": "yes"} if name != "b" else {}
        await client.create(TABS, {**tab(name), "metadata": {"name": name, "labels": labels}})
    gone = await client.delete(f"{TABS}?labelSelector=pick=yes")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
    assert [item["metadata"]["name"] for item in (await client.get(TABS))["items"]] == ["b"]


async def test_finalizers_keep_an_object_and_unqualified_ones_warn(client: Client) -> None:
    await define(client)
    held = {**tab("a"), "metadata": {"name": "a", "finalizers": ["mine"]}}
    answer = await client.call("POST", TABS, held)
    assert answer.status == 201
    assert "prefer a domain-qualified finalizer name" in answer.warnings[0]
    dying = await client.delete(f"{TABS}/a")
    assert dying["metadata"]["deletionTimestamp"]
    await client.patch(f"{TABS}/a", {"metadata": {"finalizers": None}})
    assert (await client.call("GET", f"{TABS}/a")).status == 404


@pytest.mark.conformance(
    "CustomResourceDefinition resources [Privileged:ClusterAdmin] custom resource defaulting for requests and from storage works"
)
async def test_defaults_are_filled_in_when_an_object_is_read_from_the_store(client: Client) -> None:
    """The conformance test of defaulting, for requests and from storage."""
    one = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    await define(client, definition(with_schema(one)))
    first = {"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "metadata": {"name": "first"}}
    await client.create(TABS, first)

    def with_default(name: str, value: str) -> dict[str, object]:
        properties = {**one["properties"], name: {"type": "string", "default": value}}  # type: ignore[dict-item]
        return with_schema({**one, "properties": properties})

    await redefine(client, definition(with_default("a", "A")))
    assert (await client.get(f"{TABS}/first"))["a"] == "A"
    second = await client.create(TABS, {**first, "metadata": {"name": "second"}})
    assert second["a"] == "A"
    await redefine(client, definition(with_default("b", "B")))
    found = await client.get(f"{TABS}/first")
    assert (found.get("a"), found["b"]) == (None, "B")
    found = await client.get(f"{TABS}/second")
    assert (found["a"], found["b"]) == ("A", "B")


async def test_fields_that_a_schema_no_longer_has_are_pruned_when_read(client: Client) -> None:
    await define(client)
    await client.create(TABS, tab("a"))
    bare = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"image": {"type": "string"}}}},
    }
    await redefine(client, definition(with_schema(bare)))
    assert (await client.get(f"{TABS}/a"))["spec"] == {"image": "busybox"}
    assert (await client.get(TABS))["items"][0]["spec"] == {"image": "busybox"}


async def test_deprecated_versions_warn(client: Client) -> None:
    old = version("v1beta1", storage=False, deprecated=True)
    told = version("v1alpha1", storage=False, deprecated=True, deprecationWarning="do not")
    await define(client, definition(version("v1"), old, told))
    answer = await client.call("GET", f"/apis/{GROUP}/v1beta1/crontabs")
    assert answer.warnings == (f'299 - "{GROUP}/v1beta1 CronTab is deprecated; use {GROUP}/v1 CronTab"',)
    answer = await client.call("GET", f"/apis/{GROUP}/v1alpha1/crontabs")
    assert answer.warnings == ('299 - "do not"',)
    assert (await client.call("GET", f"/apis/{GROUP}/v1/crontabs")).warnings == ()


async def test_versions_differ_only_in_their_api_version_without_a_webhook(client: Client) -> None:
    await define(client, definition(version("v1"), version("v2", storage=False)))
    await client.create(TABS, tab("a"))
    second = TABS.replace("/v1/", "/v2/")
    watch = await client.watch(f"{second}?watch=1")
    assert (await client.get(f"{second}/a"))["apiVersion"] == f"{GROUP}/v2"
    made = await client.create(second, tab("b", version="v2"))
    assert made["apiVersion"] == f"{GROUP}/v2"
    assert [item["apiVersion"] for item in (await client.get(TABS))["items"]] == [f"{GROUP}/v1"] * 2
    assert [obj["apiVersion"] for _, obj in watch.events()] == [f"{GROUP}/v2"] * 2
    # Another version is stored from now on; what lies there is read all the same.
    await redefine(client, definition(version("v1", storage=False), version("v2")))
    found = await client.get(f"{DEFINITIONS}/crontabs.{GROUP}")
    assert found["status"]["storedVersions"] == ["v1", "v2"]
    assert [item["apiVersion"] for item in (await client.get(second))["items"]] == [f"{GROUP}/v2"] * 2
    # A write without a change brings an object to the new version: so a migration works.
    revision = (await client.get(f"{second}/a"))["metadata"]["resourceVersion"]
    migrated = await client.put(f"{second}/a", await client.get(f"{second}/a"))
    assert migrated["metadata"]["resourceVersion"] != revision
    again = await client.put(f"{second}/a", migrated)
    assert again["metadata"]["resourceVersion"] == migrated["metadata"]["resourceVersion"]


async def test_scopes(client: Client) -> None:
    everywhere = f"/apis/{GROUP}/v1/crontabs"
    await define(client, definition(scope="Cluster"))
    assert (await client.call("POST", TABS, tab("a"))).status == 404
    made = await client.create(everywhere, tab("a"))
    assert "namespace" not in made["metadata"]
    assert (await client.get(f"{everywhere}/a")) == made


async def test_metadata_has_protobuf_and_bookmarks_of_its_own(client: Client, clock: FakeClock) -> None:
    await define(client)
    await client.create(TABS, tab("a"))
    partial = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    answer = await client.call("GET", f"{TABS}/a", accept=f"{PROTOBUF};{partial}")
    assert (answer.status, answer.headers["content-type"]) == (200, PROTOBUF)
    target = f"{TABS}?watch=1&allowWatchBookmarks=true"
    watch = await client.watch(target, accept=f"application/json;{partial}")
    binary = await client.watch(target, accept=f"{PROTOBUF};{partial}")
    await clock.advance(61)
    told = [(kind, obj["kind"], obj["apiVersion"]) for kind, obj in watch.events()]
    assert told == [
        ("ADDED", "PartialObjectMetadata", "meta.k8s.io/v1"),
        ("BOOKMARK", "PartialObjectMetadata", "meta.k8s.io/v1"),
    ]
    assert b"BOOKMARK" in binary.bytes()


async def test_nothing_is_made_in_a_namespace_that_is_not_there(client: Client) -> None:
    await define(client)
    refused = await client.call("POST", TABS.replace("default", "nowhere"), tab("a"))
    assert (refused.status, refused.body["message"]) == (404, 'namespaces "nowhere" not found')


async def test_what_is_stored_as_it_is_read_is_kept_once(client: Client) -> None:
    await define(client, definition(version("v1"), version("v2", storage=False)))
    await client.create(TABS, tab("a"))
    await client.get(TABS.replace("/v1/", "/v2/"))
    record = client.server.writes.cache(GROUP, "crontabs").get("default", "a")
    assert record is not None
    assert record.readings is not None
    kept = {name: made for name, (_, made) in record.readings.items()}
    assert kept["v1"] is None
    assert kept["v2"] is not None


async def test_a_built_in_kind_is_never_hidden(client: Client) -> None:
    group = "networking.k8s.io"
    approved = {"api-approved.kubernetes.io": "unapproved, a test"}
    wanted = definition(plural="ingresses", kind="Ingress", group=group)
    wanted["metadata"]["annotations"] = approved
    await define(client, wanted)
    row = client.server.scheme.by_resource(group, "v1", "ingresses")
    assert row is not None
    assert row.type == "networking/v1.Ingress"
