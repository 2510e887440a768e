"""Plugins that have credentials: real programs are asked, and what they answer is kept for whom it is meant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tiphys.client.client import Client
from tiphys.client.resources import SERVICEACCOUNTS
from tiphys.kubelet.credentials.plugin import PluginFailure, Question, ask, parse_answer
from tiphys.kubelet.credentials.providers import CredentialProviders
from tiphys.kubelet.credentials.settings import Provider, ProviderSettings, TokenAttributes
from tiphys.kubelet.images.keyring import AccountSource
from tiphys.kubelet.metrics import ProviderMetrics
from tiphys.kubelet.volumes.tokens import Tokens
from tiphys.machinery import meta
from tiphys.machinery.clock import SystemClock
from tiphys.machinery.metrics import Registry
from tiphys.testing.api import FakeAPI
from tiphys.testing.clock import FakeClock

V1 = "credentialprovider.kubelet.k8s.io/v1"
PLAIN = Provider("plain", ("registry.example", "*.example.com:5000/team"), 60.0, V1)
Object = dict[str, Any]


def answer(**fields: Any) -> Object:
    return {
        "kind": "CredentialProviderResponse",
        "apiVersion": V1,
        "cacheKeyType": "Image",
        "auth": {"registry.example": {"username": "me", "password": "pw"}},
        **fields,
    }


class Plugin:
    """A program that writes down what it is asked, and answers the same each time."""

    def __init__(self, directory: Path, name: str = "plain") -> None:
        self.directory = directory
        self._program, self._log = directory / name, directory / f"{name}.log"
        self.answers(answer())

    def answers(self, document: Object) -> None:
        self.does(f"cat >> {self._log}\ncat <<'END'\n{json.dumps(document)}\nEND\n")

    def does(self, script: str) -> None:
        # Another file each time: one that is just being run cannot be written.
        unfinished = self._program.with_suffix(".new")
        unfinished.write_text(f"#!/bin/sh\n{script}")
        unfinished.chmod(0o755)
        unfinished.replace(self._program)

    @property
    def asked(self) -> list[Object]:
        return [json.loads(line) for line in self._log.read_text().splitlines()] if self._log.exists() else []


class TokenAPI(FakeAPI):
    """Gives tokens that tell what was asked for."""

    def _post_subresource(self, where: Any, content: Object) -> Object:
        assert where[3] == "token"
        wanted, expiry = content["spec"], self._clock.now() + timedelta(hours=1)
        token = f"{'+'.join(wanted['audiences'])}.{wanted['boundObjectRef']['name']}"
        return {**content, "status": {"token": token, "expirationTimestamp": meta.format_time(expiry)}}


class World:
    """A node with plugins, and an API with service accounts."""

    def __init__(self, directory: Path, *providers: Provider) -> None:
        self.clock = FakeClock()
        self.api = TokenAPI(clock=self.clock)
        self.counted = Registry()
        client = Client(self.api)
        settings = ProviderSettings(directory, providers, "sha256:1")
        self.providers = CredentialProviders(
            settings, client, Tokens(client, self.clock), self.clock, ProviderMetrics(self.counted)
        )

    def account(self, name: str, annotations: Mapping[str, str] | None = None) -> Object:
        metadata = {"name": name, "namespace": "default", "annotations": dict(annotations or {})}
        return self.api.put(SERVICEACCOUNTS, {"metadata": metadata})

    async def passwords(self, image: str, account: str = "", pod: str = "web") -> list[str]:
        found = await self.providers.credentials(pod_of(pod, account), image)
        return [credential.auth.password for credential in found]


def pod_of(name: str, account: str = "") -> Object:
    metadata = {"name": name, "namespace": "default", "uid": f"uid-of-{name}"}
    return {"metadata": metadata, "spec": {"containers": [], "serviceAccountName": account}}


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


async def test_a_plugin_is_asked_for_images_that_are_meant(tmp_path: Path, plugin: Plugin) -> None:
    world = World(tmp_path, PLAIN)
    assert await world.passwords("registry.example/a/b:1") == ["pw"]
    assert plugin.asked == [
        {"kind": "CredentialProviderRequest", "apiVersion": V1, "image": "registry.example/a/b"}
    ]
    assert await world.passwords("other.example/a:1") == []
    assert await world.passwords("a.example.com:5000/other") == []
    # It is asked, and has nothing for that one.
    assert await world.passwords("a.example.com:5000/team/x") == []
    assert len(plugin.asked) == 2


async def test_all_that_a_plugin_answers_is_a_keyring(tmp_path: Path, plugin: Plugin) -> None:
    auth = {
        server: {"username": "me", "password": server}
        for server in ("registry.example", "registry.example/team", "*.example", "elsewhere")
    }
    plugin.answers(answer(auth=auth))
    Plugin(tmp_path, "other")
    world = World(tmp_path, PLAIN, replace(PLAIN, name="other"))
    found = await world.passwords("registry.example/team/a")
    assert found == ["registry.example/team", "registry.example", "pw", "*.example"]


async def test_arguments_and_environment(
    tmp_path: Path, plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_KUBELET", "kubelet")
    monkeypatch.setenv("OF_BOTH", "kubelet")
    text = json.dumps(answer(auth={"registry.example": {"username": "me", "password": "WORDS"}}))
    plugin.does(f"cat >/dev/null\necho '{text}' | sed \"s/WORDS/$1 $2 $OF_KUBELET $OF_BOTH $OF_PLUGIN/\"\n")
    env = {"OF_BOTH": "plugin", "OF_PLUGIN": "plugin"}
    world = World(tmp_path, replace(PLAIN, args=("a", "b"), env=env))
    assert await world.passwords("registry.example/a") == ["a b kubelet plugin plugin"]


@pytest.mark.parametrize(
    ("fields", "default_seconds", "asked"),
    [
        ({}, 60.0, ["a", "b", "a"]),
        ({"cacheKeyType": "Registry"}, 60.0, ["a", "a"]),
        ({"cacheKeyType": "Global"}, 60.0, ["a", "a"]),
        ({"cacheDuration": "10m"}, 0.0, ["a", "b"]),
        ({"cacheDuration": "0s"}, 60.0, ["a", "a", "b", "a"]),
        ({}, 0.0, ["a", "a", "b", "a"]),
    ],
)
async def test_how_long_an_answer_is_kept_and_for_what(
    tmp_path: Path, plugin: Plugin, fields: Object, default_seconds: float, asked: list[str]
) -> None:
    plugin.answers(answer(**fields))
    world = World(tmp_path, replace(PLAIN, default_cache_seconds=default_seconds))
    for image in ("a", "a", "b"):
        assert await world.passwords(f"registry.example/{image}") == ["pw"]
    await world.clock.advance(61)
    await world.passwords("registry.example/a")
    assert [each["image"].rpartition("/")[2] for each in plugin.asked] == asked


async def test_who_asks_the_same_at_the_same_time_is_told_the_same(tmp_path: Path, plugin: Plugin) -> None:
    plugin.answers(answer(cacheDuration="0s"))
    world = World(tmp_path, PLAIN)
    found = await asyncio.gather(*(world.passwords("registry.example/a") for _ in range(5)))
    assert found == [["pw"]] * 5
    assert len(plugin.asked) == 1


async def test_a_plugin_that_fails_gives_nothing_and_is_counted(
    tmp_path: Path, plugin: Plugin, caplog: pytest.LogCaptureFixture
) -> None:
    plugin.does("echo no metadata server >&2; exit 3\n")
    Plugin(tmp_path, "other")
    world = World(tmp_path, PLAIN, replace(PLAIN, name="other"))
    assert await world.passwords("registry.example/a") == ["pw"]
    told = "error execing credential provider plugin plain for image registry.example/a: exit status 3: no metadata server"
    assert f"Failed getting credential from external registry credential provider: {told}" in caplog.text
    text = world.counted.render().decode()
    assert 'kubelet_credential_provider_plugin_errors_total{plugin_name="plain"} 1' in text
    assert 'kubelet_credential_provider_plugin_errors_total{plugin_name="other"}' not in text
    assert 'kubelet_credential_provider_plugin_duration_count{plugin_name="other"} 1' in text
    assert 'kubelet_credential_provider_config_info{hash="sha256:1"} 1' in text


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("nonsense", "error reading GVK from response: it is no JSON object"),
        ('{"password": "secret"}', f"apiVersion from credential plugin response did not match expected apiVersion:{V1}, actual apiVersion:"),
        (json.dumps(answer(auth={"x": {"passwort": "secret"}})), "error decoding credential provider plugin response from stdout"),
        (json.dumps(answer(kind="Secret")), "error decoding credential provider plugin response from stdout"),
        (json.dumps(answer(cacheDuration="soon")), "error decoding credential provider plugin response from stdout"),
        (json.dumps(answer(cacheKeyType="Pod")), 'credential provider plugin did not return a valid cacheKeyType: "Pod"'),
    ],
)  # fmt: skip
def test_answers_that_are_none(said: str, message: str) -> None:
    with pytest.raises(PluginFailure) as caught:
        parse_answer(said.encode(), V1)
    assert str(caught.value) == message


async def test_a_plugin_that_is_ended_or_cannot_be_run(tmp_path: Path, plugin: Plugin) -> None:
    plugin.does("kill -KILL $$\n")
    with pytest.raises(PluginFailure, match=r"for image registry\.example/a: signal: killed"):
        await ask(PLAIN, tmp_path, Question("registry.example/a"), SystemClock())
    with pytest.raises(PluginFailure, match="No such file or directory"):
        await ask(replace(PLAIN, name="none"), tmp_path, Question("registry.example/a"), SystemClock())


async def test_a_plugin_that_never_ends_is_ended(tmp_path: Path, plugin: Plugin) -> None:
    plugin.does("echo $$ > $0.pid.new; mv $0.pid.new $0.pid; exec sleep 1000\n")
    clock = FakeClock()
    asked = asyncio.create_task(ask(PLAIN, tmp_path, Question("registry.example/a"), clock))
    pid = tmp_path / "plain.pid"
    while not pid.exists():
        await asyncio.sleep(0.01)
    # It may be running before anybody has begun to wait for it.
    while not asked.done():
        await clock.advance(60)
        await asyncio.sleep(0.01)
    with pytest.raises(PluginFailure, match="context deadline exceeded"):
        await asked
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


# On behalf of service accounts

ACCOUNTED = replace(PLAIN, token=TokenAttributes("registry", "ServiceAccount", True, ("role",), ("more",)))


async def test_a_token_of_the_pods_account_and_what_it_is_annotated_with(
    tmp_path: Path, plugin: Plugin
) -> None:
    world = World(tmp_path, ACCOUNTED)
    account = world.account("builder", {"role": "puller", "more": "1", "secret": "x"})
    [found] = await world.providers.credentials(pod_of("web", "builder"), "registry.example/a")
    assert found.source == AccountSource(account["metadata"]["uid"], "default", "builder")
    [asked] = plugin.asked
    assert asked["serviceAccountAnnotations"] == {"role": "puller", "more": "1"}
    assert asked["serviceAccountToken"] == "registry.web"


async def test_who_is_not_asked_for(tmp_path: Path, plugin: Plugin, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path, ACCOUNTED)
    world.account("plain", {"more": "1"})
    assert await world.passwords("registry.example/a", "plain") == []
    assert await world.passwords("registry.example/a", "") == []
    assert caplog.text == ""
    assert await world.passwords("registry.example/a", "none") == []
    assert "Failed to get service account default/none" in caplog.text
    assert plugin.asked == []


async def test_a_pod_without_an_account_where_none_is_required(tmp_path: Path, plugin: Plugin) -> None:
    world = World(tmp_path, replace(PLAIN, token=TokenAttributes("registry", "Token", False)))
    [found] = await world.providers.credentials(pod_of("static"), "registry.example/a")
    assert found.source is None
    assert "serviceAccountToken" not in plugin.asked[0]


@pytest.mark.parametrize(("cache_type", "asked"), [("ServiceAccount", 2), ("Token", 3)])
async def test_answers_are_for_one_account_or_for_one_token(
    tmp_path: Path, plugin: Plugin, cache_type: str, asked: int
) -> None:
    world = World(tmp_path, replace(PLAIN, token=TokenAttributes("registry", cache_type, True)))
    world.account("a")
    world.account("b")
    for pod, account in (("one", "a"), ("one", "a"), ("two", "a"), ("three", "b")):
        assert await world.passwords("registry.example/a", account, pod) == ["pw"]
    assert len(plugin.asked) == asked


@pytest.mark.parametrize(("cache_type", "is_taken"), [("ServiceAccount", False), ("Token", True)])
async def test_a_token_that_is_the_password_is_nobody_elses(
    tmp_path: Path, plugin: Plugin, cache_type: str, is_taken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    text = json.dumps(answer(auth={"registry.example": {"username": "me", "password": "TOKEN"}}))
    find = 'sed -E \'s/.*"serviceAccountToken": "([^"]*)".*/\\1/\''
    plugin.does(f"token=$(cat | {find})\necho '{text}' | sed \"s/TOKEN/$token/\"\n")
    world = World(tmp_path, replace(PLAIN, token=TokenAttributes("registry", cache_type, True)))
    world.account("a")
    found = await world.passwords("registry.example/a", "a")
    assert bool(found) == is_taken
    assert ("is not set to 'Token'" in caplog.text) != is_taken
