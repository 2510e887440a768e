"""How another API server knows on whose behalf this one asks: a client certificate that only we have, and headers.

The other server finds in a ConfigMap which authority signs that certificate and which headers to believe
(https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/).
"""

from __future__ import annotations

import base64
import json
import ssl
from dataclasses import dataclass
from urllib.parse import quote

from tiphys.api.resource import Object
from tiphys.apiserver.call import User
from tiphys.net.tls import client_context

USER, GROUP, UID, EXTRA = "X-Remote-User", "X-Remote-Group", "X-Remote-Uid", "X-Remote-Extra-"
CONFIG_MAP = "extension-apiserver-authentication"
AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
"""Who asks other servers for their documents, and whether they are there."""
_TOKEN = "!#$&'*+-.^_`|~"
"""What may stand in the name of a header as it is, beyond letters and digits (RFC 9110 §5.6.2); "%" may not, for it escapes."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """PEM: the client certificate, its key, and the authority that signed it."""

    certificate: bytes
    key: bytes
    authority: bytes
    name: str = "front-proxy-client"
    """The certificate's common name."""


def context_for(service: Object, front_proxy: FrontProxy | None) -> ssl.SSLContext:
    """TLS for requests to an APIService. Raises ValueError or ssl.SSLError when its caBundle is none."""
    spec = service["spec"]
    bundle = spec.get("caBundle")
    return _context(
        front_proxy,
        ca_data=base64.b64decode(bundle) if bundle else None,
        insecure=bool(spec.get("insecureSkipTLSVerify")),
    )


def context_for_probes(front_proxy: FrontProxy | None) -> ssl.SSLContext:
    """TLS for asking whether a server is there: that is no secret, so anybody may answer."""
    return _context(front_proxy, ca_data=None, insecure=True)


def _context(front_proxy: FrontProxy | None, *, ca_data: bytes | None, insecure: bool) -> ssl.SSLContext:
    return client_context(
        ca_data=ca_data,
        insecure=insecure,
        cert_data=front_proxy.certificate if front_proxy else None,
        key_data=front_proxy.key if front_proxy else None,
    )


def identity_headers(user: User) -> list[tuple[str, str]]:
    """The headers that say who asks."""
    headers = [(USER, user.name)]
    if user.uid:
        headers.append((UID, user.uid))
    headers += [(GROUP, group) for group in user.groups]
    for key, values in user.extra.items():
        name = EXTRA + quote(key.lower(), safe=_TOKEN)
        headers += [(name, value) for value in values]
    return headers


def is_identity_header(name: str) -> bool:
    """Whether a header (its name in lower case) claims an identity: nobody's claim but ours may pass."""
    return name in _CLAIMS or name.startswith(EXTRA.lower())


_CLAIMS = frozenset({USER.lower(), GROUP.lower(), UID.lower()})


def authentication_config(front_proxy: FrontProxy | None, client_ca: bytes) -> dict[str, str]:
    """The data of the ConfigMap in kube-system that extension servers read at their start."""
    data = {}
    if client_ca:
        data["client-ca-file"] = client_ca.decode()
    if front_proxy is not None:
        data |= {
            "requestheader-allowed-names": _list(front_proxy.name),
            "requestheader-client-ca-file": front_proxy.authority.decode(),
            "requestheader-extra-headers-prefix": _list(EXTRA),
            "requestheader-group-headers": _list(GROUP),
            "requestheader-uid-headers": _list(UID),
            "requestheader-username-headers": _list(USER),
        }
    return data


def _list(name: str) -> str:
    return json.dumps([name])
