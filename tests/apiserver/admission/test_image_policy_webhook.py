"""A webhook that says which images may run: what it is asked, how long its word counts, and what happens without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from served import Answer, Client, running
from webhook_server import Webhook

from tiphys.apiserver.admission.configuration import BadConfiguration
from tiphys.apiserver.admission.image_policy_webhook import FAILED_OPEN, read_policy
from tiphys.apiserver.settings import ConfigurationError
from tiphys.machinery import yaml
from tiphys.testing.clock import FakeClock

PODS = "/api/v1/namespaces/default/pods"
BACKOFF_SECONDS = 0.1
"""Longer than any wait for the next try here, and shorter than what else is timed."""


def pod(name: str, image: str) -> dict[str, Any]:
    annotations = {"mine.image-policy.k8s.io/ticket": "1", "other": "x"}
    containers = [{"name": "c", "image": image}]
    spec = {"containers": containers, "initContainers": [{"name": "i", "image": "init"}]}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


def judged(review: dict[str, Any]) -> dict[str, Any]:
    images = [each["image"] for each in review["spec"]["containers"]]
    return {**review, "status": {"allowed": "bad" not in images, "reason": "too old"}}


def write(directory: Path, hook: Webhook, **more: Any) -> str:
    cluster = {"server": hook.url, "certificate-authority-data": hook.ca_bundle}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": ""}}],
        "current-context": "x",
    }
    (directory / "kubeconfig").write_bytes(yaml.dump(kubeconfig))
    policy = {"imagePolicy": {"kubeConfigFile": str(directory / "kubeconfig"), **more}}
    (directory / "policy.yaml").write_bytes(yaml.dump(policy))
    return str(directory / "policy.yaml")


@pytest.fixture
async def judge(hook: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path) -> AsyncIterator[Client]:
    hook.answer = judged
    file = write(tmp_path, hook)
    plugins = ("ImagePolicyWebhook",)
    told = {"admission_control_config_file": file, "enable_admission_plugins": plugins}
    async with running(clock, signing_key, **told) as server:
        yield Client(server)


async def test_what_it_is_asked_and_how_long_its_word_counts(
    judge: Client, hook: Webhook, clock: FakeClock
) -> None:
    await judge.create(PODS, pod("good", "fine"))
    assert hook.reviews[0]["kind"] == "ImageReview"
    assert hook.reviews[0]["spec"] == {
        "containers": [{"image": "fine"}, {"image": "init"}],
        "annotations": {"mine.image-policy.k8s.io/ticket": "1"},
        "namespace": "default",
    }
    answer = await judge.call("POST", PODS, pod("worse", "bad"))
    assert answer.body["message"] == (
        'pods "worse" is forbidden: image policy webhook backend denied one or more images: too old'
    )
    await judge.create(PODS, pod("again", "fine"))
    await judge.patch(f"{PODS}/good/status", {"status": {"phase": "Running"}})
    assert len(hook.reviews) == 2
    await clock.advance(299)
    await judge.create(PODS, pod("still", "fine"))
    assert len(hook.reviews) == 2
    await clock.advance(2)
    await judge.create(PODS, pod("later", "fine"))
    assert len(hook.reviews) == 3


async def patiently(clock: FakeClock, client: Client, body: dict[str, Any]) -> Answer:
    """Lets time pass until there is an answer, but only while the next try is waited for: a try itself takes no time of the clock."""
    asked = asyncio.create_task(client.call("POST", PODS, body))
    async with asyncio.timeout(60):
        while not asked.done():
            due = clock.next_due
            await clock.advance(due if due is not None and due < BACKOFF_SECONDS else 0)
    return asked.result()


@pytest.mark.parametrize("allows", [True, False])
async def test_without_an_answer(
    hook: Webhook, clock: FakeClock, signing_key: bytes, tmp_path: Path, *, allows: bool
) -> None:
    hook.status = 500
    file = write(tmp_path, hook, defaultAllow=allows, retryBackoff=1)
    told = {"admission_control_config_file": file, "enable_admission_plugins": ("ImagePolicyWebhook",)}
    async with running(clock, signing_key, **told) as server:
        answer = await patiently(clock, Client(server), pod("p", "fine"))
    assert len(hook.reviews) == 5
    if allows:
        assert answer.status == 201
        assert answer.body["metadata"]["annotations"][FAILED_OPEN] == "true"
    else:
        assert answer.status == 403
        assert answer.body["message"].startswith('pods "p" is forbidden: ')


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        (None, "imagePolicy: Required value"),
        ({}, "imagePolicy.kubeConfigFile: Required value"),
        ({"kubeconfig": "x"}, 'unknown field "imagePolicy.kubeconfig"'),
        ({"kubeConfigFile": "x", "allowTTL": 1801}, "valid value is between 1s and 1800s, got 1801s"),
        ({"kubeConfigFile": "x", "denyTTL": "a"}, "imagePolicy.denyTTL: it is no number"),
    ],
)
def test_configurations_that_make_no_sense(policy: dict[str, Any] | None, complaint: str) -> None:
    with pytest.raises(BadConfiguration) as raised:
        read_policy(None if policy is None else {"imagePolicy": policy})
    assert complaint in str(raised.value)


def test_lifetimes() -> None:
    found = read_policy(
        {"imagePolicy": {"kubeConfigFile": "x", "allowTTL": -1, "denyTTL": 0, "retryBackoff": 20}}
    )
    assert (found.allow_seconds, found.deny_seconds, found.backoff.base_seconds) == (0.0, 30.0, 0.02)


async def test_a_webhook_that_nobody_can_call(clock: FakeClock, signing_key: bytes, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f"imagePolicy: {{kubeConfigFile: {tmp_path}/none}}")
    told = {"admission_control_config_file": str(file), "enable_admission_plugins": ("ImagePolicyWebhook",)}
    with pytest.raises(ConfigurationError) as raised:
        async with running(clock, signing_key, **told):
            raise AssertionError("it started")
    assert str(raised.value) == (
        f"--admission-control-config-file: {file}: line 1: ImagePolicyWebhook: imagePolicy.kubeConfigFile: "
        f"{tmp_path}/none: No such file or directory"
    )
