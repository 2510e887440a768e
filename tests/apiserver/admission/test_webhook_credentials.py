"""As whom admission webhooks are called: the WebhookAdmissionConfiguration, and what arrives."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from served import Client, running
from webhook_server import certificate

from tiphys.apiserver.admission.chain import Chain
from tiphys.apiserver.admission.configuration import BadConfiguration, read_configurations
from tiphys.apiserver.settings import ConfigurationError
from tiphys.apiserver.webhooks.client import config_of
from tiphys.apiserver.webhooks.credentials import read_credentials
from tiphys.cluster.pki import Authority, Leaf
from tiphys.net.http import Request, Response
from tiphys.net.server import Server
from tiphys.net.tls import subject_of
from tiphys.testing.clock import FakeClock

MAPS = "/api/v1/namespaces/default/configmaps"
KIND = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration"}


def configuration(home: Path, users: dict[str, Any], **more: Any) -> dict[str, Any]:
    kubeconfig = {"users": [{"name": name, "user": user} for name, user in users.items()], **more}
    (home / "users").write_bytes(orjson.dumps(kubeconfig))
    return {**KIND, "kubeConfigFile": str(home / "users")}


def token(name: str) -> dict[str, str]:
    return {"token": name}


@pytest.mark.parametrize(
    ("authority", "expected"),
    [
        ("hook.ns.svc:443", "Bearer with port"),
        ("other.ns.svc:443", "Bearer of ns"),
        ("other.elsewhere.svc:443", "Bearer anybody"),
        ("hook.ns.svc:8443", "Bearer anybody"),
        ("plain.org:443", "Bearer plain"),
        ("plain.org:444", "Bearer anybody"),
        ("a.b.example.org:443", "Bearer below"),
        ("a.b.example.org:8080", "Bearer below 8080"),
        ("example.org:443", "Bearer anybody"),
    ],
)
def test_a_user_is_found_by_the_host(tmp_path: Path, authority: str, expected: str) -> None:
    users = {
        "hook.ns.svc:443": token("with port"),
        "hook.ns.svc": token("without"),
        "*.ns.svc": token("of ns"),
        "plain.org": token("plain"),
        "*.example.org": token("below"),
        "*.example.org:8080": token("below 8080"),
        "*": token("anybody"),
    }
    found = read_credentials(configuration(tmp_path, users)).of(authority)
    assert found is not None
    assert found.header() == expected


def test_without_a_star_it_is_the_current_context_s_user_or_nobody(tmp_path: Path) -> None:
    users = {"me": {"username": "u", "password": "p"}, "file": {"tokenFile": "t"}}
    nobody = read_credentials(configuration(tmp_path, users)).of("a:443")
    assert nobody is None
    context = {"current-context": "c", "contexts": [{"name": "c", "context": {"user": "me"}}]}
    found = read_credentials(configuration(tmp_path, users, **context)).of("a:443")
    assert found is not None
    assert found.header() == f"Basic {base64.b64encode(b'u:p').decode()}"
    (tmp_path / "t").write_text("fresh\n")
    by_file = read_credentials(configuration(tmp_path, {"*": users["file"]})).of("a:443")
    assert by_file is not None
    assert by_file.header() == "Bearer fresh"
    (tmp_path / "t").write_text("fresher\n")
    assert by_file.header() == "Bearer fresher"


def test_hosts_of_webhooks() -> None:
    service = {"service": {"namespace": "ns", "name": "hook"}}
    assert config_of(service).authority == "hook.ns.svc:443"
    assert config_of({"service": {**service["service"], "port": 8443}}).authority == "hook.ns.svc:8443"
    assert config_of({"url": "https://example.org/x"}).authority == "example.org:443"
    assert config_of({"url": "https://example.org:444/x"}).authority == "example.org:444"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kubeConfigFile": "here"}, 'kubeConfigFile: Invalid value: "here": must be an absolute file path'),
        ({"kubeConfigFile": ""}, "must be an absolute file path"),
        ({"kubeConfigFile": "/nowhere"}, "/nowhere: No such file or directory"),
        ({"kind": "Other"}, "it is Other of apiserver.config.k8s.io/v1, not a WebhookAdmissionConfiguration"),
        ({"more": 1}, 'unknown field "more"'),
    ],
)
def test_a_bad_configuration_is_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    given = {**configuration(tmp_path, {}), **changes}
    with pytest.raises(BadConfiguration) as raised:
        read_credentials(given)
    assert complaint in str(raised.value)
    with pytest.raises(ConfigurationError, match="ValidatingAdmissionWebhook"):
        Chain(configurations={"ValidatingAdmissionWebhook": given})


def test_the_older_form_is_taken(tmp_path: Path) -> None:
    given = {**configuration(tmp_path, {"*": token("t")}), "kind": "WebhookAdmission"}
    assert read_credentials({**given, "apiVersion": "apiserver.config.k8s.io/v1alpha1"}).of("a:1")


async def test_webhooks_are_shown_a_certificate_and_a_token(
    clock: FakeClock, signing_key: bytes, tmp_path: Path
) -> None:
    context, bundle = certificate(tmp_path / "webhook", "127.0.0.1")
    Authority(tmp_path / "webhook", datetime.now(UTC)).ensure([Leaf("caller", "the-api-server")])
    seen: list[tuple[str, str]] = []

    def answer(request: Request) -> Response:
        shown = request.connection.peer_certificate
        name = subject_of(shown).common_name if shown else ""
        seen.append((request.headers.get("authorization", ""), name))
        review = orjson.loads(request.body)
        response = {"uid": review["request"]["uid"], "allowed": True}
        made = {"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response}
        return Response(200, [("content-type", "application/json")], orjson.dumps(made))

    listener = Server(answer, ssl_context=context)
    port = (await listener.listen(host="127.0.0.1", port=0)).port
    files = {
        f"client-{kind}": str(tmp_path / "webhook" / f"caller.{end}")
        for kind, end in (("certificate", "crt"), ("key", "key"))
    }
    told = configuration(tmp_path, {f"127.0.0.1:{port}": {**token("secret"), **files}})
    admission = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "ValidatingAdmissionWebhook", "configuration": told}],
    }
    (tmp_path / "admission").write_bytes(orjson.dumps(admission))
    assert read_configurations(str(tmp_path / "admission")).keys() == {"ValidatingAdmissionWebhook"}
    async with running(
        clock, signing_key, admission_control_config_file=str(tmp_path / "admission")
    ) as server:
        client = Client(server)
        for kind in ("Validating", "Mutating"):
            hook = {
                "name": "a.example.com",
                "clientConfig": {"url": f"https://127.0.0.1:{port}/{kind}", "caBundle": bundle},
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "resources": ["configmaps"],
                        "operations": ["CREATE"],
                    }
                ],
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
            }
            path = f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}webhookconfigurations"
            await client.create(path, {"metadata": {"name": "a"}, "webhooks": [hook]})
        await client.create(MAPS, {"metadata": {"name": "m"}})
    await listener.shutdown(grace_seconds=0)
    # Each plugin has a configuration of its own: the other one says nothing of itself.
    assert seen == [("", ""), ("Bearer secret", "the-api-server")]
