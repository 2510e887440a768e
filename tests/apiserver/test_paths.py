"""What is no resource: health, version, discovery, the keys of service accounts."""

import pytest
from served import Client, Object

from tiphys.api.scheme import built_in
from tiphys.apiserver.server import APIServer
from tiphys.store.interface import StoreFailed

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

GROUPS = """
apiregistration.k8s.io v1; apps v1; events.k8s.io v1; authentication.k8s.io v1; authorization.k8s.io v1;
autoscaling v2,v1; batch v1; certificates.k8s.io v1,v1beta1,v1alpha1; networking.k8s.io v1,v1beta1; policy v1;
rbac.authorization.k8s.io v1; storage.k8s.io v1,v1beta1; admissionregistration.k8s.io v1,v1beta1,v1alpha1;
apiextensions.k8s.io v1; scheduling.k8s.io v1,v1alpha2; coordination.k8s.io v1,v1beta1,v1alpha2; node.k8s.io v1;
discovery.k8s.io v1; resource.k8s.io v1,v1beta2,v1beta1,v1alpha3; flowcontrol.apiserver.k8s.io v1;
internal.apiserver.k8s.io v1alpha1; storagemigration.k8s.io v1beta1
"""
"""Groups in upstream's order of priority, with their versions, the preferred one first."""


def _groups() -> list[tuple[str, list[str]]]:
    found = []
    for entry in GROUPS.replace("\n", " ").split(";"):
        name, versions = entry.split()
        found.append((name, versions.split(",")))
    return found


async def test_groups_and_versions(client: Client) -> None:
    listed = await client.get("/apis")
    assert (listed["kind"], listed["apiVersion"]) == ("APIGroupList", "v1")
    found = [
        (group["name"], [version["version"] for version in group["versions"]]) for group in listed["groups"]
    ]
    assert found == _groups()
    assert all(group["preferredVersion"] == group["versions"][0] for group in listed["groups"])
    one = await client.get("/apis/autoscaling")
    assert (one["kind"], one["preferredVersion"]) == (
        "APIGroup",
        {"groupVersion": "autoscaling/v2", "version": "v2"},
    )


async def test_the_core_group(client: Client) -> None:
    found = await client.get("/api")
    assert (found["kind"], found["versions"]) == ("APIVersions", ["v1"])
    assert found["serverAddressByClientCIDRs"][0]["clientCIDR"] == "0.0.0.0/0"


async def test_resources_of_a_version(client: Client) -> None:
    found = await client.get("/apis/apps/v1")
    assert (found["kind"], found["groupVersion"]) == ("APIResourceList", "apps/v1")
    by_name = {entry["name"]: entry for entry in found["resources"]}
    assert list(by_name) == [
        "controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale", "deployments/status",
        "replicasets", "replicasets/scale", "replicasets/status", "statefulsets", "statefulsets/scale", "statefulsets/status",
    ]  # fmt: skip
    assert by_name["deployments"] == {
        "name": "deployments",
        "singularName": "deployment",
        "namespaced": True,
        "kind": "Deployment",
        "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        "shortNames": ["deploy"],
        "categories": ["all"],
        "storageVersionHash": "8aSe+NMegvE=",
    }
    assert by_name["deployments/scale"] == {
        "name": "deployments/scale",
        "singularName": "",
        "namespaced": True,
        "group": "autoscaling",
        "version": "v1",
        "kind": "Scale",
        "verbs": ["get", "patch", "update"],
    }


@pytest.mark.parametrize(
    ("path", "hashed"),
    [("/api/v1", {"pods": "xPOwRZ+Yhw8=", "services": "0/CO1lhkEBI=", "nodes": "XwShjMxG9Fs="})],
)
async def test_storage_versions_have_upstreams_fingerprints(
    client: Client, path: str, hashed: dict[str, str]
) -> None:
    found = {
        entry["name"]: entry.get("storageVersionHash") for entry in (await client.get(path))["resources"]
    }
    assert {name: found[name] for name in hashed} == hashed


async def test_the_aggregated_document_says_the_same(client: Client) -> None:
    core = await client.get("/api", accept=AGGREGATED)
    named = await client.get("/apis", accept=f"{AGGREGATED},application/json")
    assert (core["kind"], core["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    assert [item["metadata"].get("name") for item in named["items"]] == [name for name, _ in _groups()]
    for item in [*core["items"], *named["items"]]:
        for version in item["versions"]:
            group = item["metadata"].get("name", "")
            path = f"/apis/{group}/{version['version']}" if group else f"/api/{version['version']}"
            assert _flat(version) == _plain(await client.get(path)), path


def _flat(version: Object) -> set[tuple[str, str, tuple[str, ...]]]:
    found = set()
    for resource in version["resources"]:
        found.add((resource["resource"], resource["responseKind"]["kind"], tuple(resource["verbs"])))
        for sub in resource.get("subresources", ()):
            found.add(
                (
                    f"{resource['resource']}/{sub['subresource']}",
                    sub["responseKind"]["kind"],
                    tuple(sub["verbs"]),
                )
            )
    return found


def _plain(listed: Object) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(entry["name"], entry["kind"], tuple(entry["verbs"])) for entry in listed["resources"]}


async def test_a_client_that_has_the_document_is_not_sent_it_again(client: Client) -> None:
    first = await client.call("GET", "/apis", accept=AGGREGATED)
    assert first.headers["content-type"] == AGGREGATED
    again = await client.call("GET", "/apis", accept=AGGREGATED, if_none_match=first.headers["etag"])
    assert (again.status, again.raw) == (304, b"")
    other = await client.call("GET", "/apis", accept=AGGREGATED, if_none_match='"else"')
    assert other.status == 200


async def test_new_kinds_show_at_once(client: Client, server: APIServer) -> None:
    before = await client.call("GET", "/apis", accept=AGGREGATED)
    row = server.scheme.by_resource("apps", "v1", "deployments")
    assert row is not None
    from dataclasses import replace

    server.scheme.add(replace(row, group="example.com", kind="Ship", plural="ships"))
    after = await client.call("GET", "/apis", accept=AGGREGATED)
    assert after.headers["etag"] != before.headers["etag"]
    assert (await client.get("/apis/example.com/v1"))["resources"][0]["kind"] == "Ship"


@pytest.mark.parametrize("path", ["/apis/nope.io", "/apis/apps/v7", "/api/v7"])
async def test_groups_that_are_not_there(client: Client, path: str) -> None:
    answer = await client.call("GET", path)
    assert (answer.status, answer.body["message"]) == (
        404,
        "the server could not find the requested resource",
    )


async def test_version(client: Client) -> None:
    version = await client.get("/version")
    assert (version["major"], version["minor"]) == ("1", "36")
    assert version["gitVersion"].startswith("v1.36.")


async def test_health(client: Client) -> None:
    nobody = client.anonymous()
    for path in ("/livez", "/readyz", "/healthz"):
        answer = await nobody.call("GET", path)
        assert (answer.status, answer.raw) == (200, b"ok")
    verbose = await nobody.call("GET", "/readyz?verbose")
    assert b"[+]etcd ok" in verbose.raw
    assert verbose.raw.endswith(b"readyz check passed\n")
    assert (await client.call("GET", "/readyz/etcd")).raw == b"ok"
    assert (await client.call("GET", "/readyz/nope")).status == 404


async def test_a_broken_store_is_not_ready(client: Client, server: APIServer) -> None:
    class Broken:
        def get(self, key: str) -> None:
            raise StoreFailed("the disk is on fire")

    server.store = Broken()  # type: ignore[assignment]
    answer = await client.call("GET", "/readyz")
    assert answer.status == 500
    assert b"[-]etcd failed: reason withheld" in answer.raw
    assert answer.raw.endswith(b"readyz check failed\n")
    assert (await client.call("GET", "/readyz?exclude=etcd&exclude=etcd-readiness")).status == 200


async def test_the_index_names_every_group(client: Client) -> None:
    paths = (await client.get("/"))["paths"]
    assert {"/api/v1", "/apis/apps/v1", "/healthz", "/openapi/v3", "/version"} <= set(paths)


async def test_keys_of_service_accounts(client: Client) -> None:
    found = await client.get("/.well-known/openid-configuration")
    assert found["issuer"] == "https://kubernetes.default.svc.cluster.local"
    answer = await client.call("GET", "/openid/v1/jwks")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert b'"kty":"EC"' in answer.raw
    assert b'"d"' not in answer.raw


async def test_who_may_see_what(client: Client) -> None:
    for who in (client.anonymous(), client.as_user("eve", "system:authenticated")):
        refused = await who.call("GET", "/api/v1/secrets")
        assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
        name = who.identity.user if who.identity else "system:anonymous"
        assert refused.body["message"] == (
            f'secrets is forbidden: User "{name}" cannot list resource "secrets" in API group "" at the cluster scope'
        )
    assert (await client.as_user("eve", "system:authenticated").call("GET", "/apis")).status == 200
    path = await client.anonymous().call("GET", "/apis")
    assert (path.status, path.body["message"]) == (
        403,
        'forbidden: User "system:anonymous" cannot get path "/apis"',
    )
    invalid = await client.anonymous().call("GET", "/api/v1/pods", authorization="Bearer nonsense")
    assert (invalid.status, invalid.body["reason"]) == (401, "Unauthorized")


def test_every_short_name_means_one_kind() -> None:
    seen: dict[str, tuple[str, str]] = {}
    for row in built_in():
        for short in row.short_names:
            assert (
                seen.setdefault(short, (row.plural, row.group if row.plural != "events" else ""))[0]
                == row.plural
            )
