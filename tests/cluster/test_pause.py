from __future__ import annotations

import os
import platform
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tiphys.cluster import pause


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pause"
    path.write_bytes(pause.elf())
    path.chmod(0o755)
    return path


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    """Until its handlers are set: TERM and INT caught, CHLD ignored."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        masks = {
            line.split()[0]: int(line.split()[1], 16)
            for line in status.splitlines()
            if line.startswith(("SigCgt", "SigIgn"))
        }
        if (
            masks["SigCgt:"] == 1 << signal.SIGTERM - 1 | 1 << signal.SIGINT - 1
            and masks["SigIgn:"] & 1 << signal.SIGCHLD - 1
        ):
            return
    raise AssertionError("it did not set its handlers")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_sleeps_in_one_page_until_it_is_told_to_end(program: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([program])
    wait_until_ready(process)
    resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    assert resident * os.sysconf("SC_PAGE_SIZE") <= 64 * 1024
    process.send_signal(number)
    assert process.wait(60) == 0


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_file_is_one_segment_that_begins_at_its_entry(machine: str) -> None:
    program = pause.elf(machine)
    assert len(program) < 320
    kind, code, version, entry = struct.unpack_from("<HHIQ", program, 16)
    assert (kind, code, version) == (2, {"x86_64": 62, "aarch64": 183}[machine], 1)
    offset, address, _, size, memory, alignment = struct.unpack_from("<QQQQQQ", program, 64 + 8)
    assert (offset, size, memory) == (0, len(program), len(program))
    assert entry == address + 64 + 56
    assert address % alignment == 0


def test_the_instructions_of_aarch64() -> None:
    """As `objdump -d` shows them; run once under qemu-aarch64."""
    words = struct.unpack_from("<28I", pause.elf("aarch64"), 120)
    assert words[:6] == (0xD2800220, 0x10000361, 0xD2800002, 0xD2800103, 0xD28010C8, 0xD4000001)
    assert words[18:25] == (
        0xD2800000,
        0xD2800001,
        0xD2800002,
        0xD2800003,
        0xD2800928,
        0xD4000001,
        0x17FFFFFA,
    )
    assert words[25:28] == (0xD2800000, 0xD2800BC8, 0xD4000001)


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="no pause program for vax"):
        pause.elf("vax")


def test_this_machine_has_one() -> None:
    assert pause.elf() == pause.elf(platform.machine())
