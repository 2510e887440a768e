"""A program that does nothing, in 300 bytes: the first process of every pod and of every node's namespaces.

It lets the kernel reap its orphans (SIGCHLD is ignored), ends at TERM and INT, and sleeps otherwise, in one page of memory. It is
assembled here, instruction by instruction, because a node must start without any image from outside and without a compiler.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable

from tiphys.machinery.frozen import frozen

SIGINT, SIGTERM, SIGCHLD = 2, 15, 17
SIG_IGN = 1
SA_NOCLDWAIT = 0x2
SA_RESTORER = 0x04000000
SIGNAL_SET_BYTES = 8

BASE_ADDRESS = 0x400000
HEADER_BYTES = 64 + 56
"""The ELF header and one program header: the whole file is one readable and executable segment."""
SEGMENT_ALIGNMENT = 0x10000
"""The largest page that either architecture knows."""


@frozen
class Architecture:
    elf_machine: int
    code: Callable[[int], tuple[bytes, int]]
    """Given where the two `struct sigaction` begin, counted from the code's start: the code, and where its handler begins."""
    code_bytes: int
    """How long the code is, whatever the argument."""


def elf(machine: str | None = None) -> bytes:
    """The program for an architecture as `uname -m` names it; this machine's own by default. ValueError for an unknown one."""
    machine = machine or platform.machine()
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        raise ValueError(f"no pause program for {machine}: only for {', '.join(ARCHITECTURES)}")
    data_offset = -(-architecture.code_bytes // 8) * 8
    code, handler = architecture.code(data_offset)
    body = code.ljust(data_offset, b"\0") + _actions(BASE_ADDRESS + HEADER_BYTES + handler)
    return program(architecture.elf_machine, body)


def _actions(handler: int) -> bytes:
    """Two of the kernel's `struct sigaction` (handler, flags, restorer, mask): for children, and for the end."""
    # x86-64 refuses a handler without a restorer; this one never returns, so that any address will do.
    return struct.pack("<QQQQ", SIG_IGN, SA_NOCLDWAIT, 0, 0) + struct.pack(
        "<QQQQ", handler, SA_RESTORER, handler, 0
    )


def program(elf_machine: int, body: bytes) -> bytes:
    """A whole file: headers, and then the body, whose first byte is the first instruction."""
    size = HEADER_BYTES + len(body)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian
    entry = BASE_ADDRESS + HEADER_BYTES
    header = struct.pack("<HHIQQQIHHHHHH", 2, elf_machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE_ADDRESS, BASE_ADDRESS, size, size, SEGMENT_ALIGNMENT)
    return identity + header + segment + body


# x86-64: system call number in eax, arguments in edi, rsi, edx, r10d

_X86_SYSCALL = b"\x0f\x05"


def _x86_code(data_offset: int) -> tuple[bytes, int]:
    ignore = BASE_ADDRESS + HEADER_BYTES + data_offset
    code = b"".join(
        _x86_sigaction(signal, address)
        for signal, address in ((SIGCHLD, ignore), (SIGTERM, ignore + 32), (SIGINT, ignore + 32))
    )
    code += b"\xb8" + struct.pack("<I", 34) + _X86_SYSCALL + b"\xeb\xf7"  # again: pause(); jmp again
    handler = len(code)
    code += b"\x31\xff\xb8" + struct.pack("<I", 231) + _X86_SYSCALL  # exit_group(0)
    return code, handler


def _x86_sigaction(signal: int, address: int) -> bytes:
    """rt_sigaction(signal, address, NULL, 8)"""
    return (
        b"\xbf" + struct.pack("<I", signal)  # mov edi, signal
        + b"\xbe" + struct.pack("<I", address)  # mov esi, address
        + b"\x31\xd2"  # xor edx, edx
        + b"\x41\xba" + struct.pack("<I", SIGNAL_SET_BYTES)  # mov r10d, 8
        + b"\xb8" + struct.pack("<I", 13) + _X86_SYSCALL
    )  # fmt: skip


# AArch64: system call number in x8, arguments in x0, x1, x2, x3; every instruction is four bytes

_ARM_SVC = 0xD4000001


def _arm_mov(register: int, value: int) -> int:
    return 0xD2800000 | value << 5 | register


def _arm_adr(register: int, distance: int) -> int:
    """The address of what lies so many bytes after this instruction."""
    return 0x10000000 | (distance & 3) << 29 | (distance >> 2 & 0x7FFFF) << 5 | register


def _arm_branch(instructions: int) -> int:
    return 0x14000000 | instructions & 0x3FFFFFF


def _arm_code(data_offset: int) -> tuple[bytes, int]:
    code: list[int] = []
    for signal, action in ((SIGCHLD, 0), (SIGTERM, 32), (SIGINT, 32)):
        code.append(_arm_mov(0, signal))
        code.append(_arm_adr(1, data_offset + action - 4 * len(code)))
        code += [_arm_mov(2, 0), _arm_mov(3, SIGNAL_SET_BYTES), _arm_mov(8, 134), _ARM_SVC]
    # again: ppoll(NULL, 0, NULL, NULL): there is no pause() here
    code += [*(_arm_mov(register, 0) for register in range(4)), _arm_mov(8, 73), _ARM_SVC, _arm_branch(-6)]
    handler = 4 * len(code)
    code += [_arm_mov(0, 0), _arm_mov(8, 94), _ARM_SVC]  # exit_group(0)
    return struct.pack(f"<{len(code)}I", *code), handler


ARCHITECTURES = {
    "x86_64": Architecture(elf_machine=62, code=_x86_code, code_bytes=len(_x86_code(0)[0])),
    "aarch64": Architecture(elf_machine=183, code=_arm_code, code_bytes=len(_arm_code(0)[0])),
}
