"""Notes of the agent on its disk: JSON with a digest of what it says, so that one flipped bit is damage and not another fact."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent_stub.files import write_private

DIGEST = "sha256"


def note(fields: Mapping[str, object]) -> bytes:
    """Write a note, for whoever puts it on the disk themselves."""
    return json.dumps({**fields, DIGEST: _digest(fields)}, indent=1).encode()


def write_note(path: Path, fields: Mapping[str, object]) -> None:
    """Write a note as a whole. Raise OSError, the old one stays."""
    write_private(path, note(fields))


def read_note(path: Path) -> dict[str, Any]:
    """Read a note; raise OSError, or ValueError where it is damaged. One of an older version has no digest and is taken as it is."""
    fields = json.loads(path.read_bytes())
    if not isinstance(fields, dict):
        raise ValueError("is no note")  # noqa: TRY004 - a file that is damaged, not a caller that is wrong
    if fields.pop(DIGEST, None) not in {None, _digest(fields)}:
        raise ValueError("is damaged")
    return fields


def _digest(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
