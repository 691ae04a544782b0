import json
import stat
from pathlib import Path

import pytest

from agent_stub.inspection.opened import opened
from agent_stub.launcher import RecordingLauncher
from agent_stub.model import Subject
from tests.fakes.agent import OWN_RIGHTS

ALICE = Subject("alice", administrator=False)


async def test_a_launch_is_written_down_privately_and_nothing_starts(tmp_path: Path) -> None:
    record = tmp_path / "launches.jsonl"
    with opened("/bin/sh", OWN_RIGHTS) as file:
        await RecordingLauncher(record).launch(file, ["-c"], ALICE)
        launched = await RecordingLauncher(record).launch(file, [f"touch {tmp_path}/started"], ALICE)
        assert launched.exit_code is None
        assert (
            launched.message
            == f"would start {file.path} with elevated rights; this release records that and starts nothing"
        )
    lines = [json.loads(line) for line in read(record)]
    assert [(line["user"], line["arguments"]) for line in lines] == [
        ("alice", ["-c"]),
        ("alice", [f"touch {tmp_path}/started"]),
    ]
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert not (tmp_path / "started").exists()


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


async def test_a_launch_that_cannot_be_written_down_fails(tmp_path: Path) -> None:
    (tmp_path / "launches.jsonl").mkdir()
    with opened("/bin/sh", OWN_RIGHTS) as file, pytest.raises(OSError, match="launches"):
        await RecordingLauncher(tmp_path / "launches.jsonl").launch(file, [], ALICE)
