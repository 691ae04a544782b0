"""Give up what the reading of a hostile file must not have. Called in the child, before the first byte is parsed.

Limits hold for any user. A child of root also becomes `nobody` and moves to an empty network namespace; without root
there is nothing to give up but the limits, and the child keeps the network of its user.
"""

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

CPU_SECONDS = 30
MEMORY_BASE = 1 << 30
MEMORY_PER_BYTE = 4
NOBODY = 65534
_OUT_OF_MEMORY = Path("/proc/self/oom_score_adj")
_FIRST = "1000"
_CLONE_NEWNET = 0x40000000
_PR_SET_NO_NEW_PRIVS = 38


def lock_down(file_size: int) -> None:
    """Drop rights and set limits, never to be raised again; raise OSError where that fails."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a hardened system may not let it; the limits below hold all the same
            # Several large files at once may be more than the machine has: then these children end, and nobody's work.
            _OUT_OF_MEMORY.write_text(_FIRST, encoding="ascii")
        _leave_privileges()
    memory = MEMORY_BASE + MEMORY_PER_BYTE * file_size
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _leave_privileges() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        # A kernel without network namespaces refuses; the user switch below still takes the rights away.
        libc.unshare(_CLONE_NEWNET)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot forswear new privileges")


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
