"""gzip of large answers, a piece at a time: level 1, from 128 KiB on, as upstream."""

from __future__ import annotations

import zlib

from tiphys.net.http import Request

GZIP_FROM_BYTES = 128 << 10
"""Smaller answers are not worth compressing (upstream's threshold)."""
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


def takes_gzip(request: Request) -> bool:
    return "gzip" in request.headers.get("accept-encoding", "")


class Packer:
    """Takes an answer in pieces and gives it back compressed, or as it was when it turns out to be small."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._compressor: zlib._Compress | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the answer must say, known at the end."""
        if self._compressor is None:
            return []
        return [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]

    def feed(self, piece: bytes) -> list[bytes]:
        if self._compressor is not None:
            return [self._compressor.compress(piece)]
        self._held.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes < GZIP_FROM_BYTES:
            return []
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        return [self._compressor.compress(one) for one in self._held]

    def end(self) -> list[bytes]:
        return self._held if self._compressor is None else [self._compressor.flush()]
