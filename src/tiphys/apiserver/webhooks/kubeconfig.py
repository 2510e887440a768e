"""Webhooks that a kubeconfig file names: `--authorization-webhook-config-file` and its kin."""

from __future__ import annotations

import base64
import binascii
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tiphys.apiserver.service_dialer import ServiceDialer
from tiphys.apiserver.webhooks.client import WebhookError, read_answer, reason_of
from tiphys.machinery import yaml
from tiphys.machinery.quoting import quote
from tiphys.machinery.yaml_lines import placed
from tiphys.net.client import ClientResponse, HTTPClient, HTTPClientError
from tiphys.net.tls import client_context

Object = dict[str, Any]


class KubeconfigError(Exception):
    """One line: the file, and what is wrong with it."""


class KubeconfigWebhook:
    """Posts objects to the cluster's `server`, path and all, as the user of the current context. `close` ends it.
    Raises KubeconfigError when it is made."""

    def __init__(self, path: Path, dialer: ServiceDialer) -> None:
        cluster, user = _current(path)
        self._url = cluster["server"]
        parts = urlsplit(self._url)
        self._path = parts.path or "/"
        self._token = str(user.get("token") or "")
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        context = _context(path, cluster, user) if parts.scheme == "https" else None
        self._client = HTTPClient(
            f"{parts.scheme}://{parts.netloc}", ssl_context=context, dial=lambda: dialer.connect(host, port)
        )

    async def __call__(self, review: Object, timeout_seconds: float) -> Object:
        """Raises WebhookError."""
        answer = await self._post(orjson.dumps(review), timeout_seconds)
        return read_answer(answer.status, answer.body)

    async def send(self, body: bytes, timeout_seconds: float) -> None:
        """Posts JSON for which there is no answer but that it has arrived. Raises WebhookError."""
        answer = await self._post(body, timeout_seconds)
        if not 200 <= answer.status < 300:
            read_answer(answer.status, answer.body)

    async def _post(self, body: bytes, timeout_seconds: float) -> ClientResponse:
        headers = {"content-type": "application/json", "accept": "application/json, */*"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        try:
            return await self._client.request(
                "POST", self._path, headers, body, timeout_seconds=timeout_seconds
            )
        except (HTTPClientError, OSError) as error:
            raise WebhookError(f"Post {quote(self._url)}: {reason_of(error)}") from None

    async def close(self) -> None:
        await self._client.close()


def read_kubeconfig(path: Path) -> Object:
    """Raises KubeconfigError."""
    return _read(path)[0]


def _read(path: Path) -> tuple[Object, bytes]:
    try:
        text = path.read_bytes()
        config = yaml.load(text)
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise KubeconfigError(f"{path}: it is not a kubeconfig")
    return config, text


def _current(path: Path) -> tuple[Object, Object]:
    """Cluster and user of the current context."""
    config, text = _read(path)
    try:
        _, context = _named(config, "contexts", config.get("current-context"), "context")
        where, cluster = _named(config, "clusters", context.get("cluster"), "cluster")
        user = _named(config, "users", context["user"], "user")[1] if context.get("user") else {}
        server = cluster.get("server")
        if not isinstance(server, str) or urlsplit(server).scheme not in ("http", "https"):
            raise KubeconfigError(f"{where}.server: its cluster has no server")
    except KubeconfigError as error:
        raise KubeconfigError(f"{path}: {placed(text, str(error))}") from None
    return cluster, user


def _named(config: Object, section: str, name: Any, inner: str) -> tuple[str, Object]:
    """(where it stands, what stands there)."""
    entries = config.get(section) or ()
    if not isinstance(entries, list | tuple):
        raise KubeconfigError(f"{section}: it is no list")
    for position, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(inner), dict):
            return f"{section}[{position}].{inner}", entry[inner]
    raise KubeconfigError(f"{section}: there is no {inner} {quote(str(name or ''))}")


def _context(path: Path, cluster: Object, user: Object) -> ssl.SSLContext:
    try:
        return client_context(
            ca_data=data_of(path, cluster, "certificate-authority"),
            cert_data=data_of(path, user, "client-certificate"),
            key_data=data_of(path, user, "client-key"),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
        )
    except (ssl.SSLError, OSError, ValueError, binascii.Error) as error:
        raise KubeconfigError(f"{path}: {error}") from None


def data_of(path: Path, section: Object, name: str) -> bytes | None:
    """What stands in the file, or beside it."""
    if section.get(f"{name}-data"):
        return base64.b64decode(section[f"{name}-data"])
    return (path.parent / section[name]).read_bytes() if section.get(name) else None
