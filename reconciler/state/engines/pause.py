"""The program of a holder: it waits for SIGTERM, and does nothing else. Pure.

netctl makes the image itself, so that nothing is downloaded: one program of about 200 bytes, in machine code. The code blocks
SIGTERM and waits for it with rt_sigtimedwait(2), again and again, since a tracer or a stop may interrupt the call. The kernel
discards a signal for the first process of a namespace that has no handler, but not a blocked one (sig_ignored, kernel/signal.c).
"""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

SIGTERM = 15
SET_BYTES = 8
"""The size of the kernel's sigset_t."""
EM_X86_64, EM_AARCH64 = 62, 183  # linux/elf-em.h
LOAD_ADDRESS = 0x400000
PAGE_BYTES = 0x10000
"""The largest page of either architecture: segments are aligned to it."""
PROGRAM = "pause"
"""The file in the image."""


def _assemble_x86_64() -> bytes:
    """The system calls by the numbers of arch/x86/entry/syscalls/syscall_64.tbl; what is at `set` follows the code."""
    code = bytes.fromhex(
        "b80e000000"  # mov eax, 14: rt_sigprocmask(SIG_BLOCK, set, NULL, 8)
        "31ff"  # xor edi, edi
        "488d3530000000"  # lea rsi, [rip + set]
        "31d2"  # xor edx, edx
        "41ba08000000"  # mov r10d, 8
        "0f05"  # syscall
        "b880000000"  # again: mov eax, 128: rt_sigtimedwait(set, NULL, NULL, 8)
        "488d3d1a000000"  # lea rdi, [rip + set]
        "31f6"  # xor esi, esi
        "31d2"  # xor edx, edx
        "41ba08000000"  # mov r10d, 8
        "0f05"  # syscall
        "83f80f"  # cmp eax, SIGTERM
        "75e3"  # jne again
        "b8e7000000"  # mov eax, 231: exit_group(0)
        "31ff"  # xor edi, edi
        "0f05"  # syscall
    )
    return code + _signal_set()


def _assemble_aarch64() -> bytes:
    """The system calls by the numbers of asm-generic/unistd.h: in x8, with the arguments from x0 on."""
    call, again, words = 0xD4000001, 6, 17  # svc #0; the first word of the loop; those before `set`
    code = [
        *(_move(8, 135), _move(0, 0), _address(1, words - 2), _move(2, 0), _move(3, SET_BYTES), call),
        *(_move(8, 137), _address(0, words - 7), _move(1, 0), _move(2, 0), _move(3, SET_BYTES), call),
        0xF100001F | SIGTERM << 10,  # cmp x0, SIGTERM
        0x54000001 | (again - 13 & 0x7FFFF) << 5,  # b.ne again
        *(_move(8, 94), _move(0, 0), call),
    ]
    return struct.pack(f"<{len(code)}I", *code) + _signal_set()


def _move(register: int, value: int) -> int:
    """`movz`, with 16 bits."""
    return 0xD2800000 | value << 5 | register


def _address(register: int, words: int) -> int:
    """`adr`: the address so many words after the instruction."""
    return 0x10000000 | words << 5 | register


def _signal_set() -> bytes:
    return struct.pack("<Q", 1 << SIGTERM - 1)


def _wrap(machine: int, code: bytes) -> bytes:
    """An executable file of one segment that can be read and run (elf(5))."""
    header_bytes, segment_bytes = 64, 56
    entry, size = LOAD_ADDRESS + header_bytes + segment_bytes, header_bytes + segment_bytes + len(code)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian, version 1
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 2, machine, 1, entry, 64, 0, 0, header_bytes, segment_bytes, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, PAGE_BYTES)
    return header + segment + code


@dataclass(frozen=True, slots=True)
class Architecture:
    """A processor's architecture, as `uname -m` names it, and the program for it."""

    machine: str
    program: bytes


ARCHITECTURES: Mapping[str, Architecture] = {
    "amd64": Architecture("x86_64", _wrap(EM_X86_64, _assemble_x86_64())),
    "arm64": Architecture("aarch64", _wrap(EM_AARCH64, _assemble_aarch64())),
}
"""By the name that Docker's API has for each."""
PAUSE_REPOSITORY = "netctl-pause"
PAUSE_TAG = hashlib.sha256(b"".join(each.program for each in ARCHITECTURES.values())).hexdigest()[:12]
PAUSE_IMAGE = f"{PAUSE_REPOSITORY}:{PAUSE_TAG}"
"""One name for all architectures: an engine has the image of its own."""
PAUSE_CHANGES = (f'ENTRYPOINT ["/{PROGRAM}"]',)


def pause_archive(program: bytes) -> bytes:
    """The image's root filesystem, for `docker import`."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(PROGRAM)
        member.size, member.mode = len(program), 0o755
        tar.addfile(member, io.BytesIO(program))
    return archive.getvalue()
