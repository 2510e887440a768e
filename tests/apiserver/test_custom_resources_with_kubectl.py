"""An operator's definition in the hands of the real kubectl: columns, explain, apply in both ways, scale, patch, delete."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from https import Secure, secure_server

from tiphys.machinery import yaml

Object = dict[str, Any]

CONDITION = {
    "type": "object",
    "required": ["status", "type"],
    "properties": {
        "type": {"type": "string", "description": "Which condition."},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string"},
        "message": {"type": "string"},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
    },
}


def selector() -> Object:
    return {
        "type": "object",
        "required": ["name"],
        "description": "Names a Secret in the namespace.",
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "key": {"type": "string", "default": "tls.key"},
        },
    }


def solver(number: int) -> Object:
    """One of many alike parts: what makes the definitions of operators large."""
    fields = {
        f"option{each}": {"type": "string", "description": f"Option {each} of solver {number}."}
        for each in range(20)
    }
    return {
        "type": "object",
        "description": f"Solver {number}.",
        "properties": {**fields, "secretRef": selector(), "weight": {"type": "integer", "minimum": 0}},
    }


SPEC = {
    "type": "object",
    "description": "What the certificate shall be.",
    "required": ["secretName", "issuerRef"],
    "properties": {
        "secretName": {"type": "string", "description": "Where the key pair is put."},
        "replicas": {"type": "integer", "format": "int32", "default": 1},
        "duration": {"type": "string", "default": "2160h"},
        "dnsNames": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "issuerRef": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "kind": {"type": "string", "default": "Issuer"}},
        },
        "ports": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "port": {"x-kubernetes-int-or-string": True}},
            },
        },
        "solvers": {"type": "object", "properties": {f"solver{each}": solver(each) for each in range(40)}},
    },
    "x-kubernetes-validations": [
        {"rule": "self.replicas <= 5", "message": "at most five replicas"},
        {"rule": "self.secretName == oldSelf.secretName", "message": "secretName is immutable"},
    ],
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "certificates.certs.example.com"},
    "spec": {
        "group": "certs.example.com",
        "scope": "Namespaced",
        "names": {
            "plural": "certificates",
            "singular": "certificate",
            "kind": "Certificate",
            "shortNames": ["cert"],
            "categories": ["certs"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A certificate that is kept up to date.",
                        "properties": {
                            "spec": SPEC,
                            "status": {
                                "type": "object",
                                "properties": {
                                    "replicas": {"type": "integer"},
                                    "selector": {"type": "string"},
                                    "conditions": {
                                        "type": "array",
                                        "items": CONDITION,
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                    },
                                },
                            },
                        },
                    }
                },
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "additionalPrinterColumns": [
                    {
                        "name": "Ready",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                    },
                    {"name": "Secret", "type": "string", "jsonPath": ".spec.secretName"},
                    {"name": "Issuer", "type": "string", "jsonPath": ".spec.issuerRef.name", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }
        ],
    },
}


def certificate(**spec: Any) -> str:
    wanted = {
        "apiVersion": "certs.example.com/v1",
        "kind": "Certificate",
        "metadata": {"name": "web"},
        "spec": {"secretName": "web-tls", "issuerRef": {"name": "ca"}, **spec},
    }
    return yaml.dump(wanted).decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(Path(tmp_path_factory.mktemp("server")), signing_key) as found:
        found.kubectl("create", "-f", "-", stdin=json.dumps(DEFINITION))
        found.kubectl("wait", "--for=condition=Established", "crd/certificates.certs.example.com")
        yield found


@pytest.fixture
def web(server: Secure) -> Iterator[Secure]:
    server.kubectl("apply", "-f", "-", stdin=certificate())
    yield server
    server.kubectl("delete", "certificate", "web")


def stored(server: Secure) -> Object:
    found: Object = json.loads(server.kubectl("get", "cert", "web", "-o", "json"))
    return found


def test_columns(web: Secure) -> None:
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    web.kubectl("patch", "cert", "web", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    header, row = web.kubectl("get", "certificates").splitlines()
    assert header.split() == ["NAME", "READY", "SECRET", "AGE"]
    assert row.split()[:3] == ["web", "True", "web-tls"]
    header, row = web.kubectl("get", "certs", "-o", "wide").splitlines()
    assert header.split() == ["NAME", "READY", "SECRET", "ISSUER", "AGE"]
    assert row.split()[3] == "ca"


def test_explain(server: Secure) -> None:
    told = server.kubectl("explain", "certificate.spec.issuerRef")
    assert "GROUP:      certs.example.com" in told
    assert "FIELD: issuerRef <Object>" in told
    assert "name\t<string> -required-" in told
    assert "A certificate that is kept up to date." in server.kubectl("explain", "cert")
    assert "Option 3 of solver 7." in server.kubectl("explain", "cert.spec.solvers.solver7.option3")


def test_api_resources(server: Secure) -> None:
    (line,) = (
        each
        for each in server.kubectl(
            "api-resources", "--api-group=certs.example.com", "-o", "wide"
        ).splitlines()
        if each.startswith("certificates")
    )
    assert line.split()[:5] == ["certificates", "cert", "certs.example.com/v1", "true", "Certificate"]
    assert line.split()[-1] == "certs"


def test_apply_by_the_client(web: Secure) -> None:
    said = web.kubectl("apply", "-f", "-", stdin=certificate(dnsNames=["a.example.com"]))
    assert said.strip() == "certificate.certs.example.com/web configured"
    assert stored(web)["spec"]["dnsNames"] == ["a.example.com"]
    assert (
        web.kubectl("apply", "-f", "-", stdin=certificate(dnsNames=["a.example.com"]))
        .strip()
        .endswith("unchanged")
    )
    web.kubectl("apply", "-f", "-", stdin=certificate())
    assert "dnsNames" not in stored(web)["spec"]
    assert stored(web)["spec"]["issuerRef"] == {"name": "ca", "kind": "Issuer"}


def test_apply_by_the_server(web: Secure) -> None:
    def apply(manager: str, *more: str, fails: bool = False, **spec: Any) -> str:
        wanted = certificate(**spec)
        arguments = ("apply", "--server-side", f"--field-manager={manager}", *more, "-f", "-")
        return web.kubectl(*arguments, stdin=wanted, fails=fails)

    apply("one", "--force-conflicts", ports=[{"name": "a", "port": 1}])
    apply("two", ports=[{"name": "b", "port": "http"}])
    assert stored(web)["spec"]["ports"] == [{"name": "a", "port": 1}, {"name": "b", "port": "http"}]
    refused = apply("two", ports=[{"name": "a", "port": 2}], fails=True)
    assert 'conflict with "one": .spec.ports[name="a"].port' in refused
    apply("one")
    assert stored(web)["spec"]["ports"] == [{"name": "b", "port": "http"}]


def test_scale(web: Secure) -> None:
    assert (
        web.kubectl("scale", "cert/web", "--replicas=3").strip() == "certificate.certs.example.com/web scaled"
    )
    assert stored(web)["spec"]["replicas"] == 3
    refused = web.kubectl("scale", "cert/web", "--replicas=9", fails=True)
    assert "at most five replicas" in refused


def test_patch(web: Secure) -> None:
    web.kubectl("patch", "cert", "web", "--type=merge", "-p", '{"spec":{"duration":"1h"}}')
    patch = '[{"op":"add","path":"/spec/dnsNames","value":["b"]}]'
    web.kubectl("patch", "cert", "web", "--type=json", "-p", patch)
    assert (stored(web)["spec"]["duration"], stored(web)["spec"]["dnsNames"]) == ("1h", ["b"])
    refused = web.kubectl("patch", "cert", "web", "-p", '{"spec":{"duration":"1h"}}', fails=True)
    assert "application/json-patch+json" in refused
    changed = '{"spec":{"secretName":"other"}}'
    refused = web.kubectl("patch", "cert", "web", "--type=merge", "-p", changed, fails=True)
    assert "secretName is immutable" in refused


def test_what_kubectl_is_told_of_a_wrong_object(server: Secure) -> None:
    refused = server.kubectl("create", "-f", "-", stdin=certificate(dnsNames="a"), fails=True)
    assert "spec.dnsNames: Invalid value" in refused
    refused = server.kubectl("create", "-f", "-", stdin=certificate(secret="a"), fails=True)
    assert 'unknown field "spec.secret"' in refused
    refused = server.kubectl("create", "-f", "-", stdin=certificate(issuerRef={}), fails=True)
    assert "spec.issuerRef.name: Required value" in refused


def test_the_definition_goes_with_all_of_it(server: Secure) -> None:
    other = json.loads(
        json.dumps(DEFINITION).replace("certificates", "papers").replace("certificate", "paper")
    )
    other["spec"]["names"] = {"plural": "papers", "kind": "Paper"}
    server.kubectl("create", "-f", "-", stdin=json.dumps(other))
    server.kubectl("wait", "--for=condition=Established", "crd/papers.certs.example.com")
    paper = certificate().replace("kind: Certificate", "kind: Paper")
    assert server.kubectl("create", "-f", "-", stdin=paper).strip() == "paper.certs.example.com/web created"
    server.kubectl("delete", "crd", "papers.certs.example.com")
    gone = server.kubectl("get", "papers", fails=True)
    assert (
        "the server could not find the requested resource" in gone
    )  # kubectl keeps what it discovered before
