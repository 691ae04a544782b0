"""Do one thing with the rights of a caller: an agent that runs as root must not read for users what they may not read.

On Linux rights belong to threads. A thread of its own takes on the caller's identity towards the file system, does the one
thing and ends, so nothing has to be given back. The library's own functions are of no use here, because they change every
thread of the process.
"""

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent_stub.model import Rights

T = TypeVar("T")

_SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159, "loongarch64": 159, "ppc64le": 81, "s390x": 206}
"""Number of the system call, on machines of 64 bits."""
_64_BITS = 1 << 32
_UNCHANGED = -1


def with_rights(rights: Rights, work: Callable[[], T]) -> T:
    """Do the work as the caller and give its result; raise OSError where these rights cannot be taken on."""
    if rights.uid in {0, os.geteuid()}:
        return work()
    if os.geteuid() != 0 or sys.platform != "linux":
        raise OSError(errno.ENOTSUP, "the agent cannot take on the rights of its caller")
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="borrowed-rights") as thread:
        return thread.submit(_as_caller, rights, work).result()


def _as_caller(rights: Rights, work: Callable[[], T]) -> T:
    _take_on(rights)
    return work()


def _take_on(rights: Rights) -> None:
    number = _SETGROUPS.get(platform.machine()) if sys.maxsize > _64_BITS else None
    if number is None:
        raise OSError(errno.ENOTSUP, "the agent cannot take on the rights of its caller")
    libc = ctypes.CDLL(None, use_errno=True)
    groups = (ctypes.c_uint32 * len(rights.groups))(*rights.groups)
    if libc.syscall(ctypes.c_long(number), ctypes.c_long(len(rights.groups)), groups) != 0:
        raise OSError(ctypes.get_errno(), "the agent cannot take on the groups of its caller")
    libc.setfsgid(ctypes.c_uint32(rights.gid))
    libc.setfsuid(ctypes.c_uint32(rights.uid))  # takes root's way around permissions from this thread, too
    # Neither says whether it worked; asked for the impossible, both say what is in force.
    if (libc.setfsgid(_UNCHANGED), libc.setfsuid(_UNCHANGED)) != (rights.gid, rights.uid):
        raise OSError(errno.EPERM, "the agent cannot take on the rights of its caller")
