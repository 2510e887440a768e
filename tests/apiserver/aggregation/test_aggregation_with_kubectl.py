"""kubectl, an API server over HTTPS, and another API server over HTTPS behind it."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator

import pytest
from extension import FLUNDERS, GROUP, ROOT, VERSION, Extension, extension_server
from https import PATIENCE_SECONDS, Secure, secure_server

NAME = f"{VERSION}.{GROUP}"


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extension]:
    """In a thread of its own."""
    home = tmp_path_factory.mktemp("extension")
    started, found = threading.Event(), {}

    async def serve() -> None:
        stop = asyncio.Event()
        async with extension_server(home, ("wardle.default.svc",)) as extension:
            found["extension"] = extension
            found["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
            loop = asyncio.get_running_loop()
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="extension")
    thread.start()
    assert started.wait(PATIENCE_SECONDS)
    yield found["extension"]
    found["stop"]()
    thread.join(PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def cluster(
    extension: Extension, tmp_path_factory: pytest.TempPathFactory, signing_key: bytes
) -> Iterator[Secure]:
    home = tmp_path_factory.mktemp("cluster")
    with secure_server(home, signing_key, front_proxy=extension.front_proxy) as served:
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "wardle"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        api_service = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": NAME},
            "spec": {
                "group": GROUP,
                "version": VERSION,
                "service": {"namespace": "default", "name": "wardle", "port": extension.port},
                "caBundle": base64.b64encode(extension.authority).decode(),
                "groupPriorityMinimum": 2000,
                "versionPriority": 200,
            },
        }
        for each in (service, api_service):
            served.kubectl("create", "-f", "-", stdin=json.dumps(each))
        served.kubectl("wait", "--for=condition=Available", f"apiservice/{NAME}", "--timeout=300s")
        yield served


def test_get_apiservices_shows_who_serves_what(cluster: Secure) -> None:
    lines = [line.split()[:3] for line in cluster.kubectl("get", "apiservices").splitlines()]
    assert lines[0] == ["NAME", "SERVICE", "AVAILABLE"]
    assert ["v1.apps", "Local", "True"] in lines
    assert [NAME, "default/wardle", "True"] in lines


def test_its_resources_are_resources_like_others(cluster: Secure, extension: Extension) -> None:
    assert f"{GROUP}/{VERSION}" in cluster.kubectl("api-versions")
    listed = cluster.kubectl("api-resources", "--api-group", GROUP)
    assert listed.splitlines()[1].split() == ["flunders", f"{GROUP}/{VERSION}", "true", "Flunder"]
    manifest = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "Flunder",
        "metadata": {"name": "sample", "namespace": "default"},
    }
    assert "created" in cluster.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(manifest))
    assert json.loads(cluster.kubectl("get", "flunders", "sample", "-o", "json"))["kind"] == "Flunder"
    assert extension.asked[-1].headers["x-remote-user"] == "kubernetes-admin"
    assert 'flunder.wardle.example.com "sample" deleted' in cluster.kubectl(
        "delete", "flunder", "sample", "--wait=false"
    )
    assert json.loads(cluster.kubectl("get", "--raw", FLUNDERS))["items"] == []


def test_explain_reads_its_documents(cluster: Secure) -> None:
    told = cluster.kubectl("explain", "flunder.spec")
    assert "reference\t<string>" in told
    assert "Whom it means." in told


def test_every_form_of_discovery_is_enough_for_kubectl(cluster: Secure) -> None:
    index = json.loads(cluster.kubectl("get", "--raw", "/openapi/v3"))
    assert ROOT[1:] in index["paths"]
    table = cluster.kubectl("api-resources", "-o", "wide", "--no-headers").splitlines()
    assert len(table) > 70


def test_what_is_not_there_is_said_so(cluster: Secure) -> None:
    broken = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.gone.example.com"},
        "spec": {
            "group": "gone.example.com",
            "version": "v1",
            "service": {"namespace": "default", "name": "nobody"},
            "groupPriorityMinimum": 10,
            "versionPriority": 10,
        },
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(broken))
    cluster.kubectl(
        "wait", "--for=condition=Available=False", "apiservice/v1.gone.example.com", "--timeout=300s"
    )
    shown = cluster.kubectl("get", "apiservice", "v1.gone.example.com", "--no-headers")
    assert shown.split()[:4] == ["v1.gone.example.com", "default/nobody", "False", "(ServiceNotFound)"]
    said = cluster.kubectl("get", "--raw", "/apis/gone.example.com/v1/things", fails=True)
    assert "the server is currently unable to handle the request" in said
    assert "pods" in cluster.kubectl("api-resources", "--api-group="), "the others are still discovered"
