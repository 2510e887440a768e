"""As whom the API server calls admission webhooks: users of a kubeconfig file that are named as the webhooks' hosts.

A WebhookAdmissionConfiguration of `--admission-control-config-file` names the file. A user is looked for by the host and port
(`name.namespace.svc:443` for a Service), by `*.` and any end of it, at port 443 by the same without the port, and then `*`.
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#authenticate-apiservers
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from tiphys.apiserver.admission.configuration import BadConfiguration, Configuration, expect, refuse
from tiphys.apiserver.webhooks.kubeconfig import KubeconfigError, Object, data_of, read_kubeconfig
from tiphys.machinery.fields import FieldError
from tiphys.machinery.fields import Path as FieldPath
from tiphys.machinery.frozen import frozen
from tiphys.net.tls import client_context

_HTTPS = ":443"


@frozen
class Credential:
    """How the server shows who it is: a header, a certificate, or both."""

    authorization: str = ""
    token_file: str = ""
    """Read anew for every call."""
    certificate: bytes | None = None
    key: bytes | None = None

    def header(self) -> str:
        """What stands in `Authorization`; empty: nothing. Raises OSError."""
        if self.token_file:
            return f"Bearer {Path(self.token_file).read_text().strip()}"
        return self.authorization


class Credentials:
    """The users of a file."""

    def __init__(self, users: Mapping[str, Credential], default: str = "") -> None:
        self._users = users
        self._default = default

    def of(self, authority: str) -> Credential | None:
        """Of `host:port`; None: the server says nothing of itself."""
        for name in (*_names(authority), "*", self._default):
            if name in self._users:
                return self._users[name]
        return None


def _names(authority: str) -> Iterator[str]:
    plain = authority.removesuffix(_HTTPS)
    for target in (authority, plain) if plain != authority else (authority,):
        yield target
        steps = target.split(".")
        yield from (f"*.{'.'.join(steps[position:])}" for position in range(1, len(steps)))


def read_credentials(configuration: Configuration | None) -> Credentials:
    """Of a plugin's configuration. Raises BadConfiguration."""
    if configuration is None:
        return Credentials({})
    if configuration.get("kind") == "WebhookAdmission":
        expect(configuration, "WebhookAdmission", ("apiserver.config.k8s.io/v1alpha1",), ("kubeConfigFile",))
    else:
        versions = ("apiserver.config.k8s.io/v1",)
        expect(configuration, "WebhookAdmissionConfiguration", versions, ("kubeConfigFile",))
    name = configuration.get("kubeConfigFile") or ""
    if not isinstance(name, str) or not name.startswith("/"):
        where = FieldPath("kubeConfigFile")
        refuse([FieldError.invalid(where, name, "must be an absolute file path")])
    try:
        return _read(Path(str(name)))
    except KubeconfigError as error:
        raise BadConfiguration(str(error)) from None


def _read(path: Path) -> Credentials:
    config = read_kubeconfig(path)
    users = {
        str(entry.get("name")): _credential(path, entry.get("user") or {})
        for entry in config.get("users") or ()
        if isinstance(entry, dict)
    }
    current = config.get("current-context")
    contexts = (entry for entry in config.get("contexts") or () if isinstance(entry, dict))
    chosen = next((entry.get("context") or {} for entry in contexts if entry.get("name") == current), {})
    return Credentials(users, str(chosen.get("user") or ""))


def _credential(path: Path, user: Object) -> Credential:
    try:
        certificate, key = data_of(path, user, "client-certificate"), data_of(path, user, "client-key")
        if certificate is not None:
            client_context(cert_data=certificate, key_data=key)
    except (ssl.SSLError, OSError, ValueError, binascii.Error) as error:
        raise KubeconfigError(f"{path}: {error}") from None
    authorization = ""
    if user.get("token"):
        authorization = f"Bearer {user['token']}"
    elif user.get("username"):
        pair = f"{user['username']}:{user.get('password') or ''}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    token_file = str(path.parent / user["tokenFile"]) if user.get("tokenFile") else ""
    return Credential(authorization, token_file, certificate, key)
