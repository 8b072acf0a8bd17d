#!/usr/bin/env python3
"""Starts Chromium without netlink sockets, so that it does not see network interfaces come and go.

When an interface gets or loses an address, Chromium fails waiting requests with ERR_NETWORK_CHANGED. Each start and end
of a lab host is such a change. Chromium has no option for that. A seccomp filter lets
`socket(AF_NETLINK)` fail in Chromium and its children; Chromium then assumes that it is online.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

CHROMIUM = "/usr/bin/chromium-headless-shell"  # half the CPU time of the whole browser, with the same engine

_AF_NETLINK = 16
_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # AUDIT_ARCH, number of the system call
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of BPF
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38


class _Program(ctypes.Structure):
    """The struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _filter() -> bytes:
    architecture, number = _SOCKET[platform.machine()]
    return b"".join(
        (
            _instruction(_LOAD, _ARCHITECTURE),
            _instruction(_JUMP_IF_EQUAL, architecture, if_false=5),
            _instruction(_LOAD, _NUMBER),
            _instruction(_JUMP_IF_EQUAL, number, if_false=3),
            _instruction(_LOAD, _FIRST_ARGUMENT),
            _instruction(_JUMP_IF_EQUAL, _AF_NETLINK, if_false=1),
            _instruction(_RETURN, _FAIL | errno.EAFNOSUPPORT),
            _instruction(_RETURN, _ALLOW),
        )
    )


def forbid_netlink() -> None:
    """Let this process and its children create no more netlink sockets."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = _filter()
    buffer = ctypes.create_string_buffer(instructions)
    program = _Program(len(instructions) // 8, ctypes.addressof(buffer))
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    forbid_netlink()
    os.execv(CHROMIUM, [CHROMIUM, *sys.argv[1:]])  # noqa: S606
