"""The client of all webhooks: where one is, how it proves who it is, one review for one answer.

A webhook is a URL, or a Service, which must show a certificate for `<name>.<namespace>.svc`; how connections are made is
the ServiceDialer's business. They are kept for as long as the same configuration is used. Messages are those of
upstream's client, since they end up in front of users.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from tiphys.apiserver.service_dialer import ServiceDialer, ServiceError
from tiphys.machinery.errors import generic_server_response
from tiphys.machinery.frozen import frozen
from tiphys.machinery.quoting import quote
from tiphys.net.client import ConnectError, HTTPClient, HTTPClientError, RequestTimeout
from tiphys.net.tls import client_context

if TYPE_CHECKING:
    from tiphys.apiserver.webhooks.credentials import Credential, Credentials

Object = dict[str, Any]
Caller = Callable[[Object, float], Awaitable[Object]]
"""(review, timeout in seconds) → the answer. Raises WebhookError."""

ANSWER_LIMIT_BYTES = 3 << 20
_KEPT = 256
"""Configurations whose connections are kept; the one that was used longest ago goes first."""
_DEFAULT_PORT = 443


class WebhookError(Exception):
    """No answer, or none that can be used. The text is what the user is told."""


@frozen
class ClientConfig:
    """A WebhookClientConfig: `base_url` with host and port, `path` of the requests, and `service` when it is one."""

    base_url: str
    path: str
    ca_bundle: str = ""
    """Base64 of PEM certificates; "": the system's."""
    service: tuple[str, str, int] | None = None
    credential: Credential | None = None

    @property
    def authority(self) -> str:
        """Host and port."""
        url = urlsplit(self.base_url)
        return url.netloc if url.port else f"{url.netloc}:{_DEFAULT_PORT}"


def config_of(client_config: Object) -> ClientConfig:
    """Of the `clientConfig` of an object that has been validated."""
    bundle = client_config.get("caBundle") or ""
    service = client_config.get("service")
    if service is None:
        url = urlsplit(client_config["url"])
        return ClientConfig(f"{url.scheme}://{url.netloc}", url.path, bundle)
    namespace, name, port = service["namespace"], service["name"], service.get("port") or _DEFAULT_PORT
    path = service.get("path") or ""
    return ClientConfig(f"https://{name}.{namespace}.svc:{port}", path, bundle, (namespace, name, port))


class Webhooks:
    """Clients by configuration, each made when it is first used."""

    def __init__(self, services: ServiceDialer) -> None:
        self._services = services
        self._clients: OrderedDict[ClientConfig, HTTPClient] = OrderedDict()

    def caller(self, client_config: Object, credentials: Credentials | None = None) -> Caller:
        """How to call the webhook of a `clientConfig`, as whom the credentials say."""
        config = config_of(client_config)
        if credentials is not None:
            config = replace(config, credential=credentials.of(config.authority))

        async def call(review: Object, timeout_seconds: float) -> Object:
            return await self._call(config, review, timeout_seconds)

        return call

    async def _call(self, config: ClientConfig, review: Object, timeout_seconds: float) -> Object:
        target = f"{config.path or '/'}?timeout={timeout_seconds:g}s"
        client = self._client(config)
        while len(self._clients) > _KEPT:
            _, oldest = self._clients.popitem(last=False)
            await oldest.close()
        headers = {
            "content-type": "application/json",
            "accept": "application/json, */*",
            "user-agent": "kube-apiserver-admission",
        }
        try:
            if config.credential is not None and (shown := config.credential.header()):
                headers["authorization"] = shown
            answer = await client.request(
                "POST", target, headers, orjson.dumps(review), timeout_seconds=timeout_seconds
            )
        except (HTTPClientError, OSError) as error:
            raise WebhookError(f"Post {quote(config.base_url + target)}: {reason_of(error)}") from None
        return read_answer(answer.status, answer.body)

    def _client(self, config: ClientConfig) -> HTTPClient:
        client = self._clients.get(config)
        if client is None:
            client = self._clients[config] = self._connect(config)
        self._clients.move_to_end(config)
        return client

    def _connect(self, config: ClientConfig) -> HTTPClient:
        context = _context(config)
        if config.service is not None:
            return self._services.client(*config.service, ssl_context=context)
        url = urlsplit(config.base_url)
        host, port = url.hostname or "", url.port or _DEFAULT_PORT
        return HTTPClient(
            config.base_url, ssl_context=context, dial=lambda: self._services.connect(host, port)
        )

    async def close(self) -> None:
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.close()


def _context(config: ClientConfig) -> ssl.SSLContext:
    shown = config.credential
    certificate, key = (shown.certificate, shown.key) if shown is not None else (None, None)
    if not config.ca_bundle:
        return client_context(cert_data=certificate, key_data=key)
    try:
        ca_data = base64.b64decode(config.ca_bundle)
        return client_context(ca_data=ca_data, cert_data=certificate, key_data=key)
    except (binascii.Error, ssl.SSLError, UnicodeDecodeError):
        raise WebhookError("unable to load root certificates: unable to parse bytes as PEM block") from None


def reason_of(error: Exception) -> str:
    if isinstance(error, RequestTimeout):
        return "context deadline exceeded"
    if isinstance(error, ConnectError):
        return _connection_reason(error)
    return str(error)


def _connection_reason(error: ConnectError) -> str:
    cause = error.__cause__
    if isinstance(cause, ConnectionError) and isinstance(cause.__cause__, ServiceError):
        return cause.__cause__.message
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {cause.verify_message}"
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {error.address}: connect: connection refused"
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError):
        return f"dial tcp {error.address}: {error.reason}"
    return error.reason


def read_answer(status: int, body: bytes) -> Object:
    """The object of an answer. Raises WebhookError in the words of client-go."""
    try:
        answer = orjson.loads(body) if len(body) <= ANSWER_LIMIT_BYTES else None
    except orjson.JSONDecodeError:
        answer = None
    if not 200 <= status < 300:
        if isinstance(answer, dict) and answer.get("kind") == "Status":
            raise WebhookError(str(answer.get("message") or ""))
        said = body[:2048].decode(errors="replace").strip()
        raise WebhookError(generic_server_response(status, "POST", server_message=said).message)
    if not isinstance(answer, dict):
        raise WebhookError("couldn't get version/kind; json parse error: the answer is not an object")
    return answer
