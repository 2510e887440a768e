"""Exec and attach as their handler sees them, whatever protocol the client speaks.

A handler gets a RemoteCommandStreams: stdin to read, stdout and stderr to write, terminal sizes to follow, a Status to
end with. `remote_command.py` implements it over WebSocket and over SPDY. The names, numbers and limits are those of
upstream's `remotecommand` packages (k8s.io/cri-streaming, k8s.io/apimachinery/pkg/util/remotecommand).
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence

from tiphys.machinery.frozen import frozen

__all__ = ["RemoteCommandStreams", "StreamOptions", "TerminalSize", "TerminalSizes"]

RESIZE_LIMIT_BYTES = 64 * 1024


@frozen
class StreamOptions:
    """Which streams a client asks for."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]]) -> "StreamOptions":
        """From a request's query, booleans as Go's ParseBool reads them. Raises ValueError when no stream is asked for."""

        def asked(name: str) -> bool:
            return (query.get(name) or [""])[0] in ("1", "t", "T", "true", "TRUE", "True")

        tty = asked("tty")
        # A terminal is one stream: what the process writes to stderr comes out of stdout.
        options = cls(asked("stdin"), asked("stdout"), asked("stderr") and not tty, tty)
        if not (options.stdin or options.stdout or options.stderr):
            raise ValueError("you must specify at least 1 of stdin, stdout, stderr")
        return options


@frozen
class TerminalSize:
    width: int  # columns
    height: int  # rows


class TerminalSizes:
    """The client's terminal sizes: bytes of JSON documents go in, the newest size that nobody has seen comes out."""

    def __init__(self) -> None:
        self._text = ""
        self._newest: TerminalSize | None = None
        self._changed = asyncio.Event()
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Bytes of a stream of `{"Width": 80, "Height": 24}`; documents may come in pieces. Anything else ends it."""
        self._text = (self._text + data.decode("utf-8", "replace")).lstrip()
        while self._text and not self._ended:
            try:
                document, end = json.JSONDecoder().raw_decode(self._text)
                size = TerminalSize(*(json_size(document, name) for name in ("Width", "Height")))
            except json.JSONDecodeError:
                if len(self._text) > RESIZE_LIMIT_BYTES:
                    self.end()
                return
            except (TypeError, ValueError):
                self.end()
                return
            self._text = self._text[end:].lstrip()
            self._newest = size
            self._changed.set()

    def end(self) -> None:
        self._ended = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[TerminalSize]:
        while True:
            size, self._newest = self._newest, None
            if size is not None:
                yield size
            elif self._ended:
                return
            else:
                self._changed.clear()
                await self._changed.wait()


def json_size(document: object, name: str) -> int:
    if not isinstance(document, dict):
        raise TypeError("a terminal size is an object")
    value = document.get(name, 0)
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise ValueError(f"a terminal size has no {name} of {value!r}")
    return value


class RemoteCommandStreams(ABC):
    """The streams of one exec or attach, open until `close()`. What was not asked for is empty to read, dropped to write."""

    options: StreamOptions
    protocol: str  # as negotiated, for example "v5.channel.k8s.io"
    sizes: TerminalSizes  # `async for size in streams.sizes`

    @abstractmethod
    async def read_stdin(self, n: int = 65536) -> bytes:
        """What the client sends; b"" once it has closed stdin or is gone. Not reading slows the client down."""

    @abstractmethod
    async def write_stdout(self, data: bytes) -> None:
        """Waits while the client is slow. Raises ConnectionError when it is gone."""

    @abstractmethod
    async def write_stderr(self, data: bytes) -> None:
        """As write_stdout."""

    @abstractmethod
    async def write_status(self, status: bytes) -> None:
        """Says how it ended: a v1 Status as JSON (status.py). The last thing to write; older protocols get its message.

        Raises ConnectionError when the client is gone.
        """

    @abstractmethod
    async def wait_disconnected(self) -> None:
        """Returns once the client is gone, or has said that it leaves."""

    @abstractmethod
    async def close(self) -> None:
        """Ends all streams, after the client has been given the time to take what was written."""
