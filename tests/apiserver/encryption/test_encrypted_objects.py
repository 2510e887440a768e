"""A server whose objects lie encrypted in the store: what is on the disk, rotation of keys, and keys that are not there."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from encrypted import (
    IDENTITY,
    KEY_ONE,
    KEY_TWO,
    SECRET,
    SECRETS,
    STORED,
    VALUE,
    encrypted,
    entry,
    local,
    text,
)
from reload_metrics import hash_of, reloads
from served import Object

from tiphys.apiserver.settings import ConfigurationError
from tiphys.store.memory import MemoryStore
from tiphys.store.sqlite import SQLiteStore
from tiphys.testing.clock import FakeClock

WORD = base64.b64encode(VALUE.encode()).decode()


class Kept(MemoryStore):
    """It stays when the server goes."""

    async def close(self) -> None:
        pass

    def stored(self, key: str = STORED) -> bytes:
        entry = self.get(key)
        assert entry is not None
        return entry.value


def written(tmp_path: Path, *entries: dict) -> Path:  # type: ignore[type-arg]
    path = tmp_path / "encryption.yaml"
    path.write_text(text(*entries))
    return path


def _words(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.iterdir() if file.name.startswith("state"))


@pytest.mark.parametrize("kind", ["aesgcm", "aescbc", "secretbox"])
async def test_nothing_of_it_can_be_read_on_the_disk_and_all_after_a_restart(
    tmp_path: Path, clock: FakeClock, signing_key: bytes, kind: str
) -> None:
    path = written(tmp_path, entry([local(kind, KEY_ONE), IDENTITY]))
    database = tmp_path / "data" / "state.db"
    database.parent.mkdir()
    async with encrypted(path, SQLiteStore(str(database)), clock, signing_key) as client:
        await client.create(SECRETS, SECRET)
        await client.patch(f"{SECRETS}/s", {"metadata": {"labels": {"colour": "ultramarine"}}})
        await client.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "seen-by-all"}})
        on_disk = _words(database.parent)
        assert b"seen-by-all" in on_disk, "the test does not look where objects are"
        assert VALUE.encode() not in on_disk
        assert WORD.encode() not in on_disk
        assert b"ultramarine" not in on_disk
    assert WORD.encode() not in _words(database.parent)
    async with encrypted(path, SQLiteStore(str(database)), clock, signing_key) as client:
        found = await client.get(f"{SECRETS}/s")
        assert found["data"] == {"word": WORD}
        assert found["metadata"]["labels"] == {"colour": "ultramarine"}
        assert [each["metadata"]["name"] for each in (await client.get("/api/v1/secrets"))["items"]] == ["s"]


async def test_lists_and_watches_of_the_past(tmp_path: Path, clock: FakeClock, signing_key: bytes) -> None:
    path = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    async with encrypted(path, MemoryStore(), clock, signing_key) as client:
        first = (await client.create(SECRETS, SECRET))["metadata"]["resourceVersion"]
        await client.patch(f"{SECRETS}/s", {"data": {"word": "bmV3"}})
        await client.delete(f"{SECRETS}/s")
        query = f"resourceVersion={first}&resourceVersionMatch=Exact"
        assert (await client.get(f"{SECRETS}?{query}"))["items"][0]["data"] == {"word": WORD}
        cache = client.server.cache.resource("/registry/core/secrets/")
        cache.forget_history(client.server.store.revision)
        watch = await client.watch(f"{SECRETS}?watch=1&resourceVersion={int(first) - 1}")
        seen = [(kind, obj["data"]["word"]) for kind, obj in watch.events()]
        assert seen == [("ADDED", WORD), ("MODIFIED", "bmV3"), ("DELETED", "bmV3")]


async def test_any_update_writes_a_stale_value_with_the_new_key(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store = Kept()
    async with encrypted(None, store, clock, signing_key) as client:
        await client.create(SECRETS, SECRET)
    assert WORD.encode() in store.stored()
    for keys, begins in (
        ((KEY_ONE,), b"k8s:enc:aesgcm:v1:key1:"),
        ((KEY_TWO, KEY_ONE), b"k8s:enc:aesgcm:v1:key2:"),
    ):
        path = written(tmp_path, entry([local("aesgcm", *keys), IDENTITY]))
        async with encrypted(path, store, clock, signing_key) as client:
            before = await client.get(f"{SECRETS}/s")
            after = await client.put(f"{SECRETS}/s", before)
            assert store.stored().startswith(begins)
            assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
            same = await client.put(f"{SECRETS}/s", after)
            assert same == after, "what is not stale is not written again"
    async with encrypted(None, store, clock, signing_key) as client:
        answer = await client.call("GET", f"{SECRETS}/s")
        assert answer.status == 500
        assert (
            answer.body["message"]
            == "Internal error occurred: identity transformer tried to read encrypted data"
        )


async def test_custom_resources_are_rewritten_too(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store = Kept()
    definitions, widgets = (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/example.com/v1/namespaces/default/widgets",
    )
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
    widget: Object = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": VALUE,
    }
    key = "/registry/example.com/widgets/default/w"
    async with encrypted(None, store, clock, signing_key) as client:
        await client.create(definitions, definition)
        await clock.advance(10)
        await client.create(widgets, widget)
    assert VALUE.encode() in store.stored(key)
    path = written(tmp_path, entry([local("secretbox", KEY_ONE), IDENTITY], "*.example.com"))
    async with encrypted(path, store, clock, signing_key) as client:
        await clock.advance(10)
        await client.put(f"{widgets}/w", await client.get(f"{widgets}/w"))
        assert store.stored(key).startswith(b"k8s:enc:secretbox:v1:key1:")
        assert (await client.get(f"{widgets}/w"))["spec"] == VALUE


@pytest.mark.parametrize(
    ("providers", "reason"),
    [
        ([local("aesgcm", KEY_TWO)], "no matching key was found for the provided AES transformer"),
        ([local("aesgcm", {**KEY_TWO, "name": "key1"})], "cipher: message authentication failed"),
        ([IDENTITY], "no matching prefix found"),
    ],
)
async def test_without_the_key_it_says_which_object_and_why_and_changes_nothing(
    tmp_path: Path,
    clock: FakeClock,
    signing_key: bytes,
    providers: list[Object],
    reason: str,
) -> None:
    store = Kept()
    good = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    async with encrypted(good, store, clock, signing_key) as client:
        await client.create(SECRETS, SECRET)
    before = store.stored()
    async with encrypted(written(tmp_path, entry(providers)), store, clock, signing_key) as client:
        for method, target in (("GET", f"{SECRETS}/s"), ("GET", SECRETS), ("DELETE", f"{SECRETS}/s")):
            answer = await client.call(method, target)
            expected = (
                f'Internal error occurred: unable to transform key "/registry/secrets/default/s": {reason}'
            )
            assert (answer.status, answer.body["message"]) == (500, expected)
        await client.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
    assert store.stored() == before
    async with encrypted(
        written(tmp_path, entry([local("aesgcm", KEY_ONE)])), store, clock, signing_key
    ) as client:
        assert (await client.get(f"{SECRETS}/s"))["data"] == {"word": WORD}


async def test_one_object_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store = Kept()
    path = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    elsewhere = "/api/v1/namespaces/kube-system/secrets"
    async with encrypted(path, store, clock, signing_key) as client:
        for name in ("a", "b", "c"):
            await client.create(SECRETS, {**SECRET, "metadata": {"name": name}})
        await client.create(elsewhere, SECRET)
        key = "/registry/core/secrets/default/b"
        kept = store.stored(key)
    await store.write(key, kept[:-1] + bytes([kept[-1] ^ 1]))
    async with encrypted(path, store, clock, signing_key) as client:
        wrong = 'unable to transform key "/registry/secrets/default/b": cipher: message authentication failed'
        for method, target in (
            ("GET", f"{SECRETS}/b"),
            ("DELETE", f"{SECRETS}/b"),
            ("GET", SECRETS),
            ("GET", "/api/v1/secrets"),
            ("GET", f"{SECRETS}?limit=2"),
        ):
            answer = await client.call(method, target)
            assert (answer.status, answer.body["message"]) == (500, f"Internal error occurred: {wrong}"), (
                target
            )
        watch = await client.call("GET", f"{SECRETS}?watch=1")
        assert (watch.status, watch.headers["retry-after"]) == (429, "1")
        assert watch.body["message"] == "storage is (re)initializing"
        # Everything beside it is there.
        assert (await client.get(f"{SECRETS}/a"))["data"] == {"word": WORD}
        assert len((await client.get(elsewhere))["items"]) == 1
        first = await client.get(f"{SECRETS}?limit=1")
        assert [each["metadata"]["name"] for each in first["items"]] == ["a"]
        await client.put(f"{SECRETS}/a", {**(await client.get(f"{SECRETS}/a")), "data": {"word": ""}})
        await client.create(SECRETS, {**SECRET, "metadata": {"name": "d"}})
        await client.delete(f"{SECRETS}/c")
        taken = await client.call("POST", SECRETS, {**SECRET, "metadata": {"name": "b"}})
        assert taken.status in (409, 500)
        # And when it can be read again it is there, too.
        await store.write(key, kept)
        listed = await client.get(SECRETS)
        assert [each["metadata"]["name"] for each in listed["items"]] == ["a", "b", "d"]
        assert (await client.call("DELETE", f"{SECRETS}/b")).status == 200
        assert len((await client.get(SECRETS))["items"]) == 2


async def test_a_value_cannot_be_passed_off_under_another_name(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store = Kept()
    path = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    async with encrypted(path, store, clock, signing_key) as client:
        await client.create(SECRETS, SECRET)
    await store.write("/registry/core/secrets/default/other", store.stored())
    async with encrypted(path, store, clock, signing_key) as client:
        answer = await client.call("GET", SECRETS)
        assert answer.status == 500
        assert "message authentication failed" in answer.body["message"]


async def test_wildcards_and_what_they_cover(tmp_path: Path, clock: FakeClock, signing_key: bytes) -> None:
    store = Kept()
    path = written(
        tmp_path,
        entry([local("aescbc", KEY_ONE)], "configmaps"),
        entry([local("aesgcm", KEY_ONE)], "*."),
        entry([IDENTITY], "leases.coordination.k8s.io"),
        entry([local("secretbox", KEY_ONE)], "*.*"),
        entry([IDENTITY], "secrets"),
    )
    async with encrypted(path, store, clock, signing_key) as client:
        await client.create(SECRETS, SECRET)
        await client.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
        leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        await client.create(leases, {"metadata": {"name": "l"}})
        budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
        await client.create(budgets, {"metadata": {"name": "b"}})
    assert store.stored().startswith(b"k8s:enc:aesgcm:")
    assert store.stored("/registry/core/configmaps/default/c").startswith(b"k8s:enc:aescbc:")
    assert store.stored("/registry/coordination.k8s.io/leases/default/l").startswith(b'{"kind":"Lease"')
    assert store.stored("/registry/policy/poddisruptionbudgets/default/b").startswith(b"k8s:enc:secretbox:")


async def test_a_changed_file_is_used_within_a_minute_and_a_bad_one_is_not(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store = Kept()
    path = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    async with encrypted(path, store, clock, signing_key, reload=True) as client:
        await client.create(SECRETS, SECRET)
        path.write_text("resources: [")
        await clock.advance(61)
        written(tmp_path, entry([local("aesgcm", KEY_TWO, KEY_ONE)]))
        await clock.advance(61)
        await client.put(f"{SECRETS}/s", await client.get(f"{SECRETS}/s"))
        assert store.stored().startswith(b"k8s:enc:aesgcm:v1:key2:")
        counted = await reloads(client, "encryption")
        assert counted["automatic_reloads_total success"] == "1"
        assert counted["automatic_reloads_total failure"] == "1"
        assert counted["hash"] == hash_of(path.read_bytes())
        assert (await client.call("GET", "/readyz/kms-providers")).raw == b"ok"


async def test_a_file_that_cannot_be_used_ends_the_start(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    path = written(tmp_path, entry([local("aescbc", {"name": "k", "secret": "c2hvcnQ="})]))
    with pytest.raises(ConfigurationError) as raised:
        async with encrypted(path, MemoryStore(), clock, signing_key):
            pass
    assert str(raised.value) == (
        f"--encryption-provider-config: {path}: error while parsing file: line 1: "
        'resources[0].providers[0].aescbc.keys[0].secret: Invalid value: "REDACTED": '
        "secret is not of the expected length, got 5, expected one of [16 24 32]"
    )


WRITER = """
import asyncio, sys
sys.path[:0] = sys.argv[3:]
from encrypted import SECRETS, SECRET, encrypted
from pathlib import Path
from tiphys.store.sqlite import SQLiteStore
from tiphys.testing.clock import FakeClock

async def main():
    async with encrypted(Path(sys.argv[1]), SQLiteStore(sys.argv[2]), FakeClock(), sys.stdin.buffer.read()) as client:
        for number in range(10**6):
            await client.create(SECRETS, {**SECRET, "metadata": {"name": f"s{number}"}})
            print(number, flush=True)

asyncio.run(main())
"""


def _killed_while_writing(command: list[str], key: bytes) -> int:
    """The number of the last write that was acknowledged."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(key)
        process.stdin.close()
        last = [int(process.stdout.readline()) for _ in range(20)][-1]
        os.kill(process.pid, signal.SIGKILL)
    return last


async def test_what_was_acknowledged_before_a_kill_is_there_and_encrypted(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    path = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    database = tmp_path / "data" / "state.db"
    database.parent.mkdir()
    here = Path(__file__).parent
    command = [sys.executable, "-c", WRITER, str(path), str(database), str(here), str(here.parent)]
    last = _killed_while_writing(command, signing_key)
    assert WORD.encode() not in _words(database.parent)
    async with encrypted(path, SQLiteStore(str(database)), clock, signing_key) as client:
        for number in range(last + 1):
            assert (await client.get(f"{SECRETS}/s{number}"))["data"] == {"word": WORD}


async def test_of_a_resource_without_encryption_values_pass_through_untouched(
    tmp_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    path = written(tmp_path, entry([local("aesgcm", KEY_ONE)]))
    store = MemoryStore()
    async with encrypted(path, store, clock, signing_key) as client:
        await client.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}})
        key = "/registry/core/configmaps/default/c"
        assert client.server.store.get(key) is store.get(key)
