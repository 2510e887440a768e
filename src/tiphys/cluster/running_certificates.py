"""The certificates of a running control plane: renewed long before they expire, and loaded as soon as they have changed.

Renewing needs no configuration: beside every certificate lies a note of what it is for (`pki.py`). Started by the control plane.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from tiphys.cluster.blueprint import FRONT_PROXY
from tiphys.cluster.pki import NODES, Authority
from tiphys.machinery.clock import Clock
from tiphys.machinery.errors import StatusError
from tiphys.net.tls import client_context, server_context
from tiphys.net.tls_files import LOOK_SECONDS, Pair, Stamp, WatchedFiles, stamp
from tiphys.store.interface import StoreError

log = logging.getLogger("tiphys")

RENEW_SECONDS = 3600.0


class RunningCertificates:
    def __init__(self, pki: Path, clock: Clock) -> None:
        self._pki, self._clock = pki, clock
        self.watched: list[WatchedFiles] = []
        self.followers: list[Callable[[], Awaitable[None]]] = []
        """Told when an authority, or the certificate by which other API servers know this one, is another one."""
        self._told = self._stamps()

    def for_clients(self, proxies_ca: str) -> ssl.SSLContext:
        """Of the server. `proxies_ca`: another authority whose certificates are taken; empty: none."""
        certificate, key, *authorities = self._files("apiserver")
        authorities += [proxies_ca] if proxies_ca else []
        context = server_context(certificate, key, *authorities)
        self.watched.append(WatchedFiles(context, Pair(certificate, key), *authorities))
        return context

    def for_kubelets(self) -> ssl.SSLContext:
        certificate, key, authorities = self._files("apiserver-kubelet-client")
        context = client_context(ca_file=authorities, cert_file=certificate, key_file=key)
        self.watched.append(WatchedFiles(context, Pair(certificate, key), authorities))
        return context

    def _files(self, name: str) -> tuple[str, str, str]:
        return f"{self._pki}/{name}.crt", f"{self._pki}/{name}.key", f"{self._pki}/ca.crt"

    async def follow(self) -> None:
        """For as long as the control plane runs."""
        looks = 0
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            looks += 1
            if looks * LOOK_SECONDS >= RENEW_SECONDS:
                looks = 0
                self.renew()
            for files in self.watched:
                files.look()
            await self.tell()

    async def tell(self) -> None:
        """Tells the followers of a change; again at the next look, when one cannot do with what is there so far."""
        now = self._stamps()
        if now == self._told or not self.followers:
            return
        try:
            for follower in self.followers:
                await follower()
        except (OSError, ValueError, StatusError, StoreError) as error:
            log.warning("the new authority is not known everywhere yet: %s", error)
        else:
            self._told = now

    def _stamps(self) -> list[Stamp | None]:
        proxy = self._pki / "front-proxy"
        files = (
            self._pki / "ca.crt",
            proxy / "ca.crt",
            proxy / f"{FRONT_PROXY}.crt",
            proxy / f"{FRONT_PROXY}.key",
        )
        return [stamp(str(path)) for path in files]

    def renew(self) -> list[str]:
        """Makes anew what will expire; which. Nodes renew their own through the API."""
        made = []
        for directory in (self._pki, self._pki / "front-proxy"):
            if not (directory / "ca.key").exists():
                continue
            try:
                made += Authority(directory, self._clock.now()).renew(spare=NODES)
            except (OSError, ValueError) as error:
                log.error("the certificates in %s cannot be renewed: %s", directory, error)
        if made:
            log.info("certificates made anew before they expire: %s", ", ".join(made))
        return made
