"""What turns an object's bytes into those that are stored, and back, with the local keys of an EncryptionConfiguration.

Byte layouts, prefixes and authenticated data are upstream's (`k8s.io/apiserver/pkg/storage/value`), so that values can be
exchanged with an etcd of upstream's: `k8s:enc:<provider>:v1:<key name>:` and then, by provider,

    aesgcm      12 bytes nonce, ciphertext and tag; the key's path in etcd is authenticated with it
    aescbc      16 bytes IV, ciphertext with PKCS #7 padding
    secretbox   24 bytes nonce, tag and ciphertext (XSalsa20 and Poly1305)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tiphys.machinery.frozen import frozen

ENCRYPTED = b"k8s:enc:"
"""How every encrypted value begins; no object does."""
NONCE_BYTES = 12
_BLOCK_BYTES = 16
_BOX_NONCE_BYTES = 24
Random = Callable[[int], bytes]


class TransformError(Exception):
    """A value cannot be encrypted or decrypted; the reason in upstream's words."""


class Unavailable(TransformError):
    """Whoever has the key gives no answer: that says nothing about the value."""


class Transformer(Protocol):
    """`path` is the key's path in etcd: what is written under one path cannot be passed off under another."""

    def encrypt(self, data: bytes, path: bytes) -> bytes: ...

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        """The object's bytes, and whether a write would store it differently today ("stale"). Raises TransformError."""


class Identity:
    """Values as they are. It will not take an encrypted one for an object."""

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        return data

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        if data.startswith(ENCRYPTED):
            raise TransformError("identity transformer tried to read encrypted data")
        return data, False


class GCM:
    def __init__(self, key: bytes, random: Random) -> None:
        self._cipher, self._random = AESGCM(key), random

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        nonce = self._random(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, path)

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        if len(data) < NONCE_BYTES:
            raise TransformError("the stored data was shorter than the required size")
        try:
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], path), False
        except InvalidTag:
            raise TransformError("cipher: message authentication failed") from None


class CBC:
    def __init__(self, key: bytes, random: Random) -> None:
        self._algorithm, self._random = algorithms.AES(key), random

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        vector = self._random(_BLOCK_BYTES)
        padding = _BLOCK_BYTES - len(data) % _BLOCK_BYTES
        encryptor = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + encryptor.update(data + bytes([padding]) * padding) + encryptor.finalize()

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        if len(data) < _BLOCK_BYTES:
            raise TransformError("the stored data was shorter than the required size")
        if len(data) % _BLOCK_BYTES:
            raise TransformError("the stored data is not a multiple of the block size")
        decryptor = Cipher(self._algorithm, modes.CBC(data[:_BLOCK_BYTES])).decryptor()
        padded = decryptor.update(data[_BLOCK_BYTES:]) + decryptor.finalize()
        padding = padded[-1] if padded else 0
        if not 0 < padding <= _BLOCK_BYTES or padded[-padding:] != bytes([padding]) * padding:
            raise TransformError("invalid padding on input")
        return padded[:-padding], False


class SecretBox:
    def __init__(self, key: bytes, random: Random) -> None:
        from nacl.secret import SecretBox as Box

        self._box, self._random = Box(key), random

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        return bytes(self._box.encrypt(data, self._random(_BOX_NONCE_BYTES)))

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        from nacl.exceptions import CryptoError

        if len(data) < _BOX_NONCE_BYTES:
            raise TransformError("the stored data was shorter than the required size")
        try:
            return self._box.decrypt(data), False
        except CryptoError:
            raise TransformError("output array was not large enough for encryption") from None


@frozen
class Prefixed:
    prefix: bytes
    transformer: Transformer


class Chain:
    """The first writes, the one whose prefix a value has reads. What another one reads is stale."""

    def __init__(self, links: Sequence[Prefixed], unknown: str) -> None:
        self._links, self._unknown = links, unknown

    def encrypt(self, data: bytes, path: bytes) -> bytes:
        first = self._links[0]
        return first.prefix + first.transformer.encrypt(data, path)

    def decrypt(self, data: bytes, path: bytes) -> tuple[bytes, bool]:
        failures = []
        is_unavailable = False
        for position, link in enumerate(self._links):
            if not data.startswith(link.prefix):
                continue
            try:
                found, stale = link.transformer.decrypt(data[len(link.prefix) :], path)
            except TransformError as error:
                # Identity is tried on everything, also when it stands before the one that can read it.
                if link.prefix:
                    failures.append(str(error))
                is_unavailable |= isinstance(error, Unavailable)
                continue
            return found, stale or position > 0
        kind = Unavailable if is_unavailable else TransformError
        raise kind("; ".join(failures) or self._unknown)
