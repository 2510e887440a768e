"""Reads a container's log for `kubectl logs`: the last lines, since a time, with or without times, following it while it grows.

A followed file is looked at when the kernel says that its directory changed (inotify), and once in a while in case that cannot be
had: nobody who is not followed costs anything. Rotation renames the file and makes a new one; the follower goes over to it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from tiphys.kubelet.log_lines import LogEntry, fixed_width, lines_of, parse_line
from tiphys.kubelet.log_rotation import COMPRESSED, UNFINISHED, set_aside
from tiphys.kubelet.watching import DirectoryWatch
from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen

BLOCK_BYTES = 256 * 1024
LOOK_SECONDS = 1.0
SETTLE_SECONDS = 0.05
"""After a rotation: for as long the runtime may still write a line that it had begun to the old file."""
STREAMS = ("All", "Stdout", "Stderr")
_LONG_AGO_SECONDS = 50 * 365 * 86_400
_WHOLE_LINES = re.compile(rb"^[0-9][^ \n]* std(?:out|err) F(?::[^ \n]*)? ", re.MULTILINE)
_TIMED_LINES = re.compile(rb"^([0-9T:-]{19})\.([0-9]{1,9})Z std(?:out|err) F(?::[^ \n]*)? ", re.MULTILINE)


class BadLogOptions(ValueError):
    """A query that makes no sense; the message is the answer's."""


@frozen
class LogOptions:
    """As in v1.PodLogOptions."""

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: datetime | None = None
    since_seconds: int | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    stream: str = "All"
    """"All", "Stdout" or "Stderr"."""

    @property
    def is_valid(self) -> bool:
        """By the rules of validation. The API server has told the client why not."""
        lowest = ((self.tail_lines, 0), (self.limit_bytes, 1), (self.since_seconds, 1))
        return (
            all(value is None or value >= least for value, least in lowest)
            and self.stream in STREAMS
            and not (self.stream != "All" and self.tail_lines is not None)
        )

    @classmethod
    def from_query(cls, query: Mapping[str, Sequence[str]], now: datetime) -> LogOptions:
        """Raises BadLogOptions."""
        since = None
        try:
            seconds, text = _number(query, "sinceSeconds"), _one(query, "sinceTime")
            if seconds is not None:
                since = now - timedelta(seconds=min(seconds, _LONG_AGO_SECONDS))
            elif text:
                since = meta.parse_time(text)
            return cls(
                follow=_flag(query, "follow"),
                previous=_flag(query, "previous"),
                timestamps=_flag(query, "timestamps"),
                since=since,
                since_seconds=seconds,
                tail_lines=_number(query, "tailLines"),
                limit_bytes=_number(query, "limitBytes"),
                stream=_one(query, "stream") or "All",
            )
        except (ValueError, OverflowError) as error:
            raise BadLogOptions(str(error)) from error


def _one(query: Mapping[str, Sequence[str]], name: str) -> str:
    return next(iter(query.get(name) or ()), "")


def _number(query: Mapping[str, Sequence[str]], name: str) -> int | None:
    text = _one(query, name)
    return int(text) if text else None


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    """As queries are read: named without a value is yes."""
    return name in query and _one(query, name).lower() not in ("false", "0")


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
        for line in reversed(lines_of(block[begin:])):
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
        """Pieces of the log, up to its end, or for ever when it is followed. Raises FileNotFoundError when there is none."""
        file = await self._open()
        watch = DirectoryWatch(self._path.parent) if self._options.follow else None
        try:
            file.seek(self._start(file))
            while True:
                for piece in self._pieces(file):
                    yield piece
                    if self._left == 0:
                        return
                if watch is None:
                    break
                if self._next(file) is not None:
                    await asyncio.sleep(SETTLE_SECONDS)
                    for piece in self._pieces(file):
                        yield piece
                    following = self._open_next(file)
                    if following is not None:
                        file.close()
                        file = following
                    continue
                if await self._is_over():
                    for piece in self._pieces(file):
                        yield piece
                    break
                await watch.changed(LOOK_SECONDS)
            last = self._last(file)
            if last:
                yield last
        finally:
            file.close()
            if watch is not None:
                watch.close()

    async def _open(self) -> BinaryIO:
        """A log that is just being rotated has no file for a moment."""
        for _ in range(round(LOOK_SECONDS / SETTLE_SECONDS)):
            try:
                return self._path.open("rb")
            except FileNotFoundError:
                if not any(self._path.parent.glob(f"{self._path.name}.*")):
                    raise
            await asyncio.sleep(SETTLE_SECONDS)
        return self._path.open("rb")

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
            piece = self._limited(self._rendered(block[:end]))
            if piece:
                yield piece
            if self._left == 0:
                return

    def _last(self, file: BinaryIO) -> bytes:
        """What stands behind the last line's end: nobody will finish it."""
        return self._limited(self._render(file.read(BLOCK_BYTES))) if self._left != 0 else b""

    def _limited(self, piece: bytes) -> bytes:
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    def _rendered(self, block: bytes) -> bytes:
        if self._options.stream == "All" and self._at_line_start:
            # Nearly always there are only whole lines, and nothing but their beginnings is another.
            if self._options.timestamps:
                text, count = _TIMED_LINES.subn(_timed, block)
            else:
                text, count = _WHOLE_LINES.subn(b"", block)
            if count == block.count(b"\n"):
                return text
        return b"".join(map(self._render, lines_of(block)))

    def _render(self, line: bytes) -> bytes:
        entry = parse_line(line)
        if entry is None or not self._wants(entry):
            return b""
        prefix = fixed_width(entry.time) + b" " if self._options.timestamps and self._at_line_start else b""
        self._at_line_start = entry.is_whole
        return prefix + entry.data

    def _wants(self, entry: LogEntry) -> bool:
        return self._options.stream == "All" or self._options.stream.lower() == entry.stream

    def _next(self, file: BinaryIO) -> Path | None:
        """Where the log goes on after a rotation: the file that was set aside next, or the one that is written now."""
        try:
            own = os.fstat(file.fileno()).st_ino
            if own == self._path.stat().st_ino:
                return None
        except FileNotFoundError:
            return None
        aside = [
            self._path.with_name(name)
            for name in sorted(set_aside(self._path))
            if not name.endswith((COMPRESSED, UNFINISHED))
        ]
        inodes = [_inode(path) for path in aside]
        later = aside[inodes.index(own) + 1 :] if own in inodes else aside
        return next(iter(later), self._path)

    def _open_next(self, file: BinaryIO) -> BinaryIO | None:
        path = self._next(file)
        try:
            return path.open("rb") if path is not None else None
        except FileNotFoundError:
            return None  # it was compressed in this moment: the next look finds another


def _timed(beginning: re.Match[bytes]) -> bytes:
    return b"%b.%bZ " % (beginning[1], beginning[2].ljust(9, b"0"))


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
