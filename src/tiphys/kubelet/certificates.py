"""A kubelet's certificates, renewed through the API before they expire: `rotateCertificates` and `serverTLSBootstrap`.

Upstream's `util/certificate` of client-go and `pkg/kubelet/certificate`. The first certificates come with the node; when 70 to 90 % of a
certificate's life are over, the kubelet makes a new key, asks with a CertificateSigningRequest, and puts key and certificate into one
file of its own (0600). Whoever has the TLS contexts loads it (`net/tls_files.py`): no listener and no connection is closed for it.

Until then this sleeps: it asks the API server for nothing, and does not import what makes keys.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from tiphys.client.client import Client
from tiphys.client.resources import CERTIFICATESIGNINGREQUESTS
from tiphys.client.transport import Object
from tiphys.machinery import meta
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.machinery.frozen import frozen
from tiphys.machinery.metrics import Counter
from tiphys.machinery.retry.backoff import Backoff, Jitter
from tiphys.net.tls import validity_of
from tiphys.net.tls_files import Pair

if TYPE_CHECKING:
    from cryptography import x509

log = logging.getLogger(__name__)

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
CLIENT_FILE, SERVING_FILE = "kubelet-client-current.pem", "kubelet-server-current.pem"
GROUP = "system:nodes"
_USAGES = {CLIENT_SIGNER: "client auth", SERVING_SIGNER: "server auth"}
EARLIEST, SPREAD = 0.7, 0.2
"""Of a certificate's life: where in it a new one is asked for."""
LONGEST_SLEEP_SECONDS = 600.0
"""So late may be noticed that somebody else has exchanged it, or that the machine has slept."""
RETRY = Backoff(base_seconds=2.0, cap_seconds=900.0, jitter=0.1)
PATIENCE_SECONDS = 900.0
"""So long may a decision take."""
LOOK = Backoff(base_seconds=0.1, cap_seconds=10.0)
FAILURES = (StatusError, OSError, TimeoutError)


class Refused(Exception):
    """Why there is no certificate, in a line."""


@frozen
class Template:
    """What is asked for. `names`: DNS names and addresses, of a server's certificate."""

    signer: str
    node: str
    names: tuple[str, ...] = ()


def renewal_time(start: datetime, end: datetime, random: Jitter) -> datetime:
    """Between 70 and 90 % of the way, so that nodes which began together do not come back together."""
    return start + (end - start) * (EARLIEST + SPREAD * random.random())


class CertificateManager:
    """Of one certificate. `run` until cancelled; `pair.renewed` is the file that it writes."""

    def __init__(
        self,
        template: Template,
        pair: Pair,
        client: Client,
        clock: Clock,
        *,
        random: Jitter,
        failures: Counter | None = None,
    ) -> None:
        self._template = template
        self._pair = pair
        self._client = client
        self._clock = clock
        self._random = random
        self._failures = failures
        self._planned: tuple[datetime, datetime] | None = None
        """The end of the certificate that was last looked at, and when it shall be renewed."""

    async def run(self) -> None:
        failures = 0
        while True:
            left = self.seconds_left()
            if left > 0:
                await self._clock.sleep(min(left, LONGEST_SLEEP_SECONDS))
                continue
            try:
                await self.renew()
                failures = 0
            except (*FAILURES, Refused) as error:
                failures += 1
                if self._failures is not None:
                    self._failures.inc()
                log.warning("the certificate of %s is not renewed yet: %s", self._template.signer, error)
                await self._clock.sleep(RETRY.delay_seconds(failures, self._random))

    def seconds_left(self) -> float:
        """Until it shall be renewed; 0 when that time has come, and when there is none."""
        certificate, _ = self._pair.current()
        try:
            start, end = validity_of(Path(certificate).read_text())
        except (OSError, ValueError):
            return 0.0
        if self._planned is None or self._planned[0] != end:
            self._planned = (end, renewal_time(start, end, self._random))
        return max((self._planned[1] - self._clock.now()).total_seconds(), 0.0)

    async def renew(self) -> None:
        """Asks for one, waits for it, and keeps it. Raises Refused, or what a request may fail with."""
        key, request = make_request(self._template)
        csr = await self._client.create(CERTIFICATESIGNINGREQUESTS, signing_request(self._template, request))
        certificate = await self._decision(csr)
        keep(Path(self._pair.renewed), certificate + key)
        log.info("a new certificate of %s is in %s", self._template.signer, self._pair.renewed)

    async def _decision(self, csr: Object) -> bytes:
        deadline = self._clock.now() + timedelta(seconds=PATIENCE_SECONDS)
        looks = 0
        while self._clock.now() < deadline:
            for condition in (csr.get("status") or {}).get("conditions") or ():
                if condition.get("type") in ("Denied", "Failed"):
                    why = f"{condition.get('reason', '')}: {condition.get('message', '')}"
                    raise Refused(f"{meta.name(csr)} is {condition['type'].lower()} ({why})")
            certificate = (csr.get("status") or {}).get("certificate")
            if certificate:
                return base64.b64decode(certificate)
            looks += 1
            await self._clock.sleep(LOOK.delay_seconds(looks))
            csr = await self._client.get(CERTIFICATESIGNINGREQUESTS, meta.name(csr))
        raise Refused(f"nobody has decided about {meta.name(csr)}")


def signing_request(template: Template, request: bytes) -> Object:
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": template.signer,
            "usages": ["digital signature", _USAGES[template.signer]],
        },
    }


def make_request(template: Template) -> tuple[bytes, bytes]:
    """A new key and the PKCS #10 request for it, both PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{template.node}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if template.names:
        names = _alternatives(template.names)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def keep(path: Path, data: bytes) -> None:
    """Its owner's only, from the first byte on; whoever reads it meanwhile reads all of the old or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.{uuid4().hex}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
