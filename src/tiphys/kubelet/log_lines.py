"""The lines of a container's log file, as CRI writes them: `2026-11-22T10:00:00.123456789Z stdout F text`. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from tiphys.machinery import meta
from tiphys.machinery.frozen import frozen


@frozen
class LogEntry:
    """A line, or a part of one (`is_whole` False: the next entry goes on; `data` then has no line end)."""

    time: bytes
    stream: str
    is_whole: bool
    data: bytes

    @property
    def moment(self) -> datetime:
        return meta.parse_time(self.time.decode())


def parse_line(line: bytes) -> LogEntry | None:
    """None for what is no such line (a torn one at the end of a file, for instance)."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or parts[1] not in (b"stdout", b"stderr"):
        return None
    time, stream, tags, data = parts
    is_whole = tags.split(b":")[0] == b"F"
    return LogEntry(time, stream.decode(), is_whole, data if is_whole else data.removesuffix(b"\n"))


def format_line(moment: datetime, text: str) -> bytes:
    """One whole line of standard output."""
    time = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    return f"{time} stdout F {text}\n".encode()


def lines_of(block: bytes) -> list[bytes]:
    """With their ends; what stands behind the last end, too. A carriage return is text: programs draw with it."""
    lines = [line + b"\n" for line in block.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def fixed_width(time: bytes) -> bytes:
    """With nine digits behind the point, as logs are shown: runtimes leave out zeros at the end."""
    whole, point, rest = time.partition(b".")
    if not point:
        zone = len(time) - 1 if time.endswith(b"Z") else max(time.rfind(b"+"), time.rfind(b"-"))
        return time[:zone] + b".000000000" + time[zone:]
    digits = len(rest) - len(rest.lstrip(b"0123456789"))
    return whole + b"." + rest[:digits].ljust(9, b"0") + rest[digits:]
