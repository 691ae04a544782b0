"""The agent's log."""

import io

import pytest
import structlog

from agent_stub import log


@pytest.mark.parametrize("as_json", [True, False])
def test_a_line_for_which_the_disk_has_no_room_is_lost_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    before = structlog.get_config()
    with io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True) as full:
        monkeypatch.setattr("sys.stderr", full)
        try:
            log.configure(as_json=as_json)
            structlog.get_logger("test").info("journal_written")
        finally:
            structlog.configure(**before)
