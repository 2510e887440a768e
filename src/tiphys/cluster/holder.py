"""Holders: one tiny process that keeps a set of namespaces alive, and whose end is the power switch.

The holder is the pause program, run from the set's own directory. So it can be found again by what it runs, by anybody, also
after everything else of ours was killed: no pid needs to be remembered. A node's holder is the first process of its process
namespace, so that its end is the end of all others there, at once and by the kernel.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tiphys.cluster import pause
from tiphys.cluster.processes import end, running, spawn, wait_until

PROGRAM = "holder"
READY = b"ready\n"
EXEC_SECONDS = 20.0
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


class NamespaceError(Exception):
    """Namespaces could not be made or wired; the text is the tool's own."""


def start_holder(directory: Path, unshare: Sequence[str], script: str) -> int:
    """Makes namespaces, runs the shell script inside, then leaves a holder there; its pid, once all that is done.

    unshare: options of unshare(1). When the script fails nothing is left, and NamespaceError has its words.
    """
    program = directory / PROGRAM
    _install(program)
    inside = f"set -e\n{script}\necho ready\nexec {shlex.quote(str(program))} >/dev/null 2>&1\n"
    output = _run_until_ready(["unshare", *unshare, "--", "sh", "-c", inside])
    if not output.endswith(READY):
        raise NamespaceError(output.decode(errors="replace").strip() or "unshare failed without a word")
    # The script's last words came before its exec.
    if not wait_until(lambda: bool(running(program)), EXEC_SECONDS):
        raise NamespaceError(f"{program} could not be run: is its file system mounted noexec?")
    return running(program)[0]


def _install(program: Path) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    content = pause.elf()
    if not program.exists() or program.read_bytes() != content:
        program.write_bytes(content)
    program.chmod(0o755)


def _run_until_ready(arguments: Sequence[str]) -> bytes:
    """What it printed, until it was ready or had ended. (There may be no end of output: unshare itself stays, and keeps it open.)"""
    reading, writing = os.pipe()
    pid = 0
    try:
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            try:
                pid = spawn(arguments, environment=ENVIRONMENT, output=writing)
            finally:
                os.close(writing)
            output = b""
            while not output.endswith(READY) and (chunk := pipe.read(4096)):
                output += chunk
            return output
    except OSError as error:
        raise NamespaceError(f"cannot run {arguments[0]}: {error.strerror}") from error
    except BaseException:
        if pid:  # Ctrl-C: it would go on to become a holder that nobody waits for
            end(pid)
        raise


def find_holder(directory: Path) -> int | None:
    """The pid of the directory's holder, if it is alive."""
    found = running(directory / PROGRAM)
    return found[0] if found else None


def end_holder(directory: Path) -> None:
    """Ends the directory's holder and waits until all that it held is gone. Harmless when there is none."""
    for pid in running(directory / PROGRAM):
        if not end(pid):
            raise NamespaceError(f"process {pid} ({directory / PROGRAM}) does not die")
