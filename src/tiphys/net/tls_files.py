"""A TLS context whose files change while it is in use: connections made from then on have what is in them now.

Whoever owns the context calls `look` now and then; without a change that is a few calls of stat.
"""

from __future__ import annotations

import logging
import os
import ssl

log = logging.getLogger("tiphys")

LOOK_SECONDS = 5.0
"""How often owners look."""
Stamp = tuple[int, int, int]


class WatchedFiles:
    """The certificate, the key and the authorities of one context."""

    def __init__(self, context: ssl.SSLContext, cert_file: str, key_file: str, *ca_files: str) -> None:
        self._context = context
        self._cert_file, self._key_file, self._ca_files = cert_file, key_file, ca_files
        self._seen = self._stamps()

    def look(self) -> bool:
        """Whether something was loaded. A pair of which only one half has been written yet is tried again the next time."""
        now = self._stamps()
        if now == self._seen:
            return False
        try:
            for ca_file in self._ca_files:
                self._context.load_verify_locations(ca_file)
            self._context.load_cert_chain(self._cert_file, self._key_file)
        except (OSError, ssl.SSLError) as error:
            log.warning("the new certificate in %s is not used yet: %s", self._cert_file, error)
            return False
        self._seen = now
        log.info("the certificate in %s has been loaded", self._cert_file)
        return True

    def _stamps(self) -> list[Stamp | None]:
        return [_stamp(path) for path in (self._cert_file, self._key_file, *self._ca_files)]


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
