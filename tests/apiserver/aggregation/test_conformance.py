"""What the conformance tests of discovery, aggregated discovery and the aggregator ask of an API server."""

import pytest
from served import Client, Object

from tiphys.apiserver.server import APIServer

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
PRESENT = """
admissionregistration.k8s.io/v1 validatingwebhookconfigurations; apiextensions.k8s.io/v1 customresourcedefinitions;
apiregistration.k8s.io/v1 apiservices; apps/v1 deployments; authentication.k8s.io/v1 tokenreviews;
authorization.k8s.io/v1 selfsubjectaccessreviews; autoscaling/v1 horizontalpodautoscalers;
autoscaling/v2 horizontalpodautoscalers; batch/v1 jobs; certificates.k8s.io/v1 certificatesigningrequests;
coordination.k8s.io/v1 leases; discovery.k8s.io/v1 endpointslices; events.k8s.io/v1 events; networking.k8s.io/v1 ingresses;
node.k8s.io/v1 runtimeclasses; policy/v1 poddisruptionbudgets; scheduling.k8s.io/v1 priorityclasses; storage.k8s.io/v1 csinodes
"""


def resources(document: Object) -> set[str]:
    return {
        f"{item['metadata'].get('name', '')}/{version['version']} {resource['resource']}"
        for item in document["items"]
        for version in item["versions"]
        for resource in version["resources"]
    }


@pytest.mark.conformance("AggregatedDiscovery should support aggregated discovery interface")
@pytest.mark.conformance(
    "AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers"
)
async def test_the_aggregated_documents_have_every_built_in_resource(client: Client) -> None:
    named = resources(await client.get("/apis", accept=AGGREGATED))
    assert {entry.strip() for entry in PRESENT.replace("\n", " ").split(";")} <= named
    assert "/v1 namespaces" in resources(await client.get("/api", accept=AGGREGATED))


async def test_every_group_prefers_a_version_that_it_has(client: Client) -> None:
    for group in (await client.get("/apis"))["groups"]:
        one = await client.get(f"/apis/{group['name']}")
        assert one["preferredVersion"] in one["versions"] == group["versions"]


async def test_every_group_version_has_resources(client: Client) -> None:
    for group in (await client.get("/apis"))["groups"]:
        for version in group["versions"]:
            listed = await client.get(f"/apis/{version['groupVersion']}")
            assert listed["groupVersion"] == version["groupVersion"]
            assert listed["resources"]


@pytest.mark.conformance(
    "Aggregator Should be able to support the 1.17 Sample API Server using the current Aggregator [LinuxOnly]"
)
async def test_an_api_service_lives_through_all_that_can_be_done_to_it(
    client: Client, server: APIServer
) -> None:
    spec = {
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
        "service": {"namespace": "default", "name": "sample-api", "port": 7443}, "insecureSkipTLSVerify": True,
    }  # fmt: skip
    path = f"{SERVICES}/v1alpha1.wardle.example.com"
    await client.create(SERVICES, {"metadata": {"name": "v1alpha1.wardle.example.com"}, "spec": spec})
    patched = await client.patch(
        path, {"metadata": {"labels": {"e2e": "patched"}}, "spec": {"versionPriority": 400}}
    )
    assert patched["spec"]["versionPriority"] == 400
    await client.patch(f"{path}/status", {"metadata": {"labels": {"status": "patched"}}})
    current = await client.get(f"{path}/status")
    told = {"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set from e2e test"}
    current["status"].setdefault("conditions", []).append({**told, "lastTransitionTime": None})
    replaced = await client.put(f"{path}/status", current)
    assert "StatusUpdated" in [condition["type"] for condition in replaced["status"]["conditions"]]
    current = await client.get(path)
    current["metadata"]["labels"]["e2e"] = "updated"
    assert (await client.put(path, current))["metadata"]["labels"]["e2e"] == "updated"
    listed = await client.get(f"{SERVICES}?labelSelector=e2e%3Dupdated")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["v1alpha1.wardle.example.com"]
    await client.delete(f"{SERVICES}?labelSelector=e2e%3Dupdated")
    assert (await client.call("GET", path)).status == 404
    assert server.aggregator.services.remote("wardle.example.com", "v1alpha1") is None
