"""Which credentials of a pod's pull secrets, of the node and of its plugins are for an image. Pure.

The rules are upstream's (`pkg/credentialprovider`): an entry is a host, with wildcards in its parts, and perhaps the beginning of a
path; the most specific ones come first, and all that match are tried in turn.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from tiphys.kubelet.images.names import ImageName, InvalidName, parse
from tiphys.kubelet.runtimes.interface import RegistryAuth
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

log = logging.getLogger(__name__)

HUB_KEY = "index.docker.io"
"""Docker's own name for docker.io; what `kubectl create secret docker-registry` writes when no server is given."""
BAD_AUTH = "unable to parse auth field, must be formatted as base64(username:password)"
_TYPES = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}

Object = Mapping[str, Any]


@frozen
class Source:
    """The secret that a credential is from."""

    uid: str
    namespace: str
    name: str


@frozen
class AccountSource:
    """The service account with whose token a plugin had a credential."""

    uid: str
    namespace: str
    name: str


@frozen
class Credential:
    """`source` None: the node's own, for any pod on it."""

    auth: RegistryAuth
    source: Source | AccountSource | None = None

    @property
    def digest(self) -> str:
        """What is remembered of it: enough to know it again."""
        text = json.dumps([self.auth.username, self.auth.password, self.auth.auth])
        return hashlib.sha256(text.encode()).hexdigest()


@frozen
class Credentials:
    """What a pod may pull an image with, the best first. `missing`: names of its secrets that could not be had."""

    found: tuple[Credential, ...] = ()
    missing: tuple[str, ...] = ()
    problem: str = ""
    """Why its secrets cannot be used at all."""


class BadSecret(ValueError):
    """A secret is not what its type says; the text is fit for an event."""


def lookup(secrets: Iterable[Object], image: str, node: bytes = b"") -> Credentials:
    """Of these secrets, what is for the image; then what the node's own config.json has for it."""
    try:
        name = parse(image)
        keyring = _keyring(secrets)
    except InvalidName:
        return Credentials()
    except BadSecret as error:
        return Credentials(problem=str(error))
    return Credentials((*_for(name, keyring), *_for(name, _node_keyring(node))))


def matching(image: str, entries: Iterable[tuple[str, Credential]]) -> tuple[Credential, ...]:
    """Of these, each with the server that it is for, what is for the image."""
    keyring: dict[str, list[Credential]] = {}
    for server, credential in entries:
        keyring.setdefault(_key(server), []).append(credential)
    try:
        return tuple(_for(parse(image), keyring))
    except InvalidName:
        return ()


def is_meant(pattern: str, repository: str) -> bool:
    """Whether a pattern, such as "*.registry.example/team", is one of the image's repository."""
    return _matches(pattern, repository)


def _for(name: ImageName, keyring: Mapping[str, list[Credential]]) -> list[Credential]:
    found = [
        credential
        for key in sorted(keyring, reverse=True)
        if _matches(key, name.repository)
        for credential in keyring[key]
    ]
    if not found and name.registry == "docker.io":
        found = keyring.get(HUB_KEY, [])
    return found


def _keyring(secrets: Iterable[Object]) -> dict[str, list[Credential]]:
    """Host and path, without scheme → credentials."""
    found: dict[str, list[Credential]] = {}
    for secret in secrets:
        source = Source(meta.uid(secret), meta.namespace(secret), meta.name(secret))
        for server, entry in _entries(secret):
            found.setdefault(_key(server), []).append(Credential(_auth(entry), source))
    return found


def _node_keyring(config: bytes) -> dict[str, list[Credential]]:
    """Docker's config.json; one that is none gives nobody anything."""
    found: dict[str, list[Credential]] = {}
    try:
        for server, entry in (json.loads(config or b"{}").get("auths") or {}).items():
            found.setdefault(_key(server), []).append(Credential(_auth(entry)))
    except (ValueError, AttributeError, TypeError) as error:
        log.warning("the node's config.json: %s", error)
    return found


def _entries(secret: Object) -> Iterator[tuple[str, Object]]:
    field = _TYPES.get(secret.get("type", ""), "")
    text = (secret.get("data") or {}).get(field, "")
    if not text:
        return
    try:
        content = json.loads(base64.b64decode(text))
        entries = (content.get("auths") or {}) if field == ".dockerconfigjson" else content
        yield from [(server, dict(entry)) for server, entry in entries.items()]
    except (ValueError, AttributeError, TypeError) as error:
        raise BadSecret(f"secret {meta.name(secret)}: {error}") from None


def _key(server: str) -> str:
    """ "https://index.docker.io/v1/" → "index.docker.io"; "registry.example/team/" stays."""
    host, slash, path = server.removeprefix("https://").removeprefix("http://").partition("/")
    for version in ("v1/", "v2/"):
        path = path.removeprefix(version) if path.startswith(version) else path
    return f"{host}{slash}{path}" if path else host


def _auth(entry: Object) -> RegistryAuth:
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if entry.get("auth"):
        try:
            username, colon, password = (
                base64.b64decode(_padded(entry["auth"]), validate=True).decode().partition(":")
            )
        except (binascii.Error, UnicodeDecodeError, TypeError):
            raise BadSecret(BAD_AUTH) from None
        if not colon:
            raise BadSecret(BAD_AUTH)
    return RegistryAuth(username, password)


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


def _matches(key: str, repository: str) -> bool:
    """Host part by part, the port as it is, and the path as a beginning."""
    (parts, port, path), (wanted, wanted_port, wanted_path) = _split(key), _split(repository)
    return (
        port == wanted_port
        and len(parts) == len(wanted)
        and wanted_path.startswith(path)
        and all(fnmatchcase(part, pattern) for pattern, part in zip(parts, wanted, strict=True))
    )


def _split(key: str) -> tuple[list[str], str, str]:
    authority, slash, path = key.partition("/")
    host, colon, port = authority.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = authority, ""
    return host.split("."), port, slash + path
