"""Start programs. This release records what it would start and starts nothing."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent_stub.files import PRIVATE_FILE
from agent_stub.inspection.opened import OpenedFile
from agent_stub.model import Subject

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A launch that was written down."""

    message: str
    exit_code: None = None


class RecordingLauncher:
    """Write every launch as a line of JSON into a file, and say plainly that nothing ran."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> Recorded:
        """Write down what would be started; raise OSError where that fails."""
        line = json.dumps({"file": file.path, "arguments": list(arguments), "user": subject.name})
        if not self._path.exists():
            self._path.touch(mode=PRIVATE_FILE)
        with self._path.open("a", encoding="utf-8") as record:
            record.write(line + "\n")
        log.info("launch_recorded", user=subject.name)
        return Recorded(f"would start {file.path} with elevated rights; this release records that and starts nothing")
