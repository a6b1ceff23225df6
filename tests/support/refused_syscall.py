"""Runs a command to which the kernel refuses one system call, as a container's seccomp profile does.

    python -m tests.support.refused_syscall sched_setscheduler COMMAND...

A seccomp filter (seccomp(2)) returns EPERM for that call, and survives execve(2).
"""

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {"x86_64": {"sched_setscheduler": 144}, "aarch64": {"sched_setscheduler": 119}}
"""By machine: asm/unistd_64.h and asm-generic/unistd.h."""

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2  # prctl(2)
# linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000


class Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse(number: int) -> None:
    """Have the kernel refuse a system call to this process and its children. Raise OSError."""
    instructions = (
        (LOAD, 0, 0, 0),  # the number, first in struct seccomp_data
        (JUMP_IF_EQUAL, 0, 1, number),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    )
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    program = Program(len(instructions), code)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    refuse(NUMBERS[platform.machine()][sys.argv[1]])
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - a test's own command
