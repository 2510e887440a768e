"""How another API server knows on whose behalf this one asks: a client certificate that only we have, and headers.

The other server finds in a ConfigMap which authority signs that certificate and which headers to believe
(https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/).
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tiphys.api.resource import Object
from tiphys.apiserver.call import User
from tiphys.machinery.frozen import frozen
from tiphys.net.tls import client_context

if TYPE_CHECKING:
    from tiphys.apiserver.settings import Settings

USER, GROUP, UID, EXTRA = "X-Remote-User", "X-Remote-Group", "X-Remote-Uid", "X-Remote-Extra-"
CONFIG_MAP = "extension-apiserver-authentication"
AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
"""Who asks other servers for their documents, and whether they are there."""
_TOKEN = "!#$&'*+-.^_`|~"
"""What may stand in the name of a header as it is, beyond letters and digits (RFC 9110 §5.6.2); "%" may not, for it escapes."""


@frozen
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


def authentication_config(settings: Settings) -> dict[str, str]:
    """The data of the ConfigMap in kube-system that extension servers read at their start: whom this server believes, and
    that it is itself one of those whom they shall believe."""
    data = {}
    front_proxy, others = settings.front_proxy, settings.requestheader_client_ca_file
    if settings.client_ca:
        data["client-ca-file"] = settings.client_ca.decode()
    if front_proxy is None and not others:
        return data
    authorities = [front_proxy.authority.decode()] if front_proxy else []
    allowed = [front_proxy.name] if front_proxy else []
    if others:
        authorities.append(Path(others).read_text())
        # No name at all means any.
        named = settings.requestheader_allowed_names
        allowed = [*allowed, *(name for name in named if name not in allowed)] if named else []
    return data | {
        "requestheader-allowed-names": json.dumps(allowed),
        "requestheader-client-ca-file": "".join(dict.fromkeys(authorities)),
        "requestheader-extra-headers-prefix": _with(EXTRA, settings.requestheader_extra_headers_prefix),
        "requestheader-group-headers": _with(GROUP, settings.requestheader_group_headers),
        "requestheader-uid-headers": _with(UID, settings.requestheader_uid_headers),
        "requestheader-username-headers": _with(USER, settings.requestheader_username_headers),
    }


def _with(own: str, others: Sequence[str]) -> str:
    return json.dumps(list(dict.fromkeys([own, *others])))
