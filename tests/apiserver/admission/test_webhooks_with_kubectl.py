"""Webhooks behind a Service, in the hands of the real kubectl: what it is told, what comes back, and how one gets rid of them."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from admission_hooks import add, allow, deny, patch
from https import Secure, secure_server
from webhook_server import Webhook, webhook

HOOKS = """
apiVersion: v1
kind: Service
metadata: {name: hook}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: sidecars}
webhooks:
- name: sidecar.example.com
  clientConfig: {caBundle: BUNDLE, service: {namespace: default, name: hook, port: PORT, path: /mutate}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  sideEffects: None
  admissionReviewVersions: [v1]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: rules}
webhooks:
- name: maps.example.com
  clientConfig: {caBundle: BUNDLE, service: {namespace: default, name: hook, port: PORT, path: /validate}}
  rules: [{apiGroups: ["*"], apiVersions: ["*"], operations: ["*"], resources: ["*"]}]
  matchConditions: [{name: maps, expression: request.resource.resource == 'configmaps'}]
  sideEffects: NoneOnDryRun
  admissionReviewVersions: [v1]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, signing_key: bytes) -> Iterator[Secure]:
    with secure_server(Path(tmp_path_factory.mktemp("server")), signing_key) as found:
        yield found


@contextmanager
def beside(identity: tuple[ssl.SSLContext, str]) -> Iterator[Webhook]:
    """A webhook in a thread of its own."""
    started = threading.Event()
    found: list[tuple[Webhook, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        async with webhook(*identity, allow) as hook:
            found.append((hook, asyncio.get_running_loop(), asyncio.Event()))
            started.set()
            await found[0][2].wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="webhook")
    thread.start()
    try:
        assert started.wait(10)
        yield found[0][0]
    finally:
        found[0][1].call_soon_threadsafe(found[0][2].set)
        thread.join()


@pytest.fixture
def hook(hook_identity: tuple[ssl.SSLContext, str]) -> Iterator[Webhook]:
    with beside(hook_identity) as found:
        yield found


def test_webhooks(server: Secure, hook: Webhook) -> None:
    hook.answers["/mutate"] = patch(add("/spec/containers/-", {"name": "sidecar", "image": "proxy"}))
    hook.answers["/validate"] = lambda review: allow(review, warnings=["maps are out of fashion"])
    port = hook.url.split(":")[2].split("/")[0]
    hooks = HOOKS.replace("BUNDLE", hook.ca_bundle).replace("PORT", port)
    service, _, configurations = hooks.partition("---")
    server.kubectl("apply", "-f", "-", stdin=configurations)
    refused = server.kubectl("run", "web", "--image=nginx", fails=True)
    assert refused == (
        'Error from server (InternalError): Internal error occurred: failed calling webhook "sidecar.example.com": '
        f'failed to call webhook: Post "https://hook.default.svc:{port}/mutate?timeout=10s": service "hook" not found\n'
    )
    server.kubectl("apply", "-f", "-", stdin=service)
    listed = server.kubectl("get", "validatingwebhookconfigurations,mutatingwebhookconfigurations")
    assert [line.split()[:2] for line in listed.splitlines() if "/" in line] == [
        ["validatingwebhookconfiguration.admissionregistration.k8s.io/rules", "1"],
        ["mutatingwebhookconfiguration.admissionregistration.k8s.io/sidecars", "1"],
    ]
    server.kubectl("run", "web", "--image=nginx")
    images = server.kubectl("get", "pod", "web", "-o", "jsonpath={.spec.containers[*].image}")
    assert images == "nginx proxy"
    made = server.kubectl("create", "configmap", "a", "--from-literal=a=b")
    assert made == "Warning: maps are out of fashion\nconfigmap/a created\n"
    hook.answers["/validate"] = deny("not even one", code=403, reason="Forbidden")
    refused = server.kubectl("create", "configmap", "b", "--from-literal=a=b", fails=True)
    assert refused == (
        'error: failed to create configmap: admission webhook "maps.example.com" denied the request: not even one\n'
    )
    refused = server.kubectl("delete", "configmap", "a", "--dry-run=server", fails=True)
    assert refused == (
        'Error from server (Forbidden): admission webhook "maps.example.com" denied the request: not even one\n'
    )
    assert hook.reviews[-1]["request"]["dryRun"] is True
    server.kubectl("delete", "validatingwebhookconfiguration", "rules")
    assert server.kubectl("delete", "configmap", "a") == 'configmap "a" deleted from default namespace\n'
    server.kubectl("delete", "mutatingwebhookconfiguration", "sidecars")
    server.kubectl("run", "other", "--image=nginx")
