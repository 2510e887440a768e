"""The message that a container left when it ended: what it wrote to its termination message file, or the end of its log."""

from __future__ import annotations

from pathlib import Path

from tiphys.kubelet.labels import TERMINATION_MESSAGE_PATH, TERMINATION_MESSAGE_POLICY
from tiphys.kubelet.log_lines import lines_of, parse_line
from tiphys.kubelet.runtimes.interface import ContainerStatus

FILE_LIMIT_BYTES = 4096
LOG_LIMIT_BYTES = 2048
LOG_LIMIT_LINES = 80


def termination_message(status: ContainerStatus) -> str:
    """Empty when there is none. The log serves only a container that failed and wrote nothing, if its policy says so."""
    path = status.annotations.get(TERMINATION_MESSAGE_PATH, "")
    text = ""
    for mount in status.mounts:
        if path and mount.container_path == path:
            text = _head(Path(mount.host_path))
    policy = status.annotations.get(TERMINATION_MESSAGE_POLICY, "")
    if not text and policy == "FallbackToLogsOnError" and status.exit_code != 0 and status.log_path:
        text = _log_tail(Path(status.log_path))
    return text


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _log_tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            # Room for the time and stream before each line.
            file.seek(max(0, size - LOG_LIMIT_BYTES - LOG_LIMIT_LINES * 64))
            lines = lines_of(file.read())[-LOG_LIMIT_LINES:]
    except OSError:
        return ""
    text = b"".join(entry.data for line in lines if (entry := parse_line(line)) is not None)
    return text[-LOG_LIMIT_BYTES:].decode(errors="replace")
