"""TLS contexts, and who a client certificate says that its owner is. TLS 1.2 or newer."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: forward secrecy and authenticated encryption only (Go's defaults without CBC). TLS 1.3 has no others."""
HTTP_ALPN = ("h2", "http/1.1")


def server_context(
    cert_file: str,
    key_file: str,
    *client_ca_files: str,
    alpn: Sequence[str] = HTTP_ALPN,
) -> ssl.SSLContext:
    """For a server. With `client_ca_files`, a client may show a certificate, which one of those CAs must have signed.

    Loading a new certificate into the same context (`load_cert_chain`) changes it for connections made from then on.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.load_cert_chain(cert_file, key_file)
    for client_ca_file in client_ca_files:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(list(alpn))
    return context


def client_context(
    *,
    ca_file: str | None = None,
    ca_data: bytes | None = None,
    cert_file: str | None = None,
    cert_data: bytes | None = None,
    key_file: str | None = None,
    key_data: bytes | None = None,
    insecure: bool = False,
    alpn: Sequence[str] = ("http/1.1",),
) -> ssl.SSLContext:
    """For a client, in a kubeconfig's terms: PEM in files or at hand. Without a CA: the system's.

    `insecure` trusts any server. The name that the server must prove is given to each connection (`server_hostname`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None and ca_data is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file, cadata=ca_data.decode() if ca_data is not None else None)
    with ExitStack() as stack:
        if cert_data is not None:
            cert_file = stack.enter_context(_as_file(cert_data))
        if key_data is not None:
            key_file = stack.enter_context(_as_file(key_data))
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file)
    context.set_alpn_protocols(list(alpn))
    return context


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path at which the data can be read, in memory only: `ssl` reads keys from files alone."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class Subject(NamedTuple):
    """Whom a certificate names: X.509's CN (the last, if there are several), its O's, and Kubernetes' own attribute for a UID."""

    common_name: str
    organizations: tuple[str, ...]
    uid: str = ""


_SEQUENCE, _SET, _VERSION, _UTC_TIME = 0x30, 0x31, 0xA0, 0x17
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_COMMON_NAME, _ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_UID = b"\x2b\x06\x01\x04\x01\x83\xc2\x53\x02"
"""1.3.6.1.4.1.57683.2"""
_ENCODINGS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}


def subject_of(certificate: bytes) -> Subject:
    """The subject of a DER certificate. ValueError if it is none, or names more than one UID.

    Read by hand, for it happens once a connection and importing `cryptography.x509` takes longer than all else of a
    server's start. Only for certificates that TLS has verified. RFC 5280 §4.1: the subject is the fifth field behind
    the optional version.
    """
    common_name, organizations, uids = "", [], []
    for tag, relative_name in _children(_subject_field(certificate)):
        for attribute_tag, attribute in _children(relative_name):
            if tag != _SET or attribute_tag != _SEQUENCE:
                raise ValueError("not an X.509 name")
            (_, kind), (encoding, raw) = _children(attribute)
            if kind == _COMMON_NAME:
                common_name = raw.decode(_ENCODINGS.get(encoding, "utf-8"))
            elif kind == _ORGANIZATION:
                organizations.append(raw.decode(_ENCODINGS.get(encoding, "utf-8")))
            elif kind == _UID:
                uids.append(raw.decode(_ENCODINGS[encoding]) if encoding in _ENCODINGS else "")
    if len(uids) > 1 or "" in uids:
        raise ValueError("the subject's UID must be one string")
    return Subject(common_name, tuple(organizations), *uids)


def validity_of(pem: str) -> tuple[datetime, datetime]:
    """From when until when the first certificate in the text is valid. ValueError if there is none; read by hand as above."""
    start = pem.find(_BEGIN)
    end = pem.find(_END, start)
    if start < 0 or end < 0:
        raise ValueError("not a certificate in PEM")
    der = ssl.PEM_cert_to_DER_cert(pem[start : end + len(_END)])
    first, last = (_time(tag, value) for tag, value in _children(_fields(der)[3]))
    return first, last


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:  # RFC 5280 §4.1.2.5.1: two digits of the year, from 1950 on
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _subject_field(certificate: bytes) -> bytes:
    return _fields(certificate)[4]


def _fields(certificate: bytes) -> list[bytes]:
    """What is signed, without the version: serial number, algorithm, issuer, validity, subject…"""
    (_, body), *_ = _children(certificate)
    (_, to_be_signed), *_ = _children(body)
    fields = [value for tag, value in _children(to_be_signed) if tag != _VERSION]
    if len(fields) < 6:
        raise ValueError("not an X.509 certificate")
    return fields


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, value) pairs that a DER value consists of."""
    children = []
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise ValueError("truncated DER")
        tag, length = data[position], data[position + 1]
        position += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size])
            position += size
        if position + length > len(data):
            raise ValueError("truncated DER")
        children.append((tag, data[position : position + length]))
        position += length
    return children
