"""Where a probe or hook goes, and how the network's answers are worded. Pure but for the TLS context; the words are Go's."""

from __future__ import annotations

import os
import socket
import ssl
from functools import cache

from tiphys.kubelet.spec import Object
from tiphys.machinery.quoting import quote

LAST_PORT = 65535


def port_of(value: int | str, container: Object) -> int:
    """A port by number, or by the name that the container gives it. ValueError, in upstream's words, when it has no such port."""
    port = value if isinstance(value, int) else _named(value, container)
    if not 0 < port <= LAST_PORT:
        raise ValueError(f"invalid port number: {port}")
    return port


def _named(name: str, container: Object) -> int:
    for port in container.get("ports") or ():
        if port.get("name") == name:
            return int(port["containerPort"])
    if name.isascii() and name.isdecimal():
        return int(name)
    raise ValueError(f"strconv.Atoi: parsing {quote(name)}: invalid syntax")


def authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url_of(action: Object, container: Object, ip: str) -> tuple[str, str]:
    """(base URL, target) of an httpGet."""
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    where = authority(action.get("host") or ip, port_of(action["port"], container))
    return f"{scheme}://{where}", path if path.startswith("/") else f"/{path}"


@cache
def trusting_anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def dial_failure(where: str, error: BaseException | None, text: str = "") -> str:
    """Why there is no connection to an authority. `text`: what is said of errors that are not the kernel's."""
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {where.rpartition(':')[0]}: no such host"
    if isinstance(error, ssl.SSLError):
        return _tls_failure(error)
    if isinstance(error, OSError) and error.errno:
        # The kernel's word for it: event loops put others around it.
        return f"dial tcp {where}: connect: {os.strerror(error.errno).lower()}"
    return f"dial tcp {where}: {text or error}"


def _tls_failure(error: ssl.SSLError) -> str:
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "http: server gave HTTP response to HTTPS client"
    return f"remote error: tls: {(error.reason or str(error)).lower().replace('_', ' ')}"
