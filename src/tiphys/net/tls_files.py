"""A TLS context whose files change while it is in use: connections made from then on have what is in them now.

Whoever owns the context calls `look` now and then; without a change that is a few calls of stat.
"""

from __future__ import annotations

import logging
import os
import ssl

from tiphys.machinery.frozen import frozen

log = logging.getLogger("tiphys")

LOOK_SECONDS = 5.0
"""How often owners look."""
Stamp = tuple[int, int, int]


@frozen
class Pair:
    """A certificate and its key. `renewed`: one file with both, by which their owner replaces them; the younger ones count."""

    cert_file: str
    key_file: str
    renewed: str = ""

    def current(self) -> tuple[str, str]:
        """(certificate, key): where they stand now."""
        given, renewed = stamp(self.cert_file), stamp(self.renewed) if self.renewed else None
        if renewed is not None and (given is None or renewed > given):
            return self.renewed, self.renewed
        return self.cert_file, self.key_file

    def files(self) -> tuple[str, ...]:
        return (self.cert_file, self.key_file, *((self.renewed,) if self.renewed else ()))


class WatchedFiles:
    """The certificate, the key and the authorities of one context."""

    def __init__(self, context: ssl.SSLContext, pair: Pair, *ca_files: str) -> None:
        self._context = context
        self._pair, self._ca_files = pair, ca_files
        self._seen = self._stamps()

    def look(self) -> bool:
        """Whether something was loaded. A pair of which only one half has been written yet is tried again the next time."""
        now = self._stamps()
        if now == self._seen:
            return False
        try:
            for ca_file in self._ca_files:
                self._context.load_verify_locations(ca_file)
            certificate, key = self._pair.current()
            self._context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            log.warning("the new certificate in %s is not used yet: %s", self._pair.cert_file, error)
            return False
        self._seen = now
        log.info("the certificate in %s has been loaded", certificate)
        return True

    def _stamps(self) -> list[Stamp | None]:
        return [stamp(path) for path in (*self._pair.files(), *self._ca_files)]


def stamp(path: str) -> Stamp | None:
    """What changes when the file does; None: it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
