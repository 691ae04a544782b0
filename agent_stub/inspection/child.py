"""The short-lived process that reads one file: `python -m agent_stub.inspection.child FD SIZE [PATH]`.

It gets an open descriptor and never opens the file itself, so what it judges is what the agent holds. The libraries are
loaded first, then rights are given up for good, then the first byte is parsed. It answers one line of JSON. With PATH it
also asks the package database who owns the file.
"""

import hashlib
import importlib
import json
import os
import sys
from typing import Any

from agent_stub.inspection.lockdown import lock_down
from agent_stub.inspection.packages import owning_package
from agent_stub.inspection.parsers import facts_of, kind_of

READ_SIZE = 1 << 20


def main(arguments: list[str]) -> None:
    """Inspect the file behind the descriptor and write what was found to standard output."""
    descriptor, size = int(arguments[0]), int(arguments[1])
    kind = kind_of(os.pread(descriptor, 4, 0))
    if kind == "pe":
        # After the lock-down this user may no longer read the libraries.
        importlib.import_module("lief")
    lock_down(size)
    report = inspect(descriptor, size, kind)
    if arguments[2:]:
        report["package"] = owning_package(arguments[2])
    sys.stdout.write(json.dumps(report) + "\n")


def inspect(descriptor: int, size: int, kind: str) -> dict[str, Any]:
    """Hash the bytes once, and read the facts out of exactly these bytes."""
    digest = hashlib.sha256()
    kept = bytearray()
    offset = 0
    while offset < size and (part := os.pread(descriptor, READ_SIZE, offset)):
        digest.update(part)
        offset += len(part)
        if kind == "pe" or not kept:
            kept += part
    return {"sha256": digest.hexdigest(), "size": offset, "kind": kind, **facts_of(kind, bytes(kept))}


if __name__ == "__main__":
    main(sys.argv[1:])
