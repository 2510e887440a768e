"""Reads a container's log for `kubectl logs`: the last lines, since a time, with or without times, following it while it grows.

A followed file is looked at when the kernel says that its directory changed (inotify), and once in a while in case that cannot be
had: nobody who is not followed costs anything. Rotation renames the file and makes a new one; the follower goes over to it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from tiphys.kubelet.log_lines import LogEntry, parse_line
from tiphys.kubelet.watching import DirectoryWatch
from tiphys.machinery import meta

BLOCK_BYTES = 64 * 1024
LOOK_SECONDS = 1.0


class BadLogOptions(ValueError):
    """A query that makes no sense; the message is the answer's."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """As in v1.PodLogOptions."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: datetime | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: str = "All"
    """"All", "Stdout" or "Stderr"."""

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]], now: datetime) -> LogOptions:
        """Raises BadLogOptions."""
        since = None
        try:
            seconds, text = _number(query, "sinceSeconds"), _one(query, "sinceTime")
            if seconds is not None:
                since = now - timedelta(seconds=seconds)
            elif text:
                since = meta.parse_time(text)
            return cls(
                follow=_flag(query, "follow"),
                previous=_flag(query, "previous"),
                timestamps=_flag(query, "timestamps"),
                since=since,
                tail_lines=_number(query, "tailLines"),
                limit_bytes=_number(query, "limitBytes"),
                stream=_one(query, "stream") or "All",
            )
        except ValueError as error:
            raise BadLogOptions(str(error)) from error


def _one(query: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(query.get(name) or ()), "")


def _number(query: Mapping[str, Sequence[str]], name: str) -> int | None:
    text = _one(query, name)
    return int(text) if text else None


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    return _one(query, name).lower() in ("true", "1")


def tail_offset(file: BinaryIO, lines: int) -> int:
    """Where the last so many whole lines begin; a line that was written in parts counts once."""
    if lines <= 0:
        return file.seek(0, os.SEEK_END)
    position = file.seek(0, os.SEEK_END)
    rest, found, end = b"", 0, position
    offset = position
    while position > 0:
        start = max(0, position - BLOCK_BYTES)
        file.seek(start)
        block = file.read(position - start) + rest
        begin = 0 if start == 0 else block.find(b"\n") + 1
        if begin == 0 and start > 0:
            rest, position = block, start
            continue
        cursor = len(block)
        for line in reversed(block[begin:].splitlines(keepends=True)):
            cursor -= len(line)
            entry = parse_line(line)
            # A part belongs to the whole that comes behind it.
            if entry is None or entry.is_whole or start + cursor + len(line) == end:
                found += 1
                if found > lines:
                    return offset
            offset = start + cursor
        rest, position = block[:begin], start
    return offset


def since_offset(file: BinaryIO, moment: datetime) -> int:
    """Where the first line of that time or later begins, by halving: times only grow."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        start, entry = _entry_after(file, middle, high)
        if entry is None:
            high = middle
        elif entry.moment < moment:
            low = file.tell()
        else:
            if start == low or middle <= low:
                return _first_from(file, low, moment)
            high = middle
    return _first_from(file, low, moment)


def _first_from(file: BinaryIO, offset: int, moment: datetime) -> int:
    """A line or two after where the halving ended."""
    file.seek(offset)
    for line in file:
        entry = parse_line(line)
        if entry is not None and entry.moment >= moment:
            return offset
        offset += len(line)
    return offset


def _entry_after(file: BinaryIO, position: int, end: int) -> tuple[int, LogEntry | None]:
    """The first line that begins at or after the position; the file stands behind it then."""
    file.seek(position)
    if position > 0:
        file.seek(position - 1)
        file.readline()
    start = file.tell()
    if start >= end:
        return start, None
    return start, parse_line(file.readline())


class LogReader:
    """One reading of one log file. `is_over()` tells whether the container writes no more."""

    def __init__(self, path: Path, options: LogOptions, is_over: Callable[[], Awaitable[bool]]) -> None:
        self._path = path
        self._options = options
        self._is_over = is_over
        self._left = options.limit_bytes
        self._at_line_start = True

    async def __call__(self) -> AsyncIterator[bytes]:
        """Pieces of the log, up to its end, or for ever when it is followed. Raises FileNotFoundError at once."""
        file: BinaryIO = self._path.open("rb")
        watch = DirectoryWatch(self._path.parent) if self._options.follow else None
        try:
            file.seek(self._start(file))
            while True:
                for piece in self._pieces(file):
                    yield piece
                    if self._left == 0:
                        return
                if watch is None:
                    return
                reopened = self._reopened(file)
                if reopened is not None:
                    for piece in self._pieces(file):
                        yield piece
                    file.close()
                    file = reopened
                    continue
                if await self._is_over():
                    for piece in self._pieces(file):
                        yield piece
                    return
                await watch.changed(LOOK_SECONDS)
        finally:
            file.close()
            if watch is not None:
                watch.close()

    def _start(self, file: BinaryIO) -> int:
        options = self._options
        offsets = [0]
        if options.since is not None:
            offsets.append(since_offset(file, options.since))
        if options.tail_lines is not None:
            offsets.append(tail_offset(file, options.tail_lines))
        return max(offsets)

    def _pieces(self, file: BinaryIO) -> Iterator[bytes]:
        """What can be read now, in blocks of whole entries; an entry that is still being written waits."""
        while True:
            position = file.tell()
            block = file.read(BLOCK_BYTES)
            end = block.rfind(b"\n") + 1
            while block and end == 0 and len(more := file.read(BLOCK_BYTES)) > 0:
                block += more
                end = block.rfind(b"\n") + 1
            file.seek(position + end)
            if end == 0:
                return
            piece = b"".join(self._render(line) for line in block[:end].splitlines(keepends=True))
            if self._left is not None:
                piece = piece[: self._left]
                self._left -= len(piece)
            if piece:
                yield piece
            if self._left == 0:
                return

    def _render(self, line: bytes) -> bytes:
        entry = parse_line(line)
        if entry is None or not self._wants(entry):
            return b""
        prefix = entry.time + b" " if self._options.timestamps and self._at_line_start else b""
        self._at_line_start = entry.is_whole
        return prefix + entry.data

    def _wants(self, entry: LogEntry) -> bool:
        return self._options.stream == "All" or self._options.stream.lower() == entry.stream

    def _reopened(self, file: BinaryIO) -> BinaryIO | None:
        """The new file, after a rotation."""
        try:
            if os.fstat(file.fileno()).st_ino == self._path.stat().st_ino:
                return None
            return self._path.open("rb")
        except FileNotFoundError:
            return None
