"""The kms provider, version 2: values are encrypted here, with keys derived from a seed that only the plugin can decrypt.

The plugin is asked once a seed, not once a value: a new seed is made at the start and whenever the plugin says that its key is
another one. A value carries its seed, encrypted, in an EncryptedObject (`proto/kms.proto`), so every reader that may use the
plugin can read it. Who made it is told by `key_id`: values with another one than today's are stale.

Seeds go unused for writes three minutes after the plugin last answered: by then nobody knows whether its key is still good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from google.protobuf.message import DecodeError

from tiphys.apiserver.encryption.kms_wire import Plugin, message
from tiphys.apiserver.encryption.transformers import GCM, Random, TransformError, Unavailable

log = logging.getLogger("tiphys.apiserver")

SEED_BYTES = 32
_INFO_BYTES = 32
_KEY, _SEED = 0, 1
"""What the encrypted part of an envelope is: a key, as upstream wrote it until v1.28, or a seed."""
_LONGEST_KEY_ID_BYTES = 1024
_LONGEST_SOURCE_BYTES = 1024
_LONGEST_ANNOTATIONS_BYTES = 32 * 1024
WRITES_FOR = timedelta(minutes=3)
POLL_SECONDS = 60.0
POLL_AFTER_FAILURE_SECONDS = 10.0
API_VERSIONS = ("v2", "v2beta1")


class Derived:
    """AES-GCM with a key of its own for every value: HKDF-Expand of the seed by 32 random bytes, which stand before the value."""

    def __init__(self, seed: bytes, random: Random) -> None:
        if len(seed) < SEED_BYTES:
            raise TransformError(f"invalid seed length {len(seed)} used for key generation")
        self._seed, self._random = seed, random

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        info = self._random(_INFO_BYTES)
        return info + self._cipher(info).encrypt(data, path)

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        if len(data) < _INFO_BYTES:
            raise TransformError("the stored data was shorter than the required size")
        return self._cipher(data[:_INFO_BYTES]).decrypt(data[_INFO_BYTES:], path)

    def _cipher(self, info: bytes) -> GCM:
        return GCM(HKDFExpand(SHA256(), 32, info).derive(self._seed), self._random)


@dataclass(slots=True)
class _Seed:
    """What values are encrypted with now."""

    transformer: Derived
    key_id: str
    encrypted: bytes
    annotations: dict[str, bytes]
    good_until: datetime


@dataclass(slots=True)
class KMS:
    """One provider of the configuration. `poll` is called now and then by whoever runs the server."""

    name: str
    plugin: Plugin
    now: Callable[[], datetime]
    random: Random
    problem: str = "not yet asked"
    """Why the plugin is not well; empty when it is."""
    _seed: _Seed | None = None
    _known: dict[bytes, GCM | Derived] = field(default_factory=dict)

    def poll(self) -> None:
        """Asks the plugin how it is; another key of its makes a new seed. Blocks for as long as the plugin may take."""
        try:
            status = self.plugin.status()
        except TransformError as error:
            self.problem = (
                f"failed to perform status section of the healthz check for KMS Provider {self.name}, "
                f"error: {error}"
            )
            return
        self.problem = _unhealthy(self.name, status)
        if self.problem:
            return
        try:
            self._use(status.key_id)
        except TransformError as error:
            self.problem = (
                f"failed to rotate DEK on key ID change for KMS Provider {self.name}, error: {error}"
            )

    def _use(self, key_id: str) -> None:
        seed, until = self._seed, self.now() + WRITES_FOR
        if seed is not None and seed.key_id == key_id:
            seed.good_until = until
            return
        secret = self.random(SEED_BYTES)
        try:
            answer = self.plugin.encrypt(secret, str(uuid4()))
        except TransformError as error:
            raise TransformError(f"failed to encrypt DEK, error: {error}") from None
        annotations = dict(answer.annotations)
        _check(answer.ciphertext, answer.key_id, annotations)
        transformer = Derived(secret, self.random)
        self._seed = _Seed(transformer, answer.key_id, answer.ciphertext, annotations, until)
        self._known[_identity(_SEED, answer.ciphertext, answer.key_id, annotations)] = transformer
        if seed is not None:
            log.info("KMS provider %s: its key is another one now, and so is the seed", self.name)

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        seed = self._seed
        if seed is None:
            raise TransformError(self.problem or "got unexpected nil transformer")
        if self.now() > seed.good_until:
            shown = sha256(seed.key_id.encode()).hexdigest()
            raise TransformError(
                f'encryptedDEKSource with keyID hash "sha256:{shown}" expired at {_time(seed.good_until)} '
                f"(current time is {_time(self.now())})"
            )
        envelope = message("EncryptedObject")(
            encryptedData=seed.transformer.encrypt(data, path),
            keyID=seed.key_id,
            encryptedDEKSource=seed.encrypted,
            annotations=seed.annotations,
            encryptedDEKSourceType=_SEED,
        )
        stored: bytes = envelope.SerializeToString(deterministic=True)
        return stored

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        form: Any = message("EncryptedObject")
        try:
            envelope = form.FromString(data)
        except DecodeError as error:
            raise TransformError(f"proto: {error}") from None
        kind, key_id, source = envelope.encryptedDEKSourceType, envelope.keyID, envelope.encryptedDEKSource
        annotations = dict(envelope.annotations)
        if kind not in (_KEY, _SEED):
            raise TransformError(f"unknown encryptedDEKSourceType: {kind}")
        if not envelope.encryptedData:
            raise TransformError("encrypted data is empty")
        _check(source, key_id, annotations)
        identity = _identity(kind, source, key_id, annotations)
        transformer = self._known.get(identity)
        if transformer is None:
            try:
                secret = self.plugin.decrypt(str(uuid4()), source, key_id, annotations)
            except TransformError as error:
                raise Unavailable(f"failed to decrypt DEK, error: {error}") from None
            transformer = Derived(secret, self.random) if kind == _SEED else GCM(secret, self.random)
            self._known[identity] = transformer
        found, _ = transformer.decrypt(envelope.encryptedData, path)
        current = self._seed
        return found, current is not None and (kind != _SEED or key_id != current.key_id)

    def close(self) -> None:
        self.plugin.close()


def _unhealthy(name: str, status: Any) -> str:
    problems = []
    if status.healthz != "ok":
        problems.append(f"got unexpected healthz status: {status.healthz}")
    if status.version not in API_VERSIONS:
        problems.append(f"expected KMSv2 API version v2, got {status.version}")
    if not status.key_id:
        problems.append("expected KMSv2 KeyID to be set, got empty")
    found = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return f"kmsv2 Provider {name} is not healthy, error: {found}" if problems else ""


def _check(source: bytes, key_id: str, annotations: dict[str, bytes]) -> None:
    """Raises TransformError for what no plugin may answer and no value may carry."""
    if not source:
        raise TransformError("failed to validate encrypted DEK source: encrypted DEK source is empty")
    if len(source) > _LONGEST_SOURCE_BYTES:
        raise TransformError(
            f"failed to validate encrypted DEK source: encrypted DEK source is {len(source)} bytes, "
            f"which exceeds the max size of {_LONGEST_SOURCE_BYTES}"
        )
    if not key_id:
        raise TransformError("failed to validate key id: keyID is empty")
    if len(key_id) > _LONGEST_KEY_ID_BYTES:
        raise TransformError(
            f"failed to validate key id: keyID is {len(key_id)} bytes, "
            f"which exceeds the max size of {_LONGEST_KEY_ID_BYTES}"
        )
    total = sum(len(name) + len(value) for name, value in annotations.items())
    if total > _LONGEST_ANNOTATIONS_BYTES:
        raise TransformError(
            f"failed to validate annotations: total size of annotations is {total}, "
            f"which exceeds the max size of {_LONGEST_ANNOTATIONS_BYTES}"
        )


def _identity(kind: int, source: bytes, key_id: str, annotations: dict[str, bytes]) -> bytes:
    """Under which a decrypted seed is remembered: all that the plugin was told."""
    parts = [str(kind).encode(), source, key_id.encode()]
    for name, value in sorted(annotations.items()):
        parts += [name.encode(), value]
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
