"""Health checks, z-pages and the index, in upstream's words."""

from __future__ import annotations

import pytest
from served import Client

from tiphys.apiserver.server import APIServer
from tiphys.store.interface import StoreFailed
from tiphys.testing.clock import FakeClock

READYZ = """\
[+]ping ok
[+]log ok
[+]etcd ok
[+]etcd-readiness ok
[+]informer-sync ok
[+]poststarthook/start-apiserver-admission-initializer ok
[+]poststarthook/generic-apiserver-start-informers ok
[+]poststarthook/priority-and-fairness-config-consumer ok
[+]poststarthook/priority-and-fairness-filter ok
[+]poststarthook/storage-object-count-tracker-hook ok
[+]poststarthook/start-apiextensions-informers ok
[+]poststarthook/start-apiextensions-controllers ok
[+]poststarthook/crd-informer-synced ok
[+]poststarthook/start-system-namespaces-controller ok
[+]poststarthook/peer-endpoint-reconciler-controller ok
[+]poststarthook/start-cluster-authentication-info-controller ok
[+]poststarthook/start-kube-apiserver-identity-lease-controller ok
[+]poststarthook/start-kube-apiserver-identity-lease-garbage-collector ok
[+]poststarthook/storage-readiness ok
[+]poststarthook/start-legacy-token-tracking-controller ok
[+]poststarthook/start-service-ip-repair-controllers ok
[+]poststarthook/rbac/bootstrap-roles ok
[+]poststarthook/scheduling/bootstrap-system-priority-classes ok
[+]poststarthook/priority-and-fairness-config-producer ok
[+]poststarthook/bootstrap-controller ok
[+]poststarthook/start-kubernetes-service-cidr-controller ok
[+]poststarthook/aggregator-reload-proxy-client-cert ok
[+]poststarthook/start-kube-aggregator-informers ok
[+]poststarthook/apiservice-status-local-available-controller ok
[+]poststarthook/apiservice-status-remote-available-controller ok
[+]poststarthook/apiservice-registration-controller ok
[+]poststarthook/apiservice-discovery-controller ok
[+]poststarthook/kube-apiserver-autoregistration ok
[+]autoregister-completion ok
[+]poststarthook/apiservice-openapi-controller ok
[+]poststarthook/apiservice-openapiv3-controller ok
[+]shutdown ok
readyz check passed
"""


async def test_all_checks_by_name(client: Client) -> None:
    answer = await client.call("GET", "/readyz?verbose")
    assert answer.raw.decode() == READYZ
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    live = (await client.call("GET", "/livez?verbose")).raw.decode().splitlines()
    assert live[:4] == ["[+]ping ok", "[+]log ok", "[+]loopback-serving-certificate ok", "[+]etcd ok"]
    assert live[-1] == "livez check passed"
    assert "[+]shutdown ok" not in live


async def test_one_check(client: Client, server: APIServer) -> None:
    assert (await client.call("GET", "/livez/ping")).raw == b"ok"
    assert (await client.call("GET", "/healthz/poststarthook/rbac/bootstrap-roles")).raw == b"ok"
    assert (await client.call("GET", "/livez/shutdown")).status == 404
    server.shutting_down = True
    failing = await client.call("GET", "/readyz/shutdown")
    assert (failing.status, failing.raw) == (500, b"internal server error: process is shutting down\n")


async def test_exclusion(client: Client, server: APIServer) -> None:
    class Broken:
        def get(self, key: str) -> None:
            raise StoreFailed("the disk is on fire")

    server.store = Broken()  # type: ignore[assignment]
    failing = await client.call("GET", "/livez")
    assert failing.status == 500
    assert b"[-]etcd failed: reason withheld\n" in failing.raw
    assert b"fire" not in failing.raw
    assert failing.raw.endswith(b"\nlivez check failed\n")
    assert (await client.call("GET", "/livez?exclude=etcd")).raw == b"ok"
    verbose = await client.call("GET", "/livez?verbose&exclude=etcd&exclude=b&exclude=a")
    lines = verbose.raw.decode().splitlines()
    assert "[+]etcd excluded: ok" in lines
    assert lines[-2] == 'warn: some health checks cannot be excluded: no matches for "a","b"'
    slis = (await client.call("GET", "/metrics/slis")).raw.decode()
    assert 'kubernetes_healthcheck{name="etcd",type="livez"} 0' in slis
    assert 'kubernetes_healthchecks_total{name="etcd",status="error",type="livez"} 1' in slis
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 3' in slis


async def test_a_server_that_has_not_made_its_objects_is_not_ready(client: Client, server: APIServer) -> None:
    server.bootstrapped = False
    failing = (await client.call("GET", "/readyz")).raw.decode()
    assert "[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n" in failing


async def test_the_index(client: Client) -> None:
    paths = (await client.get("/"))["paths"]
    assert paths == sorted(set(paths))
    assert {
        "/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/", "/apis/apps/v1", "/healthz/ping",
        "/livez/poststarthook/rbac/bootstrap-roles", "/metrics", "/metrics/slis", "/openapi/v3/", "/readyz/shutdown", "/version",
    } <= set(paths)  # fmt: skip
    assert not [path for path in paths if path.startswith("/debug")]


@pytest.mark.parametrize("path", ["/debug/pprof/", "/debug/pprof/heap", "/debug/flags/v", "/configz"])
async def test_what_is_not_served(client: Client, path: str) -> None:
    answer = await client.call("GET", path)
    assert (answer.status, answer.raw) == (404, b"404 page not found\n")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await client.as_user("joe", "system:authenticated").call("GET", path)).status == 403


async def test_statusz(client: Client, clock: FakeClock) -> None:
    await clock.advance(3723)
    text = (await client.call("GET", "/statusz")).raw.decode()
    assert text.startswith(
        "\nkube-apiserver statusz\nWarning: This endpoint is not meant to be machine parseable, "
    )
    assert "Started: Thu Jan  1 00:00:00 UTC 2026\nUp: 1 hr 02 min 03 sec\n" in text
    assert "Binary version: 1.36." in text
    for version in ("v1alpha1", "v1beta1"):
        accept = f"application/json;v={version};g=config.k8s.io;as=Statusz"
        found = await client.get("/statusz", accept=accept)
        assert (found["kind"], found["apiVersion"]) == ("Statusz", f"config.k8s.io/{version}")
        assert (found["metadata"], found["uptimeSeconds"]) == ({"name": "kube-apiserver"}, 3723)
        assert found["startTime"] == "2026-01-01T00:00:00Z"
    assert (await client.call("GET", "/statusz", accept="application/json")).status == 406


async def test_flagz(client: Client) -> None:
    text = (await client.call("GET", "/flagz", accept="*/*")).raw.decode()
    assert text.startswith("\nkube-apiserver flags\nWarning: ")
    assert "\nmax-requests-inflight=400\nmin-request-timeout=1800\n" in text
    assert "\nprofiling=false\nrequest-timeout=1m0s\n" in text
    found = await client.get("/flagz", accept="application/json;v=v1beta1;g=config.k8s.io;as=Flagz")
    assert found["flags"]["enable-priority-and-fairness"] == "true"


async def test_component_statuses(client: Client) -> None:
    answer = await client.call("GET", "/api/v1/componentstatuses")
    assert answer.headers["warning"] == '299 - "v1 ComponentStatus is deprecated in v1.19+"'
    assert {item["metadata"]["name"] for item in answer.body["items"]} == {
        "controller-manager",
        "etcd-0",
        "scheduler",
    }
