"""The kms provider against a plugin behind a real socket: envelopes, seeds, rotation, health."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from encrypted import IDENTITY, KEY_ONE, SECRET, SECRETS, FakeKMS, encrypted, entry, local, served_kms, text
from slow_door import slow_door
from test_encrypted_objects import WORD, Kept

from tiphys.apiserver.encryption.kms_wire import Plugin, message
from tiphys.testing.clock import FakeClock

PREFIX = b"k8s:enc:kms:v2:hsm:"


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "kms.sock"


@pytest.fixture
def configuration(tmp_path: Path, socket_path: Path) -> Path:
    path = tmp_path / "encryption.yaml"
    kms = {"kms": {"apiVersion": "v2", "name": "hsm", "endpoint": f"unix://{socket_path}", "timeout": "1s"}}
    path.write_text(text(entry([kms, IDENTITY])))
    return path


def envelope(stored: bytes) -> Any:
    assert stored.startswith(PREFIX)
    form: Any = message("EncryptedObject")
    return form.FromString(stored.removeprefix(PREFIX))


async def test_an_envelope_holds_a_seed_that_the_plugin_encrypted(
    configuration: Path, socket_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store, plugin = Kept(), FakeKMS()
    with served_kms(plugin, socket_path):
        async with encrypted(configuration, store, clock, signing_key) as client:
            await client.create(SECRETS, SECRET)
            await client.create(SECRETS, {**SECRET, "metadata": {"name": "t"}})
        assert plugin.calls == ["Status", "Encrypt"], "one seed serves for many values"
        found = envelope(store.stored())
        assert found.keyID == "kek-1"
        assert found.encryptedDEKSourceType == 1
        assert dict(found.annotations) == {"local-kek.example.com": b"note"}
        # As upstream's: HKDF-Expand(seed, info) is the key, info and the nonce stand before the ciphertext.
        data = found.encryptedData
        key = HKDFExpand(SHA256(), 32, data[:32]).derive(found.encryptedDEKSource[::-1])
        plain = AESGCM(key).decrypt(data[32:44], data[44:], b"/registry/secrets/default/s")
        assert plain.startswith(b'{"kind":"Secret"')
        assert WORD.encode() in plain
        assert WORD.encode() not in store.stored()
        plugin.calls.clear()
        async with encrypted(configuration, store, clock, signing_key) as client:
            assert len((await client.get(SECRETS))["items"]) == 2
        assert plugin.calls == ["Status", "Encrypt", "Decrypt"], "a seed is decrypted once"


async def test_another_key_makes_another_seed_and_old_values_stale(
    configuration: Path, socket_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store, plugin = Kept(), FakeKMS()
    with served_kms(plugin, socket_path):
        async with encrypted(configuration, store, clock, signing_key) as client:
            made = await client.create(SECRETS, SECRET)
            assert (await client.put(f"{SECRETS}/s", made)) == made
            plugin.key_id = "kek-2"
            encryption = client.server.encryption
            assert encryption is not None
            await encryption.ask()
            await client.put(f"{SECRETS}/s", made)
            assert envelope(store.stored()).keyID == "kek-2"


async def test_a_plugin_that_is_away_fails_its_check_and_in_the_end_writes(
    configuration: Path, socket_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store, plugin = Kept(), FakeKMS()
    with served_kms(plugin, socket_path):
        async with encrypted(configuration, store, clock, signing_key) as client:
            encryption = client.server.encryption
            assert encryption is not None
            assert (await client.call("GET", "/healthz/kms-provider-0")).raw == b"ok"
            plugin.ill = True
            await encryption.ask()
            answer = await client.call("GET", "/healthz/kms-provider-0")
            assert answer.status == 500
            assert answer.raw.decode().strip() == (
                "internal server error: failed to perform status section of the healthz check for KMS Provider hsm, "
                "error: rpc error: code = Unavailable desc = the HSM is on fire"
            )
            await client.create(SECRETS, SECRET)
            await clock.advance(181)
            refused = await client.call("POST", SECRETS, {**SECRET, "metadata": {"name": "late"}})
            assert refused.status == 500
            assert "expired at 2026-01-01T00:03:00Z" in refused.body["message"]
            assert (await client.get(f"{SECRETS}/s"))["data"] == {"word": WORD}
            plugin.ill = False
            await encryption.ask()
            await client.create(SECRETS, {**SECRET, "metadata": {"name": "late"}})
            plugin.healthz = "meltdown"
            await encryption.ask()
            said = (await client.call("GET", "/healthz/kms-provider-0")).raw.decode()
            assert "kmsv2 Provider hsm is not healthy, error: got unexpected healthz status: meltdown" in said


async def test_no_plugin_at_the_start_is_told_by_the_check_and_refused_writes(
    configuration: Path, clock: FakeClock, signing_key: bytes
) -> None:
    async with encrypted(configuration, Kept(), clock, signing_key) as client:
        assert (await client.call("GET", "/readyz/kms-provider-0")).status == 500
        refused = await client.call("POST", SECRETS, SECRET)
        assert refused.status == 500
        assert (await client.get(SECRETS))["items"] == []


async def test_a_reload_to_a_plugin_that_is_away_changes_nothing_until_it_is_there(
    configuration: Path, tmp_path: Path, socket_path: Path, clock: FakeClock, signing_key: bytes
) -> None:
    store, with_plugin = Kept(), configuration.read_text()
    configuration.write_text(text(entry([local("aesgcm", KEY_ONE), IDENTITY])))
    async with encrypted(configuration, store, clock, signing_key, reload=True) as client:
        encryption = client.server.encryption
        assert encryption is not None
        configuration.write_text(with_plugin)
        encryption.look()
        await client.create(SECRETS, SECRET)
        assert store.stored().startswith(b"k8s:enc:aesgcm:v1:key1:")
        with served_kms(FakeKMS(), socket_path):
            encryption.look()
            await client.create(SECRETS, {**SECRET, "metadata": {"name": "t"}})
            assert store.stored("/registry/core/secrets/default/t").startswith(PREFIX)


async def test_a_plugin_that_is_slow_to_take_the_connection(socket_path: Path, tmp_path: Path) -> None:
    with served_kms(FakeKMS(), socket_path):
        async with slow_door(lambda: asyncio.open_unix_connection(socket_path), f"{tmp_path}/door"):
            plugin = Plugin(f"{tmp_path}/door", timeout_seconds=60)
            status: Any = await asyncio.to_thread(plugin.status)
            assert status.healthz == "ok"
            plugin.close()
